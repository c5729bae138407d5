package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

const domainRules = `
config ipset 'films'
	list domain 'films.example'

config rule 'to_films'
	option ipset 'films'
	option use_policy 'wan2'
`

// startDNSMasq runs a dnsmasq on the router until the test ends.
func (r *router) startDNSMasq(args ...string) {
	r.t.Helper()
	// -C /dev/null: without the machine's own configuration.
	cmd := exec.Command("dnsmasq", append([]string{"--keep-in-foreground", "-C", "/dev/null", "--user=root", "--pid-file=",
		"--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1"}, args...)...)
	if err := r.lab.Router.Start(cmd); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cmd.Process.Kill() // an error means that it has ended
		cmd.Wait()         // it was killed
	})
}

// lookUp asks the dnsmasq on the router until it answers.
func (r *router) lookUp(name string) netip.Addr {
	r.t.Helper()
	resolver := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (c net.Conn, err error) {
		err = r.lab.Router.Do(func() error {
			c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:53")))
			return err
		})
		return c, err
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		addresses, err := resolver.LookupNetIP(ctx, "ip4", name)
		if err == nil {
			return addresses[0]
		}
		if ctx.Err() != nil {
			r.t.Fatalf("%s: %v", name, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestDomainsFillSets lets a real dnsmasq enter what it is asked for.
func TestDomainsFillSets(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 3) + domainRules
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, config)
		server := netip.AddrPortFrom(netlab.Server(77), 80)
		_, messages, code := r.call("apply")
		file := filepath.Join(r.dnsmasqDir(), "loadbalance.conf")
		if code != 0 || !strings.Contains(messages, file+" has changed: please restart") {
			t.Fatalf("exit code %d, messages %q", code, messages)
		}
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 30, Server: server}), 0, 10, 10, 10)

		r.startDNSMasq("--port=5353", "--address=/films.example/"+server.Addr().String())
		r.startDNSMasq("--server=127.0.0.1#5353", "--conf-dir="+r.dnsmasqDir())
		if got := r.lookUp("www.films.example"); got != server.Addr() {
			t.Fatalf("dnsmasq answers %s", got)
		}
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 12, Server: server}), 0, 0, 12, 0)
		if again := r.must("apply"); again != "" {
			t.Errorf("a second apply changes %s", again)
		}
		r.configure(strings.Replace(config, "list domain", "list entry '203.0.113.200'\n\tlist domain", 1))
		if _, messages, _ := r.call("apply"); messages != "" {
			t.Errorf("dnsmasq has to be restarted again: %s", messages)
		}
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 12, Server: server}), 0, 0, 12, 0)
		r.must("stop")
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s after stop: %v", file, err)
		}
	})
}

// TestDNSMasqWithoutIPSets: OpenWrt's plain dnsmasq would not start with our
// file. The set goes on with its other entries.
func TestDNSMasqWithoutIPSets(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'Compile time options: IPv6 no-conntrack no-ipset no-nftset no-auth'\n"
	if err := os.WriteFile(filepath.Join(dir, "dnsmasq"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(members(netlab.Separate, 3)+domainRules, "list domain", "list entry '203.0.113.30'\n\tlist domain", 1)
	r := newRouter(t, "nft", netlab.Options{Uplinks: 3}, config)
	r.must("apply") // with a dnsmasq that can
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const refused = "ipset 'films': option 'domain' has no effect: this dnsmasq cannot fill ipsets (on OpenWrt, the package dnsmasq-full can)"
	for _, command := range []string{"apply", "check", "plan"} {
		if _, messages, code := r.call(command); code != 0 || strings.Count(messages, refused) != 1 {
			t.Errorf("%s: exit code %d, messages %q", command, code, messages)
		}
	}
	if status := r.must("status"); !strings.Contains(status, refused) {
		t.Errorf("status: %s", status)
	}
	if _, err := os.Stat(filepath.Join(r.dnsmasqDir(), "loadbalance.conf")); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	tally := r.lab.Connect(netlab.Traffic{Count: 6, Server: netip.AddrPortFrom(netlab.Server(30), 80)})
	expectShares(t, tally, 0, 0, 6, 0)
}
