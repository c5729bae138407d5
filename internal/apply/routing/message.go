package routing

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// lookupAction is FR_ACT_TO_TBL of linux/fib_rules.h: go on in a table.
const lookupAction = 1

// compatTable stands in the 8 bits of a header for a table that only the
// 32-bit attribute can hold (RT_TABLE_COMPAT in linux/rtnetlink.h).
const compatTable = 252

// noSuppression is what the kernel says for a rule without
// suppress_prefixlength or suppress_ifgroup: -1.
const noSuppression = 0xffffffff

// nexthopID is RTA_NH_ID of linux/rtnetlink.h: the route uses a nexthop object.
const nexthopID = 30

// message collects a header and its attributes.
type message struct{ bytes []byte }

func (m *message) attr(kind int, value []byte) {
	m.bytes = append(m.bytes, nl.NewRtAttr(kind, value).Serialize()...)
}

func (m *message) number(kind int, value uint32) { m.attr(kind, nl.Uint32Attr(value)) }

func headerTable(table int) uint8 {
	if table > 255 {
		return compatTable
	}
	return uint8(table)
}

func encodeRule(f family.Family, r plan.IPRule) []byte {
	header := nl.RtMsg{RtMsg: unix.RtMsg{
		Family: kernelFamily(f),
		Table:  headerTable(r.Table),
		Type:   lookupAction,
	}}
	if r.From.IsValid() {
		header.Src_len = uint8(r.From.Bits())
	}
	m := message{append([]byte(nil), header.Serialize()...)}
	m.number(nl.FRA_PRIORITY, uint32(r.Priority))
	m.number(nl.FRA_TABLE, uint32(r.Table))
	m.attr(nl.FRA_PROTOCOL, []byte{Protocol})
	if r.From.IsValid() {
		m.attr(nl.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.Mask != 0 {
		m.number(nl.FRA_FWMARK, r.Mark)
		m.number(nl.FRA_FWMASK, r.Mask)
	}
	if r.OIF != "" {
		m.attr(nl.FRA_OIFNAME, nl.ZeroTerminated(r.OIF))
	}
	if r.Suppress >= 0 {
		m.number(nl.FRA_SUPPRESS_PREFIXLEN, uint32(r.Suppress))
	}
	return m.bytes
}

// parseRule reads a rule and says whether it is ours.
func parseRule(b []byte) (Rule, bool, error) {
	header := nl.DeserializeRtMsg(b)
	attrs, err := nl.ParseRouteAttr(b[header.Len():])
	if err != nil {
		return Rule{}, false, fmt.Errorf("unreadable answer of the kernel: %w", err)
	}
	r := Rule{raw: b, IPRule: plan.IPRule{Table: int(header.Table), Suppress: -1}}
	// FIB_RULE_DEV_DETACHED and the like come and go with devices; the one
	// flag that changes what the rule matches is FIB_RULE_INVERT, 2.
	r.Odd = header.Type != lookupAction || header.Flags&2 != 0 || header.Tos != 0 || header.Dst_len != 0
	protocol := uint8(0)
	for _, a := range attrs {
		switch a.Attr.Type {
		case nl.FRA_PRIORITY:
			r.Priority = int(number(a.Value))
		case nl.FRA_TABLE:
			r.Table = int(number(a.Value))
		case nl.FRA_PROTOCOL:
			protocol = a.Value[0]
		case nl.FRA_SRC:
			r.From = netip.PrefixFrom(addrFromKernel(a.Value), int(header.Src_len))
		case nl.FRA_FWMARK:
			r.Mark = number(a.Value)
		case nl.FRA_FWMASK:
			r.Mask = number(a.Value)
		case nl.FRA_OIFNAME:
			r.OIF = nl.BytesToString(a.Value)
		case nl.FRA_SUPPRESS_PREFIXLEN:
			r.Suppress = int(int32(number(a.Value)))
		case nl.FRA_SUPPRESS_IFGROUP:
			r.Odd = r.Odd || number(a.Value) != noSuppression
		case nl.FRA_IIFNAME, nl.FRA_GOTO, nl.FRA_FLOW, nl.FRA_TUN_ID, nl.FRA_L3MDEV, nl.FRA_UID_RANGE,
			nl.FRA_IP_PROTO, nl.FRA_SPORT_RANGE, nl.FRA_DPORT_RANGE:
			r.Odd = true
		}
	}
	ours := protocol == Protocol && r.Priority >= FirstPriority && r.Priority <= LastPriority
	return r, ours, nil
}

func encodeRoute(f family.Family, r plan.Route, index int) []byte {
	header := nl.RtMsg{RtMsg: unix.RtMsg{
		Family:   kernelFamily(f),
		Table:    headerTable(r.Table),
		Protocol: Protocol,
		Type:     uint8(r.Type),
		Scope:    unix.RT_SCOPE_UNIVERSE,
		Dst_len:  uint8(r.Destination.Bits()),
	}}
	if r.Type == plan.Unicast && !r.Gateway.IsValid() {
		header.Scope = unix.RT_SCOPE_LINK // as ip sets it; IPv6 has no scopes
	}
	if r.OnLink {
		header.Flags = unix.RTNH_F_ONLINK
	}
	m := message{append([]byte(nil), header.Serialize()...)}
	m.number(unix.RTA_TABLE, uint32(r.Table))
	m.attr(unix.RTA_DST, r.Destination.Masked().Addr().AsSlice())
	if r.Gateway.IsValid() {
		m.attr(unix.RTA_GATEWAY, r.Gateway.AsSlice())
	}
	if index != 0 {
		m.number(unix.RTA_OIF, uint32(index))
	}
	if r.Source.IsValid() {
		m.attr(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	return m.bytes
}

// parseRoute reads a route and says whether it is ours.
func parseRoute(f family.Family, b []byte, names map[int]string) (Route, bool, error) {
	header := nl.DeserializeRtMsg(b)
	// Routes that the kernel cloned from others are no entries of a table.
	if header.Protocol != Protocol || header.Flags&unix.RTM_F_CLONED != 0 {
		return Route{}, false, nil
	}
	attrs, err := nl.ParseRouteAttr(b[header.Len():])
	if err != nil {
		return Route{}, false, fmt.Errorf("unreadable answer of the kernel: %w", err)
	}
	r := Route{raw: deletionOf(b), apart: header.Tos != 0 || header.Src_len != 0}
	r.Route = plan.Route{
		Table:       int(header.Table),
		Type:        plan.RouteType(header.Type),
		Destination: f.Default(),
		OnLink:      header.Flags&unix.RTNH_F_ONLINK != 0,
	}
	metric := uint32(0)
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_TABLE:
			r.Table = int(number(a.Value))
		case unix.RTA_DST:
			r.Destination = netip.PrefixFrom(addrFromKernel(a.Value), int(header.Dst_len))
		case unix.RTA_GATEWAY:
			r.Gateway = addrFromKernel(a.Value)
		case unix.RTA_OIF:
			r.Device = names[int(number(a.Value))]
		case unix.RTA_PREFSRC:
			r.Source = addrFromKernel(a.Value)
		case unix.RTA_PRIORITY:
			metric = number(a.Value)
		case unix.RTA_MULTIPATH, unix.RTA_VIA, unix.RTA_METRICS, unix.RTA_FLOW, nexthopID, unix.RTA_ENCAP_TYPE:
			r.Odd = true
		}
	}
	r.apart = r.apart || metric != defaultMetric(f)
	r.Odd = r.Odd || r.apart
	if r.Type != plan.Unicast {
		r.Device = "" // IPv6 names lo for them
	}
	return r, true, nil
}

// defaultMetric is the metric of a route that was added without one. IPv6
// reads back as IP6_RT_PRIO_USER (net/ip6_fib.h).
func defaultMetric(f family.Family) uint32 {
	if f == family.IPv6 {
		return 1024
	}
	return 0
}

// deletionOf turns the kernel's description of a route into what identifies
// it in a deletion: the same without the flags, some of which (dead, link
// down, offloaded) are states that a request must not have.
func deletionOf(b []byte) []byte {
	b = append([]byte(nil), b...)
	nl.DeserializeRtMsg(b).Flags = 0
	return b
}

func number(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
