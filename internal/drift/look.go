package drift

import (
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

var seed = maphash.MakeSeed()

// hash returns a number that stands for an object. Those of several objects may
// be summed up, since the kernel lists them in no certain order.
func hash(object ...any) uint64 { return maphash.String(seed, fmt.Sprintln(object...)) }

// linkFlags are the flags that decide whether and how a device is used.
const linkFlags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP | unix.IFF_POINTOPOINT

// network sums up devices, addresses, routes and ip rules. Those of others that are
// of no interest change too rarely to be sorted out.
func (w *Watcher) network() (sum Fingerprint, err error) {
	links, err := w.kernel.Links()
	if err != nil {
		return sum, err
	}
	for _, l := range links {
		a := l.Attrs()
		sum.Network += hash("device", a.Index, a.Name, a.RawFlags&linkFlags, a.OperState)
	}
	for _, f := range family.All {
		addresses, err := w.kernel.Addresses(f)
		if err != nil {
			return sum, err
		}
		for _, a := range addresses {
			// Whether it has a life time is no more of interest than how long.
			flags := a.Flags &^ unix.IFA_F_PERMANENT
			sum.Network += hash("address", a.LinkIndex, kernel.Prefix(a.IPNet), kernel.Prefix(a.Peer), a.Scope, flags)
		}
		routes, err := w.kernel.Routes(f)
		if err != nil {
			return sum, err
		}
		w.listener.large[f].Store(w.kernel.HasMany(f))
		for _, r := range routes {
			if r.Table != unix.RT_TABLE_LOCAL {
				*sum.of(r.Protocol) += hash("route", r)
			}
		}
		rules, err := w.kernel.Rules(f)
		if err != nil {
			return sum, err
		}
		for _, r := range rules {
			*sum.of(r.Protocol) += hash("rule", f, routing.ParseRule(r))
		}
	}
	return sum, nil
}

// of returns the sum that a rule or route of a protocol belongs to.
func (f *Fingerprint) of(protocol uint8) *uint64 {
	if protocol == routing.Protocol {
		return &f.Ours
	}
	return &f.Network
}

// sets sums up our sets.
func (w *Watcher) sets(open []string) (uint64, error) {
	headers, err := ipset.New(w.kernel).Headers(open)
	if err != nil {
		return 0, err
	}
	total := uint64(0)
	for _, h := range headers {
		if h.Timeout > 0 {
			h.Count = 0 // it changes by itself
		}
		total += hash("set", h)
	}
	return total, nil
}
