package lifecycle

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// device is a laboratory's router with the user space of an OpenWrt: a root
// file system of its own with busybox and stand-ins. What its scripts do to
// files and to the network stays in there.
type device struct {
	t    *testing.T
	lab  *netlab.Lab
	root string
	jobs chan func()
	log  *systemLog

	mu sync.Mutex
	up map[int]bool // by uplink, as netifd has it
}

// newDevice starts a router with a firewall and without the package. Tests with
// one run at the same time: waiting is most of what they do, and none measures
// time.
func newDevice(t *testing.T, options netlab.Options) *device {
	t.Helper()
	t.Parallel()
	// The firewall of the device translates, not that of the laboratory.
	options.NAT = netlab.NoNAT
	lab := netlab.Start(t, options)
	// Short: the path of the log's socket has 107 bytes at most.
	root, err := os.MkdirTemp("", "openwrt-root-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	d := &device{t: t, lab: lab, root: root, jobs: make(chan func()), up: map[int]bool{}}
	check(t, buildRoot(root, options.Backend))
	d.log = openLog(t, filepath.Join(root, "dev/log"))
	d.enter()
	t.Cleanup(d.endInstances)
	d.clearRules(options.Backend)
	d.write("etc/config/firewall", "config defaults\n\toption input 'ACCEPT'\n")
	d.write("etc/config/network", "config interface 'wan1'\n\toption proto 'dhcp'\n")
	d.write("etc/fw4.nft", ruleset(lab))
	for i := 1; i <= lab.Uplinks(); i++ {
		d.up[i] = true
	}
	d.netifd()
	d.sh("/etc/init.d/firewall start; reload_config")
	return d
}

// enter starts the thread that lives in the device: in the router's network
// namespace, and in a mount namespace in which /proc and /dev/null lie below
// the root. Processes that it starts are there as well. It ends with the test,
// and the mounts with it and its processes.
func (d *device) enter() {
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread is of no use to others
		err := d.mount()
		entered <- err
		for job := range d.jobs {
			job()
		}
	}()
	check(d.t, <-entered)
	d.t.Cleanup(func() { close(d.jobs) })
}

func (d *device) mount() error {
	network, err := unix.Open(d.lab.Router.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(network)
	if err := unix.Setns(network, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the router: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	null := filepath.Join(d.root, "dev/null")
	if err := os.WriteFile(null, nil, 0o666); err != nil {
		return err
	}
	for _, name := range []string{"/proc", "/dev/null"} {
		if err := unix.Mount(name, filepath.Join(d.root, name), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", name, err)
		}
	}
	return nil
}

// clearRules removes the laboratory's own rules: the device brings a firewall.
func (d *device) clearRules(backend string) {
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"nat", "filter"} {
			d.sh(fmt.Sprintf("%s-%s -t %s -F; %[1]s-%[2]s -t %[3]s -X", name, backend, table))
		}
	}
	d.sh("nft flush ruleset")
}

// ruleset is the part of firewall4's that matters here: the wan zone.
func ruleset(lab *netlab.Lab) string {
	var devices []string
	for i := 1; i <= lab.Uplinks(); i++ {
		devices = append(devices, lab.UplinkDevice(i))
	}
	wan := strings.Join(devices, ", ")
	return fmt.Sprintf(`table inet fw4
delete table inet fw4
table inet fw4 {
	chain forward {
		type filter hook forward priority filter;
		oifname { %s } meta nfproto ipv4 ct state invalid counter drop
	}
	chain srcnat {
		type nat hook postrouting priority srcnat;
		oifname { %s } meta nfproto ipv4 masquerade
	}
}
`, wan, wan)
}

// netifd writes what netifd would answer now.
func (d *device) netifd() {
	d.mu.Lock()
	defer d.mu.Unlock()
	interfaces := []map[string]any{netifdInterface("lan", netlab.LANDevice, true,
		netip.PrefixFrom(netlab.RouterLAN, netlab.LANPrefix.Bits()), netip.Addr{}, 0)}
	for i := 1; i <= d.lab.Uplinks(); i++ {
		u := d.lab.Uplink(i)
		interfaces = append(interfaces, netifdInterface(name(i), u.Device, d.up[i], u.Address, u.Gateway, i))
	}
	text, err := json.Marshal(map[string]any{"interface": interfaces})
	check(d.t, err)
	d.write("var/run/netifd.json", string(text))
}

// netifdInterface is one interface as `ubus call network.interface dump` has
// it.
func netifdInterface(name, device string, up bool, address netip.Prefix, gateway netip.Addr, metric int) map[string]any {
	entry := map[string]any{
		"interface": name, "up": up, "pending": false, "available": true, "autostart": true, "dynamic": false,
		"proto": "static", "device": device, "data": map[string]any{},
	}
	if !up {
		return entry
	}
	routes := []any{}
	if gateway.IsValid() {
		routes = append(routes, map[string]any{"target": "0.0.0.0", "mask": 0, "nexthop": gateway, "source": address})
	}
	none := []any{}
	for key, value := range map[string]any{
		"uptime": 60, "l3_device": device, "metric": metric, "dns_metric": 0, "delegation": true,
		"ipv4-address": []any{map[string]any{"address": address.Addr(), "mask": address.Bits()}},
		"ipv6-address": none, "ipv6-prefix": none, "ipv6-prefix-assignment": none,
		"route": routes, "dns-server": none, "dns-search": none, "neighbors": none,
		"inactive": map[string]any{"ipv4-address": none, "ipv6-address": none, "route": none,
			"dns-server": none, "dns-search": none, "neighbors": none},
	} {
		entry[key] = value
	}
	return entry
}

// name is the interface, and the member, of uplink i.
func name(i int) string { return fmt.Sprintf("wan%d", i) }

// call runs a shell command on the device and returns its output and messages
// together, and its exit code. Processes that it leaves in the background are
// not waited for.
func (d *device) call(command string, env ...string) (output string, code int) {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + path}, env...)
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: d.root}
	out, err := os.CreateTemp(d.root, "output-")
	check(d.t, err)
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	started := make(chan error)
	d.jobs <- func() { started <- cmd.Start() }
	check(d.t, <-started)
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		d.t.Error(err)
	}
	text, err := os.ReadFile(out.Name())
	check(d.t, err)
	return string(text), cmd.ProcessState.ExitCode()
}

// sh runs a shell command on the device that must succeed, and returns its
// output.
func (d *device) sh(command string, env ...string) string {
	d.t.Helper()
	output, code := d.call(command, env...)
	if code != 0 {
		d.t.Fatalf("%s: exit code %d\n%s", command, code, output)
	}
	return output
}

// quiet runs a shell command on the device that must succeed and print nothing.
func (d *device) quiet(command string, env ...string) {
	d.t.Helper()
	if output := d.sh(command, env...); output != "" {
		d.t.Errorf("%s printed:\n%s", command, output)
	}
}

// file is the path of a file of the device, as the test sees it.
func (d *device) file(name string) string { return filepath.Join(d.root, name) }

func (d *device) write(name, text string) {
	check(d.t, os.MkdirAll(filepath.Dir(d.file(name)), 0o755))
	// Replaced at once, as uci and netifd do: others may be reading it.
	check(d.t, netlab.WriteFile(d.file(name)+".written", []byte(text), 0o644))
	check(d.t, os.Rename(d.file(name)+".written", d.file(name)))
}

// files lists the files of the folders that a package may fill, with modes.
func (d *device) files() string {
	list := d.sh("find /etc /lib /sbin /usr/share /usr/lib/opkg /usr/sbin ! -type d -exec ls -l {} + | awk '{ print $1, $9 }'")
	return sorted(list)
}

// dump is the kernel's state, settings and nftables tables included.
func (d *device) dump() string {
	d.t.Helper()
	sysctls, err := d.lab.Router.Run("sh", "-c", "grep -r . /proc/sys/net/ipv4/conf 2> /dev/null | sort; nft list tables")
	check(d.t, err)
	return d.rules() + sysctls
}

// rules is the kernel's state as far as it can be recognised when the run
// directory was lost. Link-local addresses are left out: the kernel makes and
// removes them with the link, in its own time.
func (d *device) rules() string {
	d.t.Helper()
	text, err := d.lab.Dump()
	check(d.t, err)
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.Contains(line, "fe80::") || strings.Contains(line, "ff00::")
	})
	return strings.Join(lines, "\n")
}

// expectDump compares the kernel's state with an earlier one.
func (d *device) expectDump(when, want string) {
	d.t.Helper()
	d.expectSame(when, want, d.dump())
}

func (d *device) expectSame(when, want, got string) {
	d.t.Helper()
	if sorted(got) != sorted(want) {
		d.t.Errorf("%s the kernel differs:%s", when, difference(want, got))
	}
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func difference(want, got string) string {
	before, after := strings.Split(want, "\n"), strings.Split(got, "\n")
	var text strings.Builder
	for _, line := range before {
		if !slices.Contains(after, line) {
			text.WriteString("\n  - " + line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			text.WriteString("\n  + " + line)
		}
	}
	return text.String()
}

// inPlan reports whether the kernel is as the configuration wants it.
func (d *device) inPlan() bool {
	output, code := d.call("loadbalance plan 2> /dev/null")
	return output == "" && code == 0
}

// expectPlan waits until the kernel is as the configuration wants it: hooks
// work in the background.
func (d *device) expectPlan(when string) {
	d.t.Helper()
	if !holds(d.inPlan) {
		d.t.Fatalf("%s the kernel never became what the plan wants; missing:\n%s\nlog:\n%s", when, d.sh("loadbalance plan"), d.log.text())
	}
}

// holds polls until a condition holds, or for twenty seconds: far longer than
// any of them needs on a slow machine.
func holds(condition func() bool) bool {
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// check fails the test on an error of the rig.
func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
