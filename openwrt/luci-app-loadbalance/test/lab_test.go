// Package luciapp tests the LuCI application: its pages in a headless Chromium,
// over a stand-in of LuCI's client runtime, before the real program on the router
// of a laboratory.
//
// With the sources of LuCI in a folder, the pages run over LuCI's own runtime
// instead: LUCI_SOURCES=FOLDER go test ./openwrt/luci-app-loadbalance/test
package luciapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"loadbalance/internal/netlab"
)

// The application's folder.
const appDir = ".."

var binary string // the program, built from this checkout

func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loadbalance-luci-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "loadbalance")
	build := exec.Command("go", "build", "-o", binary, "../../../cmd/loadbalance")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// router is the laboratory's router with the program, and what the pages meet
// there besides: netifd, UCI files and init scripts.
type router struct {
	t       *testing.T
	lab     *netlab.Lab
	dir     string
	env     []string
	monitor *netlab.Process
	calls   []string // of init scripts, as SCRIPT ACTION
	broken  bool     // the service cannot be restarted
}

// newRouter starts a laboratory with an interface per uplink and a LAN, and no
// member yet. The main table has their routes, as netifd installs them.
func newRouter(t *testing.T, uplinks int) *router {
	t.Helper()
	r := &router{t: t, lab: netlab.Start(t, netlab.Options{Uplinks: uplinks, Rate: "20mbit"}), dir: t.TempDir()}
	check(t, os.MkdirAll(r.configDir(), 0o755))
	network := "config interface 'loopback'\n\toption device 'lo'\n\toption proto 'static'\n\toption ipaddr '127.0.0.1/8'\n\n" +
		"config interface 'lan'\n\toption device 'lan'\n\toption proto 'static'\n\toption ipaddr '192.168.1.1/24'\n"
	for i := 1; i <= uplinks; i++ {
		u := r.lab.Uplink(i)
		network += fmt.Sprintf("\nconfig interface 'wan%d'\n\toption device '%s'\n\toption proto 'static'\n\toption ipaddr '%s'\n\toption gateway '%s'\n",
			i, u.Device, u.Address, u.Gateway)
	}
	r.write("network", network)
	r.write("firewall", "config zone\n\toption name 'lan'\n\tlist network 'lan'\n\nconfig zone\n\toption name 'wan'\n\toption masq '1'\n\tlist network 'wan3'\n")
	r.write("loadbalance", "config globals 'globals'\n\toption enabled '1'\n")
	r.write("luci", "config core 'main'\n")
	r.startNetifd()
	return r
}

func (r *router) configDir() string { return filepath.Join(r.dir, "config") }

func (r *router) write(name, text string) {
	r.t.Helper()
	check(r.t, netlab.WriteFile(filepath.Join(r.configDir(), name), []byte(text), 0o644))
}

// interfaces is what netifd says of its interfaces.
func (r *router) interfaces() map[string]any {
	list := []any{
		map[string]any{"interface": "loopback", "up": true, "proto": "static", "device": "lo", "l3_device": "lo"},
		map[string]any{"interface": "lan", "up": true, "proto": "static", "device": "lan", "l3_device": "lan"},
	}
	for i := 1; i <= r.lab.Uplinks(); i++ {
		u := r.lab.Uplink(i)
		list = append(list, map[string]any{
			"interface": fmt.Sprintf("wan%d", i), "up": true, "available": true, "autostart": true, "proto": "static",
			"device": u.Device, "l3_device": u.Device,
			"ipv4-address": []any{map[string]any{"address": u.Address.Addr(), "mask": u.Address.Bits()}},
			"route":        []any{map[string]any{"target": "0.0.0.0", "mask": 0, "nexthop": u.Gateway, "source": u.Address.Addr().String() + "/32"}},
		})
	}
	return map[string]any{"interface": list}
}

// startNetifd gives the program a ubus that answers as netifd would.
func (r *router) startNetifd() {
	r.t.Helper()
	dump, err := json.Marshal(r.interfaces())
	check(r.t, err, os.MkdirAll(filepath.Join(r.dir, "bin"), 0o755),
		netlab.WriteFile(filepath.Join(r.dir, "dump"), dump, 0o644),
		netlab.WriteFile(filepath.Join(r.dir, "bin", "ubus"), []byte("#!/bin/sh\ncat "+r.dir+"/dump\n"), 0o755))
	r.env = append(os.Environ(), "PATH="+filepath.Join(r.dir, "bin")+":"+os.Getenv("PATH"))
}

func (r *router) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append(args, "--config-dir", r.configDir(), "--run-dir", filepath.Join(r.dir, "run"),
		"--rt-tables", filepath.Join(r.dir, "rt_tables.d"), "--events-dir", filepath.Join(r.dir, "events"), "--iptables", "nft")...)
	cmd.Env = r.env
	return cmd
}

// call runs the program on the router with a standard input.
func (r *router) call(input io.Reader, args ...string) (out, messages string, err error) {
	cmd := r.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &stdout, &stderr
	if err = r.lab.Router.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	return stdout.String(), stderr.String(), err
}

// initScript does what the service's script does, and only remembers the calls
// of mwan3's.
func (r *router) initScript(name, action string) error {
	r.calls = append(r.calls, name+" "+action)
	if r.broken && name == "loadbalance" && action == "restart" {
		return errors.New("the script is broken")
	}
	if name != "loadbalance" || (action != "restart" && action != "reload") {
		return nil
	}
	_, messages, err := r.call(nil, "apply")
	if err != nil {
		err = fmt.Errorf("%w: %s", err, messages)
	}
	return errors.Join(err, r.superviseMonitor())
}

// superviseMonitor starts the monitor where the configuration wants one, as procd
// does.
func (r *router) superviseMonitor() error {
	_, _, err := r.call(nil, "monitor", "--wanted")
	if (err == nil) == (r.monitor != nil) {
		return nil
	}
	if r.monitor != nil {
		m := r.monitor
		r.monitor = nil
		return m.End(syscall.SIGTERM)
	}
	m, err := r.lab.Router.Background(r.command("monitor"))
	if err != nil {
		return err
	}
	r.monitor = m
	r.t.Cleanup(func() { _ = m.End(syscall.SIGTERM) }) // the test is over
	return nil
}

// shares counts connections of LAN clients by the line that they take. Without a
// server any one will do.
func (r *router) shares(count int, server string) map[string]int {
	traffic := netlab.Traffic{Count: count}
	if server != "" {
		traffic.Server = netip.MustParseAddrPort(server)
	}
	tally := r.lab.Connect(traffic)
	shares := map[string]int{}
	for line, n := range tally.ByUplink {
		shares[fmt.Sprintf("wan%d", line)] = n
	}
	return shares
}

// run runs a shell command on the router.
func (r *router) run(command string) (string, error) {
	out, err := r.lab.Router.Run("sh", "-c", command)
	return strings.TrimSpace(out), err
}
