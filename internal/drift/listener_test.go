package drift

import (
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// announcement returns a message as the listener receives it.
func announcement(kind, flags uint16, data []byte) syscall.NetlinkMessage {
	return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind, Flags: flags}, Data: data}
}

func routeOf(table, protocol uint8) []byte {
	message := nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Table: table, Protocol: protocol, Type: unix.RTN_UNICAST}}
	return message.Serialize()
}

func TestAnnouncementsThatMatter(t *testing.T) {
	cloned := nl.RtMsg{RtMsg: unix.RtMsg{Table: unix.RT_TABLE_MAIN, Flags: unix.RTM_F_CLONED}}
	tests := []struct {
		name    string
		message syscall.NetlinkMessage
		want    bool
	}{
		{"a device", announcement(unix.RTM_NEWLINK, 0, nil), true},
		{"a device is gone", announcement(unix.RTM_DELLINK, 0, nil), true},
		{"an address", announcement(unix.RTM_NEWADDR, 0, nil), true},
		{"an address is gone", announcement(unix.RTM_DELADDR, 0, nil), true},
		{"a route in main", announcement(unix.RTM_NEWROUTE, 0, routeOf(254, 4)), true},
		{"a route in main is gone", announcement(unix.RTM_DELROUTE, 0, routeOf(254, 4)), true},
		{"a copy of a route", announcement(unix.RTM_NEWROUTE, 0, cloned.Serialize()), false},
		{"our new route", announcement(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeOf(200, 108)), false},
		{"our route is gone", announcement(unix.RTM_DELROUTE, 0, routeOf(200, 108)), true},
		{"a foreign route is gone", announcement(unix.RTM_DELROUTE, 0, routeOf(200, 4)), true},
		{"a foreign route", announcement(unix.RTM_NEWROUTE, 0, routeOf(200, 4)), true},
		{"a local route", announcement(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeOf(255, 2)), false},
		{"a new rule", announcement(unix.RTM_NEWRULE, 0, nil), false},
		{"a rule is gone", announcement(unix.RTM_DELRULE, 0, nil), true},
		{"half a route", announcement(unix.RTM_NEWROUTE, 0, []byte{2}), true},
	}
	for _, test := range tests {
		if got := matters(test.message); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestLargeTableIsStill: a routing daemon changes its routes all the time; those
// that a Look leaves out cause none.
func TestLargeTableIsStill(t *testing.T) {
	message := func(family, bits, protocol uint8) syscall.NetlinkMessage {
		m := nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Dst_len: bits, Table: unix.RT_TABLE_MAIN, Protocol: protocol}}
		return announcement(unix.RTM_NEWROUTE, 0, m.Serialize())
	}
	tests := []struct {
		name    string
		message syscall.NetlinkMessage
		large   bool // what becomes of it when the IPv4 table is large
	}{
		{"a daemon's route", message(unix.AF_INET, 24, unix.RTPROT_BGP), true},
		{"of the small table", message(unix.AF_INET6, 48, unix.RTPROT_BGP), false},
		{"a default route", message(unix.AF_INET, 0, unix.RTPROT_BGP), false},
		{"half of one", message(unix.AF_INET, 1, unix.RTPROT_STATIC), false},
		{"a network of the router's", message(unix.AF_INET, 24, unix.RTPROT_KERNEL), false},
		{"an address", announcement(unix.RTM_NEWADDR, 0, nil), false},
		{"half a route", announcement(unix.RTM_DELROUTE, 0, []byte{2}), false},
	}
	var l listener
	for _, large := range []bool{false, true} {
		l.large[family.IPv4].Store(large)
		for _, test := range tests {
			if got, want := l.leavesOut(test.message), large && test.large; got != want {
				t.Errorf("large %v: %s: left out %v", large, test.name, got)
			}
		}
	}
}

// FuzzRule: whatever the kernel calls a rule of nftables, it has a number, and
// the same one each time.
func FuzzRule(f *testing.F) {
	expression := nl.NewRtAttr(unix.NFTA_EXPR_NAME, nl.ZeroTerminated("counter")).Serialize()
	element := nl.NewRtAttr(unix.NFTA_LIST_ELEM, expression).Serialize()
	f.Add(append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, nl.NewRtAttr(unix.NFTA_RULE_EXPRESSIONS, element).Serialize()...))
	f.Add(append([]byte{unix.NFPROTO_IPV6, 0, 0, 0}, nl.NewRtAttr(unix.NFTA_RULE_HANDLE, make([]byte, 8)).Serialize()...))
	f.Add([]byte{unix.NFPROTO_IPV4, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		first := hashRule(b)
		if second := hashRule(b); first != second {
			t.Errorf("%d, then %d for one rule", first, second)
		}
	})
}
