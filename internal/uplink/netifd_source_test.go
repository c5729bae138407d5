package uplink

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/config"
)

// standInForUbus puts a program called ubus first on the PATH and returns a
// function that tells how often it was called, and with what.
func standInForUbus(t *testing.T, body string) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$*\" >>" + log + "\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(dir, "ubus"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		text, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
}

// A member's interface is called wan and lies on the device eth1; a device
// called wan is there as well, as on routers with a DSA switch.
func TestNetifdSource(t *testing.T) {
	file, err := filepath.Abs("testdata/netifd/dhcp.json")
	if err != nil {
		t.Fatal(err)
	}
	answer := "cat " + file
	const oneCall = "call network.interface dump\n"
	members := []config.Member{{Name: "a", Interface: "wan"}, {Name: "b", Interface: "wan"}}
	tests := map[string]struct {
		ubus    string
		members []config.Member
		device  string // of the first member
		failure string
		calls   string
	}{
		"netifd answers":        {ubus: answer, members: members, device: "eth1", calls: oneCall},
		"no member asks for it": {ubus: answer, members: []config.Member{{Name: "a", Device: "wan"}}, device: "wan"},
		"ubusd is not there":    {ubus: "echo 'Failed to connect to ubus' >&2; exit 255", members: members, device: "wan", calls: oneCall},
		"netifd is not there":   {ubus: "echo 'Command failed: Not found' >&2; exit 4", members: members, device: "wan", calls: oneCall},
		"netifd does not answer": {ubus: "echo 'Command failed: Request timed out' >&2; exit 7", members: members, calls: oneCall,
			failure: "ubus call network.interface dump: exit status 7: Command failed: Request timed out"},
		"netifd answers with noise": {ubus: "echo '{'", members: members, calls: oneCall,
			failure: "ubus call network.interface dump: unexpected end of JSON input"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			freshNamespace(t)
			cable(t, "eth1")
			cable(t, "wan")
			run(t, "ip addr add 192.0.2.7/24 dev eth1")
			calls := standInForUbus(t, tt.ubus)
			s, err := NetifdSource{Kernel: open(t)}.Read(tt.members)
			if got := calls(); got != tt.calls {
				t.Errorf("ubus was called with %q, want %q", got, tt.calls)
			}
			if tt.failure != "" {
				if err == nil || err.Error() != tt.failure {
					t.Fatalf("error %v, want %s", err, tt.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Members[0].IPv4.Device; got != tt.device {
				t.Errorf("device %q, want %q", got, tt.device)
			}
			if len(s.IPv4.Addresses) == 0 || len(s.IPv4.Routes) == 0 || !s.IPv4.Enabled {
				t.Errorf("the kernel's own state is missing: %s", inJSON(s.IPv4))
			}
		})
	}
}

func TestNetifdSourceWithoutUbus(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan")
	t.Setenv("PATH", t.TempDir())
	s, err := NetifdSource{Kernel: open(t)}.Read([]config.Member{{Name: "a", Interface: "wan"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Members[0].IPv4; got.Device != "wan" || !strings.HasPrefix(got.Reason, "no IPv4 address") {
		t.Errorf("got %s", inJSON(got))
	}
}
