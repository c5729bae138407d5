package apply

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// TestCommandsArePasted into a shell: the programs get the names as they are, and
// nothing that stands in a name runs.
func TestCommandsArePasted(t *testing.T) {
	const device, set = "a;>b*$(>c)", "lb_`>d`\n>e;'\""
	cfg := readConfig(t, "config member 'wan1'\nconfig member 'wan2'\n")
	world := worldOf(cfg)
	world.Members[0].IPv4.Device = device
	wanted := plan.Build(plan.Input{Config: cfg, Uplinks: world})
	kernel := EmptyKernel()
	kernel.Sets = append(kernel.Sets, ipset.Set{Name: set})
	jump := iptables.Jump{Chain: "OUTPUT", Rule: "-m comment --comment \"a\nEOF\n>f\x1b\" -j lb_x"}
	kernel.Tables[family.IPv6].Jumps = append(kernel.Tables[family.IPv6].Jumps, jump)
	changes := Diff(wanted, kernel, nil)
	text := changes.Commands()
	if strings.Contains(text, "\x1b") {
		t.Errorf("a control character is printed:\n%q", text)
	}
	dir := t.TempDir()
	cmd := exec.Command("bash", "-c", `ip() { printf '<%s>' "$@"; echo; }
ipset() { ip "$@"; }; sysctl() { ip "$@"; }; iptables-restore() { cat; }; ip6tables-restore() { cat; }
`+text)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, want := range []string{"<dev><" + device + ">", "<oif><" + device + ">", "<destroy><" + set + ">",
		"<-w><net.ipv4.conf." + device + ".rp_filter=2>", "\n-A lb_hook -i " + device + " ", "\n-D OUTPUT " + jump.Rule + "\n"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("the programs do not get %q", want)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) > 0 {
		t.Errorf("something ran, and left %q (%v)", files, err)
	}
}
