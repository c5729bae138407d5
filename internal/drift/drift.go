// Package drift notices cheaply, without starting processes, that the kernel may
// differ from what the last apply left: events for what the kernel announces,
// fingerprints for chains, sets and lost announcements. What differs an apply finds
// out.
package drift

import (
	"fmt"

	"loadbalance/internal/kernel"
)

// Watcher watches the network namespace in which it was opened. It is not safe for
// concurrent use.
type Watcher struct {
	listener *listener
	kernel   *kernel.Handle
	nftables nftRules
}

// Scope is what the last apply left that a Look has to know.
type Scope struct {
	// Legacy is true if our chains are in iptables-legacy and not in iptables-nft. To
	// look at the legacy table creates it.
	Legacy bool
	// OpenSets names the sets of ours whose entries are not counted: the monitor
	// enters what it learns, or to count them at every Look would take too long.
	OpenSets []string
}

// Fingerprint stands for the kernel's state: if two of one process are equal, it very
// probably has not changed.
type Fingerprint struct {
	// Network is what an apply reads but does not change: devices, addresses, and
	// others' routes and ip rules, without counters and life times.
	Network uint64
	// Ours is what an apply writes: ip rules and routes of our protocol number, sets
	// (names, types, numbers of entries where none expire) and chains. Of
	// iptables-nft every rule of the mangle tables counts, in its place: one that is
	// deleted and added again is another one. Of iptables-legacy only sizes and
	// numbers count.
	Ours uint64
}

// Open opens all sockets in the network namespace of the calling thread, and
// begins to listen.
func Open() (*Watcher, error) {
	k, err := kernel.Open()
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	l, err := subscribe()
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("drift: %w", err)
	}
	go l.run()
	return &Watcher{listener: l, kernel: k}, nil
}

// Events has a value when something happened that may change a Look's Network, or
// when rules or routes of ours went, or announcements were lost, since the last value
// was taken. It is never closed.
func (w *Watcher) Events() <-chan struct{} { return w.listener.events }

// Look takes a fingerprint, without a process. The error names what could not be
// read, or why no events are received; what the kernel does not have is none.
func (w *Watcher) Look(scope Scope) (Fingerprint, error) {
	f, err := w.look(scope)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("drift: %w", err)
	}
	return f, nil
}

func (w *Watcher) look(scope Scope) (Fingerprint, error) {
	if err := w.listener.broken.Load(); err != nil {
		return Fingerprint{}, fmt.Errorf("events: %w", *err)
	}
	w.kernel.Forget()
	f, err := w.network()
	if err != nil {
		return Fingerprint{}, err
	}
	sets, err := w.sets(scope.OpenSets)
	if err != nil {
		return Fingerprint{}, err
	}
	chains := uint64(0)
	if scope.Legacy {
		chains, err = legacySum()
	} else {
		chains, err = w.nftables.read(w.kernel)
	}
	f.Ours += sets + chains
	return f, err
}

// Close closes the sockets.
func (w *Watcher) Close() {
	w.listener.socket.Close()
	w.kernel.Close()
}
