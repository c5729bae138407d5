package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// block returns the code block of the cookbook that holds a text, and only that.
func block(t *testing.T, holds string) string {
	t.Helper()
	cookbook, err := os.ReadFile("../../openwrt/docs/cookbook.md")
	check(t, err)
	parts := strings.Split(string(cookbook), "\n```")
	var found []string
	for i := 1; i < len(parts); i += 2 {
		if _, text, _ := strings.Cut(parts[i], "\n"); strings.Contains(text, holds) {
			found = append(found, text+"\n")
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks of the cookbook hold %q", len(found), holds)
	}
	return found[0]
}

// replaced replaces what a user would replace in a script, and each of it.
func replaced(t *testing.T, script string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(script, pairs[i]) {
			t.Fatalf("there is no %q in\n%s", pairs[i], script)
		}
		script = strings.ReplaceAll(script, pairs[i], pairs[i+1])
	}
	return script
}

func (r *router) install(name, script string) {
	r.t.Helper()
	check(r.t, os.MkdirAll(r.eventsDir(), 0o755), os.WriteFile(filepath.Join(r.eventsDir(), name), []byte(script), 0o644))
}

// portalMembers are members of a campus with the health options that the cookbook
// recommends.
func portalMembers(t *testing.T, leases int, portal *netlab.Portal) string {
	t.Helper()
	first, _, _ := strings.Cut(block(t, "portal_retry"), "\n\n")
	_, options, _ := strings.Cut(first, "\n")
	options = replaced(t, options, "1.1.1.1", netlab.Server(1).String(), "http://cp.cloudflare.com/generate_204", portal.URL("generate_204"))
	return members(netlab.Campus, leases, options) +
		"config policy 'balanced'\n\toption last_resort 'unreachable'\n" // as main's default route is a lease's, too
}

// newPortal is a router with leases behind a portal.
func newPortal(t *testing.T, backend string, leases int, lifetime time.Duration) (*router, *netlab.Portal) {
	t.Helper()
	r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: leases}, "")
	portal, err := r.lab.StartPortal("20230001", "secret", lifetime)
	check(t, err)
	r.configure(portalMembers(t, leases, portal))
	return r, portal
}

// verdict is an event that scripts were told of.
type verdict struct {
	action string
	at     time.Time
}

// verdicts are the events of each member, in order.
func verdicts(t *testing.T, notes string) map[string][]verdict {
	t.Helper()
	text, err := os.ReadFile(notes)
	check(t, err)
	all := map[string][]verdict{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		words := strings.Fields(line)
		at, err := strconv.ParseInt(words[0], 10, 64)
		check(t, err)
		all[words[1]] = append(all[words[1]], verdict{words[2], time.Unix(0, at)})
	}
	return all
}

const noteVerdicts = `[ "$ACTION" = portal ] || [ "$ACTION" = online ] || exit 0; echo "$(date +%s%N) $MEMBER $ACTION" >> `

// TestCampusLogin has five leases that are logged out again and again, and the
// script of the cookbook that sends a form. A lease is logged in within 5 s, by its
// own line, and no connection of the LAN is dealt to one that is logged out, from
// the verdict on: what is dealt between the logout and the probes that find it
// cannot know. LOADBALANCE_PORTAL_SECONDS asks for more than 25 s, and the leases
// then last for 10 s.
func TestCampusLogin(t *testing.T) {
	const leases = 5
	seconds, lifetime := 25, 8*time.Second
	if asked, err := strconv.Atoi(os.Getenv("LOADBALANCE_PORTAL_SECONDS")); err == nil {
		seconds, lifetime = asked, 10*time.Second
	}
	eachBackend(t, func(t *testing.T, backend string) {
		r, portal := newPortal(t, backend, leases, lifetime)
		r.install("40-login", replaced(t, block(t, "LOGIN="), "http://login.example.edu/login", portal.URL("login"),
			"loadbalance use", strings.Join(append([]string{binary}, r.args("use")[1:]...), " ")+" use"))
		logsIn(t, r, portal, time.Duration(seconds)*time.Second, lifetime)
	})
}

// TestLoginProgram is the same with the script for a program that binds to a
// device itself.
func TestLoginProgram(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r, portal := newPortal(t, backend, 2, 4*time.Second)
		program := filepath.Join(r.dir, "campus-login")
		check(t, os.WriteFile(program, []byte(fmt.Sprintf(`#!/bin/sh -e
[ "$1" = --interface ]
[ -z "$MEMBER" ] || exit 1 # it knows no more than a program does
address=$(ip -4 -o addr show dev "$2" | sed 's/.*inet \([0-9.]*\).*/\1/')
page=$(curl -s -m 4 --interface "$2" -o /dev/null -w '%%{redirect_url}' %s)
curl -sSf -m 4 --interface "$2" -o /dev/null -d username=20230001 -d password=secret \
	--data-urlencode "ip=$address" --data-urlencode "query=${page#*\?}" %s
`, portal.URL("generate_204"), portal.URL("login"))), 0o755))
		r.install("40-login", replaced(t, block(t, "/usr/bin/campus-login --interface"), "/usr/bin/campus-login", "env -u MEMBER "+program))
		logsIn(t, r, portal, 12*time.Second, 4*time.Second)
	})
}

// logsIn runs the monitor for some time under connections of the LAN, and tells
// what the portal saw.
func logsIn(t *testing.T, r *router, portal *netlab.Portal, span, lifetime time.Duration) {
	const within = 5 * time.Second
	notes := filepath.Join(r.dir, "notes")
	r.install("10-notes", noteVerdicts+notes)
	r.must("apply")
	m := r.startMonitor()
	end := time.Now().Add(span)
	refused := visit(t, r.lab, portal, end)
	delays := portal.Delays() // up to now
	visits, wrong := portal.Visits()
	if len(wrong) > 0 {
		t.Errorf("the portal says: %v", wrong)
	}
	var longest time.Duration
	logins := 0
	for i, of := range delays {
		logins += len(of)
		if least := int((span - within - lifetime) / (lifetime + within)); len(of) < max(least, 1) {
			t.Errorf("lease %d was logged in again %d times, want at least %d", i+1, len(of), max(least, 1))
		}
		longest = max(longest, slices.Max(append(of, 0)))
	}
	if longest > within {
		t.Errorf("a lease was logged out for %v: %v\n%s", longest, delays, m.Log)
	}
	events := verdicts(t, notes)
	out, late := 0, 0
	byLease := make([]int, r.lab.Uplinks()+1)
	for _, v := range visits {
		byLease[v.Uplink]++
		if v.LoggedIn {
			continue
		}
		out++
		member := events[fmt.Sprintf("wan%d", v.Uplink)]
		// The last event before the connection was opened.
		i := slices.IndexFunc(member, func(e verdict) bool { return e.at.After(v.Begun) })
		if i < 0 {
			i = len(member)
		}
		if i > 0 && member[i-1].action == "portal" {
			late++
			t.Logf("dealt to lease %d at %v, after %+v", v.Uplink, v.Begun, member[i-1])
		}
	}
	if late > 0 {
		t.Errorf("%d connections were dealt to leases that wanted a login", late)
	}
	if len(visits) < 10*int(span/time.Second) || slices.Min(byLease[1:]) == 0 {
		t.Errorf("only %d connections, by lease %v", len(visits), byLease[1:])
	}
	t.Logf("%d logins, the longest time logged out %v; %d connections, by lease %v, %d refused; %d came to a lease before its logout was found, %d after",
		logins, longest.Round(time.Millisecond), len(visits), byLease[1:], refused, out-late, late)
}

// visit opens connections from the LAN to the portal's web server until a time, 50
// in a second, and returns how many were refused: no lease was logged in.
func visit(t *testing.T, lab *netlab.Lab, portal *netlab.Portal, end time.Time) (refused int) {
	t.Helper()
	address := strings.TrimSuffix(strings.TrimPrefix(portal.URL(""), "http://"), "/")
	hosts := lab.LANHosts()
	check(t, lab.Client.Do(func() error {
		for n := 0; time.Now().Before(end); n++ {
			dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: hosts[n%len(hosts)].AsSlice()}}
			begun := time.Now()
			conn, err := dialer.Dial("tcp4", address)
			if err != nil {
				refused++
				time.Sleep(20 * time.Millisecond)
				continue
			}
			fmt.Fprintf(conn, "GET /visit/%d HTTP/1.0\r\n\r\n", begun.UnixNano())
			_, _ = io.Copy(io.Discard, conn) // one that is reset was counted
			conn.Close()
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	}))
	return refused
}

// TestPortalIsTold looks at what everybody is told of a portal, and has a notice of
// each verdict posted to a web hook by the cookbook's script. The script is told
// again while the portal lasts, and not while it runs; the notice comes once.
func TestPortalIsTold(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r, portal := newPortal(t, backend, 3, time.Hour) // the third is not probed, and works
		hook := startHook(t, r.lab)
		r.install("20-webhook", replaced(t, block(t, "HOOK="), "https://example.org/hook", "http://"+hook.address))
		notes := filepath.Join(r.dir, "notes")
		r.install("30-notes", `if [ "$ACTION" = portal ]; then
	echo "$MEMBER|$INTERFACE|$DEVICE|$ADDRESS|$FAMILY|$PORTAL_URL|$REASON|$REPEAT" >> `+notes+`
	[ "$MEMBER$REPEAT" != wan11 ] || sleep 2
fi
`)
		r.configure(replaced(t, portalMembers(t, 2, portal), "option portal_retry '30'", "option portal_retry '1'") +
			"config member 'wan3'\n\toption device 'vth3'\n\toption gateway '183.169.79.254'\n" +
			"config rule 'one'\n\toption dest_ip '203.0.113.10'\n\toption use_policy 'wan1'\n")
		r.must("apply")
		m := r.startMonitor()
		r.waitState("wan1", "portal")
		r.waitState("wan2", "portal")
		r.expectTold(m)
		line := func(i int, repeat string) string {
			return fmt.Sprintf("wan%d||vth%d|%s|ipv4|%s?lease=%d&token=0|status 302 instead of 204, redirected to %s|%s\n",
				i, i, r.lab.Uplink(i).Public, portal.URL("login"), i, portal.URL("login"), repeat)
		}
		// Those of wan1 take 2 s, in which others wait; so at most one waits.
		time.Sleep(6 * time.Second)
		text, err := os.ReadFile(notes)
		check(t, err)
		first, rest, _ := strings.Cut(string(text), line(1, "1"))
		if !strings.Contains(first, line(1, "")) || strings.Count(string(text), line(2, "")) != 1 {
			t.Errorf("the scripts were not told of both leases:\n%s", text)
		}
		if n := strings.Count(rest, line(1, "1")); n < 1 || n > 2 {
			t.Errorf("while each took 2 s, scripts were told again %d times within 6 s:\n%s", n+1, text)
		}
		if n := strings.Count(string(text), line(2, "1")); n < 1 || n > 5 {
			t.Errorf("of the other lease they were told %d times:\n%s", n, text)
		}
		var want []string
		for i := 1; i <= 2; i++ {
			want = append(want, fmt.Sprintf("wan%d (ipv4) is portal: status 302 instead of 204, redirected to %s", i, portal.URL("login")))
		}
		// A target that is silent instead is offline, and a portal again.
		check(t, r.lab.Blackhole(2))
		r.waitState("wan2", "offline")
		check(t, r.lab.Restore(2))
		r.waitState("wan2", "portal")
		want = append(want, want[1], fmt.Sprintf("wan2 (ipv4) is offline: no answer from %s", netlab.Server(1)))
		eventually(t, "all is posted", func() bool { return len(hook.texts()) >= len(want) })
		slices.Sort(want) // each is posted in the background
		got := hook.texts()
		slices.Sort(got)
		for i, text := range got {
			if i >= len(want) || !strings.HasPrefix(text, want[i]) {
				t.Errorf("the web hook was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				break
			}
		}
	})
}

// expectTold looks for the name of the state wherever a member is shown.
func (r *router) expectTold(m *netlab.Process) {
	r.t.Helper()
	if text := r.must("status"); !strings.Contains(text, "wan1    ipv4    portal  vth1") ||
		!strings.Contains(text, "wan1    ipv4    portal   ") || !strings.Contains(text, "status 302 instead of 204, redirected to http://") {
		r.t.Errorf("status does not name the portal:\n%s", text)
	}
	for _, member := range r.status().Members[:2] {
		if h := member.IPv4.Health; h.Online || !strings.Contains(h.PortalURL, "?lease=") || member.IPv4.Share != 0 {
			r.t.Errorf("status --json does not name the portal: %+v, %+v", member.IPv4, h)
		}
	}
	for _, metric := range []string{"portal", "up"} {
		if name := "loadbalance_member_" + metric + `{member="wan1",family="ipv4"} 1`; !strings.Contains(r.must("metrics"), name) {
			r.t.Errorf("no metric %s", name)
		}
	}
	if m.Log.Count("member 'wan1' (ipv4): portal: status 302 instead of 204") != 1 {
		r.t.Errorf("the log does not name the portal once")
	}
	if text := r.must("explain", "--src", "10.20.1.1", "--dst", "203.0.113.10"); !strings.Contains(text, "member 'wan1' is not online (portal): refused") {
		r.t.Errorf("explain does not name the portal:\n%s", text)
	}
}

// hook is a web hook in the World.
type hook struct {
	address string
	mu      sync.Mutex
	told    []string
}

func startHook(t *testing.T, lab *netlab.Lab) *hook {
	h := &hook{address: netlab.Server(2).String() + ":8083"}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var message struct{ Text string }
		err := json.NewDecoder(r.Body).Decode(&message)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, message.Text)
		if err != nil || r.Header.Get("Content-Type") != "application/json" {
			h.told = append(h.told, fmt.Sprint("not JSON: ", err, r.Header))
		}
	})}
	t.Cleanup(func() { server.Close() })
	check(t, lab.World.Do(func() error {
		listener, err := net.Listen("tcp4", h.address)
		if err == nil {
			go server.Serve(listener)
		}
		return err
	}))
	return h
}

func (h *hook) texts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.told)
}
