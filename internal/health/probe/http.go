package probe

import (
	"strconv"
	"strings"
)

// request is the request for a URL of plain HTTP (RFC 9112, section 3).
func request(url string) []byte {
	host, path := splitURL(url)
	return []byte("GET " + path + " HTTP/1.1\r\n" +
		"Host: " + host + "\r\n" +
		"User-Agent: loadbalance\r\n" +
		"Accept: */*\r\n" +
		"Connection: close\r\n\r\n")
}

// splitURL returns the host, with its port, and the path, with its query, of a
// URL that the configuration has accepted.
func splitURL(url string) (host, path string) {
	rest, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return rest, "/"
	}
	return rest[:end], "/" + strings.TrimPrefix(rest[end:], "/")
}

// parseStatus reads the status from the first line of an HTTP/1 response
// (RFC 9112, section 4): "HTTP/1.x nnn" and a blank or the end of the line.
func parseStatus(line []byte) (int, bool) {
	if len(line) < 13 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || !strings.Contains(" \r\n", string(line[12:13])) {
		return 0, false
	}
	_, noVersion := strconv.ParseUint(string(line[7:8]), 10, 8)
	status, noStatus := strconv.ParseUint(string(line[9:12]), 10, 16)
	return int(status), noVersion == nil && noStatus == nil
}
