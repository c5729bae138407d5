package plan

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/fwmark"
)

// configured makes a configuration of members: "a", "b=0x5000000" with a pinned
// mark, "-c" disabled.
func configured(mask fwmark.Mask, members string) *config.Config {
	cfg := &config.Config{Globals: config.Globals{Enabled: true, MarkMask: uint32(mask)}}
	for _, word := range strings.Fields(members) {
		m := config.Member{Enabled: true, Weight: 1, Metric: 1}
		if name, disabled := strings.CutPrefix(word, "-"); disabled {
			m.Enabled, word = false, name
		}
		name, mark, pinned := strings.Cut(word, "=")
		m.Name = name
		if pinned {
			fmt.Sscanf(mark, "0x%x", &m.Mark)
		}
		cfg.Members = append(cfg.Members, m)
	}
	return cfg
}

// indices reads "a:1 b:2 | c:3", the freed ones after the bar.
func indices(text string) Indices {
	in := Indices{Members: map[string]int{}}
	freed := false
	for _, word := range strings.Fields(text) {
		if word == "|" {
			freed = true
			continue
		}
		name, number, _ := strings.Cut(word, ":")
		index := 0
		fmt.Sscan(number, &index)
		if freed {
			in.Freed = append(in.Freed, FreedIndex{name, index})
		} else {
			in.Members[name] = index
		}
	}
	return in
}

func TestAssign(t *testing.T) {
	const small fwmark.Mask = 0x7 // room for four
	tests := []struct {
		name    string
		mask    fwmark.Mask
		old     string
		members string
		want    string
	}{
		{"first time, in file order", fwmark.Fallback, "", "c a b", "c:1 a:2 b:3"},
		{"nothing changed", fwmark.Fallback, "c:1 a:2 b:3", "c a b", "c:1 a:2 b:3"},
		{"a section moved", fwmark.Fallback, "c:1 a:2 b:3", "a b c", "c:1 a:2 b:3"},
		{"inserted first", fwmark.Fallback, "a:1 b:2", "new a b", "a:1 b:2 new:3"},
		{"removed", fwmark.Fallback, "a:1 b:2 c:3", "a c", "a:1 c:3 | b:2"},
		{"disabled", fwmark.Fallback, "a:1 b:2 c:3", "a -b c", "a:1 c:3 | b:2"},
		{"removed and come back", fwmark.Fallback, "a:1 c:3 | b:2", "a b c", "a:1 b:2 c:3"},
		{"a freed index is not given to another", fwmark.Fallback, "a:1 c:3 | b:2", "a d c", "a:1 c:3 d:4 | b:2"},
		{"two removed at once are freed by name", fwmark.Fallback, "b:1 a:2 c:3", "c", "c:3 | a:2 b:1"},
		{"freed before comes before freed now", fwmark.Fallback, "a:1 b:2 | z:3", "a", "a:1 | z:3 b:2"},
		{"freed indices are given out last, the oldest first", small, "a:1 b:2 | y:4 x:3", "a b c", "a:1 b:2 c:4 | x:3"},
		{"and then the next", small, "a:1 b:2 | y:4 x:3", "a b c d", "a:1 b:2 c:4 d:3"},
		{"the mask is full", small, "", "a b c d", "a:1 b:2 c:3 d:4"},
		{"renamed", small, "a:1 b:2 c:3 d:4", "a b c e", "a:1 b:2 c:3 e:4"},
		{"pinned", fwmark.Fallback, "", "a b=0x5000000 c", "a:1 b:5 c:2"},
		{"pinned to the first index", fwmark.Fallback, "", "a b=0x1000000", "a:2 b:1"},
		{"a pin takes another's index", fwmark.Fallback, "a:1 b:2", "a b c=0x1000000", "a:3 b:2 c:1"},
		{"a pin moves a member", fwmark.Fallback, "a:1 b:2", "a=0x9000000 b", "a:9 b:2"},
		{"pins are exchanged", fwmark.Fallback, "a:1 b:2", "a=0x2000000 b=0x1000000", "a:2 b:1"},
		{"a pin takes a freed index", fwmark.Fallback, "a:1 | b:2", "a c=0x2000000", "a:1 c:2"},
		{"a pin is taken away", fwmark.Fallback, "a:1 b:5", "a b", "a:1 b:5"},
		{"pin under a mask with gaps", 0x0f0f0000, "", "a b=0x1000000", "a:1 b:16"},
		{"another mask keeps indices", 0xff0000, "a:1 b:2", "a b", "a:1 b:2"},
		{"a smaller mask keeps those that fit", small, "a:1 b:9", "a b", "a:1 b:2 | b:9"},
		{"a smaller mask, freed ones do not fit", small, "a:1 b:2 c:3 | x:9 y:4", "a b c d", "a:1 b:2 c:3 d:4 | x:9"},
		{"damaged: two with one index", fwmark.Fallback, "a:1 b:1", "a b", "a:1 b:2"},
		{"damaged: no member's index", fwmark.Fallback, "a:0 b:63 c:-1", "a b c", "a:1 b:2 c:3 | a:0 b:63 c:-1"},
		{"nobody left", fwmark.Fallback, "a:1", "", "| a:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old := indices(tt.old)
			before := indices(tt.old)
			got := old.Assign(configured(tt.mask, tt.members))
			if want := indices(tt.want); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if fmt.Sprint(old) != fmt.Sprint(before) {
				t.Errorf("the old indices were changed: %v, were %v", old, before)
			}
		})
	}
}

// TestAssignKeepsNames plays many edits of a file: no index is ever shared, and
// nobody who stays gets another one.
func TestAssignKeepsNames(t *testing.T) {
	random := splitMix(3)
	now := Indices{}
	for round := range 500 {
		var words []string
		for _, i := range random.permutation(80) {
			if random.below(2) == 0 && len(words) < 60 {
				words = append(words, fmt.Sprintf("m%d", i))
			}
		}
		before := maps.Clone(now.Members)
		next := now.Assign(configured(fwmark.Fallback, strings.Join(words, " ")))
		owner := map[int]string{}
		for name, index := range next.Members {
			if other, taken := owner[index]; taken || !fwmark.Fallback.IsMember(index) {
				t.Fatalf("round %d: %s has index %d, so has %q", round, name, index, other)
			}
			owner[index] = name
			if old, known := before[name]; known && old != index {
				t.Fatalf("round %d: %s had index %d, has %d", round, name, old, index)
			}
		}
		for _, f := range next.Freed {
			if other, taken := owner[f.Index]; taken {
				t.Fatalf("round %d: index %d of %s counts as freed, but %s has it", round, f.Index, f.Name, other)
			}
		}
		now = next
	}
}

func TestRecover(t *testing.T) {
	long := strings.Repeat("x", 32)
	type chain = MemberChainMark
	tests := []struct {
		name    string
		members string
		chains  []chain
		want    string
	}{
		{"members", "a b", []chain{{"lb_member_b", 0x1000000, 0x3f000000}, {"lb_member_a", 0x2000000, 0x3f000000}}, "a:2 b:1"},
		{"a disabled member's chain", "a -b", []chain{{"lb_member_b", 0x3000000, 0x3f000000}}, "b:3"},
		{"a name that was cut", long, []chain{{MemberChain(long), 0x7000000, 0x3f000000}}, long + ":7"},
		{"a member that is gone", "a", []chain{{"lb_member_old", 0x4000000, 0x3f000000}, {"lb_member_old", 0x4000000, 0x3f000000}}, "| old:4"},
		{"gone ones by index", "a", []chain{{"lb_member_y", 0x5000000, 0x3f000000}, {"lb_member_x", 0x3000000, 0x3f000000}}, "| x:3 y:5"},
		{"reserved ones are no members", "a", []chain{{"lb_member_default", 0x3f000000, 0x3f000000}, {"lb_member_blackhole", 0x3d000000, 0x3f000000}, {"lb_member_unreachable", 0x3e000000, 0x3f000000}}, ""},
		{"another mask", "a b", []chain{{"lb_member_a", 0x20000, 0xff0000}, {"lb_member_b", 0x100, 0x700}}, "a:2 b:1"},
		{"a reserved value of another mask", "a", []chain{{"lb_member_a", 0x500, 0x700}}, ""},
		{"no mark at all", "a", []chain{{"lb_member_a", 0, 0}, {"lb_member_a", 0, 0x3f000000}}, ""},
		{"other chains of ours", "a", []chain{{"lb_policy_a", 0x1000000, 0x3f000000}, {"lb_hook", 0x1000000, 0x3f000000}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{Config: configured(fwmark.Fallback, tt.members), Kernel: Kernel{MemberChains: tt.chains}}
			got := in.before().Indices
			if want := indices(tt.want); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
