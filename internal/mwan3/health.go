package mwan3

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
)

// option is an option of mwan3track with its default there, which is written out
// where ours differs.
type option struct{ name, otherwise string }

// valueOf returns the value of an option, or its default in mwan3.
func (o option) valueOf(s *source) string { return cmp.Or(s.value(o.name), o.otherwise) }

// healthOptions are all options of an interface that mwan3track reads.
var healthOptions = []string{"initial_state", "track_method", "httping_ssl", "reliability", "count", "timeout",
	"interval", "down", "up", "size", "max_ttl", "failure_interval", "recovery_interval", "keep_failure_interval",
	"check_quality", "failure_latency", "recovery_latency", "failure_loss", "recovery_loss"}

// readHealth converts the options of health checking. Without targets an
// interface is always online, in mwan3 as here, and the other options have no
// effect.
func (c *converter) readHealth(s *source, out *section, family string) {
	targets := trackIPs(s, out, family)
	if targets == 0 {
		for _, name := range healthOptions {
			s.asked[name] = true
		}
		return
	}
	copyOption(s, out, "initial_state")
	readMethod(s, out, family)
	readReliability(s, out, targets)
	readTiming(s, out)
	readQuality(s, out)
	readPacket(s, out)
}

// trackIPs converts the targets and returns their number. A target of the other
// family never answered mwan3.
func trackIPs(s *source, out *section, family string) int {
	var kept []string
	for _, target := range s.words("track_ip") {
		address, err := netip.ParseAddr(target)
		switch {
		case slices.Contains(kept, target):
			out.note("track_ip %s is listed twice and kept once", quote(target))
		case err != nil:
			out.note("track_ip %s is left out: only addresses can be probed", quote(target))
		case address.Is4() != (family == "ipv4"):
			out.note("track_ip %s is left out: it never answered, since the interface is %s", quote(target), family)
		default:
			kept = append(kept, target)
			out.list("track_ip", target)
		}
	}
	return len(kept)
}

// readMethod converts the kind of probe.
func readMethod(s *source, out *section, family string) {
	method, ssl := s.value("track_method"), s.is1("httping_ssl")
	switch method {
	case "", "ping":
		return
	case "arping", "nping-arp":
		out.option("track_method", "arp")
		if family == "ipv6" {
			out.note("track_method %s works with IPv4 only", quote(method))
		}
	case "nslookup":
		out.option("track_method", "dns")
	case "httping":
		port := "80"
		if ssl {
			port = "443"
		}
		out.note("track_method 'httping' becomes a TCP connection to port %s; to request a web page, use track_method 'http' with track_url", port)
		out.option("track_method", "tcp")
		out.option("track_port", port)
	case "nping-tcp":
		out.option("track_method", "tcp")
		out.option("track_port", "80") // nping's
	default:
		// Also nping-icmp, which is a ping. A UDP probe says little: a
		// target that is alive need not answer.
		if method != "nping-icmp" {
			out.note("track_method %s has no counterpart: 'ping' is used", quote(method))
		}
		return
	}
}

// readReliability converts the number of targets that must answer, at most as
// many as there are.
func readReliability(s *source, out *section, targets int) {
	n, ok := s.number("reliability", 1)
	switch {
	case !ok || n < 1:
		out.note("reliability %s is left out: it is not a number from 1 up", quote(s.value("reliability")))
	case n > targets:
		out.note("reliability %d is more than there are targets, so mwan3 never found the interface online; here all %d must answer", n, targets)
		out.option("reliability", strconv.Itoa(targets))
	case n > 1:
		out.option("reliability", strconv.Itoa(n))
	}
	if count := s.value("count"); count != "" && count != "1" {
		out.note("count %s is left out: each probe is one packet", quote(count))
	}
}

// readTiming converts interval, timeout, down and up, which make sense only
// together: if any is set, the others get mwan3's defaults; if none is, they
// are left to ours, which find a dead line in 3 seconds instead of a minute.
func readTiming(s *source, out *section) {
	interval := option{"interval", "10"} // seconds
	options := []option{interval, {"timeout", "4"}, {"down", "5"}, {"up", "5"}}
	if slices.ContainsFunc(options, func(o option) bool { return s.value(o.name) != "" }) {
		for _, o := range options {
			out.option(o.name, withUnit(o.name, o.valueOf(s)))
		}
	} else {
		out.remark("Probed every 0.5 s (mwan3: every 10 s), so that a dead line is found in 3 s.")
	}
	normal := interval.valueOf(s)
	for _, name := range []string{"failure_interval", "recovery_interval"} {
		if text := cmp.Or(s.value(name), normal); text != normal {
			out.note("%s %s is left out: the interval is the same in every state", name, quote(text))
		}
	}
	if s.is1("keep_failure_interval") {
		out.note("keep_failure_interval is left out: the interval is the same in every state")
	}
}

// withUnit adds the unit to a plain number of seconds.
func withUnit(name, value string) string {
	isTime := name == "interval" || name == "timeout"
	if _, err := strconv.Atoi(value); isTime && err == nil {
		return value + "s"
	}
	return value
}

// readQuality converts the limits of loss and latency. mwan3 judges by them
// only with check_quality; without it they are switched off here.
func readQuality(s *source, out *section) {
	limits := []option{ // ms and percent
		{"failure_latency", "1000"}, {"recovery_latency", "500"}, {"failure_loss", "40"}, {"recovery_loss", "10"},
	}
	checked := s.is1("check_quality")
	for _, limit := range limits {
		value := limit.valueOf(s)
		if checked {
			out.option(limit.name, value)
		}
	}
	if checked {
		out.remark("Loss and latency are judged over the last 60 probes (option window), in mwan3 over the packets of one probe.")
		return
	}
	out.option("failure_latency", "0")
	out.option("failure_loss", "0")
}

// readPacket notes that size and TTL of probes cannot be chosen.
func readPacket(s *source, out *section) {
	for _, o := range []option{{"size", "56"}, {"max_ttl", "60"}} {
		if text := o.valueOf(s); text != o.otherwise {
			out.note("%s %s is left out: it is fixed here", o.name, quote(text))
		}
	}
}
