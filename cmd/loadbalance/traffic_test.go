package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
)

// markMask is the default of option mark_mask.
const markMask = 0x3f000000

// memberMark is the mark of the uplink with this index; defaultMark that of
// what is left to the main table.
func memberMark(i int) uint32 { return uint32(i) << 24 }

const defaultMark = 0x3f000000

// server is the address of a server of the laboratory with a port.
func server(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// saved is what iptables-save prints, with counters.
func (r *router) saved(f family.Family, table string) string {
	r.t.Helper()
	program := map[family.Family]string{family.IPv4: "iptables", family.IPv6: "ip6tables"}[f]
	return r.sh(program + "-" + r.backend + "-save -c -t " + table)
}

// turns is the number of connections that the policy for unmatched traffic has
// dealt out since it was written.
func (r *router) turns(f family.Family) int {
	r.t.Helper()
	table, err := iptables.Parse([]byte(r.saved(f, "mangle")))
	if err != nil {
		r.t.Fatal(err)
	}
	chain := table.Chains[plan.PolicyChain(plan.BalancedPolicy)]
	if chain == nil {
		r.t.Fatal("the policy has no chain")
	}
	return int(chain.Turns())
}

// expectTurnsUsed checks how many turns some traffic uses up.
func (r *router) expectTurnsUsed(f family.Family, want int, traffic func()) {
	r.t.Helper()
	before := r.turns(f)
	traffic()
	if got := r.turns(f) - before; got != want {
		r.t.Errorf("%d %v turns were used up, want %d", got, f, want)
	}
}

// seen is the packet counter of the only rule of a table that contains the
// text.
func (r *router) seen(table, text string) int {
	r.t.Helper()
	for _, line := range strings.Split(r.saved(family.IPv4, table), "\n") {
		if !strings.Contains(line, text) {
			continue
		}
		packets, _, _ := strings.Cut(strings.TrimPrefix(line, "["), ":")
		n, err := strconv.Atoi(packets)
		if err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	r.t.Fatalf("table %s has no rule with %q", table, text)
	return 0
}

// entries are the router's connections for which match holds.
func (r *router) entries(f family.Family, match func(conntrack.Entry) bool) []conntrack.Entry {
	r.t.Helper()
	var found []conntrack.Entry
	err := r.lab.Router.Do(func() error {
		k, err := kernel.Open()
		if err != nil {
			return err
		}
		defer k.Close()
		return conntrack.New(k).Each(f, func(e conntrack.Entry) bool {
			if match(e) {
				found = append(found, e)
			}
			return true
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// expectNoSpoofed checks that no packet left an uplink with an address that is
// not the uplink's.
func (r *router) expectNoSpoofed() {
	r.t.Helper()
	for i := 1; i <= r.lab.Uplinks(); i++ {
		n, err := r.lab.Spoofed(i)
		if err != nil {
			r.t.Fatal(err)
		}
		if n != 0 {
			r.t.Errorf("%d packets left uplink %d with an address that is not its own", n, i)
		}
	}
}

// rotation follows the order of turns from the moment when the policy was
// first written. Its uplinks are numbered from 1.
type rotation struct {
	order []int
	next  int
}

func newRotation(weights ...int) *rotation {
	order, _ := plan.Deal(weights)
	return &rotation{order: order}
}

// expect checks that the flows of a tally took exactly the next turns.
func (x *rotation) expect(t *testing.T, tally netlab.Tally) {
	t.Helper()
	expectAll(t, tally)
	for j, uplink := range tally.Sequence {
		if want := x.order[x.next%len(x.order)] + 1; uplink != want {
			t.Fatalf("flow %d took uplink %d, want %d by the order of turns", j, uplink, want)
		}
		x.next++
	}
}

// equalWeights are those of members without option weight.
func equalWeights(members int) []int {
	weights := make([]int, members)
	for i := range weights {
		weights[i] = 1
	}
	return weights
}

// expectAll checks that every flow worked.
func expectAll(t *testing.T, tally netlab.Tally) {
	t.Helper()
	if tally.Failed > 0 {
		t.Errorf("%d of %d flows failed: %v", tally.Failed, tally.Failed+tally.OK(), tally.Err)
	}
}

// expectOver checks that every flow worked, over one and the same uplink; 0
// means over none.
func expectOver(t *testing.T, tally netlab.Tally, uplink int) {
	t.Helper()
	expectAll(t, tally)
	if got := tally.ByUplink[uplink]; got != tally.OK() {
		t.Errorf("%d of %d flows took uplink %d (by uplink: %v)", got, tally.OK(), uplink, tally.ByUplink)
	}
}

// expectEqual checks that every flow worked and that all uplinks had the same
// share, ±1.
func expectEqual(t *testing.T, tally netlab.Tally) {
	t.Helper()
	uplinks := len(tally.Shares())
	want := []int{0}
	for range uplinks {
		want = append(want, len(tally.Sequence)/uplinks)
	}
	if len(tally.Sequence)%uplinks != 0 {
		t.Fatalf("%d flows cannot be equal over %d uplinks", len(tally.Sequence), uplinks)
	}
	expectShares(t, tally, want...)
}

// eventually polls until a condition holds. Twenty seconds is far more than
// any of them needs on an idle machine.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

// check fails the test on an error of the laboratory.
func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// fullMembers is a configuration that names everything that the main table
// may not tell: gateways and delegated prefixes.
func fullMembers(lab *netlab.Lab) string {
	var text strings.Builder
	for i := 1; i <= lab.Uplinks(); i++ {
		u := lab.Uplink(i)
		fmt.Fprintf(&text, "config member 'wan%d'\n\toption device '%s'\n", i, u.Device)
		if u.Gateway.IsValid() {
			fmt.Fprintf(&text, "\toption gateway '%v'\n", u.Gateway)
		}
		if u.Gateway6.IsValid() {
			fmt.Fprintf(&text, "\toption gateway6 '%v'\n", u.Gateway6)
		}
		if u.Delegated.IsValid() {
			fmt.Fprintf(&text, "\tlist prefix6 '%v'\n", u.Delegated)
		}
	}
	return text.String()
}
