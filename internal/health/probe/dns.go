package probe

import (
	"encoding/binary"
	"net/netip"
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

func query(id uint16) []byte {
	b := make([]byte, dnsQuerySize)
	binary.BigEndian.PutUint16(b, id)
	b[2] = 1 // RD: what a resolver expects of a client
	b[5] = 1 // one question: name "", type NS, class IN
	b[14] = 2
	b[16] = 1
	return b
}

// parseResponse reads the identifier of a DNS response.
func parseResponse(b []byte) (id uint16, ok bool) {
	if len(b) < dnsHeaderSize || b[2]&dnsResponse == 0 {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

func (p *Prober) sendDNS(path *pathState, probe *Probe) error {
	s, err := p.open(&path.dns)
	if err != nil {
		return err
	}
	to := netip.AddrPortFrom(probe.Address, probe.Port)
	return s.send(query(path.dnsBase^uint16(probe.Round)), to, path.index, probe.Mark, probe.Source)
}

func (path *pathState) handleDNS(m packet) []Answer {
	id, ok := parseResponse(m.data)
	if !ok {
		return nil
	}
	from := addrPort(m.from)
	for i, t := range path.targets {
		late := uint16(t.round) - (id ^ path.dnsBase)
		if t.method == "dns" && t.port == from.Port() && t.address == from.Addr() && late <= maxLateRounds {
			return path.answer(i, from.Addr(), t.round-uint32(late))
		}
	}
	return nil
}
