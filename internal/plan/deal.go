package plan

import "math/bits"

// maxSlots bounds a cascade: the rules that a new connection may have to walk
// and the text that a restore has to load. 256 slots hold every small set of
// weights many times over (DESIGN: order of turns).
const maxSlots = 256

// dealSeeds start the generator that shuffles the blocks, by the number of
// members; more members than the table knows use its first entry. They are
// part of the order of turns and were found by trial: with them, connections
// that arrive in a rhythm of 2 to 8 kinds are dealt to 2 to 5 equal members
// with every kind within 10 % of its exact share over 400 of that kind, from
// any point of the rotation (TestDealRhythms).
var dealSeeds = [...]splitMix{606, 606, 1795, 4958, 1644, 2571}

// Deal returns the order in which members get their turns: a sequence of
// positions in weights (each at least 1) in which every member occurs in
// proportion to its weight. It is to be repeated for ever.
//
// The sequence consists of blocks, each of which gives every member its
// weight once (weights divided by their greatest common divisor). Each block
// has another order, because a strict rotation aliases with the rhythm of the
// traffic: with two members and one DNS query before each connection, all
// queries would take one line and all connections the other. The number of
// blocks is prime, so that no short rhythm divides it.
//
// rounded is true where the weights do not fit into 256 slots; then the
// shares are the closest possible ones and every member keeps a slot.
func Deal(weights []int) (order []int, rounded bool) {
	if len(weights) < 2 {
		return make([]int, len(weights)), false
	}
	weights, rounded = slotCounts(weights)
	smooth := smoothOrder(weights)
	size := len(smooth)
	random := dealSeed(len(weights))
	var base, rotations []int
	for block := range largestPrime(maxSlots / size) {
		turn := block % size
		if turn == 0 {
			base, rotations = smooth, random.permutation(size)
			if size == len(weights) {
				base = random.permutation(size)
			}
		}
		order = append(order, shuffledBlock(base, rotations[turn], len(weights), &random)...)
	}
	return order, rounded
}

func dealSeed(members int) splitMix {
	if members < len(dealSeeds) {
		return dealSeeds[members]
	}
	return dealSeeds[0]
}

// shuffledBlock returns one block. As many consecutive blocks as a block has
// slots use the same base, each with another rotation, so that over them every
// member stands equally often in every place. A base of equal weights is
// already a permutation; a smooth order of unequal ones is also shuffled in
// small windows, which keeps it smooth but hides its own period.
func shuffledBlock(base []int, rotation, members int, random *splitMix) []int {
	block := append(append([]int(nil), base[rotation:]...), base[:rotation]...)
	if len(block) == members {
		return block
	}
	for start := 0; start < len(block); start += members {
		window := block[start:min(start+members, len(block))]
		old := append([]int(nil), window...)
		for i, j := range random.permutation(len(window)) {
			window[i] = old[j]
		}
	}
	return block
}

// slotCounts reduces weights by their greatest common divisor and, where they
// still need more than maxSlots slots, scales them down.
func slotCounts(weights []int) (slots []int, rounded bool) {
	divisor, sum := 0, 0
	for _, w := range weights {
		divisor = gcd(divisor, w)
		sum += w
	}
	if sum/divisor > maxSlots {
		return scaledDown(weights), true
	}
	slots = make([]int, len(weights))
	for i, w := range weights {
		slots[i] = w / divisor
	}
	return slots, false
}

// scaledDown shares maxSlots slots out by the method of largest remainders.
// Whoever would get less than one slot keeps one; the others share the rest.
func scaledDown(weights []int) []int {
	slots := make([]int, len(weights))
	free, sum := maxSlots, 0
	for _, w := range weights {
		sum += w
	}
	// Each slot that is kept leaves less for the others, so look again until
	// nobody falls short.
	for short := true; short; {
		short = false
		for i, w := range weights {
			if slots[i] == 0 && w*free < sum {
				slots[i], free, sum, short = 1, free-1, sum-w, true
			}
		}
	}
	left := free
	remainders := make([]int, len(weights))
	for i, w := range weights {
		if slots[i] > 0 {
			remainders[i] = -1
			continue
		}
		slots[i], remainders[i] = w*free/sum, w*free%sum
		left -= slots[i]
	}
	giveRest(slots, remainders, left)
	return slots
}

// giveRest gives what is left to those with the largest remainders, one each.
func giveRest(slots, remainders []int, left int) {
	for ; left > 0; left-- {
		best := 0
		for i := range remainders {
			if remainders[i] > remainders[best] {
				best = i
			}
		}
		slots[best]++
		remainders[best] = -1
	}
}

// smoothOrder spreads every member's turns evenly over one block, as nginx's
// smooth weighted round robin does.
func smoothOrder(weights []int) []int {
	total := 0
	for _, w := range weights {
		total += w
	}
	credit := make([]int, len(weights))
	order := make([]int, 0, total)
	for range total {
		best := 0
		for i, w := range weights {
			credit[i] += w
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		order = append(order, best)
	}
	return order
}

// Rotate returns the cascade as it continues after so many turns.
func Rotate(cascade []string, turns uint64) []string {
	if len(cascade) == 0 {
		return nil
	}
	start := int(turns % uint64(len(cascade)))
	return append(append([]string(nil), cascade[start:]...), cascade[:start]...)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// largestPrime returns the largest prime up to n, or 1.
func largestPrime(n int) int {
	for ; n > 1; n-- {
		if isPrime(n) {
			return n
		}
	}
	return 1
}

func isPrime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

// splitMix is the generator SplitMix64 (Steele, Lea, Flood 2014). The order
// of turns must be the same in every release, which the standard library's
// generators do not promise.
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
