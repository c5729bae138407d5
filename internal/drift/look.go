package drift

import (
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/uplink"
)

var seed = maphash.MakeSeed()

// hash returns a number that stands for an object. Those of several objects may
// be summed up, since the kernel lists them in no certain order.
func hash(object ...any) uint64 { return maphash.String(seed, fmt.Sprintln(object...)) }

// linkFlags are the flags that decide whether and how a device is used.
const linkFlags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP | unix.IFF_POINTOPOINT

// network sums up devices, addresses, main tables, and the ip rules and tables of
// other programs.
func (w *Watcher) network() (uint64, error) {
	links, err := w.kernel.Links()
	if err != nil {
		return 0, err
	}
	total := uint64(0)
	for _, l := range links {
		a := l.Attrs()
		total += hash("device", a.Index, a.Name, a.RawFlags&linkFlags, a.OperState)
	}
	for _, f := range family.All {
		addresses, err := w.kernel.Addresses(f)
		if err != nil {
			return 0, err
		}
		for _, a := range addresses {
			// Whether it has a life time is no more of interest than how long.
			flags := a.Flags &^ unix.IFA_F_PERMANENT
			total += hash("address", a.LinkIndex, kernel.Prefix(a.IPNet), kernel.Prefix(a.Peer), a.Scope, flags)
		}
		routes, err := w.kernel.Routes(f)
		if err != nil {
			return 0, err
		}
		w.listener.large[f].Store(w.kernel.HasMany(f))
		for _, r := range routes {
			if r.Table == unix.RT_TABLE_MAIN && r.Protocol != routing.Protocol {
				total += hash("route", r)
			}
		}
		var others uplink.Main
		if err := (routing.Netlink{Handle: w.kernel}).ReadForeign(f, &others); err != nil {
			return 0, err
		}
		total += hash("other programs", f, others.Rules, others.Tables)
	}
	return total, nil
}

// ourRouting sums up our rules and routes.
func (w *Watcher) ourRouting() (uint64, error) {
	total := uint64(0)
	for _, f := range family.All {
		state, err := routing.Netlink{Handle: w.kernel}.Read(f)
		if err != nil {
			return 0, err
		}
		for _, r := range state.Rules {
			total += hash("our rule", f, r.Rule, r.Altered)
		}
		for _, r := range state.Routes {
			total += hash("our route", f, r.Route, r.Altered)
		}
	}
	return total, nil
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
