package advice

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestReadTCPLoose reads it in a network namespace of its own.
func TestReadTCPLoose(t *testing.T) {
	netlab.FreshNamespace(t)
	if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if loose, err := ReadTCPLoose(); loose != "0" || err != nil {
		t.Errorf("nf_conntrack_tcp_loose %q, %v", loose, err)
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
