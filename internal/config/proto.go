package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/family"
)

// Protocol numbers that get special treatment (IANA, as all of protoNumbers).
const (
	protoAll     = 0 // iptables: every protocol
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoICMPv6  = 58
	protoSCTP    = 132
	protoUDPLite = 136

	// In IPv6 these are extension headers. ip6tables passes over them to the
	// protocol behind, so that they never match (ipv6_find_hdr in
	// net/ipv6/exthdrs_core.c; is_exthdr in iptables/ip6tables.c).
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoDestOpts = 60
)

// protoNumbers are the protocols that can be written by name. The table is
// built in, since a router's /etc/protocols may lack any of them.
var protoNumbers = map[string]uint8{
	"all": protoAll, "any": protoAll,
	"tcp": protoTCP, "udp": protoUDP, "dccp": protoDCCP, "sctp": protoSCTP, "udplite": protoUDPLite,
	"icmp": protoICMP, "icmpv6": protoICMPv6, "ipv6-icmp": protoICMPv6,
	"ipip": 4, "ipencap": 4, "ipv6": 41, "gre": 47, "esp": 50, "ah": protoAH, "l2tp": 115,
	"igmp": 2, "ospf": 89, "pim": 103, "vrrp": 112,
}

// protos reads the protocols of a rule; none means all.
func (s *section) protos(name string) (protos []Proto, ok bool) {
	ok = true
	all := false
	for _, v := range s.words(name, ",") {
		proto, err := ParseProto(strings.ToLower(v.Text))
		switch {
		case err != nil:
			s.refuse(name, v, err)
			ok = false
		case proto.Number == protoAll:
			all = true
		case !slices.ContainsFunc(protos, func(p Proto) bool { return p.Number == proto.Number }):
			protos = append(protos, proto)
		}
	}
	if all && len(protos) > 0 {
		s.errorf(s.line(name), "option '%s': 'all' cannot stand beside other protocols", name)
		ok = false
	}
	return protos, ok
}

// ParseProto reads a protocol: a name of protoNumbers in lower case, or a
// number from 0 to 255. The error quotes text and suggests a name.
func ParseProto(text string) (Proto, error) {
	if number, ok := protoNumbers[text]; ok {
		return Proto{Number: number, Name: text}, nil
	}
	number, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		// 'tcpudp' is the firewall's word.
		known := append(slices.Sorted(maps.Keys(protoNumbers)), "tcp udp")
		return Proto{}, fmt.Errorf("%s is not a protocol%s", quote(text), didYouMean(text, known))
	}
	return Proto{Number: uint8(number), Name: strconv.FormatUint(number, 10)}, nil
}

// hasPorts is about ports that iptables can match: those of its multiport.
func (p Proto) hasPorts() bool {
	return slices.Contains([]uint8{protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite}, p.Number)
}

const maxPort = 65535

// parsePortRange reads a port, or a range such as 8000-8100 or 8000:8100.
func parsePortRange(text string) (PortRange, error) {
	low, high, isRange := strings.Cut(strings.Replace(text, ":", "-", 1), "-")
	first, err := parsePort(low)
	if !isRange {
		return PortRange{first, first}, err
	}
	last, errLast := parsePort(high)
	if err != nil || errLast != nil {
		err = fmt.Errorf("%s is not a range of ports (1 to %d)", quote(text), maxPort)
	} else if first > last {
		err = fmt.Errorf("range %s ends before it begins", quote(text))
	}
	return PortRange{first, last}, err
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%s is not a port (1 to %d)", quote(text), maxPort)
	}
	return uint16(port), nil
}

// dscpClasses are the class names of RFC 2474 (CS), RFC 2597 (AF), RFC 3246
// (EF), RFC 5865 (VA), RFC 8622 (LE), and BE for best effort.
var dscpClasses = map[string]int{
	"BE": 0, "LE": 1, "EF": 46, "VA": 44,
	"CS0": 0, "CS1": 8, "CS2": 16, "CS3": 24, "CS4": 32, "CS5": 40, "CS6": 48, "CS7": 56,
	"AF11": 10, "AF12": 12, "AF13": 14,
	"AF21": 18, "AF22": 20, "AF23": 22,
	"AF31": 26, "AF32": 28, "AF33": 30,
	"AF41": 34, "AF42": 36, "AF43": 38,
}

// maxDSCP is the highest value of the six bits.
const maxDSCP = 63

// ParseDSCP reads a class name, or a number from 0 to 63, decimal or with 0x.
func ParseDSCP(text string) (int, error) {
	if value, ok := dscpClasses[strings.ToUpper(text)]; ok {
		return value, nil
	}
	number, err := ParseMark(text)
	if err != nil || number > maxDSCP {
		return 0, fmt.Errorf("%s is not a DSCP class (CS0 to CS7, AF11 to AF43, EF, BE, VA, LE) or number (0 to %d)", quote(text), maxDSCP)
	}
	return int(number), nil
}

// ExistsIn reports whether ip(6)tables matches the protocol in a family.
func (p Proto) ExistsIn(f family.Family) bool { return p.families()&familiesOf(f) != 0 }

func (p Proto) families() families {
	switch p.Number {
	case protoICMP, protoRouting, protoFragment, protoAH, protoDestOpts:
		return onlyIPv4
	case protoICMPv6:
		return onlyIPv6
	}
	return bothFamilies
}
