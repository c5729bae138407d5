package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// Ports of the targets that the laboratory does not have itself.
const (
	resolverPort = 5353
	portalPort   = 8081
)

// methods are the ways to probe; uplink i is probed by the one at i-1.
var methods = []struct{ name, options string }{
	{"ping", ""},
	{"arp", ""},
	{"tcp", ""},
	{"dns", fmt.Sprintf("\toption track_port '%d'\n", resolverPort)},
	{"http", fmt.Sprintf("\toption track_url 'http://portal.example:%d/generate_204'\n", portalPort)},
}

// methodsConfig has a member for each method. A verdict takes 0.8 s: an answer is
// in time on a busy machine, too.
func methodsConfig() string {
	config := ""
	for i, m := range methods {
		targets := "\tlist track_ip '203.0.113.1'\n\tlist track_ip '2001:db8:ffff::1'\n"
		if m.name == "arp" {
			targets = "\tlist track_ip 'gateway'\n"
		}
		config += fmt.Sprintf("config member 'wan%d'\n\toption device 'wan%d'\n\toption track_method '%s'\n", i+1, i+1, m.name) +
			targets + m.options +
			"\toption interval '100ms'\n\toption timeout '500ms'\n\toption down '3'\n\toption up '3'\n"
	}
	return config
}

// TestMethods has each way to probe find that its line died and that it is back,
// in both families, and http a captive portal.
func TestMethods(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: len(methods), IPv6: true}, methodsConfig())
	portal := startTargets(t, r.lab)
	r.must("apply")
	m := r.startMonitor()
	for i := range methods {
		r.waitAnswers(i + 1)
	}
	for i, method := range methods {
		line := i + 1
		fault, repair := r.lab.Blackhole, r.lab.Restore
		if method.name == "arp" {
			fault, repair = r.silenceGateway, r.restoreGateway
		}
		check(t, fault(line))
		r.waitBoth(line, "offline")
		check(t, repair(line))
		r.waitBoth(line, "active")
		for other := line + 1; other <= len(methods); other++ {
			if m.Log.Count(fmt.Sprintf("'wan%d'", other), "offline") > 0 {
				t.Errorf("wan%d was taken out together with wan%d", other, line)
			}
		}
	}
	portal.Store(http.StatusOK)
	r.waitBoth(len(methods), "portal")
	portal.Store(http.StatusNoContent)
	r.waitBoth(len(methods), "active")
}

// startTargets starts a resolver and a web server in the World, which answers
// with the status that is returned.
func startTargets(t *testing.T, lab *netlab.Lab) (portal *atomic.Int64) {
	t.Helper()
	portal = &atomic.Int64{}
	portal.Store(http.StatusNoContent)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != fmt.Sprintf("portal.example:%d", portalPort) || r.URL.Path != "/generate_204" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(int(portal.Load()))
	})}
	t.Cleanup(func() { web.Close() })
	for _, address := range []string{"203.0.113.1", "2001:db8:ffff::1"} {
		check(t, lab.World.Do(func() error {
			listener, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(portalPort)))
			if err != nil {
				return err
			}
			go web.Serve(listener)
			resolver, err := net.ListenPacket("udp", net.JoinHostPort(address, fmt.Sprint(resolverPort)))
			if err != nil {
				return err
			}
			t.Cleanup(func() { resolver.Close() })
			go resolve(resolver)
			return nil
		}))
	}
	return portal
}

// resolve refuses every DNS query, which is an answer, too.
func resolve(conn net.PacketConn) {
	query := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(query)
		if err != nil {
			return
		}
		refuse(query[:n])
		_, _ = conn.WriteTo(query[:n], from) // a lost answer is a miss
	}
}

// refuse makes the answer to a DNS query of it.
func refuse(query []byte) {
	const response, refused = 0x80, 5
	query[2] |= response
	query[3] = refused
}

// silenceGateway has a gateway answer neither ARP nor neighbour discovery.
func (r *router) silenceGateway(line int) error { return r.gatewayAnswers(line, "8", "-I") }

func (r *router) restoreGateway(line int) error { return r.gatewayAnswers(line, "0", "-D") }

func (r *router) gatewayAnswers(line int, arpIgnore, operation string) error {
	access := r.lab.Access(line)
	if err := access.Sysctl("net/ipv4/conf/all/arp_ignore", arpIgnore); err != nil {
		return err
	}
	_, err := access.Run("ip6tables-nft", operation, "INPUT", "-p", "icmpv6", "--icmpv6-type", "neighbour-solicitation", "-j", "DROP")
	return err
}

// eachFamily returns what the status says of a member in both families.
func (r *router) eachFamily(line int) []*status.Family {
	r.t.Helper()
	for _, m := range r.status().Members {
		if m.Name == fmt.Sprintf("wan%d", line) {
			return []*status.Family{m.IPv4, m.IPv6}
		}
	}
	r.t.Fatalf("no member wan%d", line)
	return nil
}

func (r *router) waitBoth(line int, state string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("wan%d is %s in both families", line, state), func() bool {
		families := r.eachFamily(line)
		return families[0].State == state && families[1].State == state
	})
}

// waitAnswers waits until a line has answered in both families.
func (r *router) waitAnswers(line int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("wan%d answers in both families", line), func() bool {
		for _, f := range r.eachFamily(line) {
			if f.Health == nil || f.Health.Hits == 0 {
				return false
			}
		}
		return true
	})
}

// TestLinesWithPrefixOnly has two lines with a delegated prefix and no IPv6
// address of their own. Each is probed from an address in its own prefix, as its
// provider drops all others.
func TestLinesWithPrefixOnly(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2, IPv6: true}, "")
	r.configure(strings.ReplaceAll(fullMembers(r.lab), "\tlist prefix6", "\tlist track_ip '2001:db8:ffff::1'\n\tlist prefix6"))
	for i := 1; i <= 2; i++ {
		u := r.lab.Uplink(i)
		next, _, _ := strings.Cut(strings.Fields(r.sh("ip -6 -o addr show dev " + u.Device + " scope link"))[3], "/")
		r.sh(fmt.Sprintf("ip -6 addr del %s dev %s", u.Address6, u.Device))
		_, err := r.lab.Access(i).Run("ip", "-6", "route", "replace", u.Delegated.String(), "via", next, "dev", u.Device)
		check(t, err)
	}
	r.must("apply")
	r.startMonitor()
	for i := 1; i <= 2; i++ {
		eventually(t, fmt.Sprintf("wan%d answers", i), func() bool {
			health := r.eachFamily(i)[1].Health
			return health != nil && health.Hits > 0
		})
	}
	r.expectNoSpoofed()
}

// TestSilentProbesAreForgotten: otherwise those of a dead line fill the
// connection table in an outage, and look like users' connections.
func TestSilentProbesAreForgotten(t *testing.T) {
	// 32 attempts are open at a time, and a few may be ending.
	const line, rounds, most = 1, 80, 40
	config := members(netlab.Separate, 2, "list track_ip '203.0.113.1'", "list track_ip '2001:db8:ffff::1'",
		"option track_method 'tcp'", "option interval '50ms'", "option timeout '100ms'", "option down '3'")
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2, IPv6: true}, config)
	r.must("apply")
	r.startMonitor()
	for i := 1; i <= 2; i++ {
		r.waitAnswers(i)
	}
	check(t, r.lab.Blackhole(line))
	eventually(t, "80 probes were lost in each family", func() bool {
		families := r.eachFamily(line)
		return families[0].Health.Misses >= rounds && families[1].Health.Misses >= rounds
	})
	for _, f := range family.All {
		entries := r.entries(f, func(e conntrack.Entry) bool {
			return e.Opening && e.Mark&markMask == memberMark(line) && e.Original.DestinationPort == netlab.HTTPSPort
		})
		if len(entries) == 0 || len(entries) > most {
			t.Errorf("%s: %d entries of unanswered probes, want 1 to %d", f, len(entries), most)
		}
	}
}
