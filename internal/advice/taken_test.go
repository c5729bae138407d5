package advice

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

func lookUp(priority, table int, from string) uplink.Rule {
	r := uplink.Rule{Priority: priority, Action: uplink.LookUp, Table: table, Suppress: uplink.AnyLength}
	if from != "" {
		r.From = netip.MustParsePrefix(from)
	}
	return r
}

// world is a router with an uplink, a LAN and rules of other programs.
func world(rules ...uplink.Rule) uplink.State {
	prefix := netip.MustParsePrefix
	return uplink.State{
		Members: []uplink.Member{{Name: "wan1", IPv4: &uplink.Path{Device: "eth1"}}},
		IPv4: uplink.Main{
			Addresses: []uplink.Address{{Device: "br-lan", Prefix: prefix("192.168.1.1/24")}, {Device: "eth1", Prefix: prefix("198.18.0.2/24")}},
			Routes: []uplink.Route{
				defaultRoute("eth1", 10),
				{Destination: prefix("192.168.1.0/24"), Type: uplink.Unicast, Device: "br-lan"},
				{Destination: prefix("198.18.0.0/24"), Type: uplink.Unicast, Device: "eth1"},
			},
			Rules:  rules,
			Tables: map[int][]uplink.Route{50: {defaultRoute("eth1", 0)}, 51: {{Destination: prefix("192.0.2.0/24"), Type: uplink.Throw}}},
		},
	}
}

// TestAskers: nobody where no rule comes before ours; else the router, a host of
// the LAN, and somebody for each rule with a source.
func TestAskers(t *testing.T) {
	if flows := askers(family.IPv4, world(lookUp(6000, 50, ""), lookUp(32765, 50, ""))); flows != nil {
		t.Errorf("nothing stands before ours: %v", flows)
	}
	flows := askers(family.IPv4, world(lookUp(100, 50, "192.168.1.77/32"), lookUp(101, 50, "198.18.0.2/32"), lookUp(102, 50, "172.16.0.0/12")))
	var got []string
	for _, f := range flows {
		got = append(got, f.In+" "+f.Source.String()+" "+f.Destination.String())
	}
	want := []string{"lo invalid IP 192.0.2.1", "br-lan 192.168.1.2 192.0.2.1", "br-lan 192.168.1.77 192.0.2.1", "lo 198.18.0.2 192.0.2.1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	blocked := world(lookUp(100, 50, ""))
	blocked.IPv4.Routes = append(blocked.IPv4.Routes, uplink.Route{Destination: netip.MustParsePrefix("192.0.2.0/24"), Type: uplink.Blackhole})
	if flows := askers(family.IPv4, blocked); flows[0].Destination.String() != "9.9.9.9" {
		t.Errorf("asks for %v, which is known to be nowhere", flows[0].Destination)
	}
}

// TestTaken: the first rule that has an answer is named, once; none where the
// packets take their way.
func TestTaken(t *testing.T) {
	state := world(lookUp(99, 51, ""), lookUp(100, 52, ""), lookUp(101, 50, ""), lookUp(102, 254, ""))
	member := func(name, device string, up bool) plan.Member {
		return plan.Member{Name: name, Mark: 0x2000000, IPv4: plan.MemberState{Device: device, Up: up}}
	}
	members := []plan.Member{member("wan1", "eth1", true), member("down", "eth2", false)}
	asked := 0
	lookup := func(source, destination netip.Addr, in string, mark uint32) (string, error) {
		asked++
		if mark != 0x2000000 || destination.String() != "192.0.2.1" {
			t.Errorf("asks for %v, mark %#x", destination, mark)
		}
		return "eth1", nil
	}
	if got, err := Taken(state, members, lookup); got != nil || err != nil || asked != 2 { // the router and a host of the LAN
		t.Errorf("got %q, %v, asked %d times", got, err, asked)
	}
	got, err := Taken(state, append(members, member("wan2", "eth2", true), member("wan3", "eth3", true)), lookup)
	want := []string{"ip rule 101 (ipv4), 'lookup 50', comes before ours: what it matches leaves by 'eth1', whatever uplink it was dealt to; " +
		"if that is not wanted, give it a priority above 9999, or selectors"}
	if !slices.Equal(got, want) || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	lost := errors.New("lost")
	if _, err := Taken(state, members, func(netip.Addr, netip.Addr, string, uint32) (string, error) { return "", lost }); err != lost {
		t.Errorf("error %v", err)
	}
}
