package drift

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
)

// skipStatistics is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h: devices
// without their counters, which are most of the answer.
const skipStatistics = 1 << 3

// world sums up devices, addresses and main tables.
func (w *Watcher) world() (uint64, error) {
	total, err := w.route.sum(unix.RTM_GETLINK, linkRequest(), func(body []byte) (digest, bool, error) {
		l, ok, err := readLink(body)
		return l.digest, ok, err
	})
	if err != nil {
		return 0, fmt.Errorf("devices: %w", err)
	}
	for _, f := range family.All {
		addresses, err := w.addresses(f)
		if err != nil {
			return 0, fmt.Errorf("addresses (%s): %w", f, err)
		}
		routes, err := w.routes(f, unix.RT_TABLE_MAIN, 0, route.inMain)
		if err != nil {
			return 0, fmt.Errorf("main table (%s): %w", f, err)
		}
		total += addresses + routes
	}
	return total, nil
}

// ownRouting sums up our rules and routes.
func (w *Watcher) ownRouting() (uint64, error) {
	total := uint64(0)
	for _, f := range family.All {
		rules, err := w.rules(f)
		if err != nil {
			return 0, fmt.Errorf("ip rules (%s): %w", f, err)
		}
		routes, err := w.routes(f, unix.RT_TABLE_UNSPEC, routing.Protocol, route.isOurs)
		if err != nil {
			return 0, fmt.Errorf("routes (%s): %w", f, err)
		}
		total += rules + routes
	}
	return total, nil
}

// linkRequest is a struct ifinfomsg and what to leave out.
func linkRequest() []byte {
	header := make([]byte, unix.SizeofIfInfomsg)
	return appendAttribute(header, unix.IFLA_EXT_MASK, binary.NativeEndian.AppendUint32(nil, skipStatistics))
}

// A kernel without a family answers with all others, so every reader compares
// it.

func (w *Watcher) addresses(f family.Family) (uint64, error) {
	ask := [unix.SizeofIfAddrmsg]byte{kernelFamily(f)}
	return w.route.sum(unix.RTM_GETADDR, ask[:], func(body []byte) (digest, bool, error) {
		a, err := readAddress(body)
		return a.digest, a.family == kernelFamily(f), err
	})
}

// routes sums up the wanted routes. Table and protocol, where they are not 0,
// spare the kernel the others.
func (w *Watcher) routes(f family.Family, table, protocol uint8, wanted func(route) bool) (uint64, error) {
	ask := [unix.SizeofRtMsg]byte{0: kernelFamily(f), 4: table, 5: protocol}
	return w.route.sum(unix.RTM_GETROUTE, ask[:], func(body []byte) (digest, bool, error) {
		r, err := readRoute(body)
		return r.digest, r.family == kernelFamily(f) && wanted(r), err
	})
}

func (w *Watcher) rules(f family.Family) (uint64, error) {
	ask := [sizeofRule]byte{kernelFamily(f)}
	return w.route.sum(unix.RTM_GETRULE, ask[:], func(body []byte) (digest, bool, error) {
		r, err := readRule(body)
		return r.digest, r.ours && r.family == kernelFamily(f), err
	})
}

func kernelFamily(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
