package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// netifd stands in for netifd: a program ubus that prints a recorded answer.
type netifd struct {
	t   *testing.T
	dir string
}

// startNetifd gives the router a netifd.
func (r *router) startNetifd() *netifd {
	r.t.Helper()
	n := &netifd{t: r.t, dir: r.t.TempDir()}
	n.write("ubus", fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 'call network.interface dump' ] || exit 2\ncat %s/dump\n", n.dir))
	r.env = append(os.Environ(), "PATH="+n.dir+":"+os.Getenv("PATH"))
	return n
}

func (n *netifd) write(name, text string) {
	n.t.Helper()
	fresh := filepath.Join(n.dir, name+".new") // the old one may be running
	check(n.t, netlab.WriteFile(fresh, []byte(text), 0o755), os.Rename(fresh, filepath.Join(n.dir, name)))
}

// answer lets netifd have these interfaces from now on.
func (n *netifd) answer(interfaces ...string) {
	n.t.Helper()
	n.write("dump", `{"interface": [`+strings.Join(interfaces, ",")+`]}`)
}

// onUplink is an interface that is up on an uplink of the laboratory. Its
// default route is one that netifd knows but did not set.
func onUplink(name string, u netlab.Uplink) string {
	return fmt.Sprintf(`{"interface": "%s", "up": true, "available": true, "autostart": true, "l3_device": "%s", "device": "%s",
		"ipv4-address": [{"address": "%s", "mask": %d}], "route": [],
		"inactive": {"route": [{"target": "0.0.0.0", "mask": 0, "nexthop": "%s", "source": "%s/32"}]}}`,
		name, u.Device, u.Device, u.Address.Addr(), u.Address.Bits(), u.Gateway, u.Address.Addr())
}

func isDown(name string) string {
	return fmt.Sprintf(`{"interface": "%s", "up": false, "pending": true, "available": true, "autostart": true}`, name)
}

// TestInterfacesAreFollowed gives netifd's interfaces other names than their
// devices have, and no default route to main.
func TestInterfacesAreFollowed(t *testing.T) {
	const config = "config member 'dsl'\nconfig member 'lte'\n\toption interface 'modem'\nconfig member 'fibre'\n\toption device 'wan3'\n\toption gateway '%s'\n"
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, NoMainDefaults: true}, "")
		n := r.startNetifd()
		r.configure(fmt.Sprintf(config, r.lab.Uplink(3).Gateway))
		steps := []struct {
			what    string
			dump    []string
			shares  []int // index 0: over no uplink
			message string
		}{
			{"both interfaces up", []string{onUplink("dsl", r.lab.Uplink(1)), onUplink("modem", r.lab.Uplink(2))}, []int{0, 20, 20, 20}, ""},
			{"one coming up", []string{isDown("dsl"), onUplink("modem", r.lab.Uplink(2))}, []int{0, 0, 30, 30},
				"member 'dsl' is left out: interface 'dsl' is still coming up"},
			{"moved to the other's device", []string{onUplink("dsl", r.lab.Uplink(2)), isDown("modem")}, []int{0, 0, 30, 30},
				"member 'lte' is left out: interface 'modem' is still coming up"},
			{"renamed", []string{onUplink("vdsl", r.lab.Uplink(1)), onUplink("modem", r.lab.Uplink(2))}, []int{0, 0, 30, 30},
				"member 'dsl' is left out: interface 'dsl' does not exist in /etc/config/network, or is disabled there"},
			{"as at first", []string{onUplink("dsl", r.lab.Uplink(1)), onUplink("modem", r.lab.Uplink(2))}, []int{0, 20, 20, 20}, ""},
		}
		for _, step := range steps {
			n.answer(step.dump...)
			_, messages, code := r.call("apply")
			if code != 0 || strings.TrimSpace(messages) != step.message {
				t.Errorf("%s: exit code %d, messages %q, want %q", step.what, code, messages, step.message)
			}
			expectShares(t, r.lab.Connect(netlab.Traffic{Count: 60}), step.shares...)
			if again := r.must("apply"); again != "" {
				t.Errorf("%s: a second apply changes %s", step.what, again)
			}
		}
	})
}

// TestAnswerThatIsNone: what netifd said last goes on counting, also for a run of
// its own.
func TestAnswerThatIsNone(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, "config member 'dsl'\nconfig member 'lte'\n")
	n := r.startNetifd()
	n.answer(onUplink("dsl", r.lab.Uplink(1)), onUplink("lte", r.lab.Uplink(2)))
	r.must("apply")
	before := r.dump()
	n.write("dump", "nonsense")
	if _, messages, code := r.call("apply"); code != 0 || !strings.Contains(messages, "netifd does not answer: what it said ") {
		t.Errorf("exit code %d, messages %q", code, messages)
	}
	r.expectSame("an answer that is none", before, r.dump())
	r.sh("ip link set wan2 down")
	if _, messages, code := r.call("apply"); code != 0 || !strings.Contains(messages, "member 'lte' is left out: device 'wan2' is down") {
		t.Errorf("after the link went: exit code %d, messages %q", code, messages)
	}
	expectShares(t, r.lab.Connect(netlab.Traffic{Count: 20}), 0, 20, 0)
}

// TestNewAddressAndGateway changes the address and the gateway of an interface
// and then deletes it.
func TestNewAddressAndGateway(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, "config member 'dsl'\nconfig member 'lte'\n")
		n := r.startNetifd()
		first, second := onUplink("dsl", r.lab.Uplink(1)), onUplink("lte", r.lab.Uplink(2))
		n.answer(first, second)
		r.must("apply")

		u := r.lab.Uplink(2)
		r.sh("ip address del " + u.Address.String() + " dev " + u.Device + "; ip address add 198.18.2.77/24 dev " + u.Device)
		moved := strings.NewReplacer(u.Address.Addr().String(), "198.18.2.77", u.Gateway.String(), "198.18.2.9").Replace(second)
		n.answer(first, moved)
		r.must("apply")
		if routes := r.sh("ip route show table 302"); !strings.Contains(routes, "default via 198.18.2.9 dev wan2") {
			t.Errorf("table 302 after the change:\n%s", routes)
		}
		if rules := r.sh("ip -N rule show priority 9502"); !strings.Contains(rules, "from 198.18.2.77 lookup 302") ||
			strings.Contains(rules, u.Address.Addr().String()) {
			t.Errorf("rules after the change:\n%s", rules)
		}

		n.answer(first)
		_, messages, code := r.call("apply")
		if code != 0 || !strings.Contains(messages, "member 'lte' is left out: interface 'lte' does not exist in /etc/config/network, or is disabled there") {
			t.Errorf("deleted: exit code %d, messages %q", code, messages)
		}
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 30}), 0, 30, 0)
		if again := r.must("apply"); again != "" {
			t.Errorf("a second apply changes %s", again)
		}
	})
}

// TestResolversCatchDNSOnly: a provider says which line its DNS servers are asked
// over, and of no other traffic to these addresses.
func TestResolversCatchDNSOnly(t *testing.T) {
	const dotPort = 853
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true, NAT66: true},
			"config member 'dsl'\nconfig member 'lte'\nconfig rule 'web'\n\toption proto 'tcp'\n\toption dest_port '80'\n\toption family 'any'\n\toption use_policy 'dsl'\n")
		n := r.startNetifd()
		// The second provider names two servers, and what it has no business with.
		named := `"dns-server": ["` + netlab.Server(1).String() + `", "` + netlab.Server6(1).String() + `", "127.0.0.1", "::1", "224.0.0.251", "` +
			netlab.RouterLAN.String() + `", "` + r.lab.LANHosts()[0].String() + `", "` + r.lab.Uplink(1).Address.Addr().String() + `"], "route"`
		n.answer(onUplink("dsl", r.lab.Uplink(1)), strings.Replace(onUplink("lte", r.lab.Uplink(2)), `"route"`, named, 1))
		r.must("apply")
		for _, address := range []netip.Addr{netlab.Server(1), netlab.Server6(1)} {
			for _, query := range []struct {
				network string
				port    uint16
			}{{"udp", netlab.DNSPort}, {"tcp", netlab.DNSPort}} {
				expectOver(t, r.lab.Connect(netlab.Traffic{Network: query.network, Server: server(address, query.port), Count: 10}), 2)
			}
			watch, err := r.lab.Watch()
			check(t, err)
			defer watch.Close()
			r.lab.Connect(netlab.Traffic{Server: server(address, dotPort), Count: 10}) // refused: nothing listens
			packets, err := watch.Packets()
			check(t, err)
			for _, p := range packets {
				if p.Line != 2 {
					t.Errorf("DNS over TLS takes another line: %+v", p)
				}
			}
			if len(packets) != 10 {
				t.Errorf("%d connections to port %d, want 10", len(packets), dotPort)
			}
			expectOver(t, r.lab.Connect(netlab.Traffic{Server: server(address, netlab.HTTPPort), Count: 10}), 1)
			expectShares(t, r.lab.Connect(netlab.Traffic{Server: server(address, netlab.HTTPSPort), Count: 20}), 0, 10, 10)
			expectShares(t, r.lab.Connect(netlab.Traffic{Network: "udp", Server: server(address, netlab.HTTPPort), Count: 20}), 0, 10, 10)
		}
		rules := r.saved(family.IPv4, "mangle") + r.saved(family.IPv6, "mangle")
		if count := strings.Count(rules, "--dports 53"); count != 4 { // two for each server, which is no address of the LAN or the router
			t.Errorf("%d rules for DNS servers, want 4:\n%s", count, rules)
		}
		if out := r.must("explain", "--src", r.lab.LANHosts()[0].String(), "--dst", netlab.Server(1).String(), "--proto", "udp", "--dport", "53"); !strings.Contains(out, "is a DNS server of 'lte'") {
			t.Errorf("explain of a query:\n%s", out)
		}
		if out := r.must("explain", "--src", r.lab.LANHosts()[0].String(), "--dst", netlab.Server(1).String(), "--proto", "tcp", "--dport", "8000"); !strings.Contains(out, "no rule matches") {
			t.Errorf("explain of other traffic to a DNS server:\n%s", out)
		}
	})
}

// TestRealAnswers: the log and status tell apart why netifd has a line down, by
// what a real one answered.
func TestRealAnswers(t *testing.T) {
	const network = "config interface 'wan1'\n\nconfig interface 'wan3'\n\nconfig interface 'wan4'\n%s\nconfig interface 'wan5'\n"
	r := newRouter(t, "nft", netlab.Options{Uplinks: 5}, "config member 'wan1'\n\nconfig member 'wan3'\n\nconfig member 'wan4'\n\nconfig member 'wan5'\n")
	n := r.startNetifd()
	steps := []struct{ file, option, member, reason string }{
		{"static", "", "", ""},
		{"dhcp", "", "", ""},
		{"dhcp-down", "", "wan5", "interface 'wan5' is down: it was switched off (`ifup wan5` brings it up)"},
		{"ifdown", "", "wan3", "interface 'wan3' is down: it was switched off (`ifup wan3` brings it up)"},
		{"auto0", "\toption auto '0'\n", "wan4", "interface 'wan4' is down: it has auto '0' in /etc/config/network (`ifup wan4` brings it up)"},
		{"disabled", "\toption disabled '1'\n", "wan4", "interface 'wan4' is disabled in /etc/config/network"},
		{"deleted", "", "wan5", "interface 'wan5' does not exist in /etc/config/network"},
		{"none", "", "wan5", "no IPv4 address on 'wan5' (interface 'wan5' has proto 'none')"},
		{"linkdown", "", "wan5", "device 'wan5' has no link"},
	}
	for _, step := range steps {
		text := fmt.Sprintf(network, step.option)
		switch step.file {
		case "deleted":
			text = strings.ReplaceAll(text, "config interface 'wan5'\n", "")
		case "none":
			r.sh("ip addr flush dev wan5")
		case "linkdown":
			check(t, r.lab.CutCable(5))
		}
		check(t, netlab.WriteFile(filepath.Join(r.dir, "config", "network"), []byte(text), 0o644))
		answer, err := os.ReadFile("../../internal/uplink/testdata/netifd/real-" + step.file + ".json")
		check(t, err)
		n.write("dump", string(answer))
		_, messages, code := r.call("apply")
		if left := strings.Contains(messages, "left out"); code != 0 || left != (step.reason != "") || !strings.Contains(messages, step.reason) {
			t.Errorf("%s: exit code %d, messages %q, want %q", step.file, code, messages, step.reason)
		}
		for _, m := range r.status().Members {
			if down := m.IPv4.State == "down"; down != (m.Name == step.member) || down && m.IPv4.Reason != step.reason {
				t.Errorf("%s: %s is %s: %q, want %q", step.file, m.Name, m.IPv4.State, m.IPv4.Reason, step.reason)
			}
		}
	}
}
