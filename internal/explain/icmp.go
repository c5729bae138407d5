package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/family"
)

// icmpOf has the ICMP protocol of each family (IANA protocol numbers).
var icmpOf = map[family.Family]int{family.IPv4: 1, family.IPv6: 58}

// icmpKind is a type of ICMP message with its code, or with all codes
// (Unknown).
type icmpKind struct{ number, code int }

// icmpNames has the names that the configuration accepts in each family, with
// the type and code that iptables matches (RFC 792, RFC 4443, RFC 4861).
var icmpNames = map[family.Family]map[string]icmpKind{
	family.IPv4: {
		"echo-reply":                 {0, Unknown},
		"destination-unreachable":    {3, Unknown},
		"network-unreachable":        {3, 0},
		"host-unreachable":           {3, 1},
		"protocol-unreachable":       {3, 2},
		"port-unreachable":           {3, 3},
		"fragmentation-needed":       {3, 4},
		"source-route-failed":        {3, 5},
		"network-unknown":            {3, 6},
		"host-unknown":               {3, 7},
		"network-prohibited":         {3, 9},
		"host-prohibited":            {3, 10},
		"communication-prohibited":   {3, 13},
		"source-quench":              {4, Unknown},
		"redirect":                   {5, Unknown},
		"echo-request":               {8, Unknown},
		"router-advertisement":       {9, Unknown},
		"router-solicitation":        {10, Unknown},
		"time-exceeded":              {11, Unknown},
		"ttl-zero-during-transit":    {11, 0},
		"ttl-zero-during-reassembly": {11, 1},
		"parameter-problem":          {12, Unknown},
		"ip-header-bad":              {12, 0},
		"required-option-missing":    {12, 1},
		"timestamp-request":          {13, Unknown},
		"timestamp-reply":            {14, Unknown},
		"address-mask-request":       {17, Unknown},
		"address-mask-reply":         {18, Unknown},
	},
	family.IPv6: {
		"destination-unreachable":    {1, Unknown},
		"no-route":                   {1, 0},
		"communication-prohibited":   {1, 1},
		"address-unreachable":        {1, 3},
		"port-unreachable":           {1, 4},
		"packet-too-big":             {2, Unknown},
		"time-exceeded":              {3, Unknown},
		"ttl-zero-during-transit":    {3, 0},
		"ttl-zero-during-reassembly": {3, 1},
		"parameter-problem":          {4, Unknown},
		"bad-header":                 {4, 0},
		"unknown-header-type":        {4, 1},
		"unknown-option":             {4, 2},
		"echo-request":               {128, Unknown},
		"echo-reply":                 {129, Unknown},
		"router-solicitation":        {133, Unknown},
		"router-advertisement":       {134, Unknown},
		"neighbour-solicitation":     {135, Unknown},
		"neighbor-solicitation":      {135, Unknown},
		"neighbour-advertisement":    {136, Unknown},
		"neighbor-advertisement":     {136, Unknown},
		"redirect":                   {137, Unknown},
	},
}

// ParseICMPType reads an ICMP type as the configuration has it: a name, a
// number or "type/code". The code is Unknown if text does not give one.
func ParseICMPType(f family.Family, text string) (number, code int, err error) {
	if kind, known := icmpNames[f][text]; known {
		return kind.number, kind.code, nil
	}
	first, second, both := strings.Cut(text, "/")
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

// opensConnection has the types with which conntrack begins a connection
// (valid_new in nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c).
// Other types belong to an existing connection, or to none.
var opensConnection = map[family.Family][]int{
	family.IPv4: {8, 13, 15, 17},
	family.IPv6: {128, 139},
}

// tracked reports whether the packet has a conntrack entry when it reaches our
// rules.
func (w *walker) tracked(p Packet) bool {
	if w.Connection != nil || p.Protocol != icmpOf[w.family] || p.ICMPType == Unknown {
		return true
	}
	return slices.Contains(opensConnection[w.family], p.ICMPType)
}
