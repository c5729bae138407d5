package plan

import (
	"math/bits"
	"slices"
)

// maxSlots bounds a cascade: the rules that a router has to load, print and compare
// for each policy. 256 hold every small set of weights many times over.
const maxSlots = 256

// maxKinds is how many kinds of connections may arrive in turn, as a query before
// each page does, and each is still dealt in exact shares. The rhythm tests have up
// to 8. Up to 15 the sequence of few members hardly grows (three: 27 slots; with 9,
// every 9th connection would always take the same line), with a 16th it would double.
const maxKinds = 15

// startsSeed starts the generator that permutes the places at which blocks begin.
// Found by trial among the first 400: kinds that arrive in turn are off their shares
// by fewer than 7 turns over any stretch, and by 7 % over 400 connections of a kind,
// for 2 to 9 equal members and small weights (TestDealRhythms, TestDealStretches).
const startsSeed splitMix = 326

// Deal returns the order in which members get their turns, to be repeated for ever:
// positions in weights (each at least 1), each as often as its weight says.
//
// It consists of blocks that give every member its weight (divided by their greatest
// common divisor) once. Each block begins at another place of the same order, because
// a strict rotation aliases with the rhythm of the traffic: with two members and one
// DNS query before each connection, all queries would take one line and all
// connections the other.
//
// rounded is true where the weights do not fit into maxSlots; then the shares are the
// closest possible ones and every member keeps a slot.
func Deal(weights []int) (order []int, rounded bool) {
	if len(weights) < 2 {
		return make([]int, len(weights)), false
	}
	slots := reduced(weights)
	if rounded = sum(slots) > maxSlots; rounded {
		slots = reduced(scaledDown(weights))
	}
	block := evenBlock(slots)
	for _, start := range blockStarts(len(block)) {
		order = append(append(order, block[start:]...), block[:start]...)
	}
	return order, rounded
}

// blockStarts returns the place at which each block of a sequence begins, so that the
// slots of one kind of connections have every place equally often. If the kinds
// divide a block, blocks begin at as many places as there are kinds; if not, a kind
// has its slots in every other block only, or every third, and so in each such group.
func blockStarts(size int) []int {
	blocks := blockCount(size)
	places := gcd(blocks, size)
	groups := blocks / places
	random := startsSeed
	starts := make([]int, blocks)
	for group := range groups {
		for i, start := range random.permutation(places) {
			starts[group+i*groups] = start
		}
	}
	return starts
}

// blockCount returns the length in blocks of the shortest sequence that can
// deal exact shares to each kind of up to maxKinds; or of up to as many as fit
// into maxSlots (blocks of 6 slots: 8 kinds; of 10 or 12: 7; of 60: 2).
func blockCount(size int) int {
	for kinds := maxKinds; ; kinds-- {
		for blocks := 1; blocks*size <= maxSlots; blocks++ {
			if dealsEvenly(blocks, size, kinds) {
				return blocks
			}
		}
	}
}

// dealsEvenly reports whether every kind can get exact shares. If a number divides
// the sequence, each of so many kinds always gets the same slots; they have every
// place of the block equally often only if the number divides the blocks, too. In any
// other rhythm a kind meets all slots, or those of a smaller number of kinds.
func dealsEvenly(blocks, size, kinds int) bool {
	for n := 2; n <= kinds; n++ {
		if blocks*size%n == 0 && blocks%n != 0 {
			return false
		}
	}
	return true
}

// reduced divides numbers by their greatest common divisor.
func reduced(numbers []int) []int {
	divisor := 0
	for _, n := range numbers {
		divisor = gcd(divisor, n)
	}
	result := make([]int, len(numbers))
	for i, n := range numbers {
		result[i] = n / divisor
	}
	return result
}

// scaledDown shares maxSlots slots out. Whoever would get less than one slot
// keeps one; the others share the rest.
func scaledDown(weights []int) []int {
	rest, free := slices.Clone(weights), maxSlots
	// Each slot that is kept leaves less for the others, so look again until
	// nobody falls short.
	for short := true; short; {
		short = false
		total := sum(rest)
		for i, w := range rest {
			if w > 0 && w*free < total {
				rest[i], free, total, short = 0, free-1, total-w, true
			}
		}
	}
	slots := apportion(rest, free)
	for i := range slots {
		slots[i] = max(slots[i], 1)
	}
	return slots
}

// apportion shares slots out in proportion to weights, by largest remainders.
func apportion(weights []int, slots int) []int {
	total, left := sum(weights), slots
	shares, remainders := make([]int, len(weights)), make([]int, len(weights))
	for i, w := range weights {
		shares[i], remainders[i] = w*slots/total, w*slots%total
		left -= shares[i]
	}
	for ; left > 0; left-- {
		best := 0
		for i := range remainders {
			if remainders[i] > remainders[best] {
				best = i
			}
		}
		shares[best]++
		remainders[best] = -1
	}
	return shares
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}

// evenBlock spreads every member's turns over one block: each slot goes to the member
// that lacks most of its share. By all connections alone, as in nginx's smooth
// weighted round robin, weights that are almost equal would alternate for long, or
// take turns in threes. So the shares of each kind count, too, in all rhythms of up
// to maxKinds; and all connections twice as much as these together, since with less,
// 3:1:1 is dealt as 1 1 2 3 1.
func evenBlock(weights []int) []int {
	total := sum(weights)
	left := slices.Clone(weights)
	var block []int
	for range total {
		arrived, had := given(block, len(weights))
		best, most := -1, 0
		for i, w := range weights {
			if lacks := arrived*w - had[i]*total; left[i] > 0 && (best < 0 || lacks > most) {
				best, most = i, lacks
			}
		}
		left[best]--
		block = append(block, best)
	}
	return block
}

// given returns, added up over the kinds whose turn the next slot is, how many
// connections will have arrived with it, and how many slots each member has. Of N
// kinds, each has every Nth slot.
func given(block []int, members int) (arrived int, had []int) {
	had = make([]int, members)
	for kinds := 1; kinds <= maxKinds; kinds++ {
		weight := 1
		if kinds == 1 {
			weight = 2 * maxKinds
		}
		arrived += weight * (len(block)/kinds + 1)
		for slot := len(block) % kinds; slot < len(block); slot += kinds {
			had[block[slot]] += weight
		}
	}
	return arrived, had
}

// Rotate returns the cascade as it continues after so many turns.
func Rotate(cascade []string, turns uint64) []string {
	if len(cascade) == 0 {
		return nil
	}
	start := int(turns % uint64(len(cascade)))
	return slices.Concat(cascade[start:], cascade[:start])
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// splitMix is SplitMix64 (Steele, Lea, Flood 2014). The order of turns must be the
// same in every release, which the standard library does not promise.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// below returns a number from 0 to n-1.
func (s *splitMix) below(n int) int {
	high, _ := bits.Mul64(s.next(), uint64(n))
	return int(high)
}

// permutation returns the numbers 0 to n-1 in random order.
func (s *splitMix) permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := s.below(i + 1)
		p[i] = p[j]
		p[j] = i
	}
	return p
}
