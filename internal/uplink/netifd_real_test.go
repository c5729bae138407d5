package uplink

import (
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

// TestRealNetifd reads what a real netifd answered for lines that were set up in
// every way, with the file network of that time.
func TestRealNetifd(t *testing.T) {
	tests := []struct {
		file, name, network string
		link                link
		address             string
		want                *Path
	}{
		{file: "static", name: "wan5", address: "10.105.0.2/24", want: &Path{Device: "wan5", Up: true, Gateway: addr("10.105.0.1"),
			Addresses: addrs("10.105.0.2"), Networks: networks("10.105.0.0/24", "10.105.0.2")}},
		{file: "dhcp", name: "wan5", address: "10.105.0.50/24", want: &Path{Device: "wan5", Up: true, Gateway: addr("10.105.0.1"),
			Addresses: addrs("10.105.0.50"), Networks: networks("10.105.0.0/24", "10.105.0.50"), DNS: addrs("203.0.113.1")}},
		{file: "dhcp-down", name: "wan5", want: &Path{Reason: "interface 'wan5' is down: it was switched off (`ifup wan5` brings it up)"}},
		{file: "ifdown", name: "wan3", want: &Path{Reason: "interface 'wan3' is down: it was switched off (`ifup wan3` brings it up)"}},
		{file: "auto0", name: "wan4", network: "\toption auto '0'\n",
			want: &Path{Reason: "interface 'wan4' is down: it has auto '0' in /etc/config/network (`ifup wan4` brings it up)"}},
		{file: "disabled", name: "wan4", network: "\toption disabled '1'\n",
			want: &Path{Reason: "interface 'wan4' is disabled in /etc/config/network"}},
		{file: "deleted", name: "wan5", network: "config interface 'wan6'\n",
			want: &Path{Reason: "interface 'wan5' does not exist in /etc/config/network"}},
		{file: "deleted", name: "wan5",
			want: &Path{Reason: "interface 'wan5' is in /etc/config/network, but netifd does not have it yet (`reload_config`)"}},
		{file: "linkdown", name: "wan5", link: link{up: true}, address: "10.105.0.2/24", want: &Path{Device: "wan5", Gateway: addr("10.105.0.1"),
			Addresses: addrs("10.105.0.2"), Networks: networks("10.105.0.0/24", "10.105.0.2"), Reason: "device 'wan5' has no link"}},
		{file: "none", name: "wan5", want: &Path{Device: "wan5", Reason: "no IPv4 address on 'wan5' (interface 'wan5' has proto 'none')"}},
		{file: "none", name: "wan5", link: link{up: true}, want: &Path{Device: "wan5", Reason: "device 'wan5' has no link"}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			text := "config interface '" + tt.name + "'\n" + tt.network
			if tt.file == "deleted" && tt.network != "" {
				text = tt.network
			}
			n := &netifd{snapshot: kernelWith(), interfaces: recorded(t, "real-"+tt.file), network: sections(t, text),
				members: []config.Member{{Name: "m", Interface: tt.name}}}
			n.links["wan5"] = link{up: true, running: true}
			if tt.link != (link{}) {
				n.links["wan5"] = tt.link
			}
			if tt.address != "" {
				n.addresses[0] = append(n.addresses[0], kernelAddress("wan5", tt.address))
			}
			expect(t, "IPv4", n.state().Members[0], Member{Name: "m", IPv4: tt.want})
		})
	}
}

func sections(t *testing.T, text string) map[string]uci.Section {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir, "network", text)
	return (&Netifd{ConfigDir: dir}).network()
}
