package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// call runs the program with a configuration directory of its own; text "" is
// no file.
func call(t *testing.T, text string, args ...string) (out, messages string, code int) {
	t.Helper()
	dir := t.TempDir()
	if text != "" {
		if err := os.WriteFile(filepath.Join(dir, "loadbalance"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return runProgram(append(args, "--config-dir", dir, "--run-dir", filepath.Join(dir, "run"), "--rt-tables", filepath.Join(dir, "names"))...)
}

func runProgram(args ...string) (out, messages string, code int) {
	var stdout, stderr bytes.Buffer
	code = Run(args, &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

func TestFlagsBeforeAndAfter(t *testing.T) {
	tests := []string{
		"--config-dir /c --json --iptables nft status",
		"status --config-dir /c --json --iptables nft",
		"--config-dir=/c status -json --iptables=nft",
		"--json status --iptables nft -config-dir /c",
	}
	for _, line := range tests {
		o, name, err := parse(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if name != "status" || o.configDir != "/c" || !o.json || o.iptables != "nft" {
			t.Errorf("%s: command %q, %+v", line, name, o)
		}
	}
}

func TestDefaults(t *testing.T) {
	o, _, err := parse([]string{"apply"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{o.configDir, o.runDir, o.rtTables, o.iptables, o.log, o.uplinks}
	want := []string{"/etc/config", "/var/run/loadbalance", "/etc/iproute2/rt_tables.d", "auto", "stderr", ""}
	if !slices.Equal(got, want) || o.configOnly || o.json || o.version {
		t.Errorf("%+v", o)
	}
}

func TestUsageErrors(t *testing.T) {
	tests := []struct{ line, message string }{
		{"", "no command given"},
		{"aply", "unknown command 'aply'"},
		{"apply now", "unexpected argument 'now'"},
		{"apply stop", "unexpected argument 'stop'"},
		{"apply --frobnicate", "flag provided but not defined: -frobnicate"},
		{"apply --frobnicate=1", "flag provided but not defined: -frobnicate"},
		{"--config-dir", "flag needs an argument: -config-dir"},
		{"apply -- --json", "unexpected argument '--json'"},
		{"apply -", "unexpected argument '-'"},
		{"apply --iptables nftables", "--iptables takes auto, nft or legacy, not 'nftables'"},
		{"apply --log file", "--log takes stderr or syslog, not 'file'"},
		{"--iptables x", "--iptables"},
		{"--json=perhaps status", `invalid boolean value "perhaps" for -json`},
	}
	for _, tt := range tests {
		var out, messages bytes.Buffer
		code := Run(strings.Fields(tt.line), &out, &messages)
		if code != 2 || out.Len() > 0 {
			t.Errorf("%q: exit code %d, output %q", tt.line, code, out.String())
		}
		first, rest, _ := strings.Cut(messages.String(), "\n")
		if !strings.HasPrefix(first, "loadbalance: ") || !strings.Contains(first, tt.message) || !strings.Contains(rest, "usage: loadbalance") {
			t.Errorf("%q: messages %q", tt.line, messages.String())
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, line := range []string{"help", "--help", "-h", "apply --help", "--json status -h"} {
		var out, messages bytes.Buffer
		if code := Run(strings.Fields(line), &out, &messages); code != 0 || out.String() != usage || messages.Len() > 0 {
			t.Errorf("%q: exit code %d, messages %q, output %q", line, code, messages.String(), out.String())
		}
	}
	for _, line := range []string{"version", "--version", "apply --version"} {
		var out, messages bytes.Buffer
		if code := Run(strings.Fields(line), &out, &messages); code != 0 || out.String() != "loadbalance "+Version+"\n" || messages.Len() > 0 {
			t.Errorf("%q: exit code %d, %q %q", line, code, out.String(), messages.String())
		}
	}
}

func TestFlagValues(t *testing.T) {
	o, name, err := parse([]string{"explain", "--dst", "-1", "--src=", "--in=a=b", "-json", "--log", "syslog"})
	if err != nil || name != "explain" || o.packet.dst != "-1" || o.packet.src != "" || o.packet.in != "a=b" || !o.json || o.log != "syslog" {
		t.Errorf("%q %+v %v", name, o, err)
	}
	if o, name, err = parse([]string{"--json", "--", "hotplug", "ifup", "--watch"}); err != nil || name != "hotplug" ||
		!slices.Equal(o.words, []string{"ifup", "--watch"}) || o.watch || !o.json {
		t.Errorf("%q %+v %v", name, o, err)
	}
}

// TestUsageNamesAll commands and flags.
func TestUsageNamesAll(t *testing.T) {
	for name := range commands {
		if !strings.Contains(usage, "\n  "+name+" ") {
			t.Errorf("command %s is missing in the usage", name)
		}
	}
	(&options{}).flags().VisitAll(func(f *flag.Flag) {
		if f.Name != "version" && !strings.Contains(usage, " --"+f.Name+" ") {
			t.Errorf("flag %s is missing in the usage", f.Name)
		}
	})
}

func TestCheckConfigOnly(t *testing.T) {
	tests := []struct {
		name, text string
		code       int
		messages   string
	}{
		{"fine", "config member 'wan1'\n", 0, ""},
		{"a warning", "config member 'wan1'\n\toption wieght '2'\n", 0, "loadbalance:2: member 'wan1': option 'wieght' is unknown (did you mean 'weight'?)\n"},
		{"an error", "config member 'wan1'\n\toption weight '0'\n", 2, "loadbalance:2: member 'wan1': "},
		{"a syntax error", "config member 'wan1\n", 2, "loadbalance:1: syntax error: "},
		{"no file", "", 2, "loadbalance does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, messages, code := call(t, tt.text, "check", "--config-only")
			if code != tt.code || out != "" {
				t.Errorf("exit code %d, output %q", code, out)
			}
			if !strings.Contains(messages, tt.messages) || (tt.messages == "") != (messages == "") {
				t.Errorf("messages %q, want %q", messages, tt.messages)
			}
		})
	}
}

const twoUplinks = `{"members": [
	{"name": "wan1", "ipv4": {"device": "wan1", "up": true, "gateway": "198.51.100.1", "addresses": ["198.51.100.2"]}},
	{"name": "wan2", "ipv4": {"device": "wan2", "up": false, "reason": "device 'wan2' is down", "gateway": ""}}],
	"ipv4": {"enabled": true}, "ipv6": {"enabled": false}}`

// TestPlanFromFile needs neither root nor a kernel, and reads the uplinks alone
// or as a part of what status prints.
func TestPlanFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uplinks.json")
	var first string
	for _, text := range []string{twoUplinks, `{"version": "1", "members": [], "uplinks": ` + twoUplinks + "}"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, messages, code := call(t, "config member 'wan1'\n\nconfig member 'wan2'\n", "plan", "--uplinks", path)
		if code != 0 || !strings.Contains(messages, "wan2") {
			t.Errorf("exit code %d, messages %q", code, messages)
		}
		for _, part := range []string{"iptables-restore --noflush", "ip -4 rule add", "-A lb_policy_balanced ", "ipset create lb_local "} {
			if !strings.Contains(out, part) {
				t.Errorf("no %q in\n%s", part, out)
			}
		}
		if first == "" {
			first = out
		}
		if out != first {
			t.Errorf("the same uplinks gave another plan:\n%s", out)
		}
	}
}

func TestPlanWithProblems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uplinks.json")
	if err := os.WriteFile(path, []byte(twoUplinks), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		code       int
		planned    bool
	}{
		{"a faulty member is left out", "config member 'wan1'\n\nconfig member 'wan2'\n\toption weight 'x'\n", 2, true},
		{"faulty globals", "config globals 'globals'\n\toption mark_mask '0'\n\nconfig member 'wan1'\n", 2, false},
		{"a warning", "config member 'wan1'\n\toption colour 'red'\n", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, messages, code := call(t, tt.text, "plan", "--uplinks", path)
			if code != tt.code || (out != "") != tt.planned || messages == "" {
				t.Errorf("exit code %d, messages %q, %d bytes planned", code, messages, len(out))
			}
			if strings.Contains(out, "wan2") {
				t.Errorf("the faulty member is planned:\n%s", out)
			}
		})
	}
	for name, file := range map[string]string{"no file": path + "-not-there", "no JSON": os.Args[0]} {
		out, messages, code := call(t, "config member 'wan1'\n", "plan", "--uplinks", file)
		if code != 1 || out != "" || !strings.Contains(messages, file) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, messages, out)
		}
	}
}

func TestLogLevels(t *testing.T) {
	tests := []struct{ level, want string }{
		{"error", "e1\ne2\n"},
		{"warning", "e1\ne2\nw\n"},
		{"notice", "e1\ne2\nw\nn\n"},
		{"info", "e1\ne2\nw\nn\n"},
		{"debug", "e1\ne2\nw\nn\n"},
		{"unknown", "e1\ne2\nw\nn\n"}, // as it was
	}
	for _, tt := range tests {
		var out bytes.Buffer
		l := openLog(logStderr, &out)
		l.SetLevel(tt.level)
		l.Error("e1\ne2\n")
		l.Warning("w")
		l.Notice("n")
		if out.String() != tt.want || l.kept.String() != tt.want {
			t.Errorf("%s: written %q, kept %q, want %q", tt.level, out.String(), l.kept.String(), tt.want)
		}
	}
}
