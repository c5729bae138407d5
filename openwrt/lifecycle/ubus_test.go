package lifecycle

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// plugin runs the plugin as rpcd does, and expects one JSON object.
func (d *device) plugin(arguments, input string) (reply map[string]any) {
	d.t.Helper()
	d.write("tmp/input", input)
	output, code := d.call("/usr/libexec/rpcd/loadbalance " + arguments + " < /tmp/input 2> /dev/null")
	if err := json.Unmarshal([]byte(output), &reply); code != 0 || err != nil || reply == nil {
		d.t.Fatalf("plugin %s: exit code %d, %v\n%s", arguments, code, err, output)
	}
	return reply
}

// TestOnUbus: rpcd finds a plugin that answers whatever it is asked, and
// listeners hear of transitions.
func TestOnUbus(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	if got := d.sh("stat -c '%a' /usr/libexec/rpcd/loadbalance"); got != "755\n" {
		t.Errorf("mode of the plugin: %q", got)
	}
	methods := d.plugin("list", "")
	for _, name := range []string{"status", "check", "explain", "plan", "import"} {
		if _, isObject := methods[name].(map[string]any); !isObject {
			t.Errorf("list has no method %s: %v", name, methods)
		}
	}
	for arguments, input := range map[string]string{
		"call status": `{}`, "call plan": ``, "call check": `{"ubus_rpc_session":"0"}`, "call explain": `{"dst":"192.0.2.1"}`,
	} {
		if reply := d.plugin(arguments, input); reply["error"] != nil {
			t.Errorf("%s before the start: %v", arguments, reply)
		}
	}
	d.write(conffile, configuration(2, "")+"\tlist track_ip 'gateway'\n")
	d.quiet("/etc/init.d/loadbalance restart")
	d.monitor()
	for arguments, input := range map[string]string{
		"call nothing": `{}`, "call ''": ``, "call stop": `{}`, "call '$(reboot)'": `{}`,
		"call status ": `[]`, "call status": `{"history":1}`, "call plan": `{"dst":"192.0.2.1"}`, "call explain": `{"dst":["192.0.2.1"]}`,
		"call import": "{}", "call check": strings.Repeat(`{"config":`, 100_000),
	} {
		if reply := d.plugin(arguments, input); len(reply) != 1 || reply["error"] == "" {
			t.Errorf("%s %.30s: %v", arguments, input, reply)
		}
	}
	probing := func() bool {
		return strings.Contains(d.sh("echo '{\"history\":true}' | /usr/libexec/rpcd/loadbalance call status"), `"health"`)
	}
	if !holds(probing) {
		t.Fatalf("the monitor does not probe wan2:\n%s", d.sh("loadbalance status"))
	}
	if reply := d.plugin("call status", `{"history":true}`); reply["history"] == nil || reply["running"] != true {
		t.Errorf("status: %v", reply)
	}
	check(t, d.ifdown(2))
	sent := func() bool {
		text, err := os.ReadFile(d.file("tmp/sent"))
		line, _, _ := strings.Cut(string(text), "\n")
		var event struct{ Action, Member, Interface, Family, Reason string }
		return err == nil && json.Unmarshal([]byte(line), &event) == nil && event.Action != "" && event.Member == "wan2" &&
			event.Interface == "wan2" && event.Family == "ipv4" && event.Reason != ""
	}
	if !holds(sent) {
		text, err := os.ReadFile(d.file("tmp/sent"))
		t.Errorf("no event was sent: %s %v; log:\n%s", text, err, d.log.text())
	}
}
