package apply

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/dealt"
	"loadbalance/internal/family"
	"loadbalance/internal/rundir"
)

// count adds to the counter of a chain's first rule that leads to another.
func (k *fakeKernel) count(chain, target string, packets int) {
	rules := k.mangle.tables[family.IPv4].chains[chain]
	for i := range rules {
		if strings.HasSuffix(rules[i].text, "-g "+target) {
			rules[i].packets += packets
			return
		}
	}
	k.t.Errorf("%s has no rule that leads to %s: %v", chain, target, rules)
}

// expectDealt compares what a policy has dealt to wan1 and wan2.
func (s *service) expectDealt(what, policy string, count1, count2 uint64, expected1, expected2 float64) {
	s.t.Helper()
	k, state := s.read()
	if state == nil {
		state = &rundir.State{}
	}
	dealt := dealt.By(policy, state.Families[family.IPv4], k.Tables[family.IPv4])
	one, two := "lb_member_wan1", "lb_member_wan2"
	if dealt.Count[one] != count1 || dealt.Count[two] != count2 || dealt.Total() != count1+count2 ||
		math.Abs(dealt.Expected[one]-expected1) > 0.01 || math.Abs(dealt.Expected[two]-expected2) > 0.01 {
		s.t.Errorf("%s: %+v, want %d and %d, expected %g and %g", what, dealt, count1, count2, expected1, expected2)
	}
}

// deal adds to what policy 'balanced' has dealt.
func (s *service) deal(count1, count2 int) {
	s.kernel.count("lb_policy_balanced", "lb_member_wan1", count1)
	s.kernel.count("lb_policy_balanced", "lb_member_wan2", count2)
}

// TestDealtAcrossApplies: what was dealt is known, with what was to be expected,
// however often the chains are written.
func TestDealtAcrossApplies(t *testing.T) {
	const equal = "config member 'wan1'\nconfig member 'wan2'\n"
	weighted := strings.Replace(equal, "'wan1'", "'wan1'\n\toption weight '3'", 1)
	for _, legacy := range []bool{false, true} {
		t.Run(fmt.Sprintf("legacy %v", legacy), func(t *testing.T) {
			s := newService(t)
			s.kernel.mangle.legacy, s.kernel.other.legacy = legacy, !legacy
			s.must(equal)
			s.expectDealt("new", "balanced", 0, 0, 0, 0)
			s.deal(5, 5)
			s.expectDealt("10 dealt", "balanced", 5, 5, 5, 5)
			s.must(equal)
			s.expectDealt("nothing to change", "balanced", 5, 5, 5, 5)
			s.must(weighted)
			s.expectDealt("other weights", "balanced", 5, 5, 5, 5)
			s.deal(30, 10)
			s.expectDealt("40 more", "balanced", 35, 15, 35, 15)
			s.must(equal)
			s.expectDealt("the first weights again", "balanced", 35, 15, 35, 15)
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			s.must(equal)
			s.expectDealt("after a stop", "balanced", 0, 0, 0, 0)
		})
	}
}

// TestDealtAfterFailure: nothing is counted twice when the chains could not be
// written.
func TestDealtAfterFailure(t *testing.T) {
	const equal = "config member 'wan1'\nconfig member 'wan2'\n"
	weighted := strings.Replace(equal, "'wan1'", "'wan1'\n\toption weight '3'", 1)
	s := newService(t)
	s.must(equal)
	s.deal(5, 5)
	restore := &failingRestore{Mangle: s.Mangle}
	s.Mangle = restore
	if err := s.apply(weighted); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	s.expectDealt("the old chains stay", "balanced", 5, 5, 5, 5)
	s.Mangle = restore.Mangle
	s.must(weighted)
	s.expectDealt("the next run", "balanced", 5, 5, 5, 5)
}

// failingRestore refuses every transaction.
type failingRestore struct{ Mangle }

func (failingRestore) Write(family.Family, iptables.Change) error { return errInjected }

// TestDealtByStickyRules: they count into the policy that they use, also after
// their chains went.
func TestDealtByStickyRules(t *testing.T) {
	const plain = "config member 'wan1'\nconfig member 'wan2'\n"
	const sticky = plain + "config rule 'bank'\n\toption sticky '1'\n\toption dest_ip '192.0.2.1'\n"
	s := newService(t)
	s.must(sticky)
	s.deal(5, 5)
	s.kernel.count("lb_sticky_bank_1", "lb_member_wan1", 6)
	s.expectDealt("drawn and kept", "balanced", 11, 5, 8, 8)
	s.must(plain)
	s.expectDealt("the rule is gone", "balanced", 11, 5, 8, 8)
	s.deal(1, 1)
	s.expectDealt("and the policy goes on", "balanced", 12, 6, 9, 9)
}

// TestDealtWithoutMemory counts what the kernel has, if no more is known, and
// nothing twice after somebody has reset the counters.
func TestDealtWithoutMemory(t *testing.T) {
	const config = "config member 'wan1'\nconfig member 'wan2'\n"
	s := newService(t)
	s.must(config)
	s.deal(5, 5)
	s.must(config)
	s.deal(-2, -2)
	s.expectDealt("fewer than before", "balanced", 3, 3, 5, 5)
	k, _ := s.read()
	if dealt := dealt.By("balanced", rundir.Family{}, k.Tables[family.IPv4]); dealt.Total() != 6 || len(dealt.Expected) > 0 {
		t.Errorf("without what was remembered: %+v", dealt)
	}
}

// TestDealtInParts: weights of 5:1 make a cascade of 12 parts. What they have
// dealt counts once, is not lost when it becomes short again, and each cascade
// begins where the last one stood.
func TestDealtInParts(t *testing.T) {
	const equal = "config member 'wan1'\nconfig member 'wan2'\n"
	weighted := strings.Replace(equal, "'wan1'", "'wan1'\n\toption weight '5'", 1)
	s := newService(t)
	start := func() uint64 {
		state, _, err := s.Run.State()
		if err != nil {
			t.Fatal(err)
		}
		return state.Families[family.IPv4].Starts["lb_policy_balanced"]
	}
	s.must(equal)
	s.deal(2, 1)
	s.must(weighted)
	s.expectDealt("in parts", "balanced", 2, 1, 1.5, 1.5)
	if start() != 3 {
		t.Errorf("the cascade in parts begins at %d, want 3", start())
	}
	for _, part := range []string{"lb_policy_balanced.1", "lb_policy_balanced.12"} {
		s.kernel.count("lb_policy_balanced", part, 6)
		s.kernel.count(part, "lb_member_wan1", 5)
		s.kernel.count(part, "lb_member_wan2", 1)
	}
	s.expectDealt("12 more", "balanced", 12, 3, 11.5, 3.5)
	s.must(weighted)
	s.expectDealt("nothing to change", "balanced", 12, 3, 11.5, 3.5)
	s.must(equal)
	s.expectDealt("short again", "balanced", 12, 3, 11.5, 3.5)
	if start() != 15 {
		t.Errorf("the short cascade begins at %d, want 15", start())
	}
	for name := range s.kernel.mangle.tables[family.IPv4].chains {
		if strings.HasPrefix(name, "lb_policy_balanced.") {
			t.Errorf("%s is still there", name)
		}
	}
}
