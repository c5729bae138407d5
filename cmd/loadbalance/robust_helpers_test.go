package main

import (
	"fmt"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// connmarks counts the connections to the servers by their mark.
func connmarks(r *router) map[uint32]int {
	r.t.Helper()
	marks := map[uint32]int{}
	toServers := func(e conntrack.Entry) bool { return netlab.ServerPrefix.Contains(e.Original.Destination) }
	for _, entry := range r.entries(family.IPv4, toServers) {
		marks[entry.Mark]++
	}
	return marks
}

func hexKeys(marks map[uint32]int) map[string]int {
	readable := map[string]int{}
	for mark, n := range marks {
		readable[fmt.Sprintf("%#x", mark)] = n
	}
	return readable
}
