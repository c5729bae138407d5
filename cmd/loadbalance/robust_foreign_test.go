package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// foreign gives the router what other programs might have there. Some of it
// stands where ours will stand: in our range of priorities, in our tables, in
// the built-in chains.
func (r *router) foreign() {
	r.t.Helper()
	ipt, ip6t := "iptables-"+r.backend, "ip6tables-"+r.backend
	commands := []string{
		ipt + " -t mangle -N vpn_mark",
		ipt + " -t mangle -A vpn_mark -p udp --dport 7 -j MARK --set-xmark 0x80000/0xff0000",
		ipt + " -t mangle -A vpn_mark -m mark --mark 0x80000/0xff0000 -j CONNMARK --save-mark --nfmask 0xff0000 --ctmask 0xff0000",
		ipt + " -t mangle -A PREROUTING -j vpn_mark",
		ipt + " -t mangle -A OUTPUT -m comment --comment 'not -j lb_out' -j vpn_mark",
		ipt + " -t mangle -A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu",
		ipt + " -t nat -N lb_other", // in another table the name is not ours
		ipt + " -t nat -A lb_other -j RETURN",
		ipt + " -t nat -A PREROUTING -p tcp --dport 2222 -j lb_other",
		ipt + " -N blocked",
		ipt + " -A blocked -j DROP",
		ipt + " -A FORWARD -s 10.20.99.99 -j blocked",
		ip6t + " -t mangle -N vpn_mark",
		ip6t + " -t mangle -A PREROUTING -j vpn_mark",
		ip6t + " -A FORWARD -s fd00::99 -j DROP",
		"ipset create streaming hash:net",
		"ipset add streaming 203.0.113.99",
		"ipset create lbx hash:ip timeout 600",
		"ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup 52",
		"ip rule add priority 6001 from 10.20.77.0/24 lookup 301 protocol 99",
		"ip rule add priority 9001 fwmark 0x1000000/0x3f000000 to 198.51.100.77 lookup 52 protocol 99",
		"ip rule add priority 9990 to 192.0.2.200 unreachable",
		"ip rule add priority 20000 from 10.20.78.0/24 lookup 52 protocol 108", // our number, but not our range
		"ip -6 rule add priority 9001 fwmark 0x80000/0xff0000 lookup 52 protocol 99",
		"ip route add 198.51.100.52 via " + r.lab.Uplink(1).Gateway.String() + " dev " + r.lab.UplinkDevice(1) + " onlink table 52",
		"ip route add 198.51.100.53 dev lan table 301 protocol 99",
		"ip route add unreachable 198.51.100.54 table 361",
		"ip route add default dev lan metric 4000 table 302 protocol static",
		"ip -6 route add 2001:db8:52::/64 dev lan table 301 protocol 99",
	}
	r.sh(strings.Join(commands, "\n"))
}

// TestNoTrace compares the kernel before the first apply with that after the
// stop, and everything of other programs while we run.
func TestNoTrace(t *testing.T) {
	cases := []struct {
		name    string
		options netlab.Options
		foreign bool
		lost    bool // the run directory, between apply and stop
	}{
		{"separate", netlab.Options{Uplinks: 3}, false, false},
		{"campus with others' objects", netlab.Options{Topology: netlab.Campus, Uplinks: 3}, true, false},
		{"run directory lost", netlab.Options{Topology: netlab.Campus, Uplinks: 3}, true, true},
		{"strict reverse path filter", netlab.Options{Topology: netlab.Campus, Uplinks: 3, RPFilter: 1}, false, false},
		{"strict reverse path filter, run directory lost", netlab.Options{Topology: netlab.Campus, Uplinks: 3, RPFilter: 1}, false, true},
		{"dual stack", netlab.Options{Uplinks: 2, IPv6: true}, true, false},
		{"dual stack, run directory lost", netlab.Options{Uplinks: 2, IPv6: true}, false, true},
		{"twins", netlab.Options{Topology: netlab.Twins}, false, true},
		{"no default route in main", netlab.Options{Topology: netlab.P2P, Uplinks: 2, NoMainDefaults: true}, false, false},
	}
	eachBackend(t, func(t *testing.T, backend string) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				uplinks := max(c.options.Uplinks, 2)
				config := members(c.options.Topology, uplinks)
				r := newRouter(t, backend, c.options, config)
				if c.foreign {
					r.foreign()
				}
				before := r.dump()
				r.must("apply")
				r.expectForeign("apply", before)
				r.expectNames(uplinks)
				r.configure(members(c.options.Topology, uplinks-1, "option weight '3'") + "config globals g\n\tlist bypass '198.51.100.0/24'\n")
				r.must("apply")
				r.expectForeign("re-apply", before)
				if tally := r.lab.Connect(netlab.Traffic{Count: 10}); tally.Failed > 0 {
					t.Errorf("connections: %v", tally.Err)
				}
				if c.lost {
					r.forget()
				}
				r.must("stop")
				r.expectSame("after stop", before, r.dump())
				r.expectNames(0)
				r.must("stop")
				r.expectSame("after a second stop", before, r.dump())
			})
		}
	})
}

// expectForeign fails the test unless all that was there before still is, in
// the same order: no line has gone, except settings that we may change.
func (r *router) expectForeign(what string, before dump) {
	r.t.Helper()
	now := r.dump()
	for command, text := range before {
		if strings.HasPrefix(command, "grep") {
			continue
		}
		rest := strings.Split(now[command], "\n")
		for _, line := range strings.Split(text, "\n") {
			if line == "" {
				continue
			}
			i := 0
			for i < len(rest) && rest[i] != line {
				i++
			}
			if i == len(rest) {
				r.t.Errorf("%s: %s: lost or moved: %s", what, command, line)
				continue
			}
			rest = rest[i+1:]
		}
	}
}

// expectNames fails the test unless the file of table names names so many
// tables; with 0 there must be no file.
func (r *router) expectNames(tables int) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "rt_tables.d", "loadbalance.conf"))
	if tables == 0 {
		if !os.IsNotExist(err) {
			r.t.Errorf("the file of table names is still there: %v\n%s", err, text)
		}
		return
	}
	if err != nil {
		r.t.Error(err)
	}
	if n := countLines(string(text), "30"); n != tables {
		r.t.Errorf("%d table names, want %d:\n%s", n, tables, text)
	}
}

// TestForeignMarks sends connections that another program marks: its bits are
// saved and restored beside ours.
func TestForeignMarks(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		r.foreign()
		r.must("apply")
		flows, tally := r.lab.Open(netlab.Traffic{Network: "udp", Count: 10, Server: server(netlab.Server(1), netlab.EchoPort)})
		defer flows.Close()
		if tally.Failed > 0 {
			t.Fatalf("connections: %v", tally.Err)
		}
		for range 2 {
			marks := connmarks(r)
			if marks[0x1080000] != 5 || marks[0x2080000] != 5 || len(marks) != 2 {
				t.Errorf("connections by mark: %v, want 5 of 0x1080000 and of 0x2080000", hexKeys(marks))
			}
			r.configure(members(netlab.Separate, 2, "option weight '2'") + "config policy p\n\tlist use_member wan2\n")
			r.must("apply")
			if failed, err := flows.Check(5 * time.Second); failed > 0 {
				t.Errorf("%d connections do not survive the apply: %v", failed, err)
			}
		}
	})
}

// TestPBRMarks: connections that pbr marks and routes by rules behind ours are
// dealt out as all others, and keep its bits.
func TestPBRMarks(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		mangle := "iptables-" + backend + " -t mangle "
		r.sh("ip route add unreachable default table 256; ip rule add priority 29998 fwmark 0x10000/0xff0000 lookup 256")
		r.sh(mangle + "-N PBR_PREROUTING && " + mangle + "-A PREROUTING -m mark --mark 0/0xff0000 -j PBR_PREROUTING && " +
			mangle + "-A PBR_PREROUTING -s 10.20.0.0/16 -j MARK --set-xmark 0x10000/0xff0000")
		r.must("apply")
		r.sh(mangle + "-A POSTROUTING -o wan+ -p tcp --syn -m mark --mark 0x10000/0xff0000 -m comment --comment kept")
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 40}))
		if n := r.seen("mangle", "kept"); n != 40 {
			t.Errorf("%d of 40 connections have pbr's mark", n)
		}
		if _, messages, code := r.call("check"); code != 0 || messages != "" {
			t.Errorf("check: exit code %d, %q", code, messages)
		}
	})
}

// TestNFTablesTable looks at the table behind iptables-nft, which iptables-nft
// creates and never deletes.
func TestNFTablesTable(t *testing.T) {
	both := func(r *router) [2]bool { return [2]bool{r.nftMangle(family.IPv4), r.nftMangle(family.IPv6)} }
	options := netlab.Options{Uplinks: 2, IPv6: true}
	t.Run("created by us", func(t *testing.T) {
		r := newRouter(t, "nft", options, members(netlab.Separate, 2))
		if both(r) != [2]bool{} {
			t.Fatal("the laboratory has a table mangle")
		}
		r.must("apply")
		if both(r) != [2]bool{true, true} {
			t.Fatal("apply has created no table mangle")
		}
		r.must("apply")
		r.must("stop")
		if both(r) != [2]bool{} {
			t.Errorf("after stop there is a table mangle (IPv4, IPv6): %v", both(r))
		}
	})
	t.Run("there before us", func(t *testing.T) {
		r := newRouter(t, "nft", options, members(netlab.Separate, 2))
		r.sh("iptables-nft -t mangle -N x && iptables-nft -t mangle -X x")
		r.must("apply")
		r.must("stop")
		if both(r) != [2]bool{true, false} {
			t.Errorf("after stop there is a table mangle (IPv4, IPv6): %v, want only the one that was there", both(r))
		}
	})
	t.Run("there since the last stop", func(t *testing.T) {
		r := newRouter(t, "nft", options, members(netlab.Separate, 2))
		r.must("apply")
		r.must("stop")
		r.sh("iptables-nft -t mangle -N x && iptables-nft -t mangle -X x")
		r.must("apply")
		r.must("stop")
		if both(r) != [2]bool{true, false} {
			t.Errorf("after stop there is a table mangle (IPv4, IPv6): %v, want only the one that was there", both(r))
		}
	})
	t.Run("used by another since", func(t *testing.T) {
		r := newRouter(t, "nft", options, members(netlab.Separate, 2))
		r.must("apply")
		r.sh("iptables-nft -t mangle -A FORWARD -j RETURN; ip6tables-nft -t mangle -P INPUT DROP")
		r.must("stop")
		if both(r) != [2]bool{true, true} {
			t.Errorf("after stop there is a table mangle (IPv4, IPv6): %v, want both: others use them", both(r))
		}
		r.sh("iptables-nft -t mangle -C FORWARD -j RETURN")
	})
}
