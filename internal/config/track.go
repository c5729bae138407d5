package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"loadbalance/internal/uci"
)

// Ranges of the options.
const (
	// Ten times faster than the default is enough for a verdict within half
	// a second, and 60 members stay below 1200 probes per second.
	minInterval = 50 * time.Millisecond
	// A line that is probed less than once an hour is not monitored.
	maxInterval = time.Hour
	// A LAN answers in less, a satellite or a loaded LTE line within seconds.
	minProbeTimeout = 10 * time.Millisecond
	maxProbeTimeout = time.Minute
	// More take minutes at the default interval: a longer one says that better.
	maxStreak = 1000
	// One result per probe is kept in memory for each target.
	maxWindow = 1000
	// A login that is tried once a day is not retried.
	maxPortalRetry = 24 * time.Hour
)

var parseFailback = oneOf("new", "all", "never")

// targetOptions are the options that have no effect without track_ip.
var targetOptions = [...]string{"track_method", "track_port", "track_url", "track_status", "reliability", "interval", "timeout",
	"down", "up", "window", "failure_loss", "recovery_loss", "failure_latency", "recovery_latency", "initial_state", "passive", "portal_retry"}

// readTrack reads the options of a member's health checking. The defaults find a
// silent blackout in 4 * 0.5 s + 0.8 s = 2.8 s.
func readTrack(s *section) Track {
	t := Track{
		Method:       single(s, "track_method", "ping", oneOf("ping", "arp", "tcp", "dns", "http")),
		Status:       s.integer("track_status", 204, 100, 599), // 204 as in checks for portals; RFC 9110, section 15
		Interval:     s.duration("interval", 500*time.Millisecond, time.Second, minInterval, maxInterval),
		Timeout:      s.duration("timeout", 800*time.Millisecond, time.Second, minProbeTimeout, maxProbeTimeout),
		Down:         s.integer("down", 4, 1, maxStreak),
		Up:           s.integer("up", 6, 1, maxStreak),
		Window:       s.integer("window", 60, 1, maxWindow),
		InitialState: single(s, "initial_state", "online", oneOf("online", "offline")),
		OnDead:       single(s, "on_dead", "reset", oneOf("reset", "clear", "none")),
		Failback:     single(s, "failback", "new", parseFailback),
		// Portals lock an account after some failures within minutes.
		PortalRetry: s.duration("portal_retry", time.Minute, time.Second, time.Second, maxPortalRetry),
	}
	// Accepted because files have it. It once made users' unanswered connections
	// hasten a verdict, and one host's were enough to make a short stall fatal.
	s.boolean("passive", true)
	readTargets(s, &t)
	readEndpoint(s, &t)
	readLimits(s, &t)
	return t
}

func readTargets(s *section, t *Track) {
	seen := make(map[netip.Addr]bool) // 'gateway' as the zero address
	for _, v := range s.words("track_ip", "") {
		var address netip.Addr
		if v.Text != "gateway" {
			var err error
			if address, err = parseUnicast(v.Text); err != nil {
				s.errorf(v.Line, "option 'track_ip': %v%s", err, didYouMean(v.Text, []string{"gateway"}))
				continue
			}
		}
		switch {
		case seen[address]:
			s.warnf(v.Line, "option 'track_ip': %s is listed twice", quote(v.Text))
		case v.Text == "gateway":
			t.Gateway = true
		default:
			t.IPs = append(t.IPs, address)
		}
		seen[address] = true
	}
	if !s.given("track_ip") {
		for _, option := range targetOptions {
			s.withoutEffect(option, "without 'track_ip'")
		}
	}
	t.Reliability = s.integer("reliability", 1, 1, 1000) // far beyond any list of targets
	targets := len(t.IPs)
	if t.Gateway {
		targets++
	}
	// The member would never be online.
	if s.given("track_ip") && t.Reliability > targets && t.Reliability > 1 {
		s.errorf(s.line("reliability"), "option 'reliability': %d must answer, but track_ip lists only %d", t.Reliability, targets)
	}
}

// defaultPorts are the ports that methods probe by default. Methods without
// ports are not in it, and neither is http, whose URL has the port.
var defaultPorts = map[string]int{"tcp": 443, "dns": 53}

func readEndpoint(s *section, t *Track) {
	defaultPort, hasPort := defaultPorts[t.Method]
	t.Port = uint16(s.integer("track_port", defaultPort, 1, maxPort))
	if !hasPort {
		t.Port = 0
	}
	t.URL = single(s, "track_url", "", func(text string) (string, error) {
		port, err := parseProbeURL(text)
		if t.Method == "http" {
			t.Port = port
		}
		return text, err
	})
	why := "with track_method '" + t.Method + "'"
	switch {
	case !s.given("track_ip"):
	case t.Method == "http":
		s.withoutEffect("track_port", why+", the port is part of track_url")
		if !s.given("track_url") {
			s.errorf(s.line("track_method"), "track_method 'http' needs option 'track_url'")
		}
	default:
		if !hasPort {
			s.withoutEffect("track_port", why)
		}
		for _, option := range []string{"track_url", "track_status", "portal_retry"} {
			s.withoutEffect(option, why)
		}
	}
}

// readLimits reads the limits of loss and latency; 0 switches one off. A
// recovery limit must not lie above its failure limit, or the member would go
// up and down with every probe; its default is lowered to the failure limit.
// Latency is not judged unless asked for: a line that fills its own queue
// (bufferbloat reaches seconds on DSL and LTE) would go offline by its own load,
// and a satellite line for ever.
func readLimits(s *section, t *Track) {
	t.FailureLoss = s.integer("failure_loss", 30, 0, 100)
	t.RecoveryLoss = s.integer("recovery_loss", min(10, t.FailureLoss), 0, 100)
	if t.FailureLoss > 0 && t.RecoveryLoss > t.FailureLoss {
		s.errorf(s.line("recovery_loss"), "option 'recovery_loss': %d is more than failure_loss %d", t.RecoveryLoss, t.FailureLoss)
	}
	t.FailureLatency = s.duration("failure_latency", 0, time.Millisecond, 0, maxProbeTimeout)
	t.RecoveryLatency = s.duration("recovery_latency", min(300*time.Millisecond, t.FailureLatency), time.Millisecond, 0, maxProbeTimeout)
	if s.given("track_ip") && !s.given("failure_latency") {
		s.withoutEffect("recovery_latency", "without 'failure_latency'")
	}
	if t.FailureLatency > 0 && t.RecoveryLatency > t.FailureLatency {
		s.errorf(s.line("recovery_latency"), "option 'recovery_latency': %s is more than failure_latency %s",
			shortDuration(t.RecoveryLatency), shortDuration(t.FailureLatency))
	}
}

// maxURL is the length that every server must take: RFC 9110, section 4.1.
const maxURL = 8000

// parseProbeURL checks the URL of an HTTP probe and returns its port. TLS would
// make the program twice as large, and say no more about the line.
func parseProbeURL(text string) (port uint16, err error) {
	authority, isHTTP := strings.CutPrefix(text, "http://")
	if !isHTTP {
		return 0, invalid(text, "does not begin with http:// (for https use track_method 'tcp')")
	}
	const unescaped = "-._~:/?#[]@!$&()*+,;=%" // what a URL may have beside letters and digits
	if len(text) > maxURL || !uci.ConsistsOf(text, unescaped) {
		return 0, invalid(text, "is not a URL")
	}
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	if port, err = parseAuthority(authority); err != nil {
		err = fmt.Errorf("%s is not a URL: %w", quote(text), err)
	}
	return port, err
}

// parseAuthority checks HOST, HOST:PORT, IPV4, [IPV6] and so on.
func parseAuthority(authority string) (uint16, error) {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		host, port, err = net.SplitHostPort(authority + ":80")
	}
	address, noAddress := netip.ParseAddr(host)
	valid := noAddress == nil && address.Is4() || validDomain(host)
	if strings.HasPrefix(authority, "[") {
		valid = noAddress == nil && address.Is6() && address.Zone() == ""
	}
	if err != nil || !valid {
		return 0, errors.New("no valid host")
	}
	number, err := parsePort(port)
	if err != nil {
		return 0, errors.New("no valid port")
	}
	return number, nil
}
