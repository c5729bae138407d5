package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// icmpTypes are the names that old and new versions of iptables (IPv4) and
// ip6tables (IPv6) accept for --icmp-type and --icmpv6-type.
var icmpTypes = map[string]families{
	"address-mask-reply":         onlyIPv4,
	"address-mask-request":       onlyIPv4,
	"address-unreachable":        onlyIPv6,
	"bad-header":                 onlyIPv6,
	"communication-prohibited":   bothFamilies,
	"destination-unreachable":    bothFamilies,
	"echo-reply":                 bothFamilies,
	"echo-request":               bothFamilies,
	"fragmentation-needed":       onlyIPv4,
	"host-prohibited":            onlyIPv4,
	"host-unknown":               onlyIPv4,
	"host-unreachable":           onlyIPv4,
	"ip-header-bad":              onlyIPv4,
	"neighbor-advertisement":     onlyIPv6,
	"neighbor-solicitation":      onlyIPv6,
	"neighbour-advertisement":    onlyIPv6,
	"neighbour-solicitation":     onlyIPv6,
	"network-prohibited":         onlyIPv4,
	"network-unknown":            onlyIPv4,
	"network-unreachable":        onlyIPv4,
	"no-route":                   onlyIPv6,
	"packet-too-big":             onlyIPv6,
	"parameter-problem":          bothFamilies,
	"port-unreachable":           bothFamilies,
	"protocol-unreachable":       onlyIPv4,
	"redirect":                   bothFamilies,
	"required-option-missing":    onlyIPv4,
	"router-advertisement":       bothFamilies,
	"router-solicitation":        bothFamilies,
	"source-quench":              onlyIPv4,
	"source-route-failed":        onlyIPv4,
	"time-exceeded":              bothFamilies,
	"timestamp-reply":            onlyIPv4,
	"timestamp-request":          onlyIPv4,
	"ttl-zero-during-reassembly": bothFamilies,
	"ttl-zero-during-transit":    bothFamilies,
	"unknown-header-type":        onlyIPv6,
	"unknown-option":             onlyIPv6,
}

// everyICMPType stands for all types in the IPv4 match of iptables
// (icmp_type_code_match in net/ipv4/netfilter/ip_tables.c). As a type it is
// reserved (IANA).
const everyICMPType = 255

// parseICMPType reads a type's name, its number, or "type/code".
func parseICMPType(text string) (string, error) {
	if _, known := icmpTypes[text]; known {
		return text, nil
	}
	parts := strings.Split(text, "/")
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, 8)
		if err != nil || i > 1 {
			return "", fmt.Errorf("%s is not an ICMP type%s", quote(text), didYouMean(text, slices.Sorted(maps.Keys(icmpTypes))))
		}
		if i == 0 && number == everyICMPType {
			return "", invalid(text, "is not an ICMP type: iptables would match every type, as option 'proto' alone does")
		}
		parts[i] = strconv.FormatUint(number, 10)
	}
	return strings.Join(parts, "/"), nil
}

// icmpFamilies returns the families in which a type exists. The meaning of a
// number depends on the family, but every number exists in both.
func icmpFamilies(icmpType string) families {
	if of, named := icmpTypes[icmpType]; named {
		return of
	}
	return bothFamilies
}
