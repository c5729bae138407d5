package probe

import (
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

const (
	dnsHeaderSize = 12                    // RFC 1035, section 4.1.1
	dnsQuerySize  = dnsHeaderSize + 1 + 4 // the root is the shortest name
	dnsResponse   = 0x80                  // QR, in the third byte
	// maxLateRounds is how many rounds late a DNS answer may be, whose
	// identifier tells only the end of the round's number: 10 s at the shortest
	// interval, 50 ms. All other identifiers are forged.
	maxLateRounds = 200
)

func putQuery(b []byte, id uint16) {
	clear(b)
	binary.BigEndian.PutUint16(b[0:], id)
	b[2] = 1 // RD: what a resolver expects of a client
	b[5] = 1 // one question: name "", type NS, class IN
	b[14] = 2
	b[16] = 1
}

// parseResponse reads the identifier of a DNS response.
func parseResponse(b []byte) (id uint16, ok bool) {
	if len(b) < dnsHeaderSize || b[2]&dnsResponse == 0 {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

// sendDNS sends a query whose identifier is the round XOR a random number,
// which nobody off the line knows.
func (p *Prober) sendDNS(path *pathState, probe *Probe) error {
	if path.dns == nil {
		domain := unix.AF_INET
		if path.key.Family == family.IPv6 {
			domain = unix.AF_INET6
		}
		nothing := func(int) error { return nil }
		s, err := p.newSocket("DNS", domain, unix.SOCK_DGRAM, 0, nothing, func(s *socket) { p.handleDNS(path, s) })
		if err != nil {
			return err
		}
		path.dns, path.dnsBase = s, uint16(rand.Uint32())
	}
	putQuery(p.out.data[:dnsQuerySize], path.dnsBase^uint16(probe.Round))
	p.out.address(probe.Address, probe.Port, path.index, probe.Mark, probe.Source)
	return p.out.send(path.dns.fd, dnsQuerySize)
}

func (p *Prober) handleDNS(path *pathState, s *socket) {
	id, ok := parseResponse(s.data())
	if !ok {
		return
	}
	from := s.in.source()
	p.mu.Lock()
	var a Answer
	ok = false
	for i := range path.targets {
		t := &path.targets[i]
		late := uint16(t.round) - (id ^ path.dnsBase)
		if t.method == "dns" && t.address == from.Addr() && t.port == from.Port() && late <= maxLateRounds {
			a, ok = path.answer(i, from.Addr(), t.round-uint32(late))
			break
		}
	}
	p.mu.Unlock()
	if ok {
		p.deliver(a)
	}
}
