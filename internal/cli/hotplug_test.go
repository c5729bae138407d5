package cli

import (
	"strings"
	"testing"

	"loadbalance/internal/config"
)

func TestEventConcerns(t *testing.T) {
	both := []config.Member{
		{Name: "a", Enabled: true, Interface: "wan", Interface6: "wan6"},
		{Name: "b", Enabled: true, Interface: "wanb", Interface6: "wanb6"},
	}
	shared := []config.Member{
		{Name: "a", Enabled: true, Interface: "wan"},
		{Name: "b", Enabled: true, Interface: "wanb", Interface6: "wanb6"},
	}
	device := []config.Member{{Name: "a", Enabled: true, Device: "vth1"}}
	off := []config.Member{{Name: "a", Interface: "wan"}}
	rules := []config.Rule{{Enabled: true, SrcIface: "guest"}, {SrcIface: "iot"}}
	tests := []struct {
		name    string
		members []config.Member
		event   netifdEvent
		up      string // devices of members that are up
		want    bool
	}{
		{"interface", both, netifdEvent{"ifup", "wanb", "eth1"}, "eth0", true},
		{"IPv6 interface", both, netifdEvent{"ifup", "wan6", "eth0"}, "eth0 eth1", true},
		{"another interface", both, netifdEvent{"ifup", "lan", "br-lan"}, "", false},
		{"another interface goes", both, netifdEvent{"ifdown", "lan", ""}, "", false},
		{"whole firewall", both, netifdEvent{"firewall", "", ""}, "eth0 eth1", true},
		{"only a device", device, netifdEvent{"ifdown", "lan", ""}, "vth1", true},
		{"disabled member", off, netifdEvent{"ifup", "wan", "eth0"}, "", false},
		{"disabled member, firewall", off, netifdEvent{"firewall", "", ""}, "", false},
		{"interface of a rule", both, netifdEvent{"ifup", "guest", "br-guest"}, "eth0", true},
		{"child of a rule's interface", both, netifdEvent{"ifdown", "guest_6", ""}, "eth0", true},
		{"interface of a disabled rule", both, netifdEvent{"ifup", "iot", "br-iot"}, "eth0", false},
		{"no member", nil, netifdEvent{"firewall", "", ""}, "", false},
		{"unnamed IPv6 interface on a member's device", shared, netifdEvent{"ifup", "wan_6", "eth0"}, "eth0 eth1", true},
		{"unnamed IPv6 interface of a member that is down", shared, netifdEvent{"ifup", "wan_6", "eth0"}, "eth1", true},
		{"another interface, all members up", shared, netifdEvent{"ifupdate", "lan", "br-lan"}, "eth0 eth1", false},
		{"maybe the unnamed IPv6 interface goes", shared, netifdEvent{"ifdown", "wan_6", ""}, "eth0 eth1", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			up := func() ([]string, error) { return strings.Fields(test.up), nil }
			got, err := test.event.concerns(&config.Config{Members: test.members, Rules: rules}, up)
			if err != nil || got != test.want {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestWordsBehindTheCommand(t *testing.T) {
	tests := []struct {
		line string
		want string // the words, or the beginning of the error
	}{
		{"hotplug ifup wan1 eth0", "ifup wan1 eth0"},
		{"--log syslog hotplug firewall --run-dir /tmp/x", "firewall"},
		{"hotplug ifup wan1 eth0 more", "usage: unexpected argument 'more'"},
		{"apply now", "usage: unexpected argument 'now'"},
	}
	for _, test := range tests {
		opts, _, err := parse(strings.Fields(test.line))
		got := strings.Join(opts.words, " ")
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.line, got, test.want)
		}
	}
}
