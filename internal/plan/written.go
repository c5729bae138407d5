package plan

import (
	"fmt"
	"slices"
	"strings"
)

// longestWay bounds how many rules of a chain and its parts a new connection passes.
// With 120 on average, opening one took 10 to 25 % longer than with a rule for each
// member; with 9 to 14 it takes 0 to 7 % longer (part n of the benchmarks).
const longestWay = 32

// shortestRoom is what a draw has of that at least, however many rules come
// before it (a sticky rule has one for each member): less would take dozens of
// parts.
const shortestRoom = 24

// partSeparator stands between the name of a chain and the number of a part. No
// name in the configuration has a dot. partRoom is what the two need.
const (
	partSeparator = "."
	partRoom      = len(partSeparator + "99")
)

// ChainOf returns the name of the chain that a chain in the kernel belongs to:
// its own name, unless it is a part of another one.
func ChainOf(name string) string {
	chain, _, _ := strings.Cut(name, partSeparator)
	return chain
}

// Written returns what stands in the kernel for a chain whose cascade is turned
// forward by so many turns: chains of nothing but rules, the parts of a long draw
// last.
//
// A cascade of N slots is N rules: the first takes every Nth packet, the second every
// (N-1)th of the rest, the last what is left. A long one is a cascade of N parts,
// each of which has every Nth slot, so that packets meet the slots in the same order.
// All this is exact also when packets arrive in parallel.
func (c Chain) Written(turns uint64) []Chain {
	room := max(longestWay-len(c.Rules), shortestRoom)
	w := writer{{Name: c.Name}}
	rules := slices.Concat(c.Rules, w.turns(Rotate(c.Cascade, turns), room), w.chances(c.Lots, room))
	w[0].Rules = rules
	return w
}

// Len returns the number of rules that stand in the kernel for the chain.
func (c Chain) Len() int {
	n := 0
	for _, written := range c.Written(0) {
		n += len(written.Rules)
	}
	return n
}

// writer collects a chain and its parts.
type writer []Chain

// part adds a part and returns its name. fill returns its rules.
func (w *writer) part(fill func() []Rule) string {
	at := len(*w)
	name := fmt.Sprintf("%s%s%d", (*w)[0].Name, partSeparator, at)
	*w = append(*w, Chain{Name: name})
	rules := fill() // may add further parts
	(*w)[at].Rules = rules
	return name
}

// turns returns the rules that deal slots in turn.
func (w *writer) turns(slots []string, room int) []Rule {
	single, parts := divide(len(slots), room)
	var rules []Rule
	for i, target := range slots[:single] {
		rules = append(rules, nextTurn(target, len(slots)-i))
	}
	for i := range parts {
		var share []string
		for k := single + i; k < len(slots); k += parts {
			share = append(share, slots[k])
		}
		name := w.part(func() []Rule { return w.turns(share, room-single-parts) })
		rules = append(rules, nextTurn(name, parts-i))
	}
	return rules
}

// nextTurn sends one of so many packets to a chain.
func nextTurn(target string, of int) Rule {
	if of == 1 {
		return on(Goto(target))
	}
	return on(Goto(target), EveryNth(of))
}

// divide returns how a cascade is divided so that no packet passes more rules than
// there is room for: how many slots have a rule each, and in how many equal parts the
// others lie. It has the shortest longest way in two levels, or where that is too
// long (251 = 1 + 10·25), halves that are divided again.
func divide(slots, room int) (single, parts int) {
	shortest := slots
	for n := 2; n < slots; n++ {
		if way := slots%n + n + slots/n; way < shortest {
			shortest, parts = way, n
		}
	}
	switch {
	case slots <= room || parts == 0:
		return slots, 0
	case shortest > room:
		parts = 2
	}
	return slots % parts, parts
}

// chances returns the rules that deal lots: each takes its share of what the
// rules before it have left. More than there is room for lie in parts.
func (w *writer) chances(lots []Lot, room int) []Rule {
	if len(lots) > room {
		lots = w.groups(lots)
	}
	left := weightOf(lots)
	var rules []Rule
	for _, lot := range lots {
		if lot.Weight == left {
			rules = append(rules, on(Goto(lot.Target)))
			break
		}
		rules = append(rules, on(Goto(lot.Target), Chance(float64(lot.Weight)/float64(left))))
		left -= lot.Weight
	}
	return rules
}

// groups makes one lot of several, as many lots as each then has.
func (w *writer) groups(lots []Lot) []Lot {
	size := 1
	for size*size < len(lots) {
		size++
	}
	var groups []Lot
	for group := range slices.Chunk(lots, size) {
		name := w.part(func() []Rule { return w.chances(group, size) })
		groups = append(groups, Lot{name, weightOf(group)})
	}
	return groups
}

func weightOf(lots []Lot) int {
	sum := 0
	for _, lot := range lots {
		sum += lot.Weight
	}
	return sum
}
