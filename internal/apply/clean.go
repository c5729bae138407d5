package apply

import (
	"errors"
	"fmt"
	"net/netip"

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

// writeChains begins to write the chains of a family, frees the connections of
// dead uplinks as soon as packets go by the new ones, and returns what waits for
// the end of the program. The other family need not wait for that.
func (e *Engine) writeChains(f family.Family, changes *Changes, actual *Actual) (wait func() error) {
	change := changes.Families[f].Mangle
	if change.Empty() {
		return func() error { return nil }
	}
	inEffect, wait := e.Mangle.BeginWrite(f, change)
	e.tellClients(changes) // of the family before
	ahead := e.searchAhead(f, changes, actual)
	// Also without any: two programs at a time would be in each other's way.
	if !inEffect() || len(ahead) == 0 {
		return wait
	}
	judge := changes.judgeOf(f)
	gone, _ := e.Connections.Remove(f, ahead)
	for _, entry := range gone {
		changes.noteClient(f, entry, judge(entry))
	}
	changes.noteCleaned(f, Cleaned{Deleted: len(gone)})
	return wait
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
		var waiting []reset.Flow
		for _, flow := range changes.told[f] {
			if goesOn[flow] {
				waiting = append(waiting, flow)
			}
		}
		changes.told[f] = waiting
		result, err := e.Resets.Send(waiting, changes.devices(f))
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
