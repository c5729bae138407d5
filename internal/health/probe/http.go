package probe

import "strings"

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
	rest := strings.TrimPrefix(url, "http://")
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return rest, "/"
	}
	host, path = rest[:end], rest[end:]
	if path[0] == '?' {
		path = "/" + path
	}
	return host, path
}

// parseStatus reads the status from the first line of an HTTP/1 response
// (RFC 9112, section 4).
func parseStatus(line []byte) (int, bool) {
	const form = "HTTP/1.x nnn"
	if len(line) <= len(form) || string(line[:7]) != form[:7] || !isDigit(line[7]) || line[8] != ' ' {
		return 0, false
	}
	status := 0
	for _, c := range line[9:12] {
		if !isDigit(c) {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	end := line[12]
	return status, end == ' ' || end == '\r' || end == '\n'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
