package monitor

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/hooks"
	"loadbalance/internal/plan"
)

// asked are two members that ask for a page.
const asked = `
config member 'wan1'
	list track_ip '192.0.2.1'
	option track_method 'http'
	option track_url 'http://example.org/'
	option portal_retry '10'
config member 'wan2'
	list track_ip '192.0.2.1'
	option track_method 'http'
	option track_url 'http://example.org/'
`

// TestPortalIsAppliedAndAnnounced: it is named, scripts hear of it again while it
// lasts, with the newest address, and not any more after the login.
func TestPortalIsAppliedAndAnnounced(t *testing.T) {
	g := newMonitorRig(t, asked)
	g.start()
	g.applies, g.logged = nil, nil
	g.portal["wan1"] = true
	g.pass(3 * time.Second)
	g.expect("applies", &g.applies, "follow member 'wan1' (ipv4) is portal", "follow repair")
	g.expect("events", &g.events, "inactive wan1 ipv4", "portal wan1 ipv4")
	g.expect("log", &g.logged, "notice: member 'wan1' (ipv4): portal: status 302 instead of 204, redirected to http://portal/"+
		strings.TrimPrefix(g.event.PortalURL, "http://portal/"))
	first := g.event
	want := hooks.Event{Action: "portal", Member: "wan1", Interface: "wan1", Device: "wan1", Family: "ipv4", Address: "198.18.1.2",
		PortalURL: first.PortalURL, Reason: "status 302 instead of 204, redirected to " + first.PortalURL}
	if first != want || first.PortalURL == "" {
		t.Errorf("scripts were told %+v\nwant %+v", first, want)
	}
	for f, name := range map[family.Family]string{family.IPv4: "the family", family.IPv6: "the other one"} {
		if v := g.applied[f]["wan1"]; v != (plan.Verdict{Portal: first.Reason}) {
			t.Errorf("%s: verdict %+v", name, v)
		}
	}
	g.pass(21 * time.Second)
	g.expect("events", &g.events, "portal wan1 ipv4", "portal wan1 ipv4")
	if !g.event.Repeat || g.event.PortalURL == first.PortalURL || !strings.HasPrefix(g.event.PortalURL, "http://portal/") {
		t.Errorf("scripts were told again: %+v", g.event)
	}
	g.portal["wan1"] = false
	g.pass(30 * time.Second)
	g.expect("events", &g.events, "online wan1 ipv4", "active wan1 ipv4")
	if g.event.PortalURL != "" || g.event.Repeat || g.event.Address != "198.18.1.2" {
		t.Errorf("after the login: %+v", g.event)
	}
}

// TestPortalOfAll: where all lines want a login, scripts hear of each.
func TestPortalOfAll(t *testing.T) {
	g := newMonitorRig(t, asked)
	g.start()
	g.portal["wan1"], g.portal["wan2"] = true, true
	g.pass(3 * time.Second)
	if !strings.Contains(strings.Join(g.events, ", "), "portal wan1 ipv4") || !strings.Contains(strings.Join(g.events, ", "), "portal wan2 ipv4") {
		t.Errorf("events: %v", g.events)
	}
}

func TestPortalThatFallsSilent(t *testing.T) {
	g := newMonitorRig(t, asked)
	g.start()
	g.portal["wan1"] = true
	g.pass(3 * time.Second)
	g.events = nil
	g.silent["wan1"] = true
	g.pass(4 * time.Second)
	g.expect("events", &g.events, "offline wan1 ipv4")
	g.silent["wan1"] = false
	g.pass(time.Second)
	g.expect("events", &g.events, "portal wan1 ipv4")
	g.down["wan1"] = true
	g.kernel.Network++
	g.pass(30 * time.Second)
	g.expect("events", &g.events, "offline wan1 ipv4")
	// The next lease must show that there is a portal, and is then announced.
	g.down["wan1"] = false
	g.kernel.Network++
	g.pass(3 * time.Second)
	g.expect("events", &g.events, "portal wan1 ipv4")
}

// TestPortalOfLastMonitor: a new monitor does not know where the portal leads, and
// tells when it does; until then the line is out of use.
func TestPortalOfLastMonitor(t *testing.T) {
	g := newMonitorRig(t, asked)
	g.store = plan.Verdicts{family.IPv4: {"wan1": {Portal: "status 302"}, "wan2": {Portal: "status 302"}}}
	g.portal["wan1"] = true
	g.silent["wan2"] = true
	g.start()
	g.expect("events at the start", &g.events)
	if v := g.applied[family.IPv4]; v["wan1"].Offline == "" || v["wan2"].Offline == "" {
		t.Errorf("verdicts: %+v", v)
	}
	g.pass(3 * time.Second)
	g.expect("events", &g.events, "portal wan1 ipv4")
	if v := g.applied[family.IPv4]; v["wan1"].Portal == "" || v["wan1"].Offline != "" || v["wan2"].Offline == "" || v["wan2"].Portal != "" {
		t.Errorf("verdicts: %+v", v)
	}
}

// TestReminderEnds: with the member, and with the service.
func TestReminderEnds(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"the member is gone": func(g *rig) { g.config = strings.Replace(g.config, "member 'wan1'", "member 'wan3'", 1) },
		"the service stops":  (*rig).stop,
	} {
		g := newMonitorRig(t, asked)
		g.start()
		g.portal["wan1"] = true
		g.pass(3 * time.Second)
		end(g)
		g.accept()
		g.pass(time.Second)
		g.events = nil
		g.pass(30 * time.Second)
		g.expect(name, &g.events)
		if len(g.reminders) > 0 {
			t.Errorf("%s: %v", name, g.reminders)
		}
	}
}
