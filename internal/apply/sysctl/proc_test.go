package sysctl

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
	"loadbalance/internal/rundir"
)

func run(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestKernel(t *testing.T) {
	netlab.FreshNamespace(t)
	run(t, "ip link add eth0.100 type veth peer name far")
	const path = "net/ipv4/conf/eth0.100/rp_filter"
	const printed = "net.ipv4.conf.eth0/100.rp_filter"
	run(t, "sysctl -w "+printed+"=1")
	records := map[string]rundir.Sysctl{}
	commands := apply(t, &records, Proc{}, want(path, "2", "net/ipv4/conf/gone/rp_filter", "2"), false)
	if len(commands) != 1 || commands[0] != "sysctl -w "+printed+"=2" {
		t.Errorf("commands %q", commands)
	}
	if got := run(t, "sysctl -n "+printed); got != "2" {
		t.Errorf("the kernel has %s, want 2", got)
	}
	if got := strings.Join(apply(t, &records, Proc{}, nil, false), "\n"); got != "sysctl -w "+printed+"=1" {
		t.Errorf("restored with %q", got)
	}
	if got := run(t, "sysctl -n "+printed); got != "1" {
		t.Errorf("the kernel has %s, want 1", got)
	}
	apply(t, &records, Proc{}, want(path, "2"), false)
	run(t, "ip link del eth0.100")
	apply(t, &records, Proc{}, nil, false)
}

func TestErrorsNameTheSetting(t *testing.T) {
	netlab.FreshNamespace(t)
	if err := (Proc{}).Write("net/ipv4/conf/wan1/rp_filter", "2"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "net.ipv4.conf.wan1.rp_filter") {
		t.Errorf("no such device: %v", err)
	}
	if err := (Proc{}).Write("net/ipv4/conf/all/rp_filter", "x"); err == nil || !strings.Contains(err.Error(), "net.ipv4.conf.all.rp_filter") {
		t.Errorf("a bad value: %v", err)
	}
	for _, path := range []string{"net/../../../etc/passwd", "/etc/passwd", ""} {
		if _, err := (Proc{}).Read(path); err == nil {
			t.Errorf("%q was read", path)
		}
		if err := (Proc{}).Write(path, "x"); err == nil {
			t.Errorf("%q was written", path)
		}
	}
}
