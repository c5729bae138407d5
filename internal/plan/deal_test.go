package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fewWeights are equal and small weights, each with the number of kinds of
// connections that may arrive in turn, each kind dealt in exact shares.
var fewWeights = []struct {
	weights []int
	kinds   int
}{
	{[]int{1, 1}, 15},
	{[]int{1, 1, 1}, 15},
	{[]int{1, 1, 1, 1}, 15},
	{[]int{1, 1, 1, 1, 1}, 15},
	{[]int{1, 1, 1, 1, 1, 1}, 8},
	{[]int{1, 1, 1, 1, 1, 1, 1}, 15},
	{[]int{1, 1, 1, 1, 1, 1, 1, 1}, 15},
	{[]int{1, 1, 1, 1, 1, 1, 1, 1, 1}, 15},
	{[]int{2, 1}, 15},
	{[]int{3, 1}, 15},
	{[]int{4, 1}, 15},
	{[]int{5, 1}, 8},
	{[]int{3, 1, 1}, 15},
	{[]int{4, 2, 1}, 15},
}

// TestDealRhythms lets connections of several kinds arrive in turn, as a DNS
// query before each connection does, and counts where each kind goes. A strict
// rotation would send every kind to one member.
func TestDealRhythms(t *testing.T) {
	const perKind = 400
	for _, tt := range fewWeights {
		order, _ := Deal(tt.weights)
		for kinds := 2; kinds <= tt.kinds; kinds++ {
			for start := range order {
				counts := make([]int, len(tt.weights))
				for i := range perKind {
					counts[order[(start+i*kinds)%len(order)]]++
				}
				for i, n := range counts {
					exact := float64(perKind*tt.weights[i]) / float64(sum(tt.weights))
					if off := float64(n) - exact; off > exact/10 || off < -exact/10 {
						t.Fatalf("%v, one of %d kinds, start %d: member %d gets %d of %d, not %.0f ±10 %%",
							tt.weights, kinds, start, i, n, perKind, exact)
					}
				}
			}
		}
	}
}

// TestDealStretches: however few connections of a kind are looked at, and from
// whichever on, each member got its share of them within 7.
func TestDealStretches(t *testing.T) {
	for _, tt := range fewWeights {
		order, _ := Deal(tt.weights)
		for kinds := 1; kinds <= tt.kinds; kinds++ {
			if off := worstStretch(order, tt.weights, kinds); off >= 7 {
				t.Errorf("%v, %d kinds: off by %.1f", tt.weights, kinds, off)
			}
		}
	}
}

// TestDealAlmostEqual: weights that almost alternate, or almost take turns in
// threes, let no kind of connections stay with one member for long.
func TestDealAlmostEqual(t *testing.T) {
	for _, weights := range [][]int{{9, 8}, {20, 19}, {50, 49}, {100, 99}, {128, 127}, {1000, 999}, {20, 20, 19}, {86, 85, 85}} {
		order, _ := Deal(weights)
		for kinds := 2; kinds <= 4; kinds++ {
			if off := worstStretch(order, count(order, len(weights)), kinds); off > 12 {
				t.Errorf("%v, %d kinds: off by %.1f", weights, kinds, off)
			}
		}
	}
}

// worstStretch returns by how many connections of one of several kinds that
// arrive in turn a member is off its share, over the worst stretch of them.
func worstStretch(order, weights []int, kinds int) float64 {
	total, worst := sum(weights), 0
	for start := range order {
		// What each member has more than its share, times total.
		more := make([]int, len(weights))
		for i := range len(order) {
			more[order[(start+i*kinds)%len(order)]] += total
			for m, w := range weights {
				more[m] -= w
				worst = max(worst, more[m], -more[m])
			}
		}
	}
	return float64(worst) / float64(total)
}

// TestDealIsExact: the slots that one of several kinds of connections gets
// have every member equally often, for as many kinds as the sequence is made for.
func TestDealIsExact(t *testing.T) {
	made := map[int]int{2: 15, 3: 15, 4: 15, 5: 15, 6: 8, 7: 15, 8: 15, 9: 15, 10: 7, 12: 7, 14: 6, 15: 8, 16: 15, 20: 4, 22: 10, 30: 3, 32: 15, 60: 2, 64: 7, 128: 3}
	for members := 2; members <= maxSlots; members++ {
		order, _ := Deal(slices.Repeat([]int{1}, members))
		kinds := 1
		for kinds < maxKinds && dealsEvenly(len(order)/members, members, kinds+1) {
			kinds++
			if !exactFor(order, members, kinds) {
				t.Errorf("%d members: not exact for %d kinds", members, kinds)
			}
		}
		if want, listed := made[members]; listed && kinds != want {
			t.Errorf("%d members: exact for up to %d kinds, want %d", members, kinds, want)
		}
		for blocks := 1; blocks < len(order)/members; blocks++ {
			if dealsEvenly(blocks, members, kinds) {
				t.Errorf("%d members: %d blocks would do for %d kinds, there are %d", members, blocks, kinds, len(order)/members)
			}
		}
	}
}

// exactFor reports whether each of so many kinds that arrive in turn is dealt
// to all members alike.
func exactFor(order []int, members, kinds int) bool {
	for kind := range kinds {
		var dealt []int
		for i := range len(order) {
			dealt = append(dealt, order[(kind+i*kinds)%len(order)])
		}
		counts := count(dealt, members)
		if slices.Min(counts) != slices.Max(counts) {
			return false
		}
	}
	return true
}

// TestDealPrefixes: with equal weights every stretch of the sequence, from any
// start, has every member as often as the others, but for one turn more or
// less at either end.
func TestDealPrefixes(t *testing.T) {
	for members := 1; members <= 199; members++ {
		order, rounded := Deal(slices.Repeat([]int{7}, members))
		if rounded {
			t.Errorf("%d equal members: rounded", members)
		}
		counts := make([]int, members)
		for n, m := range order {
			counts[m]++
			exact := float64(n+1) / float64(members)
			for i, c := range counts {
				if off := float64(c) - exact; off > 1 || off < -1 {
					t.Fatalf("%d members: after %d turns member %d had %d", members, n+1, i, c)
				}
			}
		}
		if slices.Min(counts) != slices.Max(counts) {
			t.Errorf("%d members: the whole sequence deals %v", members, counts)
		}
	}
}

func TestDealExactShares(t *testing.T) {
	tests := []struct {
		weights []int
		block   []int // weights without their common divisor
	}{
		{[]int{1}, []int{1}},
		{[]int{1000}, []int{1}},
		{[]int{1, 1}, []int{1, 1}},
		{[]int{3, 1, 1}, []int{3, 1, 1}},
		{[]int{20, 100, 50}, []int{2, 10, 5}},
		{[]int{1000, 500, 250, 125}, []int{8, 4, 2, 1}},
		{[]int{255, 1}, []int{255, 1}},
		{[]int{128, 127}, []int{128, 127}},
	}
	for _, tt := range tests {
		order, rounded := Deal(tt.weights)
		if rounded || len(order) > maxSlots {
			t.Errorf("%v: %d slots, rounded %v", tt.weights, len(order), rounded)
		}
		size := sum(tt.block)
		if len(tt.weights) == 1 {
			size = 1
		}
		for start := 0; start < len(order); start += size {
			if got := count(order[start:start+size], len(tt.weights)); !slices.Equal(got, tt.block) {
				t.Errorf("%v: the block at %d deals %v, want %v", tt.weights, start, got, tt.block)
			}
		}
	}
}

// TestDealSpreads: a heavy member's turns are not dealt in one go.
func TestDealSpreads(t *testing.T) {
	for _, weights := range [][]int{{3, 1, 1}, {5, 1}, {10, 5, 2}, {9, 3, 3, 1}} {
		order, _ := Deal(weights)
		total := float64(sum(weights))
		had := make([]int, len(weights))
		for n, m := range order {
			had[m]++
			for i, w := range weights {
				exact := float64(n+1) * float64(w) / total
				// Shuffling in windows as long as there are members costs up
				// to so many turns.
				if off := float64(had[i]) - exact; off > float64(len(weights)) || off < -float64(len(weights)) {
					t.Fatalf("%v: after %d turns member %d had %d, exact %.1f", weights, n+1, i, had[i], exact)
				}
			}
		}
	}
}

func TestDealRounds(t *testing.T) {
	ones := slices.Repeat([]int{1}, 59)
	tests := []struct {
		name    string
		weights []int
		want    []int
	}{
		// 256·1000/1001 = 255.7, 256/1001 = 0.3: the small one keeps a slot.
		{"tiny member", []int{1000, 1}, []int{255, 1}},
		// 0.8 becomes 1, and no more: the others share the remaining 255.
		{"small member", []int{3, 1000}, []int{1, 255}},
		// 85.4, 85.2, 85.3: the slot that is left goes to the largest remainder.
		{"largest remainder", []int{1000, 998, 999}, []int{86, 85, 85}},
		// 59 slots are taken by members of a thousandth; 197 are left.
		{"one among many", append([]int{1000}, ones...), append([]int{197}, ones...)},
		// 2.9 slots each for the small ones, after the tiny one took its own:
		// 255·990/1012 = 249.5, 255·11/1012 = 2.8.
		{"cascade of shortages", []int{990, 11, 11, 1}, []int{249, 3, 3, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			order, rounded := Deal(tt.weights)
			if !rounded || len(order) != maxSlots {
				t.Errorf("rounded %v, %d slots", rounded, len(order))
			}
			if got := count(order, len(tt.weights)); !slices.Equal(got, tt.want) {
				t.Errorf("slots %v, want %v", got, tt.want)
			}
		})
	}
}

// TestDealBounds: whatever the weights, there are at most 256 slots and
// everybody has one.
func TestDealBounds(t *testing.T) {
	random := splitMix(1)
	for range 2000 {
		weights := make([]int, 1+random.below(199))
		for i := range weights {
			weights[i] = 1 + random.below(1+random.below(1000))
		}
		order, _ := Deal(weights)
		if len(order) == 0 || len(order) > maxSlots {
			t.Fatalf("%v: %d slots", weights, len(order))
		}
		if got := count(order, len(weights)); slices.Min(got) < 1 {
			t.Fatalf("%v: somebody has no slot: %v", weights, got)
		}
	}
}

// TestDealStaysTheSame: the order of turns is part of what a release promises.
// Another order would rewrite every cascade after an upgrade, in the middle of
// its rotation.
func TestDealStaysTheSame(t *testing.T) {
	random := splitMix(2)
	hash := sha256.New()
	for members := 1; members <= 60; members++ {
		weights := make([]int, members)
		fmt.Fprintln(hash, must(Deal(slices.Repeat([]int{1}, members))))
		for i := range weights {
			weights[i] = 1 + random.below(20)
		}
		fmt.Fprintln(hash, must(Deal(weights)))
	}
	const want = "a74191a391cd452a"
	if got := hex.EncodeToString(hash.Sum(nil)[:8]); got != want {
		t.Errorf("the order of turns has changed: %s, was %s", got, want)
	}
}

func TestSplitMixIsTheReference(t *testing.T) {
	// From the reference implementation (Vigna, splitmix64.c) with seed
	// 1234567.
	random := splitMix(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := random.next(); got != want {
			t.Errorf("number %d: %d, want %d", i, got, want)
		}
	}
}

func TestRotate(t *testing.T) {
	slots := strings.Fields("a b c d e")
	tests := []struct {
		turns uint64
		want  string
	}{{0, "a b c d e"}, {1, "b c d e a"}, {4, "e a b c d"}, {5, "a b c d e"}, {1<<64 - 1, "a b c d e"}}
	for _, tt := range tests {
		if got := strings.Join(Rotate(slots, tt.turns), " "); got != tt.want {
			t.Errorf("%d turns: %s, want %s", tt.turns, got, tt.want)
		}
	}
	if got := Rotate(nil, 3); len(got) != 0 {
		t.Errorf("empty cascade: %v", got)
	}
	if strings.Join(slots, " ") != "a b c d e" {
		t.Errorf("the cascade itself was turned: %v", slots)
	}
}

func must(order []int, _ bool) []int { return order }

func count(order []int, members int) []int {
	counts := make([]int, members)
	for _, m := range order {
		counts[m]++
	}
	return counts
}
