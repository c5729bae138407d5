package explain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestOwnConnectionsKeepOff: the router's own unbound connections never take a
// member of router_traffic 0; those of LAN hosts do.
func TestOwnConnectionsKeepOff(t *testing.T) {
	const off = "config member 'wan2'\n\toption router_traffic '0'\n\toption weight '50'\nconfig member 'wan3'\n\toption metric '1'\n"
	const spread = "config policy 'spread'\n\tlist use_member 'wan2 metric=1'\n\tlist use_member 'wan3 metric=2'\n"
	const alone = "config policy 'alone'\n\tlist use_member 'wan2'\n"
	use := func(options ...string) string {
		return "config rule 'it'\n\toption " + strings.Join(options, "\n\toption ") + "\n"
	}
	state := uplinks()
	state.Members[1].IPv4.DNS = append(state.Members[1].IPv4.DNS, address("203.0.113.10"))
	dns := func(p *Packet) { p.Protocol, p.DestinationPort = 17, 53 }
	for _, test := range []struct {
		name, rules string
		offline     []string
		change      func(*Packet)
		own, lan    string // members
	}{
		{"balanced", "", nil, nil, "wan1 wan3", "wan1 wan2 wan3"},
		{"by chance", use("use_policy 'chance'"), nil, nil, "wan1 wan3", "wan1 wan2 wan3"},
		{"by hash", use("use_policy 'hashed'"), nil, nil, "wan3", "wan2"},
		{"sticky", use("sticky '1'"), nil, nil, "wan1 wan3", "wan1 wan2 wan3"},
		{"sticky, logged, without a name", "config rule\n\toption sticky '1'\n\toption log '1'\n", nil, nil, "wan1 wan3", "wan1 wan2 wan3"},
		{"logged", use("log '1'", "use_policy 'chance'"), nil, nil, "wan1 wan3", "wan1 wan2 wan3"},
		{"a policy that it is not in", use("use_policy 'third'"), nil, nil, "wan3", "wan3"},
		{"a lower tier", spread + use("use_policy 'spread'"), nil, nil, "wan3", "wan2"},
		{"a policy of nothing else", alone + use("use_policy 'alone'"), nil, nil, "unreachable", "wan2"},
		{"nothing else lives", "", []string{"wan1", "wan3"}, nil, "default", "wan2"},
		{"it is dead", "", []string{"wan2"}, nil, "wan1 wan3", "wan1 wan3"},
		{"a rule that names it", use("use_policy 'wan2'"), nil, nil, "wan2", "wan2"},
		{"its resolver", "", nil, dns, "wan1 wan3", "wan2"},
		{"its network", "", nil, func(p *Packet) { p.Destination = address("198.18.2.9") }, "wan2", "wan2"},
		{"a bound socket", "", nil, func(p *Packet) {
			if p.Own {
				p.Source = address("198.18.2.2")
			}
		}, "wan2", "wan1 wan2 wan3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := world(t, off+test.rules, state, test.offline...)
			for _, own := range []bool{true, false} {
				p, want := packet("10.20.1.5", "203.0.113.10"), test.lan
				if own {
					p, want = packet("198.18.1.2", "203.0.113.10", func(p *Packet) { p.Own = true }), test.own
				}
				if test.change != nil {
					test.change(&p)
				}
				var got []string
				for _, o := range explained(t, in, p) {
					if !slices.Contains(got, o.Member) {
						got = append(got, o.Member)
					}
				}
				slices.Sort(got)
				if fmt.Sprint(got) != "["+want+"]" {
					t.Errorf("own %v: %v, want %s", own, got, want)
				}
			}
		})
	}
}
