package status

import (
	"net/netip"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// only is a status input with wan2 alone, which stands where it is told to.
func only(t *testing.T, member uplink.Member, ipv4, ipv6 plan.MemberState) Input {
	t.Helper()
	in := input(t)
	m := in.Plan.Members[1]
	m.IPv4, m.IPv6 = ipv4, ipv6
	in.Plan.Members, in.Notices = []plan.Member{m}, nil
	member.Name = "wan2"
	in.Uplinks.Members = []uplink.Member{member}
	return in
}

var (
	up6   = plan.MemberState{Up: true, Online: true, Active: true, Device: "wan2", Share: 1}
	none4 = plan.MemberState{Device: "wan2", Reason: "no IPv4 address on 'wan2'"}
)

// TestReasonOfOneFamily: the text has a reason for a family that is not in use
// although the member's other one is, unless the table HEALTH has it.
func TestReasonOfOneFamily(t *testing.T) {
	offline := up6
	offline.Online, offline.Active, offline.Reason = false, false, "no answer"
	down6 := plan.MemberState{Device: "wan2", Reason: "no IPv6 address on 'wan2'"}
	up4 := up6
	tests := []struct {
		name       string
		ipv4, ipv6 plan.MemberState
		want       []string
	}{
		{"both work", up4, up6, nil},
		{"IPv4 is down", none4, up6, []string{"  member 'wan2' (ipv4) is down: no IPv4 address on 'wan2'\n"}},
		{"IPv6 is down", up4, down6, []string{"  member 'wan2' (ipv6) is down: no IPv6 address on 'wan2'\n"}},
		{"both are down", none4, down6, []string{"  member 'wan2' (ipv4) is down: no IPv4 address on 'wan2'\n",
			"  member 'wan2' (ipv6) is down: no IPv6 address on 'wan2'\n"}},
		{"there is one only, which the plan says", none4, plan.MemberState{Reason: "has no ipv6"}, nil},
		{"IPv6 is offline by IPv4's verdict", up4, offline, []string{"  member 'wan2' (ipv6) is offline: no answer\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := &uplink.Path{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.2")}}
			in := only(t, uplink.Member{IPv4: path, IPv6: path}, tt.ipv4, tt.ipv6)
			var text strings.Builder
			if err := New(in).WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(text.String(), "member 'wan2'"); got != len(tt.want) {
				t.Errorf("%d reasons in\n%s", got, text.String())
			}
			for _, line := range tt.want {
				if !strings.Contains(text.String(), line) {
					t.Errorf("no %q in\n%s", line, text.String())
				}
			}
		})
	}
}

// TestReasonOfRecalledVerdict: a monitor that has taken over a verdict, or
// whose line is back, does not know its reason, but the verdict in force does.
func TestReasonOfRecalledVerdict(t *testing.T) {
	const reason = "no answer from 1.1.1.1; probe of 1.1.1.1 cannot be sent: operation not permitted"
	in := input(t)
	in.Plan.Members[2].IPv4.Reason = reason
	for _, told := range []string{"", "no answer from 1.1.1.1"} {
		in.Health.Paths[2].Reason = told
		if h := New(in).Members[2].IPv4.Health; h == nil || h.Reason != reason {
			t.Errorf("the monitor tells %q: health is %+v", told, h)
		}
	}
	in.Health.Paths[2].Online, in.Health.Paths[2].Reason = true, "it answers again" // not yet applied
	if h := New(in).Members[2].IPv4.Health; h == nil || h.Reason != "it answers again" {
		t.Errorf("health is %+v", h)
	}
	in.Health.Paths[2].Online, in.Health.Paths[2].Reason = false, "no answer from 1.1.1.1"
	in.Plan.Members[2].IPv4.Up, in.Plan.Members[2].IPv4.Reason = false, "device 'wwan0' has no link"
	if m := New(in).Members[2].IPv4; m.Health.Reason != "no answer from 1.1.1.1" || m.Reason != "device 'wwan0' has no link" {
		t.Errorf("with the link gone: reason %q, health is %+v", m.Reason, m.Health)
	}
	if in.Health.Paths[2].Member != "lte" || in.Health.Paths[2].Family != family.IPv4 {
		t.Fatal("the test asks for another line")
	}
}

// TestNothingKnownOfAMember: IPv4 is told of all the same, with the reason and
// what the monitor found; IPv6 is not.
func TestNothingKnownOfAMember(t *testing.T) {
	gone := plan.MemberState{Reason: "interface 'wan2' does not exist"}
	in := only(t, uplink.Member{}, gone, gone)
	in.Health.Paths[0].Member = "wan2"
	m := New(in).Members[0]
	if m.IPv4 == nil || m.IPv4.State != stateDown || m.IPv4.Reason != gone.Reason || m.IPv4.Health == nil {
		t.Errorf("IPv4 is %+v", m.IPv4)
	}
	if m.IPv6 != nil {
		t.Errorf("IPv6 is %+v", m.IPv6)
	}
}

// TestStateName: the first that is wrong counts, and what works without being
// dealt anything stands by.
func TestStateName(t *testing.T) {
	for _, tt := range []struct {
		state plan.MemberState
		want  string
	}{
		{plan.MemberState{Up: true, Online: true, Active: true}, "active"},
		{plan.MemberState{Up: true, Online: true}, "standby"},
		{plan.MemberState{Up: true, Active: true}, "offline"},
		{plan.MemberState{Up: true}, "offline"},
		{plan.MemberState{Online: true, Active: true}, "down"},
	} {
		if got := stateName(tt.state); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.state, got, tt.want)
		}
	}
}
