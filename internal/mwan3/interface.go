package mwan3

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"loadbalance/internal/config"
)

// member is what an interface becomes.
type member struct {
	name    string // in the result
	family  string // ipv4 or ipv6
	enabled bool
}

// maxInterface is the longest name of an interface in characters for which
// mwan3 could create its chain mwan3_iface_in_NAME: iptables takes 28.
const maxInterface = 13

func (c *converter) readInterface(s *source) {
	if s.Name == "" {
		c.out.general.note(traffic, "interface %s is left out: it has no name, so it cannot be an interface of netifd", quote(s.Label()))
		return
	}
	out := c.add("member", s.Name, s)
	m := member{name: out.name, family: "ipv4", enabled: s.is1("enabled")}
	switch family := s.value("family"); family {
	case "", "ipv4":
	case "ipv6":
		m.family = family
	default:
		out.note(minor, "mwan3 does not know family %s and ignores the interface", quote(family))
		m.enabled = false
	}
	if !m.enabled {
		out.remark("Disabled, as in mwan3, which needs `option enabled '1'` for an interface.")
		out.option("enabled", "0")
	}
	if len(s.Name) > maxInterface {
		out.note(traffic, "mwan3 could not track connections that came in by it, since its name has more than %d characters; here replies leave by it", maxInterface)
	}
	out.option("interface", s.Name)
	c.readHealth(s, out, m.family)
	flush := slices.DeleteFunc(s.words("flush_conntrack"), func(event string) bool { return event == "never" }) // before 2.7
	slices.Sort(flush)
	out.noteAll(minor, "flush_conntrack %s is left out: mwan3 then cut all connections; here only those of a dead line are cut (option on_dead)", flush)
	s.mentionRest(out)
	c.members[s.Name] = m
	c.hasIPv6 = c.hasIPv6 || m.family == "ipv6" && m.enabled
}

// option is an option of mwan3track with its default there.
type option struct{ name, otherwise string }

func (o option) valueOf(s *source) string { return cmp.Or(s.value(o.name), o.otherwise) }

func (c *converter) readHealth(s *source, out *section, family string) {
	probed, answering := readTargets(s, out, family)
	if probed == 0 {
		// Always online, in mwan3 as here: the rest is read and has no effect.
		out = &section{}
	}
	copyOption(s, out, "initial_state")
	readMethod(s, out, family)
	readReliability(s, out, probed, answering)
	readTiming(s, out)
	readQuality(s, out)
	for _, o := range []option{{"size", "56"}, {"max_ttl", "60"}} {
		if text := o.valueOf(s); text != o.otherwise {
			out.note(minor, "%s %s is left out: it is fixed here", o.name, quote(text))
		}
	}
}

// readTargets returns how many targets are probed here, and how many can have
// answered mwan3: none of the other family, and 0.0.0.0, the router itself, always.
func readTargets(s *source, out *section, family string) (probed, answering int) {
	var kept []netip.Addr
	// Of the nftables port, which ignores it in IPv6.
	if s.boolean("track_gateway", false) && family == "ipv4" {
		out.list("track_ip", "gateway")
		probed++
	}
	var noHosts, twice, otherFamily []string
	for _, target := range s.words("track_ip") {
		address, err := netip.ParseAddr(target)
		switch {
		case err != nil || !config.IsUnicast(address) || address.Zone() != "" || address.Is4In6():
			noHosts = append(noHosts, target)
		case slices.Contains(kept, address):
			twice = append(twice, target)
		case address.Is4() != (family == "ipv4"):
			otherFamily = append(otherFamily, target)
		default:
			kept = append(kept, address)
			out.list("track_ip", target)
			probed++
		}
	}
	out.noteAll(minor, "track_ip %s is left out: only addresses of hosts can be probed, no names", noHosts)
	out.noteAll(minor, "track_ip %s is listed twice and kept once", twice)
	out.noteAll(minor, "track_ip %s is left out: it never answered, since the interface is "+family, otherFamily)
	if probed == 0 && len(s.words("track_ip")) > 0 {
		out.note(traffic, "no target is left to probe: it counts as online as long as its link is up. "+
			"Name addresses in `list track_ip`, or 'gateway'")
	}
	return probed, probed + len(noHosts) + len(twice)
}

// methods are our kinds of probes for those of mwan3, with their ports there;
// none is ping. UDP has no counterpart: a target that is alive need not answer.
var methods = map[string]struct{ method, port string }{
	"": {}, "ping": {}, "nping-icmp": {}, "arping": {method: "arp"}, "nping-arp": {method: "arp"},
	"nslookup": {method: "dns"}, "httping": {"tcp", "80"}, "nping-tcp": {"tcp", "80"},
}

func readMethod(s *source, out *section, family string) {
	name, ssl := s.value("track_method"), s.is1("httping_ssl")
	ours, known := methods[name]
	switch {
	case !known:
		out.note(minor, "track_method %s has no counterpart: 'ping' is used", quote(name))
	case ours.method == "arp" && family == "ipv6":
		out.note(minor, "track_method %s works with IPv4 only", quote(name))
	case name == "httping":
		if ssl {
			ours.port = "443"
		}
		out.note(minor, "track_method 'httping' becomes a TCP connection to port %s; to request a web page, use track_method 'http' with track_url", ours.port)
	}
	optional(out, "track_method", ours.method)
	optional(out, "track_port", ours.port)
}

// readReliability converts the number of targets that must answer.
func readReliability(s *source, out *section, probed, answering int) {
	n, ok := s.number("reliability")
	switch {
	case !ok || n < 1:
		out.note(minor, "reliability %s is left out: it is not a number from 1 up", quote(s.value("reliability")))
	case n > answering:
		out.note(traffic, "reliability %d is more than there are targets, so mwan3 never found the interface online; here all %d must answer", n, probed)
	case n > probed:
		out.note(minor, "reliability %d becomes %d, the number of targets that are left", n, probed)
	}
	if n = min(n, probed); ok && n > 1 {
		out.option("reliability", strconv.Itoa(n))
	}
	if count := s.value("count"); count != "" && count != "1" {
		out.note(minor, "count %s is left out: each probe is one packet", quote(count))
	}
}

// readTiming converts interval, timeout, down and up, which make sense only
// together: if any is set, the others get mwan3's defaults, else ours, which find a
// dead line in 3 seconds instead of a minute. Of mwan3's intervals, one for each
// state, the shortest counts: a line is found dead, and back, no later than there.
func readTiming(s *source, out *section) {
	options := []option{{"interval", "10"}, {"timeout", "4"}, {"down", "5"}, {"up", "5"}}
	normal := options[0].valueOf(s) // seconds
	failure, recovery := cmp.Or(s.value("failure_interval"), normal), cmp.Or(s.value("recovery_interval"), normal)
	s.asked["keep_failure_interval"] = true
	if !slices.ContainsFunc(options, func(o option) bool { return s.value(o.name) != "" }) {
		out.remark("Probed every 0.5 s (mwan3: every 10 s), so that a dead line is found in 3 s.")
		return
	}
	shortest := normal
	for _, other := range []string{failure, recovery} {
		n, err := strconv.Atoi(other)
		if m, errNow := strconv.Atoi(shortest); err == nil && errNow == nil && 0 < n && n < m {
			shortest = other
		}
	}
	if shortest != normal || failure != normal || recovery != normal {
		out.note(minor, "probed every %s s in every state, where mwan3 waited %s s, %s s while probes fail and %s s while a line comes back",
			quote(shortest), quote(normal), quote(failure), quote(recovery))
	}
	out.option("interval", seconds(shortest))
	out.option("timeout", seconds(options[1].valueOf(s)))
	out.option("down", options[2].valueOf(s))
	out.option("up", options[3].valueOf(s))
}

func seconds(value string) string {
	if _, err := strconv.Atoi(value); err == nil {
		return value + "s"
	}
	return value
}

// readQuality converts the limits of loss and latency. mwan3 judges by them
// only with check_quality; without it they are switched off here.
func readQuality(s *source, out *section) {
	checked := s.is1("check_quality")
	if checked {
		out.remark("Loss and latency are judged over the last 60 probes (option window), in mwan3 over the packets of one probe.")
	}
	// Milliseconds and percent.
	for i, limit := range []option{{"failure_latency", "1000"}, {"failure_loss", "40"}, {"recovery_latency", "500"}, {"recovery_loss", "10"}} {
		if value := limit.valueOf(s); checked {
			out.option(limit.name, value)
		} else if i < 2 {
			out.option(limit.name, "0")
		}
	}
}
