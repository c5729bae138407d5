package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"loadbalance/internal/netlab"
	"loadbalance/internal/uplink"
)

// nobody is a user without any rights.
const nobody = 65534

// spellingsUplinks is where the members of the spellings stand.
func spellingsUplinks() uplink.State {
	path := func(device, gateway, prefix string) *uplink.Path {
		p := netip.MustParsePrefix(prefix)
		return &uplink.Path{Device: device, Up: true, Gateway: netip.MustParseAddr(gateway), Addresses: []netip.Addr{p.Addr()},
			Networks: []uplink.Network{{Prefix: p.Masked(), Source: p.Addr()}}}
	}
	return uplink.State{
		Members: []uplink.Member{
			{Name: "wan1", IPv4: path("eth1", "192.0.2.1", "192.0.2.2/24")},
			{Name: "wan2", IPv4: path("eth2", "198.51.100.1", "198.51.100.2/24")},
		},
		IPv4: uplink.Main{Enabled: true, Addresses: []uplink.Address{
			{Device: "eth1", Prefix: netip.MustParsePrefix("192.0.2.2/24")},
			{Device: "eth2", Prefix: netip.MustParsePrefix("198.51.100.2/24")},
		}},
	}
}

// unprivileged is a folder that everybody can read, with the program, a file
// of uplinks and a folder for the configuration.
func unprivileged(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "loadbalance-spellings-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(binary)
	check(t, err)
	uplinks, err := json.Marshal(spellingsUplinks())
	check(t, err, os.Chmod(dir, 0o755),
		netlab.WriteFile(filepath.Join(dir, "loadbalance"), program, 0o755),
		os.WriteFile(filepath.Join(dir, "uplinks.json"), uplinks, 0o644),
		os.Mkdir(filepath.Join(dir, "config"), 0o755))
	return dir
}

// callAsNobody runs the program without rights, and with a PATH, "" for one in
// which there is no other program.
func callAsNobody(t *testing.T, dir, path string, args ...string) (out, messages string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "loadbalance"), append(args, "--config-dir", filepath.Join(dir, "config"))...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// TestSpellings plans every spelling of one configuration, as an unprivileged
// user.
func TestSpellings(t *testing.T) {
	files, err := filepath.Glob("../../internal/uci/testdata/spellings/*")
	check(t, err)
	if len(files) < 30 {
		t.Fatalf("only %d spellings", len(files))
	}
	dir := unprivileged(t)
	want := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err, os.WriteFile(filepath.Join(dir, "config", "loadbalance"), text, 0o644))
		name := filepath.Base(file)
		out, messages, code := callAsNobody(t, dir, "", "plan", "--uplinks", filepath.Join(dir, "uplinks.json"))
		if code != 0 || messages != "" {
			t.Errorf("%s: exit code %d, messages:\n%s", name, code, messages)
		}
		if want == "" {
			want = out
		}
		if out != want {
			t.Errorf("%s gives another plan:\n%s\nwant\n%s", name, out, want)
		}
		if out, messages, code := callAsNobody(t, dir, "", "check", "--config-only"); code != 0 || out+messages != "" {
			t.Errorf("%s: check --config-only: exit code %d:\n%s%s", name, code, out, messages)
		}
	}
	// What the spellings say has come into the plan.
	for _, part := range []string{"*mangle\n", "-i eth1 ", "-i eth2 ", "via 192.0.2.1 dev eth1", "via 198.51.100.1 dev eth2",
		"ipset add lb_local 10.0.0.0/8", "ipset add lb_local 192.168.0.0/16"} {
		if !strings.Contains(want, part) {
			t.Errorf("the plan lacks %q:\n%s", part, want)
		}
	}
	if one, two := strings.Count(want, "-g lb_member_wan1\n"), strings.Count(want, "-g lb_member_wan2\n"); one < 2*two {
		t.Errorf("the plan deals %d times to wan1 and %d times to wan2, want three to one", one, two)
	}
}

// TestUnprivilegedErrors lets an unprivileged user meet errors.
func TestUnprivilegedErrors(t *testing.T) {
	dir := unprivileged(t)
	file := filepath.Join(dir, "config", "loadbalance")
	check(t, os.WriteFile(file, []byte("config member wan1\n\toption weight 0\n"), 0o644))
	if _, messages, code := callAsNobody(t, dir, "", "check", "--config-only"); code != 2 || !strings.HasPrefix(messages, "loadbalance:2: ") {
		t.Errorf("faulty file: exit code %d, messages:\n%s", code, messages)
	}
	check(t, os.WriteFile(file, []byte("config member wan1\n"), 0o644))
	_, messages, code := callAsNobody(t, dir, "", "plan", "--uplinks", filepath.Join(dir, "none.json"))
	if code == 0 || !strings.Contains(messages, "none.json") {
		t.Errorf("no file of uplinks: exit code %d, messages:\n%s", code, messages)
	}
	// What needs root says so and does nothing.
	for _, command := range []string{"apply", "plan", "stop"} {
		out, messages, code := callAsNobody(t, dir, os.Getenv("PATH"), command, "--run-dir", filepath.Join(dir, "run"))
		if code != 1 || out != "" || !strings.Contains(messages, "root") && !strings.Contains(messages, "permi") {
			t.Errorf("%s: exit code %d, output %q, messages:\n%s", command, code, out, messages)
		}
	}
}
