package explain

import (
	"testing"
)

func TestText(t *testing.T) {
	for _, test := range []struct {
		name   string
		rules  string
		packet Packet
		want   string
	}{
		{"a draw under a condition", "config rule 'tv'\n\toption src_mac '02:00:5e:00:53:09'\n\toption use_policy 'unreachable'\n",
			packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.SourceMAC = "" }), `
ipv4: tcp, 10.20.1.5:4000 → 203.0.113.10:443, coming in on 'br-lan'
  the packet comes in on 'br-lan', since main's route to 10.20.1.5 leads there
  mangle rules of other programs are not considered here

the description leaves 2 possibilities:

if the source MAC address is 02:00:5e:00:53:09:
  1. the first packet of a connection has no mark yet
  2. rule 'tv' (loadbalance:17) matches: 'unreachable'
  3. gets the mark 0x3e000000 ('unreachable') for this packet only
  4. ip rule 7000: lookup main suppress_prefixlength 0: only a default route, suppressed
  5. ip rule 9400: fwmark 0x3e000000/0x3f000000 lookup 362 (unreachable): refused with an ICMP error

if not: the source MAC address is 02:00:5e:00:53:09:
  1. the first packet of a connection has no mark yet
  2. no rule matches: policy 'balanced'
  3. policy 'balanced' deals it in turn, to one of:

     SHARE   MEMBER  MARK       IP RULE  TABLE       ROUTE
     33.3 %  wan1    0x1000000  9001     301 (wan1)  default via 198.18.1.1 dev wan1
     66.7 %  wan2    0x2000000  9002     302 (wan2)  default via 198.18.2.1 dev wan2
`},
		{"from outside", "", packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }), `
ipv4: tcp, 203.0.113.10:4000 → 198.18.3.2:443, coming in on 'wan3'
  mangle rules of other programs are not considered here

  1. the first packet of a connection has no mark yet
  2. comes in on 'wan3': the connection belongs to 'wan3', replies leave by it
  3. gets the mark 0x3000000 ('wan3'), which the connection keeps
  4. ip rule 0: lookup local: to the router itself, unless a port forward applies
  5. replies carry the mark 0x3000000: ip rule 9003: fwmark 0x3000000/0x3f000000 lookup 303 (wan3): default via 198.18.3.1 dev wan3
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := Explain(world(t, test.rules, uplinks()), test.packet)
			if got := e.Text(); got != test.want[1:] {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}
