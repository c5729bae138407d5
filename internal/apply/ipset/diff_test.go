package ipset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// numbered returns n host entries from 10.0.0.0 on.
func numbered(n int) []netip.Prefix {
	var p []netip.Prefix
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		p = append(p, netip.PrefixFrom(a, 32))
	}
	return p
}

func texts(ops []Op) []string {
	var list []string
	for _, o := range ops {
		list = append(list, strings.Split(o.String(), "\n")...)
	}
	return list
}

func set(name string, f family.Family, entries ...string) Set {
	return Set{Name: name, Type: "hash:net", Family: f, MaxElements: defaultMaxElements, Entries: prefixes(entries...)}
}

func TestDiff(t *testing.T) {
	odd := set("lb_a", family.IPv4, "10.0.0.0/8")
	odd.Altered = true
	wrongType := set("lb_a", family.IPv4, "10.0.0.1/32")
	wrongType.Type = "hash:ip"
	small := set("lb_a", family.IPv4, "10.0.0.0/8", "172.16.0.0/12")
	small.MaxElements = 2
	tests := map[string]struct {
		ipv4, ipv6      []plan.Set
		have            []Set
		update, destroy []string
	}{
		"nothing": {},
		"new sets": {
			ipv4: []plan.Set{{Name: "lb_local", Entries: prefixes("10.0.0.0/8", "10.1.2.3/32")}},
			ipv6: []plan.Set{{Name: "lb_local6", Entries: prefixes("fe80::/10")}},
			update: []string{
				"ipset create lb_local hash:net family inet",
				"ipset add lb_local 10.0.0.0/8", "ipset add lb_local 10.1.2.3",
				"ipset create lb_local6 hash:net family inet6", "ipset add lb_local6 fe80::/10",
			},
		},
		"as wanted": {
			ipv4: []plan.Set{{Name: "lb_a", Entries: prefixes("10.9.9.9/8", "10.0.0.0/8")}},
			have: []Set{set("lb_a", family.IPv4, "10.0.0.0/8")},
		},
		"length 0 becomes two halves": {
			ipv4:   []plan.Set{{Name: "lb_a", Entries: prefixes("0.0.0.0/0")}},
			ipv6:   []plan.Set{{Name: "lb_b", Entries: prefixes("::/0")}},
			have:   []Set{set("lb_a", family.IPv4, "0.0.0.0/1", "128.0.0.0/1"), set("lb_b", family.IPv6)},
			update: []string{"ipset add lb_b ::/1", "ipset add lb_b 8000::/1"},
		},
		"a few entries differ": {
			ipv4:   []plan.Set{{Name: "lb_a", Entries: prefixes("10.0.0.0/8", "192.168.0.0/16")}},
			have:   []Set{set("lb_a", family.IPv4, "10.0.0.0/8", "172.16.0.0/12")},
			update: []string{"ipset add lb_a 192.168.0.0/16", "ipset del lb_a 172.16.0.0/12"},
		},
		"no room for an addition before the deletion": {
			ipv4: []plan.Set{{Name: "lb_a", Entries: prefixes("10.0.0.0/8", "192.168.0.0/16")}},
			have: []Set{small},
			update: []string{
				"ipset create lb_tmp.new hash:net family inet", "ipset add lb_tmp.new 10.0.0.0/8", "ipset add lb_tmp.new 192.168.0.0/16",
				"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new",
			},
		},
		"an option that we never write": {
			ipv4: []plan.Set{{Name: "lb_a", Entries: prefixes("10.0.0.0/8")}},
			have: []Set{odd},
			update: []string{
				"ipset create lb_tmp.new hash:net family inet", "ipset add lb_tmp.new 10.0.0.0/8",
				"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new",
			},
		},
		"another type": {
			ipv4:   []plan.Set{{Name: "lb_a", Entries: prefixes("10.0.0.1/32")}},
			have:   []Set{wrongType},
			update: []string{"ipset destroy lb_a", "ipset create lb_a hash:net family inet", "ipset add lb_a 10.0.0.1"},
		},
		"another family": {
			ipv6:   []plan.Set{{Name: "lb_a"}},
			have:   []Set{set("lb_a", family.IPv4, "10.0.0.0/8")},
			update: []string{"ipset destroy lb_a", "ipset create lb_a hash:net family inet6"},
		},
		"pairs": {
			ipv4:   []plan.Set{{Name: "lb_a", Timeout: 600, Pairs: true}, {Name: "lb_b", Timeout: 600, Pairs: true}, {Name: "lb_c", Timeout: 600, Pairs: true}},
			have:   []Set{{Name: "lb_a", Type: pairs, Timeout: 600}, {Name: "lb_b", Type: portedPair, Timeout: 600}, {Name: "lb_c", Type: "hash:ip", Timeout: 600}},
			update: []string{"ipset destroy lb_c", "ipset create lb_c hash:net,net family inet timeout 600"},
		},
		"unwanted sets and the leftover of a killed run": {
			ipv4:    []plan.Set{{Name: "lb_a", Entries: prefixes("10.0.0.0/8")}},
			have:    []Set{set("lb_a", family.IPv4, "10.0.0.0/8"), set("lb_old", family.IPv4), set(temporary, family.IPv4)},
			update:  []string{"ipset destroy lb_tmp.new"},
			destroy: []string{"ipset destroy lb_old"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Diff(tt.ipv4, tt.ipv6, tt.have)
			if got := texts(c.Update); !slices.Equal(got, tt.update) {
				t.Errorf("update:\n%q\nwant:\n%q", got, tt.update)
			}
			if got := texts(c.Destroy); !slices.Equal(got, tt.destroy) {
				t.Errorf("destroy:\n%q\nwant:\n%q", got, tt.destroy)
			}
			if c.Empty() != (len(tt.update)+len(tt.destroy) == 0) {
				t.Errorf("Empty() = %v", c.Empty())
			}
		})
	}
}

func TestManyChangesAreSwapped(t *testing.T) {
	have := []Set{{Name: "lb_a", Type: "hash:net", MaxElements: defaultMaxElements}}
	for _, tt := range []struct {
		entries int
		swapped bool
	}{{fewChanges, false}, {fewChanges + 1, true}} {
		c := Diff([]plan.Set{{Name: "lb_a", Entries: numbered(tt.entries)}}, nil, have)
		swapped := slices.Contains(texts(c.Update), "ipset swap lb_tmp.new lb_a")
		if swapped != tt.swapped {
			t.Errorf("%d changes: swapped is %v", tt.entries, swapped)
		}
	}
}

func TestRoomForManyEntries(t *testing.T) {
	c := Diff([]plan.Set{{Name: "lb_a", Entries: numbered(70000)}}, nil, nil)
	want := fmt.Sprintf("ipset create lb_a hash:net family inet maxelem %d", 70000)
	if got := c.Update[0].String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.HasPrefix(temporary, Prefix) {
		t.Errorf("%s would not be found again after a crash", temporary)
	}
}
