package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// cascade is a chain that deals by weight to the chains m0, m1, ….
func cascade(weights ...int) Chain {
	chain := Chain{Name: "lb_policy_test"}
	order, _ := Deal(weights)
	for _, m := range order {
		chain.Cascade = append(chain.Cascade, fmt.Sprint("m", m))
	}
	return chain
}

func equal(members int) []int { return slices.Repeat([]int{1}, members) }

// TestWayOfNewConnections: how many rules a policy has and how many of them a
// new connection passes.
func TestWayOfNewConnections(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
		slots   int
		rules   int
		longest int
		average float64
	}{
		{"1", equal(1), 1, 1, 1, 1},
		{"2", equal(2), 16, 16, 16, 8.4},
		{"3", equal(3), 27, 27, 27, 14},
		{"4", equal(4), 32, 32, 32, 16.5},
		{"5", equal(5), 25, 25, 25, 13},
		{"6", equal(6), 144, 156, 24, 12.9},
		{"7", equal(7), 49, 56, 14, 7.9},
		{"8", equal(8), 64, 72, 16, 8.9},
		{"60", equal(60), 120, 130, 22, 11.9},
		{"3:1:1", []int{3, 1, 1}, 25, 25, 25, 13},
		{"sum 223", []int{100, 60, 40, 23}, 223, 236, 32, 17.9},
		{"a prime, in halves", []int{150, 101}, 251, 275, 29, 18},
		{"rounded to all slots", []int{1000, 400, 1}, 256, 272, 32, 17},
		{"rounded to halves", []int{1000, 999}, 16, 16, 16, 8.4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chain := cascade(tt.weights...)
			ways := waysOf(chain)
			if len(ways) != len(chain.Cascade) || len(ways) != tt.slots {
				t.Errorf("%d slots, %d ways to a member, want %d", len(chain.Cascade), len(ways), tt.slots)
			}
			longest, average := slices.Max(ways), float64(sum(ways))/float64(len(ways))
			if chain.Len() != tt.rules || longest != tt.longest || math.Abs(average-tt.average) > 0.1 {
				t.Errorf("%d rules, way of %d at most, %.1f on average; want %d, %d, %.1f",
					chain.Len(), longest, average, tt.rules, tt.longest, tt.average)
			}
		})
	}
}

// TestNoWayIsTooLong: whatever the weights and however many rules come first,
// as those of a sticky rule do.
func TestNoWayIsTooLong(t *testing.T) {
	for before := range 61 {
		limit := max(32, before+24)
		for slots := 1; slots <= maxSlots; slots++ {
			chain := Chain{Name: "lb_rule_test", Cascade: make([]string, slots)}
			chain.Rules = slices.Repeat([]Rule{on(Return{}, InDevice("x"))}, before)
			if longest := slices.Max(waysOf(chain)); longest > limit {
				t.Errorf("%d rules and %d slots: way of %d", before, slots, longest)
			}
		}
	}
}

// TestPartNames: parts have names of their own, short enough for the kernel,
// that say whose they are.
func TestPartNames(t *testing.T) {
	name := PolicyChain(strings.Repeat("n", 40))
	for before := range 61 {
		for slots := 1; slots <= maxSlots; slots++ {
			chain := Chain{Name: name, Cascade: make([]string, slots), Rules: slices.Repeat([]Rule{on(Return{})}, before)}
			seen := map[string]bool{}
			for i, written := range chain.Written(0) {
				if seen[written.Name] || len(written.Name) > maxChainName || ChainOf(written.Name) != name || (written.Name == name) != (i == 0) {
					t.Fatalf("%d slots: chain %q", slots, written.Name)
				}
				if len(written.Rules) == 0 || len(written.Cascade)+len(written.Lots) > 0 {
					t.Fatalf("%d slots: %s has %d rules", slots, written.Name, len(written.Rules))
				}
				seen[written.Name] = true
			}
		}
	}
}

// TestCascadeDealsInOrder plays packets through the written rules as the
// kernel's nth match counts them.
func TestCascadeDealsInOrder(t *testing.T) {
	for _, weights := range [][]int{{3, 1, 2}, {1, 1}, {3, 1, 1}, equal(8), equal(6), equal(37), equal(60), {100, 60, 40, 23}, {150, 101}} {
		chain := cascade(weights...)
		slots := uint64(len(chain.Cascade))
		for _, start := range []uint64{0, 1, 17, slots + 5} {
			k := newKernel(chain.Written(start))
			for packet := range 2 * slots {
				want := chain.Cascade[(start+packet)%slots]
				if got := k.send(); got != want {
					t.Fatalf("%v, start %d, packet %d goes to %s, want %s", weights, start, packet, got, want)
				}
			}
		}
	}
}

// TestCascadeIsExactInParallel lets many packets be under way at a time, each
// of which stops between any two rules.
func TestCascadeIsExactInParallel(t *testing.T) {
	random := splitMix(4)
	for _, weights := range [][]int{equal(2), {3, 1, 1}, equal(8), {100, 60, 40, 23}, {150, 101}} {
		chain := cascade(weights...)
		k := newKernel(chain.Written(7))
		const cycles, parallel = 3, 50
		left := cycles * len(chain.Cascade)
		var underWay []*packet
		dealt := map[string]int{}
		for left > 0 || len(underWay) > 0 {
			if left > 0 && len(underWay) < parallel {
				underWay = append(underWay, &packet{chain: chain.Name})
				left--
			}
			i := random.below(len(underWay))
			if target := k.step(underWay[i]); target != "" {
				dealt[target]++
				underWay = slices.Delete(underWay, i, i+1)
			}
		}
		for m, slots := range count(must(Deal(weights)), len(weights)) {
			if got := dealt[fmt.Sprint("m", m)]; got != cycles*slots {
				t.Errorf("%v: member %d got %d, want %d", weights, m, got, cycles*slots)
			}
		}
	}
}

// TestLots: each target's chance is its weight's part, in parts too.
func TestLots(t *testing.T) {
	for _, tt := range []struct{ members, rules, longest int }{
		{1, 1, 1}, {2, 2, 2}, {32, 32, 32}, {33, 39, 11}, {60, 68, 15},
	} {
		chain := Chain{Name: "lb_policy_test"}
		total := 0
		for m := range tt.members {
			chain.Lots = append(chain.Lots, Lot{fmt.Sprint("m", m), 1 + m%7})
			total += 1 + m%7
		}
		written := chain.Written(0)
		chances := map[string]float64{}
		addChances(chances, written, written[0], 1)
		for _, lot := range chain.Lots {
			if want := float64(lot.Weight) / float64(total); math.Abs(chances[lot.Target]-want) > 1e-9 {
				t.Errorf("%d members: chance of %s is %g, want %g", tt.members, lot.Target, chances[lot.Target], want)
			}
		}
		if longest := slices.Max(waysOf(chain)); chain.Len() != tt.rules || longest != tt.longest {
			t.Errorf("%d members: %d rules, way of %d; want %d, %d", tt.members, chain.Len(), longest, tt.rules, tt.longest)
		}
	}
}

func addChances(chances map[string]float64, written []Chain, chain Chain, chance float64) {
	for _, rule := range chain.Rules {
		taken := chance
		if len(rule.Matches) > 0 {
			taken *= float64(rule.Matches[0].(Chance))
		}
		target := string(rule.Target.(Goto))
		if i := slices.IndexFunc(written, func(c Chain) bool { return c.Name == target }); i >= 0 {
			addChances(chances, written, written[i], taken)
		} else {
			chances[target] += taken
		}
		chance -= taken
	}
}

// waysOf returns the number of rules on each way through a chain's draw.
func waysOf(chain Chain) []int {
	written := chain.Written(0)
	var ways []int
	var follow func(c Chain, passed int)
	follow = func(c Chain, passed int) {
		for i, rule := range c.Rules {
			target, isGoto := rule.Target.(Goto)
			if !isGoto {
				continue
			}
			part := slices.IndexFunc(written, func(c Chain) bool { return c.Name == string(target) })
			if part < 0 {
				ways = append(ways, passed+i+1)
				continue
			}
			follow(written[part], passed+i+1)
		}
	}
	follow(written[0], 0)
	return ways
}

// kernel counts what rules have met, as the nth match does.
type kernel struct {
	first  string
	chains map[string][]Rule
	seen   map[string][]int
}

func newKernel(written []Chain) *kernel {
	k := &kernel{first: written[0].Name, chains: map[string][]Rule{}, seen: map[string][]int{}}
	for _, chain := range written {
		k.chains[chain.Name], k.seen[chain.Name] = chain.Rules, make([]int, len(chain.Rules))
	}
	return k
}

// packet stands before a rule.
type packet struct {
	chain string
	rule  int
}

// step lets a packet meet one rule and returns the member that it goes to, or "".
func (k *kernel) step(p *packet) string {
	rule := k.chains[p.chain][p.rule]
	if len(rule.Matches) > 0 {
		seen := &k.seen[p.chain][p.rule]
		*seen++
		if (*seen-1)%int(rule.Matches[0].(EveryNth)) != 0 {
			p.rule++
			return ""
		}
	}
	target := string(rule.Target.(Goto))
	if k.chains[target] == nil {
		return target
	}
	*p = packet{chain: target}
	return ""
}

// send lets a packet go all its way.
func (k *kernel) send() string {
	p := &packet{chain: k.first}
	for {
		if target := k.step(p); target != "" {
			return target
		}
	}
}
