package uplink

import (
	"maps"
	"path/filepath"
	"testing"

	"loadbalance/internal/config"
)

// TestRuleInterfaces: netifd is asked for the interfaces of rules, also where
// no member names one. Only those that are up have a device.
func TestRuleInterfaces(t *testing.T) {
	file, err := filepath.Abs("testdata/netifd/dhcp.json")
	if err != nil {
		t.Fatal(err)
	}
	device := []config.Member{{Name: "a", Device: "wan"}}
	tests := []struct {
		name  string
		ubus  string
		rules []string
		want  map[string]string
		nil   bool
	}{
		{"up and missing", "cat " + file, []string{"wan", "guest"}, map[string]string{"wan": "eth1"}, false},
		{"all missing", "cat " + file, []string{"guest"}, map[string]string{}, false},
		{"no rule asks", "exit 1", nil, nil, true},
		{"no netifd", "exit 4", []string{"wan"}, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			freshNamespace(t)
			cable(t, "eth1")
			standInForUbus(t, test.ubus)
			s, err := NetifdSource{Kernel: open(t), RuleInterfaces: test.rules}.Read(device)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(s.Interfaces, test.want) || (s.Interfaces == nil) != test.nil {
				t.Errorf("got %#v, want %#v", s.Interfaces, test.want)
			}
			if got := s.Members[0].IPv4.Device; got != "wan" {
				t.Errorf("the member's device became %q", got)
			}
		})
	}
}
