package advice

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
)

// TestReadKernel reads rules and routes from a network namespace of its own.
func TestReadKernel(t *testing.T) {
	netlab.FreshNamespace(t)
	for _, command := range []string{
		"ip link set lo up",
		"ip rule add priority 2001 fwmark 0x100/0x3f00 lookup 1",
		"ip rule add priority 6100 fwmark 0x7 lookup 301",
		"ip rule add priority 9001 fwmark 0x100/0x3f00 lookup 301 protocol 108",
		"ip -6 rule add priority 6200 lookup 1000",
		"ip route add unreachable 192.0.2.0/24 table 301",
		"ip route add unreachable 198.51.100.0/24 table 301 protocol 108",
		"ip route add unreachable 198.51.100.0/24",
		"ip route add unreachable 203.0.113.0/24 table 252",
		"ip route add unreachable 203.0.113.0/24 table 253",
		"ip route add unreachable 203.0.113.0/24 table 256",
		"ip -6 route add unreachable 2001:db8::/32 table 1000",
	} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if loose, err := ReadTCPLoose(); loose != "0" || err != nil {
		t.Errorf("nf_conntrack_tcp_loose %q, %v", loose, err)
	}
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	rules, err := ReadRules(h)
	if err != nil {
		t.Fatal(err)
	}
	wantRules := []Rule{
		{Table: 255},
		{Priority: 2001, Mark: 0x100, Mask: 0x3f00, Table: 1},
		{Priority: 6100, Mark: 7, Mask: 0xffffffff, Table: 301},
		{Priority: 32766, Table: 254},
		{Priority: 32767, Table: 253},
		{Family: family.IPv6, Table: 255},
		{Family: family.IPv6, Priority: 6200, Table: 1000},
		{Family: family.IPv6, Priority: 32766, Table: 254},
	}
	if !reflect.DeepEqual(rules, wantRules) {
		t.Errorf("rules:\n got %+v\nwant %+v", rules, wantRules)
	}
	routes, err := ReadRoutes(h)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel's own tables, 253 to 255, are nobody's.
	wantRoutes := []Route{{Table: 252}, {Table: 256}, {Table: 301}, {Family: family.IPv6, Table: 1000}}
	slices.SortFunc(routes, func(a, b Route) int { return a.Table - b.Table })
	if !reflect.DeepEqual(routes, wantRoutes) {
		t.Errorf("routes:\n got %+v\nwant %+v", routes, wantRoutes)
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configDir := filepath.Join(dir, "config") + "/"
	files, err := ReadFiles(configDir)
	if err != nil || files.Firewall != nil || files.Network != nil || files.MWAN3Link != "" {
		t.Errorf("without files: %+v, error %v", files, err)
	}
	write("config/firewall", "config zone\n")
	write("config/network", "config 'interface\n")
	write("rc.d/K89mwan3", "")
	write("rc.d/S19mwan3-helper", "")
	write("rc.d/S1mwan3", "")
	write("rc.d/Sxxmwan3", "")
	files, err = ReadFiles(configDir)
	if err == nil || !strings.HasPrefix(err.Error(), "network:1: syntax error: ") {
		t.Errorf("error %v, want that of the file network", err)
	}
	if files.Firewall == nil || len(files.Firewall.Sections) != 1 || files.MWAN3Link != "" {
		t.Errorf("got %+v", files)
	}
	write("rc.d/S19mwan3", "")
	write("config/network", "config interface wan\n")
	files, err = ReadFiles(configDir)
	if err != nil || files.MWAN3Link != filepath.Join(dir, "rc.d", "S19mwan3") || files.Network == nil {
		t.Errorf("got %+v, error %v", files, err)
	}
}
