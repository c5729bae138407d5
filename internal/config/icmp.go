package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/family"
)

// ICMPTypes are the names that iptables (IPv4) and ip6tables (IPv6) accept for
// --icmp-type and --icmpv6-type, with the type, or type and code, that they match
// (RFC 792, RFC 4443, RFC 4861); "" in a family that does not have the name.
var ICMPTypes = map[string][len(family.All)]string{
	"address-mask-reply":         {"18", ""},
	"address-mask-request":       {"17", ""},
	"address-unreachable":        {"", "1/3"},
	"bad-header":                 {"", "4/0"},
	"communication-prohibited":   {"3/13", "1/1"},
	"destination-unreachable":    {"3", "1"},
	"echo-reply":                 {"0", "129"},
	"echo-request":               {"8", "128"},
	"fragmentation-needed":       {"3/4", ""},
	"host-prohibited":            {"3/10", ""},
	"host-unknown":               {"3/7", ""},
	"host-unreachable":           {"3/1", ""},
	"ip-header-bad":              {"12/0", ""},
	"neighbor-advertisement":     {"", "136"},
	"neighbor-solicitation":      {"", "135"},
	"neighbour-advertisement":    {"", "136"},
	"neighbour-solicitation":     {"", "135"},
	"network-prohibited":         {"3/9", ""},
	"network-unknown":            {"3/6", ""},
	"network-unreachable":        {"3/0", ""},
	"no-route":                   {"", "1/0"},
	"packet-too-big":             {"", "2"},
	"parameter-problem":          {"12", "4"},
	"port-unreachable":           {"3/3", "1/4"},
	"protocol-unreachable":       {"3/2", ""},
	"redirect":                   {"5", "137"},
	"required-option-missing":    {"12/1", ""},
	"router-advertisement":       {"9", "134"},
	"router-solicitation":        {"10", "133"},
	"source-quench":              {"4", ""},
	"source-route-failed":        {"3/5", ""},
	"time-exceeded":              {"11", "3"},
	"timestamp-reply":            {"14", ""},
	"timestamp-request":          {"13", ""},
	"ttl-zero-during-reassembly": {"11/1", "3/1"},
	"ttl-zero-during-transit":    {"11/0", "3/0"},
	"unknown-header-type":        {"", "4/1"},
	"unknown-option":             {"", "4/2"},
}

// everyICMPType, reserved by IANA, stands for all types in the IPv4 match of
// iptables (icmp_type_code_match in net/ipv4/netfilter/ip_tables.c).
const everyICMPType = 255

// parseICMPType reads "name", "type" or "type/code".
func parseICMPType(text string) (string, error) {
	if _, known := ICMPTypes[text]; known {
		return text, nil
	}
	parts := strings.Split(text, "/")
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, 8)
		if err != nil || i > 1 {
			return "", fmt.Errorf("%s is not an ICMP type%s", quote(text), didYouMean(text, slices.Sorted(maps.Keys(ICMPTypes))))
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
	numbers, named := ICMPTypes[icmpType]
	var of families
	for _, f := range family.All {
		if !named || numbers[f] != "" {
			of |= familiesOf(f)
		}
	}
	return of
}
