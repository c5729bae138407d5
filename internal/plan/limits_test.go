package plan

import (
	"net/netip"
	"slices"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// planOf plans a configuration with one member, wan1.
func planOf(t *testing.T, text string) *Plan {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte("config member 'wan1'\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Read(file)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	own := netip.MustParseAddr("198.18.1.2")
	uplinks := uplink.State{IPv4: uplink.Main{Enabled: true}, Members: []uplink.Member{{Name: "wan1",
		IPv4: &uplink.Path{Device: "wan1", Up: true, Gateway: netip.MustParseAddr("198.18.1.1"), Addresses: []netip.Addr{own}}}}}
	p := Build(Input{Config: cfg, Uplinks: uplinks})
	return p
}

// TestMACStaysOutOfOutput follows every chain that OUTPUT leads to: the kernel
// refuses a rule about a source MAC address there.
func TestMACStaysOutOfOutput(t *testing.T) {
	p := planOf(t, `config rule 'mac'
	list src_mac '02:00:5e:00:53:01'
	option use_policy 'wan1'
config rule 'other'
	option dest_ip '203.0.113.1'
	option use_policy 'wan1'
`)
	reached := map[string][]Rule{}
	var follow func(string)
	follow = func(name string) {
		if _, known := reached[name]; known {
			return
		}
		for _, c := range p.IPv4.Chains {
			if c.Name != name {
				continue
			}
			for _, written := range c.Written(0) {
				reached[name] = append(reached[name], written.Rules...)
			}
			for _, r := range reached[name] {
				if target, ok := r.Target.(Goto); ok {
					follow(string(target))
				}
			}
		}
	}
	for hook, want := range map[string]bool{"OUTPUT": false, "PREROUTING": true} {
		clear(reached)
		for _, j := range p.IPv4.Jumps {
			if j.Chain == hook {
				follow(string(j.Rule.Target.(JumpTo)))
			}
		}
		var origins []string
		mac := false
		for _, rules := range reached {
			for _, r := range rules {
				origins = append(origins, r.Origin)
				mac = mac || slices.ContainsFunc(r.Matches, func(m Match) bool { _, ok := m.(SourceMAC); return ok })
			}
		}
		if mac != want {
			t.Errorf("%s leads to a rule about a MAC address: %v, want %v", hook, mac, want)
		}
		if !slices.Contains(origins, "rule 'other' (loadbalance:5)") {
			t.Errorf("%s does not lead to rule 'other': %q", hook, origins)
		}
	}
}

// TestOneAddressPerSide: iptables refuses a second -s or -d in one rule.
func TestOneAddressPerSide(t *testing.T) {
	p := planOf(t, `config rule 'it'
	list src_ip '10.20.0.0/16'
	list src_ip '!10.20.1.1'
	list dest_ip '203.0.113.0/24'
	list dest_ip '!203.0.113.1'
	option use_policy 'wan1'
`)
	for _, c := range p.IPv4.Chains {
		for _, r := range c.Rules {
			sources, destinations := 0, 0
			for _, m := range r.Matches {
				switch m.(type) {
				case Source:
					sources++
				case Destination:
					destinations++
				}
			}
			if sources > 1 || destinations > 1 {
				t.Errorf("%s: %s", c.Name, r.Args(""))
			}
		}
	}
	if len(p.IPv4.Sets) != 3 { // local destinations, and the two negated addresses
		t.Errorf("sets: %v", p.IPv4.Sets)
	}
}
