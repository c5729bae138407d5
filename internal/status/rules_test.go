package status

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uci"
)

// TestRules: a rule of several lines, for both families, counts once, and lines
// that are not those of the plan do not count.
func TestRules(t *testing.T) {
	file, err := uci.Parse("loadbalance", []byte(configuration+
		"config rule 'web'\n\toption proto 'tcp udp'\n\toption dest_port '80'\n\nconfig rule\n\toption src_ip '192.0.2.7'\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := config.Read(file)
	wanted := plan.Build(plan.Input{Config: cfg, Uplinks: world()})
	tables := map[family.Family]*iptables.Table{}
	for _, f := range family.All {
		change := iptables.Change{Write: wanted.Family(f).Chains}
		packets := 0
		var save strings.Builder
		for _, line := range strings.Split(change.Input(), "\n") {
			if strings.HasPrefix(line, "-A lb_rules ") {
				packets += 10
				fmt.Fprintf(&save, "[%d:0] ", packets)
			} else if strings.HasPrefix(line, "-A ") {
				save.WriteString("[3:0] ")
			}
			save.WriteString(line + "\n")
		}
		if tables[f], err = iptables.Parse([]byte(save.String())); err != nil {
			t.Fatal(err)
		}
	}
	in := Input{Plan: wanted, Kernel: &apply.Kernel{Tables: tables}}
	// Both families have tcp and udp; only IPv4 has the third line.
	if got, want := in.rules(), map[string]uint64{"web": 2 * (10 + 20), "@rule[1]": 30}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	tables[family.IPv4].Chains["lb_rules"].Comment = "lb:other"
	if got, want := in.rules(), map[string]uint64{"web": 30}; !maps.Equal(got, want) {
		t.Errorf("of another configuration: got %v, want %v", got, want)
	}
}
