package drift

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/routing"
)

// link is a device, as far as it matters.
type link struct {
	index  uint32
	digest digest
}

// linkFlags are the flags that decide whether and how a device is used. RUNNING
// includes the operational state.
const linkFlags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP | unix.IFF_POINTOPOINT

// readLink reads a struct ifinfomsg and its attributes. ok is false for what
// is no device but, for example, the port of a bridge.
func readLink(body []byte) (l link, ok bool, err error) {
	if len(body) < unix.SizeofIfInfomsg {
		return link{}, false, errUnreadable
	}
	if body[0] != unix.AF_UNSPEC {
		return link{}, false, nil
	}
	l.index = binary.NativeEndian.Uint32(body[4:])
	flags := binary.NativeEndian.Uint32(body[8:]) & linkFlags
	l.digest = newDigest(ofLink).number(uint64(l.index)).number(uint64(flags))
	err = eachAttribute(body[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		if kind == unix.IFLA_IFNAME {
			l.digest = l.digest.field(kind, value)
		}
	})
	return l, true, err
}

// address is an address of a device.
type address struct {
	family   uint8
	identity digest // what tells it from all other addresses
	digest   digest
}

// readAddress reads a struct ifaddrmsg and its attributes, except life times
// and the flag that says whether there is one.
func readAddress(body []byte) (address, error) {
	if len(body) < unix.SizeofIfAddrmsg {
		return address{}, errUnreadable
	}
	flags := uint32(body[2])
	a := address{family: body[0]}
	a.identity = newDigest(ofAddress).bytes(body[:2]).bytes(body[4:8]) // family, length; device
	a.digest = a.identity.bytes(body[3:4])                             // scope
	err := eachAttribute(body[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_CACHEINFO:
			return
		case unix.IFA_FLAGS:
			flags = number32(value) // the header holds only eight of them
			return
		case unix.IFA_ADDRESS, unix.IFA_LOCAL:
			a.identity = a.identity.field(kind, value)
		}
		a.digest = a.digest.field(kind, value)
	})
	a.digest = a.digest.number(uint64(flags &^ unix.IFA_F_PERMANENT))
	return a, err
}

// route is a route of any table.
type route struct {
	family uint8
	table  uint32
	cloned bool // made by the kernel from another one, and no entry of a table
	ours   bool
	digest digest
}

// readRoute reads a struct rtmsg and its attributes, except life times and
// flags that are states of the device.
func readRoute(body []byte) (route, error) {
	if len(body) < unix.SizeofRtMsg {
		return route{}, errUnreadable
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	r := route{
		family: body[0],
		table:  uint32(body[4]),
		cloned: flags&unix.RTM_F_CLONED != 0,
		ours:   body[5] == routing.Protocol,
		digest: newDigest(ofRoute).bytes(body[:8]).number(uint64(flags & unix.RTNH_F_ONLINK)),
	}
	err := eachAttribute(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		if kind == unix.RTA_TABLE {
			r.table = number32(value)
		}
		if kind != unix.RTA_CACHEINFO {
			r.digest = r.digest.field(kind, value)
		}
	})
	return r, err
}

// inMain says whether the route is an entry of the main table, of somebody
// else.
func (r route) inMain() bool { return r.table == unix.RT_TABLE_MAIN && !r.ours && !r.cloned }

func (r route) isOurs() bool { return r.ours && !r.cloned }

// rule is an ip rule.
type rule struct {
	family uint8
	ours   bool
	digest digest
}

// What golang.org/x/sys does not have of linux/fib_rules.h.
const (
	sizeofRule = 12 // struct fib_rule_hdr
	ruleInvert = 2  // FIB_RULE_INVERT, the one flag that is no state of a device
)

// readRule reads a struct fib_rule_hdr and its attributes.
func readRule(body []byte) (rule, error) {
	if len(body) < sizeofRule {
		return rule{}, errUnreadable
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	r := rule{family: body[0], digest: newDigest(ofRule).bytes(body[:8]).number(uint64(flags & ruleInvert))}
	err := eachAttribute(body[sizeofRule:], func(kind uint16, value []byte) {
		if kind == unix.FRA_PROTOCOL && len(value) == 1 {
			r.ours = value[0] == routing.Protocol
		}
		r.digest = r.digest.field(kind, value)
	})
	return r, err
}
