package apply

import (
	"slices"
	"strconv"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
)

// With each 20 ms a voice call on a dead line loses a packet, and a search of
// the connections takes some 10 ms. So it is made before the verdict, if that
// can be foreseen, or else beside iptables-restore. What it misses is found by
// cleanConnections, which also reports what fails.

const (
	// longTable is from how many entries on the table is not searched ahead:
	// that would take some 10 µs each of a router's processor.
	longTable = 5000
	// maxAhead bounds the memory, some 300 bytes for each connection.
	maxAhead = 1000
)

// ReadAhead is Read for an apply that is near: it also searches for the
// connections of the members that were live in the last run and are in offline,
// by family. mask is that of the marks. Connections that are being opened are
// left out: whether their client waits can only be told when they are deleted.
func (e *Engine) ReadAhead(mask uint32, offline map[family.Family]map[string]string) (*Actual, error) {
	actual, err := e.Read()
	if err != nil || e.hasLongTable() {
		return actual, err
	}
	actual.dying = map[family.Family][]conntrack.Entry{}
	for f, members := range offline {
		var dying []int
		for name := range members {
			index, known := actual.State.Indices.Members[name]
			if known && slices.Contains(actual.State.Families[f.String()].Live, index) {
				dying = append(dying, index)
			}
		}
		if len(dying) > 0 {
			actual.dying[f] = e.search(f, func(entry conntrack.Entry) bool {
				return !entry.Opening && slices.Contains(dying, fwmark.Mask(mask).Value(entry.Mark))
			})
		}
	}
	return actual, nil
}

// searchAhead returns connections of a family that have to go, as far as they
// can be known before its new chains are in effect.
func (e *Engine) searchAhead(f family.Family, changes *Changes, actual *Actual) []conntrack.Entry {
	// Marks that the new chains go on giving out must be searched for only once:
	// who finds another such connection cannot tell whether it was dealt anew.
	if len(changes.reused)+len(changes.vacated[f]) > 0 {
		return nil
	}
	judge := changes.judgeOf(f)
	if judge == nil {
		return nil
	}
	goes := func(entry conntrack.Entry) bool { return judge(entry) != keep }
	if dying, searched := actual.dying[f]; searched {
		var found []conntrack.Entry
		for _, entry := range dying {
			if goes(entry) {
				found = append(found, entry)
			}
		}
		return found
	}
	if e.hasLongTable() {
		return nil
	}
	return e.search(f, goes)
}

// hasLongTable says whether a search ahead would take too long.
func (e *Engine) hasLongTable() bool {
	text, err := e.Sysctls.Read("net/netfilter/nf_conntrack_count")
	entries, _ := strconv.Atoi(text)
	return err != nil || entries > longTable
}

// search returns the first connections for which wanted holds. One that fails
// has found what it found.
func (e *Engine) search(f family.Family, wanted func(conntrack.Entry) bool) (found []conntrack.Entry) {
	_ = e.Connections.Each(f, conntrack.Filter{}, func(entry conntrack.Entry) bool {
		if wanted(entry) {
			found = append(found, entry)
		}
		return len(found) < maxAhead
	})
	return found
}
