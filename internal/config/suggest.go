package config

import "fmt"

// didYouMean returns " (did you mean 'NAME'?)" with the known name that is
// closest to a misspelt one, or nothing when none is close.
func didYouMean(name string, known []string) string {
	nearest, ok := nearestName(name, known)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", quote(nearest))
}

// nearestName returns the first of the known names with the smallest edit
// distance. Two edits are allowed, as one slip often costs two; in names of up
// to four letters only one, or "up" would be offered for "log".
func nearestName(name string, known []string) (string, bool) {
	limit := 2
	if len(name) <= 4 {
		limit = 1
	}
	nearest, found := "", false
	for _, candidate := range known {
		if candidate == name {
			continue
		}
		// The length tells early, and keeps huge values out of the table.
		if d := len(name) - len(candidate); d > limit || -d > limit {
			continue
		}
		distance := editDistance(name, candidate)
		if distance <= limit {
			nearest, found = candidate, true
			limit = distance - 1
		}
	}
	return nearest, found
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
