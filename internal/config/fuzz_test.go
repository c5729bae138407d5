package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/uci"
)

// FuzzRead feeds any file and checks that whatever is accepted is safe to be
// written into rules, and that every message is a single printable line.
func FuzzRead(f *testing.F) {
	f.Add([]byte(everyOption))
	f.Add([]byte("config rule r\n\toption proto 00\n"))
	for _, c := range allProblemCases() {
		if len(c.text) < 4096 {
			f.Add([]byte(c.text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := uci.Parse("loadbalance", text)
		if err != nil {
			return
		}
		config, problems := Read(file)
		checkProblems(t, problems)
		checkConfig(t, config)
	})
}

func checkProblems(t *testing.T, problems Problems) {
	line := 0
	for _, p := range problems {
		if strings.ContainsFunc(p.String(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("control character in %q", p.String())
		}
		if len(p.String()) > 2000 {
			t.Errorf("message of %d bytes", len(p.String()))
		}
		if p.Pos.Line < line && p.Text != problems[len(problems)-1].Text {
			t.Errorf("line %d after line %d", p.Pos.Line, line)
		}
		line = p.Pos.Line
	}
}

// The patterns are written apart from the code that they check.
var (
	sectionName   = regexp.MustCompile(`^[A-Za-z0-9_]{1,32}$`)
	deviceName    = regexp.MustCompile(`^[^-!/:"'` + "`" + `\\\x00-\x20\x7f-\xff][^/:"'` + "`" + `\\\x00-\x20\x7f-\xff]{0,14}$`)
	interfaceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)
	setName       = regexp.MustCompile(`^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,31}$`)
	macAddress    = regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)
	protoName     = regexp.MustCompile(`^[a-z0-9-]+$`)
	icmpTypeName  = regexp.MustCompile(`^[a-z0-9-]+(/[0-9]+)?$`)
	domainName    = regexp.MustCompile(`^[a-z0-9_.-]{1,253}$`)
	urlText       = regexp.MustCompile(`^http://[!-~]+$`)
)

func checkConfig(t *testing.T, c *Config) {
	if c.Policy("balanced") == nil {
		t.Error("no policy 'balanced'")
	}
	checkPrefixes(t, c.Globals.Bypass)
	uses := []string{"default", "unreachable", "blackhole"}
	devices := make(map[string]bool)
	enabled := 0
	for _, m := range c.Members {
		checkMember(t, &m)
		uses = append(uses, m.Name)
		if !m.Enabled {
			continue
		}
		enabled++
		device := "device " + m.Device
		if m.Device != "" {
			device += m.Gateway.String() + m.Gateway6.String() // an alias has a gateway of its own
		}
		for _, key := range []string{device, "interface " + m.Interface} {
			if devices[key] && !strings.HasSuffix(key, " ") {
				t.Errorf("%s twice", key)
			}
			devices[key] = true
		}
	}
	if enabled > 199 {
		t.Errorf("%d members", enabled)
	}
	for _, p := range c.Policies {
		checkPolicy(t, c, &p)
		uses = append(uses, p.Name)
	}
	for _, r := range c.Rules {
		checkRule(t, &r)
		if !slices.Contains(uses, r.Use) {
			t.Errorf("rule uses %q", r.Use)
		}
	}
	for _, s := range c.IPSets {
		checkSet(t, &s)
	}
}

func checkMember(t *testing.T, m *Member) {
	match(t, sectionName, m.Name)
	if slices.Contains([]string{"default", "unreachable", "blackhole", "main", "local", "balanced"}, m.Name) {
		t.Errorf("member %q", m.Name)
	}
	if (m.Device == "") == (m.Interface == "") {
		t.Errorf("device %q, interface %q", m.Device, m.Interface)
	}
	checkDevice(t, m.Device)
	matchGiven(t, interfaceName, m.Interface)
	matchGiven(t, interfaceName, m.Interface6)
	checkPrefixes(t, m.Prefix6)
	if m.Gateway.IsValid() && !m.Gateway.Is4() || m.Gateway6.IsValid() && (!m.Gateway6.Is6() || m.Gateway6.Zone() != "") {
		t.Errorf("gateways %v %v", m.Gateway, m.Gateway6)
	}
	if m.Weight < 1 || m.Weight > 1000 || m.Metric < 1 || m.Metric > 256 || m.Table < 0 {
		t.Errorf("weight %d, metric %d, table %d", m.Weight, m.Metric, m.Table)
	}
	track := &m.Track
	matchGiven(t, urlText, track.URL)
	if track.Interval <= 0 || track.Timeout <= 0 || track.Down < 1 || track.Up < 1 || track.Window < 1 || track.Reliability < 1 {
		t.Errorf("track %+v", *track)
	}
	tracked := track.Gateway || len(track.IPs) > 0
	if tracked && track.Method == "http" && (track.URL == "" || track.Port == 0) {
		t.Errorf("http without a URL: %+v", *track)
	}
}

func checkPolicy(t *testing.T, c *Config, p *Policy) {
	match(t, sectionName, p.Name)
	for _, use := range p.Members {
		m := c.Member(use.Name)
		if m == nil || !m.Enabled || use.Weight < 1 || use.Weight > 1000 || use.Metric < 1 || use.Metric > 256 {
			t.Errorf("policy %q has %+v", p.Name, use)
		}
	}
}

func checkRule(t *testing.T, r *Rule) {
	matchGiven(t, sectionName, r.Name)
	for _, list := range [][]netip.Prefix{r.SrcIP.Any, r.SrcIP.Not, r.DestIP.Any, r.DestIP.Not} {
		checkPrefixes(t, list)
	}
	for _, mac := range r.SrcMAC {
		match(t, macAddress, mac)
	}
	matchGiven(t, interfaceName, r.SrcIface)
	checkDevice(t, r.SrcDevice)
	matchGiven(t, icmpTypeName, r.ICMPType)
	matchGiven(t, setName, r.IPSet)
	matchGiven(t, setName, r.IPSetSrc)
	for _, p := range r.Protos {
		match(t, protoName, p.Name)
		if p.Number == 0 {
			t.Error("protocol 0")
		}
	}
	if len(r.SrcPorts)+len(r.DestPorts) > 0 && len(r.Protos) == 0 {
		t.Error("ports without protocol")
	}
	for _, p := range append(slices.Clone(r.SrcPorts), r.DestPorts...) {
		if p.First < 1 || p.Last < p.First {
			t.Errorf("ports %v", p)
		}
	}
	if len(r.Families) == 0 || r.DSCP < -1 || r.DSCP > 63 || r.Timeout < time.Second {
		t.Errorf("rule %+v", *r)
	}
}

func checkSet(t *testing.T, s *IPSet) {
	match(t, sectionName, s.Name)
	checkPrefixes(t, s.Entries)
	for _, p := range s.Entries {
		if family.Of(p.Addr()) != s.Family || p.Bits() == 0 {
			t.Errorf("entry %v", p)
		}
	}
	for _, d := range s.Domains {
		match(t, domainName, d)
	}
	if s.LoadFile != "" && (!strings.HasPrefix(s.LoadFile, "/") || strings.ContainsAny(s.LoadFile, "\x00\n\r")) {
		t.Errorf("file %q", s.LoadFile)
	}
}

func checkPrefixes(t *testing.T, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			t.Errorf("prefix %v", p)
		}
	}
}

func checkDevice(t *testing.T, name string) {
	matchGiven(t, deviceName, name)
	if strings.HasSuffix(name, "+") || slices.Contains([]string{".", "..", "all", "default"}, name) {
		t.Errorf("device %q", name)
	}
}

func match(t *testing.T, pattern *regexp.Regexp, text string) {
	if !pattern.MatchString(text) {
		t.Errorf("%q does not match %s", text, pattern)
	}
}

func matchGiven(t *testing.T, pattern *regexp.Regexp, text string) {
	if text != "" {
		match(t, pattern, text)
	}
}
