package domains

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Sizes of headers and places in them in bytes: RFC 791, RFC 8200 and RFC 768.
const (
	ipv4Header     = 20 // without options, which no program here asks for
	ipv4Fragment   = 6
	ipv4Protocol   = 9
	ipv6Header     = 40
	ipv6Next       = 6
	fragmentHeader = 8
	udpHeader      = 8
	udpLength      = 4
)

// maxChain is how many CNAME records are followed: as many as unbound follows
// (max-query-restarts), and more than others do.
const maxChain = 11

// record is an address of an answer.
type record struct {
	address netip.Addr
	ttl     uint32
}

// answer is what a DNS answer tells of addresses.
type answer struct {
	// names are the one that was asked for and those that its CNAME records
	// lead to, in lower case and without the last dot.
	names     []string
	addresses []record
}

// payload returns the DNS message in an IP packet that the filter has let pass: of
// a fragmented message the beginning, in the first fragment.
func payload(packet []byte) []byte {
	if len(packet) < ipv4Header {
		return nil
	}
	headers, offset := ipv4Header, ipv4Fragment
	fragment := uint16(0x1fff) // the bits of its offset
	if packet[0]>>4 == 6 {
		headers, offset = ipv6Header, 0
		if packet[ipv6Next] == unix.IPPROTO_FRAGMENT {
			headers, offset, fragment = ipv6Header+fragmentHeader, ipv6Header+2, 0xfff8
		}
	}
	if len(packet) < headers+udpHeader || offset > 0 && binary.BigEndian.Uint16(packet[offset:])&fragment != 0 {
		return nil
	}
	length := int(binary.BigEndian.Uint16(packet[headers+udpLength:])) // header included
	end := min(len(packet), headers+length)
	return packet[headers+udpHeader : max(headers+udpHeader, end)]
}

// parseAnswer reads a DNS message. What is damaged or missing at its end is left
// out; ok is false for what is no answer to a question.
func parseAnswer(message []byte) (a answer, ok bool) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || !header.Response || header.OpCode != 0 || header.RCode != dnsmessage.RCodeSuccess {
		return a, false
	}
	question, err := p.Question()
	if err != nil || p.SkipAllQuestions() != nil {
		return a, false
	}
	aliases, owned := map[string]string{}, map[string][]record{}
	for readRecord(&p, aliases, owned) == nil {
	}
	name := normalName(question.Name)
	for range maxChain + 1 {
		a.names = append(a.names, name)
		a.addresses = append(a.addresses, owned[name]...)
		delete(owned, name) // a loop leads here again
		if name = aliases[name]; name == "" {
			break
		}
	}
	return a, true
}

// readRecord reads the next record of the answer section. It fails at the end.
func readRecord(p *dnsmessage.Parser, aliases map[string]string, owned map[string][]record) error {
	header, err := p.AnswerHeader()
	if err != nil {
		return err
	}
	switch owner := normalName(header.Name); {
	case header.Class != dnsmessage.ClassINET:
	case header.Type == dnsmessage.TypeCNAME:
		r, err := p.CNAMEResource()
		aliases[owner] = normalName(r.CNAME)
		return err
	case header.Type == dnsmessage.TypeA || header.Type == dnsmessage.TypeAAAA:
		r, err := p.UnknownResource() // its bytes
		if address, ok := netip.AddrFromSlice(r.Data); ok {
			owned[owner] = append(owned[owner], record{address, header.TTL})
		}
		return err
	}
	return p.SkipAnswer()
}

// normalName returns a name as the configuration has it. Hosts ask in any case.
func normalName(n dnsmessage.Name) string {
	return strings.ToLower(strings.TrimSuffix(n.String(), "."))
}
