// Package drift tells cheaply, without starting processes, that something in
// the kernel may differ from what the last apply left. It has events for what
// the kernel announces (devices, addresses, routes, rules) and fingerprints for
// the rest (chains, sets) and for what was missed. It changes nothing and says
// nothing of what differs: that is for an apply to find out.
package drift

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watcher watches the network namespace in which it was opened.
type Watcher struct {
	listener *listener

	mutex  sync.Mutex // guards what follows: one Look at a time
	closed bool
	route  *socket // rtnetlink
	filter *socket // nfnetlink: sets and nftables
	legacy legacySockets
	listed nftRules
}

// Scope is what the last apply left that a Look has to know.
type Scope struct {
	// Legacy says that our chains are in iptables-legacy and not in
	// iptables-nft. To ask for the legacy table creates it, as
	// iptables-legacy-save does.
	Legacy bool
	// OpenSets names the sets of ours into which others enter something
	// (dnsmasq does) or that are too large to be counted at every Look: their
	// number of entries is left out.
	OpenSets []string
}

// Fingerprint stands for the kernel's state. Two that differ mean that the
// state has changed; two that are equal, that it very probably has not.
type Fingerprint struct {
	// Network is what an apply does not change: devices, addresses and the main
	// table, of both families, without counters and life times.
	Network uint64
	// Ours is what an apply owns: ip rules and routes of our protocol number,
	// the sets and the chains. Of sets only names, types and numbers of
	// entries count, and no numbers where entries expire. Of iptables-nft
	// every rule of the mangle tables counts, in its place; a deleted one
	// that is added again is another one, even with the same text. Of
	// iptables-legacy only the layout of the mangle tables counts: sizes and
	// numbers, not contents.
	Ours uint64
}

// Open opens all sockets in the network namespace of the calling thread, and
// begins to listen.
func Open() (*Watcher, error) {
	w := &Watcher{legacy: noLegacySockets()}
	if err := w.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("drift: %w", err), w.Close())
	}
	return w, nil
}

func (w *Watcher) open() (err error) {
	if w.route, err = openSocket(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("rtnetlink: %w", err)
	}
	// With strict checking the kernel gives out only the table or protocol
	// that is asked for. One older than 4.20 does not have it and gives out
	// everything, as readers of both kinds of answer expect.
	err = unix.SetsockoptInt(w.route.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return fmt.Errorf("rtnetlink: %w", os.NewSyscallError("setsockopt", err))
	}
	if w.filter, err = openSocket(unix.NETLINK_NETFILTER); err != nil {
		return fmt.Errorf("nfnetlink: %w", err)
	}
	if w.legacy, err = openLegacySockets(); err != nil {
		return err
	}
	w.listener, err = listen(w.route)
	return err
}

// Events has a value when something happened that may change a Look's Network,
// or when rules or routes of ours were deleted or replaced: since the last
// value was taken, or since Open. Lost messages count as such. It is never
// closed.
func (w *Watcher) Events() <-chan struct{} { return w.listener.events }

// Look takes a fingerprint. It starts no process. The error names what could
// not be read; a subsystem that the kernel does not have is none. It may be
// called from any thread; after Close the error is os.ErrClosed. When events
// can no longer be received, it says why.
func (w *Watcher) Look(what Scope) (Fingerprint, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.closed {
		return Fingerprint{}, os.ErrClosed
	}
	if err := w.listener.failure(); err != nil {
		return Fingerprint{}, fmt.Errorf("drift: events: %w", err)
	}
	world, err := w.world()
	if err != nil {
		return Fingerprint{}, fmt.Errorf("drift: %w", err)
	}
	own, err := w.own(what)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("drift: %w", err)
	}
	return Fingerprint{Network: world, Ours: own}, nil
}

func (w *Watcher) own(what Scope) (uint64, error) {
	total, err := w.ownRouting()
	if err != nil {
		return 0, err
	}
	sets, err := w.sets(what.OpenSets)
	if err != nil {
		return 0, fmt.Errorf("sets: %w", err)
	}
	chains, err := w.chains(what.Legacy)
	if err != nil {
		return 0, err
	}
	return total + sets + chains, nil
}

func (w *Watcher) chains(legacy bool) (uint64, error) {
	if legacy {
		return w.legacy.sum()
	}
	return w.nftables()
}

// Close closes the sockets and waits until nothing listens any more. A second
// call does nothing.
func (w *Watcher) Close() error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var err error
	if w.listener != nil {
		err = w.listener.close()
	}
	for _, s := range []*socket{w.route, w.filter} {
		if s != nil {
			s.close()
		}
	}
	w.legacy.close()
	return err
}
