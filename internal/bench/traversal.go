package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"loadbalance/internal/netlab"
)

// rulesPerPacket is the budget in our chains, whatever the number of members.
const rulesPerPacket = 2

func (b *bench) traversal() error {
	t := newTable(b.out, "members", "back end", "recipe", "ours", "jump into our chains", "")
	for _, backend := range backends {
		for _, uplinks := range []int{1, 5, 20, 60} {
			r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: uplinks, Backend: backend})
			if err != nil {
				return err
			}
			err = r.addTraversal(t)
			r.Close()
			if err != nil {
				return fmt.Errorf("%s, %d uplinks: %w", backend, uplinks, err)
			}
		}
	}
	return t.Flush()
}

func (r *rig) addTraversal(t table) error {
	// A rule that only counts: iptables-nft does not count what comes to the
	// end of a built-in chain.
	if _, err := r.Router.Run("iptables-"+r.backend, "-w", "-t", "raw", "-A", "PREROUTING"); err != nil {
		return err
	}
	if _, err := r.Router.Run("sh", r.recipe.load); err != nil {
		return err
	}
	builtin, own, err := r.rulesPerPacket()
	if err != nil {
		return err
	}
	recipe := builtin + own
	if err := r.removeRecipe(); err != nil {
		return err
	}
	if _, err := r.program.Run("apply"); err != nil {
		return err
	}
	if builtin, own, err = r.rulesPerPacket(); err != nil {
		return err
	}
	t.row(fmt.Sprint(r.Uplinks()), r.backend, fmt.Sprintf("%.2f", recipe), fmt.Sprintf("%.2f", own), fmt.Sprintf("+ %.2f", builtin),
		budget(own <= rulesPerPacket, "%d", rulesPerPacket))
	return nil
}

// rulesPerPacket lets one connection exchange packets and returns how many rules
// of mangle's built-in chains, and of the chains that they lead to, each packet
// was compared with.
func (r *rig) rulesPerPacket() (builtin, own float64, err error) {
	flow, err := r.Dial(netlab.Traffic{})
	if err != nil {
		return 0, 0, err
	}
	defer flow.Close()
	before, err := r.counters()
	if err != nil {
		return 0, 0, err
	}
	for range 200 {
		if err := flow.Check(5 * time.Second); err != nil {
			return 0, 0, err
		}
	}
	after, err := r.counters()
	if err != nil {
		return 0, 0, err
	}
	builtin, own = compared(before, after)
	return builtin, own, nil
}

// counters are one reading.
type counters struct {
	arrived uint64 // packets that came to mangle's PREROUTING
	mangle  map[string]*chain
}

func (r *rig) counters() (counters, error) {
	raw, err := r.chains("raw")
	if err != nil {
		return counters{}, err
	}
	mangle, err := r.chains("mangle")
	if err != nil {
		return counters{}, err
	}
	return counters{raw["PREROUTING"].rules[0].packets, mangle}, nil
}

func (r *rig) chains(table string) (map[string]*chain, error) {
	saved, err := r.Router.Run("iptables-"+r.backend+"-save", "-c", "-t", table)
	if err != nil {
		return nil, err
	}
	return parseChains(saved)
}

// chain is a chain of iptables with its counters.
type chain struct {
	builtin bool
	rules   []rule
}

type rule struct {
	packets uint64
	target  string
	// ends says that a packet that matches does not come to the next rule.
	ends bool
}

// parseChains reads the output of iptables-save -c.
func parseChains(saved string) (map[string]*chain, error) {
	chains := map[string]*chain{}
	for _, line := range strings.Split(saved, "\n") {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, ":"): // :PREROUTING ACCEPT [12:720]
			chains[words[0][1:]] = &chain{builtin: words[1] != "-"}
		case strings.HasPrefix(line, "["): // [12:720] -A PREROUTING -j lb_hook
			packets, err := counter(words[0])
			if err != nil {
				return nil, err
			}
			c := chains[words[2]]
			c.rules = append(c.rules, newRule(packets, words[3:]))
		}
	}
	return chains, nil
}

func newRule(packets uint64, words []string) rule {
	r := rule{packets: packets}
	for i, word := range words {
		if i+1 < len(words) && (word == "-j" || word == "-g") {
			r.target = words[i+1]
			r.ends = word == "-g" || r.target == "RETURN" || r.target == "ACCEPT" || r.target == "DROP"
		}
	}
	return r
}

func counter(text string) (uint64, error) {
	packets, _, _ := strings.Cut(strings.TrimPrefix(text, "["), ":")
	return strconv.ParseUint(packets, 10, 64)
}

// compared computes from two readings with how many rules each packet that
// arrived was compared. A packet is compared with all rules of a chain down to
// the one that ends its way there.
func compared(before, after counters) (builtin, own float64) {
	matched := func(name string, i int) uint64 {
		return after.mangle[name].rules[i].packets - before.mangle[name].rules[i].packets
	}
	arrived := after.arrived - before.arrived
	entered := map[string]uint64{"PREROUTING": arrived}
	for name, c := range after.mangle {
		for i, r := range c.rules {
			entered[r.target] += matched(name, i)
		}
	}
	for name, c := range after.mangle {
		here := entered[name]
		for i, r := range c.rules {
			if c.builtin {
				builtin += float64(here)
			} else {
				own += float64(here)
			}
			if r.ends {
				here -= matched(name, i)
			}
		}
	}
	return builtin / float64(arrived), own / float64(arrived)
}
