package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// icmpOf has the ICMP protocol of each family (IANA protocol numbers).
var icmpOf = map[family.Family]int{family.IPv4: 1, family.IPv6: 58}

// ParseICMPType reads a name, a number or "type/code". Without a code, that is Unknown.
func ParseICMPType(f family.Family, text string) (number, code int, err error) {
	first, second, both := strings.Cut(cmp.Or(config.ICMPTypes[text][f], text), "/")
	value, err := strconv.ParseUint(first, 10, 8)
	code = Unknown
	if err == nil && both {
		var c uint64
		c, err = strconv.ParseUint(second, 10, 8)
		code = int(c)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("'%s' is not an ICMP type of %s", text, f)
	}
	return int(value), code, nil
}

// opensConnection has the types with which conntrack begins a connection (valid_new in
// nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c).
var opensConnection = map[family.Family][]int{
	family.IPv4: {8, 13, 15, 17},
	family.IPv6: {128, 139},
}

// tracked reports whether the packet has a conntrack entry when it reaches our rules.
func (w *walker) tracked(p Packet) bool {
	if w.Connection != nil || p.Protocol != icmpOf[w.family] || p.ICMPType == Unknown {
		return true
	}
	return slices.Contains(opensConnection[w.family], p.ICMPType)
}
