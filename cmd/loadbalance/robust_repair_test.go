package main

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// damages are what may befall our objects. IPT stands for the back end's
// iptables, CHAINS for our chains, GATEWAY for the shared gateway and RUN for
// the run directory.
var damages = []struct{ name, command string }{
	{"one chain flushed", "IPT -F lb_hook"},
	{"cascade flushed", "IPT -F lb_policy_balanced"},
	{"all chains flushed", "for c in CHAINS; do IPT -F $c; done"},
	{"mangle flushed", "IPT -F"},
	{"all chains deleted", "IPT -F; IPT -X"},
	{"one chain deleted", "IPT -D PREROUTING -j lb_hook; IPT -F lb_out; IPT -F lb_hook; IPT -X lb_hook"},
	{"chain that is not ours by plan", "IPT -N lb_old; IPT -A lb_old -j lb_member_wan1; IPT -A lb_rules -g lb_old"},
	{"jump deleted", "IPT -D PREROUTING -j lb_hook"},
	{"jumps deleted", "IPT -D PREROUTING -j lb_hook; IPT -D OUTPUT ! -o lo -j lb_out"},
	{"jump doubled", "IPT -A PREROUTING -j lb_hook"},
	{"jump in another place", "IPT -D PREROUTING -j lb_hook; IPT -A FORWARD -j lb_hook"},
	{"jump to a member", "IPT -A INPUT -j lb_member_wan1"},
	{"rule inserted", "IPT -I lb_hook -j ACCEPT"},
	{"rule appended", "IPT -A lb_rules -j MARK --set-mark 0x1000000"},
	{"rule deleted", "IPT -D lb_hook 2"},
	{"rule of the cascade deleted", "IPT -D lb_policy_balanced 3"},
	{"rule replaced", "IPT -R lb_member_wan2 1 -j MARK --set-xmark 0x1000000/0x3f000000"},
	{"ip rule deleted", "ip rule del priority 9002"},
	{"ip rule of main deleted", "ip rule del priority 7000"},
	{"ip rules flushed", "ip rule flush; ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default"},
	{"ip rule of ours too many", "ip rule add priority 9150 fwmark 0x1000000/0x3f000000 lookup 302 protocol 108"},
	{"ip rule inverted", "ip rule del priority 9001; ip rule add not priority 9001 fwmark 0x1000000/0x3f000000 lookup 301 protocol 108"},
	{"table emptied", "ip route flush table 301"},
	{"all tables emptied", "for t in 301 302 303 361 362; do ip route flush table $t; done"},
	{"default route deleted", "ip route del default table 302"},
	{"default route to another device", "ip route replace default via GATEWAY dev vth1 onlink table 302 protocol 108"},
	{"route of another metric", "ip route add default via GATEWAY dev vth1 onlink table 302 metric 5 protocol 108"},
	{"better route of another metric", "ip route del default table 302; ip route add default via GATEWAY dev vth1 onlink table 302 metric 5 protocol 108"},
	{"route too many", "ip route add 198.51.100.0/24 dev vth1 table 301 protocol 108"},
	{"unreachable route gone", "ip route del unreachable default table 362"},
	{"set flushed", "ipset flush lb_local"},
	{"set entry deleted", "ipset del lb_local 10.20.0.0/16"},
	{"set entry added", "ipset add lb_local 203.0.113.0/24"},
	{"sets and chains destroyed", "IPT -F; IPT -X; ipset destroy lb_local"},
	{"set of another type", "IPT -F; IPT -X; ipset destroy lb_local; ipset create lb_local hash:ip"},
	{"set left by a killed run", "ipset create lb_tmp.new hash:net; ipset add lb_tmp.new 203.0.113.0/24"},
	{"set too many", "ipset create lb_old hash:net"},
	{"sysctl of a device", "echo 0 > /proc/sys/net/ipv4/conf/vth2/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/vth3/src_valid_mark"},
	{"sysctl of all", "echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 0 > /proc/sys/net/ipv4/conf/all/arp_announce"},
	{"run directory deleted", "rm -r RUN"},
	{"state damaged", "echo '{' > RUN/state.json; echo x > RUN/result.json"},
	{"state empty", "for f in RUN/*; do : > $f; done"},
	{"run directory deleted, chain flushed", "rm -r RUN; IPT -F lb_hook; IPT -F lb_policy_balanced"},
	{"everything at once", "rm -r RUN; IPT -F; IPT -X; ipset destroy lb_local; for t in 301 302 303; do ip route flush table $t; done; " +
		"ip rule flush; ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default"},
}

// TestRepairs damages what we own and expects the next apply to restore it.
func TestRepairs(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Campus, 3) + "config globals g\n\tlist bypass 198.51.100.0/24\n"
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 3}, config)
		before := r.dump()
		want := r.fresh(config)
		for _, damage := range damages {
			r.sh(strings.NewReplacer("IPT", "iptables-"+backend+" -t mangle", "RUN", r.runDir(),
				"CHAINS", strings.Join(ownChains(r), " "), "GATEWAY", r.lab.Uplink(1).Gateway.String()).Replace("set -e; " + damage.command))
			if plan := r.must("plan"); plan == "" && difference(want, r.dump().sorted()) != "" {
				t.Errorf("%s: plan does not see it", damage.name)
			}
			r.must("apply")
			r.expectApplied(damage.name, want)
			if t.Failed() {
				return // the next damage would show the same
			}
		}
		if tally := r.lab.Connect(netlab.Traffic{Count: 9}); tally.Failed > 0 {
			t.Errorf("connections: %v", tally.Err)
		}
		r.must("stop")
		r.expectSame("after stop", before, r.dump())
		r.expectNames(0)
	})
}

// ownChains are the names of our chains in mangle.
func ownChains(r *router) []string {
	var chains []string
	for name := range parseSaved(r.sh("iptables-" + r.backend + "-save -t mangle"))["*mangle"] {
		if strings.HasPrefix(name, "lb_") {
			chains = append(chains, name)
		}
	}
	return chains
}

// TestNamesFileIsRepaired deletes the file of table names.
func TestNamesFileIsRepaired(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
	r.must("apply")
	r.sh("rm -r " + r.dir + "/rt_tables.d")
	r.must("apply")
	r.expectNames(2)
}

// TestKilledApply kills an apply at random moments; the next one finishes the
// work. The two configurations differ in every kind of object.
func TestKilledApply(t *testing.T) {
	const (
		kills = 50
		seed  = 20 // logged: a failure can be run again with the same moments
	)
	eachBackendAlone(t, func(t *testing.T, backend string) {
		configs := [2]string{
			members(netlab.Campus, 5),
			members(netlab.Campus, 4, "option weight '2'") + "config policy other\n\tlist use_member wan1\n" +
				"config globals g\n\tlist bypass 198.51.100.0/24\n\toption router_traffic 0\n" + manyBypassed(100),
		}
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5}, configs[0])
		before := r.dump()
		// Both are applied once without pause between them, so that members
		// have the same indices in both.
		var want [2]dump
		for i := range configs {
			want[i] = r.fresh(configs[i])
		}
		r.configure(configs[0])
		began := time.Now()
		r.must("apply")
		normal := time.Since(began)
		moments := rand.New(rand.NewPCG(seed, seed))
		t.Logf("seed %d, an apply takes %v", seed, normal)
		for i := 1; i <= kills && !t.Failed(); i++ {
			moment := time.Duration(moments.Int64N(int64(normal)))
			what := fmt.Sprintf("kill %d, after %v", i, moment)
			r.configure(configs[i%2])
			r.kill(moment, "apply")
			r.must("apply")
			r.expectApplied(what, want[i%2])
		}
		for i := 1; i <= kills/5 && !t.Failed(); i++ {
			moment := time.Duration(moments.Int64N(int64(normal)))
			r.kill(moment, "stop")
			r.must("stop")
			r.expectSame(fmt.Sprintf("stop killed after %v", moment), before, r.dump())
			r.must("apply")
		}
	})
}

// kill starts the program and kills it after a while.
func (r *router) kill(after time.Duration, args ...string) {
	r.t.Helper()
	cmd := exec.Command(binary, r.args(args...)...)
	if err := r.lab.Router.Start(cmd); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(after) // what is tested, no condition to wait for
	if err := cmd.Process.Kill(); err != nil {
		r.t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed, or that it was faster
}

// manyBypassed are options that fill the local set.
func manyBypassed(count int) string {
	var text strings.Builder
	for i := range count {
		fmt.Fprintf(&text, "\tlist bypass '198.18.%d.0/24'\n", 100+i)
	}
	return text.String()
}
