package config

import (
	"cmp"
	"fmt"
)

// otherNames are names that other programs, mwan3 above all, have for our
// options and values. Edit distance would not find them, or find a wrong one.
var otherNames = map[string]string{
	"arping":          "arp",
	"flush_conntrack": "on_dead",
	"httping":         "http",
	"icmp":            "ping",
	"logging":         "log",
	"mmx_mask":        "mark_mask",
	"nslookup":        "dns",
	"policy":          "use_policy",
	"src_interface":   "src_iface",
	"use_member":      "use_policy",
}

// didYouMean returns " (did you mean 'NAME'?)" with the known name that means
// the same as a wrong one or is closest to it, or nothing when none is.
func didYouMean(name string, known []string) string {
	if nearest := nearestName(name, known); nearest != "" {
		return " (did you mean " + quote(nearest) + "?)"
	}
	return ""
}

// NoMember is the error for a name that no member has.
func (c *Config) NoMember(name string) error {
	var known []string
	for _, m := range c.Members {
		known = append(known, m.Name)
	}
	return fmt.Errorf("there is no member %s%s", quote(name), didYouMean(name, known))
}

// nearestName returns the first of the known names with the smallest edit
// distance from name, or from our name for the same thing. One slip often costs
// two edits; in up to four letters one is allowed, or "log" would suggest "up".
func nearestName(name string, known []string) (nearest string) {
	wanted := cmp.Or(otherNames[name], name)
	limit := 2
	if len(wanted) <= 4 {
		limit = 1
	}
	for _, candidate := range known {
		if candidate == name {
			continue
		}
		// The least that the distance can be; it keeps huge values out of the table.
		if d := len(wanted) - len(candidate); d > limit || -d > limit {
			continue
		}
		if distance := editDistance(wanted, candidate); distance <= limit {
			nearest, limit = candidate, distance-1
		}
	}
	return nearest
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment distance).
func editDistance(a, b string) int {
	var before []int // row i-2
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(replaced, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
