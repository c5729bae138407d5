package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/reset"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
)

// Cleaned counts what an apply did to the connections of one family.
type Cleaned struct {
	Deleted int
	reset.Result
}

// writeChains writes the chains of a family. While the program runs, the
// connections are searched for those whose uplink has died, so that these are
// freed as soon as it is done: a search takes some 10 ms, and with each 20 ms a
// voice call loses a packet. Those that the old chains deal out meanwhile are
// found by cleanConnections, which also reports what fails.
func (e *Engine) writeChains(f family.Family, changes *Changes) error {
	change := changes.Families[f].Mangle
	if change.Empty() {
		return nil
	}
	wait := e.Mangle.BeginWrite(f, change)
	e.tellClients(changes) // of the family before
	judge := e.judgeAhead(f, changes)
	ahead := e.search(f, judge)
	if err := wait(); err != nil {
		return err
	}
	gone, _ := e.Connections.Remove(f, ahead)
	for _, entry := range gone {
		changes.noteClient(f, entry, judge(entry))
	}
	changes.noteCleaned(f, Cleaned{Deleted: len(gone)})
	return nil
}

const (
	// longTable is from how many entries on the table is not searched ahead:
	// that would take some 10 µs each of a router's processor, which
	// iptables-restore needs.
	longTable = 5000
	// maxAhead bounds the memory, some 300 bytes for each connection.
	maxAhead = 1000
)

// judgeAhead is judgeOf for the search ahead; nil where there is none. Marks
// that the new chains go on giving out must be searched for only once: who
// finds another such connection cannot tell whether it was dealt anew.
func (e *Engine) judgeAhead(f family.Family, changes *Changes) func(conntrack.Entry) fate {
	if len(changes.reused)+len(changes.vacated[f]) > 0 {
		return nil
	}
	judge := changes.judgeOf(f)
	if judge == nil {
		return nil
	}
	text, err := e.Sysctls.Read("net/netfilter/nf_conntrack_count")
	if entries, _ := strconv.Atoi(text); err != nil || entries > longTable {
		return nil
	}
	return judge
}

// search returns connections that have to go.
func (e *Engine) search(f family.Family, judge func(conntrack.Entry) fate) (found []conntrack.Entry) {
	if judge == nil {
		return nil
	}
	_ = e.Connections.Each(f, conntrack.Filter{}, func(entry conntrack.Entry) bool {
		if judge(entry) != keep {
			found = append(found, entry)
		}
		return len(found) < maxAhead
	})
	return found
}

// noteClient notes that a client is to be told of its connection's end.
func (c *Changes) noteClient(f family.Family, entry conntrack.Entry, its fate) {
	if its == forgetAndReset && hasWaitingClient(entry) {
		c.untold[f] = append(c.untold[f], flowOf(entry))
	}
}

// cleanConnections deletes the entries of connections whose mark leads
// nowhere any more, so that their next packet is dealt anew, and then makes
// the LAN's TCP clients send one. It runs after the chains were written:
// deleted before, an entry would come back with the old mark.
func (e *Engine) cleanConnections(changes *Changes) error {
	var failed []error
	for _, f := range family.All {
		if err := e.cleanFamily(f, changes); err != nil {
			failed = append(failed, fmt.Errorf("connections (%s): %w", f, err))
		}
	}
	e.tellClients(changes)
	return errors.Join(failed...)
}

func (e *Engine) cleanFamily(f family.Family, changes *Changes) error {
	mask := fwmark.Mask(changes.mask)
	if freed := changes.freed[f]; len(freed) > 0 {
		filter := conntrack.Filter{Mark: mask.Mark(mask.Default()), Mask: uint32(mask)}
		deleted, err := e.Connections.Delete(f, filter, func(entry conntrack.Entry) bool {
			return contains(freed, entry.Original.Destination) &&
				!contains(localEntries(changes.Plan, f), entry.Original.Destination)
		})
		changes.noteCleaned(f, Cleaned{Deleted: deleted})
		if err != nil {
			return err
		}
	}
	judge := changes.judgeOf(f)
	if judge == nil {
		return nil
	}
	deleted, err := e.Connections.Delete(f, conntrack.Filter{}, func(entry conntrack.Entry) bool {
		its := judge(entry)
		changes.noteClient(f, entry, its)
		return its != keep
	})
	changes.noteCleaned(f, Cleaned{Deleted: deleted})
	return err
}

// tellClients makes the clients of deleted connections notice.
func (e *Engine) tellClients(changes *Changes) {
	for _, f := range family.All {
		flows := changes.untold[f]
		if len(flows) == 0 {
			continue
		}
		changes.untold[f] = nil
		changes.told[f] = append(changes.told[f], flows...)
		result, err := e.Resets.Send(flows, changes.devices(f))
		if err != nil {
			// The connections are dealt anew in any case, only later.
			e.Notice(fmt.Sprintf("connections (%s): %v", f, err))
		}
		changes.noteCleaned(f, Cleaned{Result: result})
	}
}

func (c *Changes) noteCleaned(f family.Family, more Cleaned) {
	sum := c.Cleaned[f]
	sum.Deleted += more.Deleted
	sum.Reset += more.Reset
	sum.Own += more.Own
	sum.Unreached += more.Unreached
	c.Cleaned[f] = sum
}

// Told says whether Apply told clients of their connection's end.
func (c *Changes) Told() bool { return len(c.told[family.IPv4])+len(c.told[family.IPv6]) > 0 }

// Remind tells those clients again that Apply told of their connection's end,
// and that have answered, but were not reset: packets get lost, most of all on
// a line that has just been given the traffic of another one. It returns how
// many those were. It takes no lock, since it changes nothing of ours.
//
// An answer makes an entry, and the reset deletes it again: the kernel keeps no
// entry whose only reply is a reset. So no entry means that all is done, or
// that the client is gone.
func (e *Engine) Remind(changes *Changes) (told int, err error) {
	var failed []error
	for _, f := range family.All {
		if len(changes.told[f]) == 0 {
			continue
		}
		goesOn := map[reset.Flow]bool{}
		err := e.Connections.Each(f, conntrack.Filter{}, func(entry conntrack.Entry) bool {
			if hasWaitingClient(entry) {
				goesOn[flowOf(entry)] = true
			}
			return true
		})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		changes.told[f] = slices.DeleteFunc(changes.told[f], func(flow reset.Flow) bool { return !goesOn[flow] })
		result, err := e.Resets.Send(changes.told[f], changes.devices(f))
		told += result.Reset
		failed = append(failed, err)
	}
	return told, errors.Join(failed...)
}

// protoTCP is TCP's IP protocol number (IANA).
const protoTCP = 6

// hasWaitingClient says whether an entry is a TCP connection whose client may
// wait for packets that will not come. One that is still being opened has a
// client that repeats its SYN, and one that is over has none.
func hasWaitingClient(entry conntrack.Entry) bool {
	return entry.Protocol == protoTCP && !entry.Opening && !entry.Ended
}

// flowOf names a connection as its client sees it.
func flowOf(entry conntrack.Entry) reset.Flow {
	return reset.Flow{
		Client: netip.AddrPortFrom(entry.Original.Source, entry.Original.SourcePort),
		Server: netip.AddrPortFrom(entry.Original.Destination, entry.Original.DestinationPort),
	}
}
