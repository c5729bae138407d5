package probe

import "golang.org/x/net/dns/dnsmessage"

// root is the shortest question that every resolver can answer.
var root = dnsmessage.Question{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeNS, Class: dnsmessage.ClassINET}

// query returns a query, for recursion, as a resolver expects of a client.
func query(id uint16) ([]byte, error) {
	return (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{root},
	}).Pack()
}

// isResponse reports whether a message responds to the query with an
// identifier. What lies behind the question may be cut off.
func isResponse(b []byte, id uint16) bool {
	var parser dnsmessage.Parser
	header, err := parser.Start(b)
	if err != nil || header.ID != id || !header.Response {
		return false
	}
	question, err := parser.Question()
	return err == nil && question == root
}
