package drift

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// news tells announcements that matter from repetitions. It knows devices by
// their index and addresses by what identifies them.
type news struct {
	links     map[uint32]digest
	addresses map[digest]digest
}

func emptyNews() news {
	return news{links: map[uint32]digest{}, addresses: map[digest]digest{}}
}

// learn asks for the devices and addresses that there are.
func (n news) learn(ask *socket) error {
	if err := n.list(ask, unix.RTM_GETLINK, linkRequest()); err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	for _, f := range family.All {
		header := [unix.SizeofIfAddrmsg]byte{kernelFamily(f)}
		if err := n.list(ask, unix.RTM_GETADDR, header[:]); err != nil {
			return fmt.Errorf("addresses (%s): %w", f, err)
		}
	}
	return nil
}

// list asks once. What is missed because the list changed meanwhile will be
// news once more.
func (n news) list(ask *socket, kind uint16, body []byte) error {
	err := ask.exchange(kind, unix.NLM_F_DUMP, body, func(m message) error {
		n.tells(m)
		return nil
	})
	if errors.Is(err, errInterrupted) || isAbsent(err) {
		return nil
	}
	return err
}

// in says whether one of the messages in b is news. What cannot be read may be.
func (n news) in(b []byte) bool {
	found := false
	for len(b) > 0 {
		m, rest, err := cutMessage(b)
		if err != nil {
			return true
		}
		found = n.tells(m) || found
		b = rest
	}
	return found
}

// tells says whether a message is news, and remembers what it says.
func (n news) tells(m message) bool {
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return n.linkIsNews(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return n.addressIsNews(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return routeIsNews(m)
	case unix.RTM_DELRULE:
		r, err := readRule(m.body)
		return r.ours || err != nil
	}
	return false // new rules are our own, or nothing that an apply looks at
}

// linkIsNews leaves out announcements of a device that stayed as it was: changed
// statistics, wireless events, queue lengths.
func (n news) linkIsNews(m message) bool {
	l, ok, err := readLink(m.body)
	if err != nil || !ok {
		return err != nil
	}
	if m.kind == unix.RTM_DELLINK {
		delete(n.links, l.index)
		return true
	}
	before, known := n.links[l.index]
	n.links[l.index] = l.digest
	return !known || before != l.digest
}

// addressIsNews leaves out new life times, of which an IPv6 router announces some
// every few seconds.
func (n news) addressIsNews(m message) bool {
	a, err := readAddress(m.body)
	if err != nil {
		return true
	}
	if m.kind == unix.RTM_DELADDR {
		delete(n.addresses, a.identity)
		return true
	}
	before, known := n.addresses[a.identity]
	n.addresses[a.identity] = a.digest
	return !known || before != a.digest
}

// routeIsNews leaves out routes of the kernel's own tables, of other programs
// in other tables, and those that we add ourselves.
func routeIsNews(m message) bool {
	r, err := readRoute(m.body)
	switch {
	case err != nil:
		return true
	case r.cloned || r.table == unix.RT_TABLE_LOCAL:
		return false
	case r.ours:
		return m.kind == unix.RTM_DELROUTE
	case r.table == unix.RT_TABLE_MAIN:
		return true
	}
	// Of a route that was replaced, or to which another was appended, the
	// kernel does not say whose it was.
	return m.kind == unix.RTM_NEWROUTE && m.flags&(unix.NLM_F_REPLACE|unix.NLM_F_APPEND) != 0
}
