package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/explain"
	"loadbalance/internal/netlab"
)

// explanation is what explain prints with --json.
type explanation struct {
	Packet struct {
		Source string `json:"src"`
		Own    bool   `json:"own"`
		In     string `json:"in"`
	} `json:"packet"`
	Outcomes []explain.Outcome `json:"outcomes"`
	Without  *explain.Without  `json:"without"`
}

func (r *router) explain(args ...string) explanation {
	r.t.Helper()
	var e explanation
	if err := json.Unmarshal([]byte(r.must(append([]string{"explain", "--json"}, args...)...)), &e); err != nil {
		r.t.Fatal(err)
	}
	return e
}

// members are the members of the outcomes, in order.
func (e explanation) members() string {
	var names []string
	for _, o := range e.Outcomes {
		names = append(names, o.Member)
	}
	return strings.Join(names, " ")
}

const explainRules = `
config rule 'bank'
	option dest_ip '203.0.113.10'
	option proto 'tcp'
	option dest_port '443'
	option use_policy 'wan2'

config rule 'video'
	option dest_ip '203.0.113.50'
	option sticky '1'
`

// TestExplainCommand asks about packets of all directions and then sends them.
func TestExplainCommand(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3)+explainRules)
		host := r.lab.LANHosts()[0].String()
		if _, messages, code := r.call("explain", "--src", host, "--dst", "203.0.113.10"); code != 0 || !strings.Contains(messages, "not running") {
			t.Errorf("before apply: exit code %d, %s", code, messages)
		}
		r.must("apply")
		t.Run("text", func(t *testing.T) {
			out := r.must("explain", "--src", host, "--dst", "203.0.113.10", "--proto", "tcp", "--dport", "443", "--without", "wan2")
			for _, want := range []string{"coming in on 'lan'", "rule 'bank' (loadbalance:11) matches: 'wan2'", "gets the mark 0x2000000",
				"ip rule 9002: fwmark 0x2000000/0x3f000000 lookup 302 (wan2): default via 198.18.2.1 dev wan2", "without 'wan2':", "is not online"} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in:\n%s", want, out)
				}
			}
		})
		t.Run("own", func(t *testing.T) { r.explainOwn(t) })
		t.Run("incoming", func(t *testing.T) { r.explainIncoming(t) })
		t.Run("known", func(t *testing.T) { r.explainKnown(t) })
		t.Run("sticky", func(t *testing.T) { r.explainSticky(t) })
		t.Run("from a file", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "uplinks.json")
			if err := os.WriteFile(file, []byte(r.must("status", "--json")), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := r.explain("--src", host, "--dst", "203.0.113.9", "--proto", "udp", "--uplinks", file).members(); got != "wan1 wan2 wan3" {
				t.Errorf("members %s", got)
			}
		})
	})
}

// explainOwn is about the router's own connections.
func (r *router) explainOwn(t *testing.T) {
	e := r.explain("--dst", "203.0.113.9", "--proto", "tcp", "--dport", "80")
	if !e.Packet.Own || e.Packet.Source != "198.18.1.2" || e.members() != "wan1 wan2 wan3" {
		t.Errorf("got %+v", e)
	}
	server := netlab.Traffic{From: r.lab.Router, Count: 30}
	if tally := r.lab.Connect(server); tally.Failed > 0 || tally.ByUplink[1] != 10 || tally.ByUplink[2] != 10 || tally.ByUplink[3] != 10 {
		t.Errorf("connections of the router: %v", tally)
	}
	if got := r.explain("--src", "198.18.3.2", "--dst", "203.0.113.9", "--proto", "tcp").members(); got != "wan3" {
		t.Errorf("a socket bound to an address: %s", got)
	}
}

// explainIncoming is about connections from outside.
func (r *router) explainIncoming(t *testing.T) {
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("wan%d", i)
		e := r.explain("--src", "203.0.113.1", "--dst", r.lab.Uplink(i).Public.String(), "--proto", "tcp", "--dport", "7", "--in", name)
		if len(e.Outcomes) != 1 || e.Outcomes[0].Reply == nil {
			t.Fatalf("got %+v", e)
		}
		if reply := e.Outcomes[0].Reply; reply.Table != 300+i || reply.Hops[0].Device != name {
			t.Errorf("%s: the answer goes %+v", name, reply)
		}
		if tally := r.lab.Inbound(i, netlab.Traffic{Count: 5}); tally.Failed > 0 {
			t.Errorf("%s: %v", name, tally)
		}
	}
}

// explainKnown is about a connection that exists.
func (r *router) explainKnown(t *testing.T) {
	host := r.lab.LANHosts()[2]
	// Nobody else asks this server: masquerading keeps the port where it can.
	flow, err := r.lab.Dial(netlab.Traffic{Sources: r.lab.LANHosts()[2:3], Server: server(netlab.Server(7), netlab.HTTPPort)})
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("wan%d", flow.Uplink)
	e := r.explain("--src", host.String(), "--dst", "203.0.113.7", "--proto", "tcp", "--dport", "80",
		"--sport", fmt.Sprint(flow.Seen.Port()), "--without", name)
	if len(e.Outcomes) != 1 || e.Outcomes[0].Draw != explain.ByConnection || e.Outcomes[0].Member != name {
		t.Errorf("got %+v, want %s", e, name)
	}
	if e.Without == nil || !e.Without.Changed || len(e.Without.Outcomes) != 2 {
		t.Errorf("without %s: %+v", name, e.Without)
	}
	answer := r.explain("--src", "203.0.113.7", "--dst", r.lab.Uplink(flow.Uplink).Public.String(), "--proto", "tcp", "--sport", "80",
		"--dport", fmt.Sprint(flow.Seen.Port()), "--in", name)
	if len(answer.Outcomes) != 1 || answer.Outcomes[0].Member != name || len(answer.Outcomes[0].Route.Hops) != 1 ||
		answer.Outcomes[0].Route.Hops[0].Device != netlab.LANDevice {
		t.Errorf("its answer: %+v", answer)
	}
	flow.Close() // with a reset
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		e = r.explain("--src", host.String(), "--dst", "203.0.113.7", "--proto", "tcp", "--dport", "80",
			"--sport", fmt.Sprint(flow.Seen.Port()))
		if len(e.Outcomes) == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after the connection's end: %+v", e)
		}
	}
}

// explainSticky is about a source that a sticky rule has seen.
func (r *router) explainSticky(t *testing.T) {
	host := r.lab.LANHosts()[3].String()
	args := []string{"--src", host, "--dst", "203.0.113.50", "--proto", "tcp", "--dport", "80"}
	if got := r.explain(args...).members(); got != "wan1 wan2 wan3" {
		t.Errorf("before the first connection: %s", got)
	}
	flow, err := r.lab.Dial(netlab.Traffic{Sources: r.lab.LANHosts()[3:4], Server: netip.AddrPortFrom(netlab.Server(50), 80)})
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	e := r.explain(args...)
	if want := fmt.Sprintf("wan%d", flow.Uplink); e.members() != want || e.Outcomes[0].Draw != explain.BySticky {
		t.Errorf("got %+v, want %s", e, want)
	}
}

// TestExplainUsage gives descriptions that make no sense.
func TestExplainUsage(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 1}, members(netlab.Separate, 1))
	for _, test := range []struct {
		args string
		want string
	}{
		{"", "--dst"},
		{"--src 10.20.1.1", "--dst"},
		{"--dst he!re", "--dst"},
		{"--src fd00::1 --dst 203.0.113.1", "same family"},
		{"--dst 203.0.113.1 --dport 80", "--proto"},
		{"--dst 203.0.113.1 --proto tpc", "tpc"},
		{"--dst 203.0.113.1 --proto tcp --dport 70000", "70000"},
		{"--dst 203.0.113.1 --proto icmp --dport 80", "has no ports"},
		{"--dst 203.0.113.1 --proto udp --icmp-type 8", "has no ICMP types"},
		{"--dst 203.0.113.1 --mac 02:00", "--mac"},
		{"--dst 203.0.113.1 --dscp 64", "--dscp"},
		{"--dst 203.0.113.1 --mark 0x1/0xff", "--mark"},
		{"--dst 203.0.113.1 --without wan9", "wan9"},
	} {
		out, messages, code := r.call(append([]string{"explain"}, strings.Fields(test.args)...)...)
		if code != 2 || out != "" || !strings.Contains(messages, test.want) {
			t.Errorf("explain %s: exit code %d, %q, want 2 and %q\n%s", test.args, code, messages, test.want, out)
		}
	}
}
