package probe

import (
	"bufio"
	"fmt"
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

// splitURL returns host with port, and path with query, of an accepted URL.
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

// location reads on in the header of a response, and returns where it leads, if so.
func location(header *bufio.Reader, requested string) string {
	for range maxLines {
		line, err := header.ReadSlice('\n')
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		if err != nil || name == "" {
			break
		}
		if strings.EqualFold(name, "Location") {
			host, _ := splitURL(requested)
			return absolute(strings.TrimSpace(value), host)
		}
	}
	return ""
}

// absolute makes a URL of a reference, with nothing in it that a URL must not have
// (RFC 3986, appendix A) or that a shell would replace.
func absolute(reference, host string) string {
	switch scheme, _, _ := strings.Cut(reference, "://"); {
	case strings.EqualFold(scheme, "http"), strings.EqualFold(scheme, "https"):
	case strings.HasPrefix(reference, "//"):
		reference = "http:" + reference
	default:
		reference = "http://" + host + "/" + strings.TrimPrefix(reference, "/")
	}
	var url []byte
	for _, c := range []byte(reference) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"'<>\\^`{|}$", c) >= 0 {
			url = fmt.Appendf(url, "%%%02X", c)
		} else {
			url = append(url, c)
		}
	}
	return string(url)
}
