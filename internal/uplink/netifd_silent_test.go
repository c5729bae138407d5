package uplink

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/config"
)

// wan is a member whose interface lies on the device eth1; a device called wan is
// there as well.
var wan = []config.Member{{Name: "a", Interface: "wan"}}

// inNamespace makes the devices of wan, and returns the recorded answer.
func inNamespace(t *testing.T) (answer string) {
	t.Helper()
	freshNamespace(t)
	cable(t, "eth1")
	cable(t, "wan")
	run(t, "ip addr add 192.0.2.7/24 dev eth1")
	file, err := filepath.Abs("testdata/netifd/dhcp.json")
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSilentNetifd has netifd fail in every way after it has answered: what it
// said goes on counting with what the kernel says now, and no run waits long.
func TestSilentNetifd(t *testing.T) {
	tests := map[string]struct{ ubus, reason string }{
		"no program":        {"rm $0; exit 0", "no program ubus"},
		"ubusd gone":        {"echo 'Failed to connect to ubus' >&2; exit 255", "netifd is not there: exit status 255: Failed to connect to ubus"},
		"netifd gone":       {"echo 'Command failed: Not found' >&2; exit 4", "netifd is not there: exit status 4: Command failed: Not found"},
		"timed out":         {"printf 'one\\ntwo\\n' >&2; exit 7", "exit status 7: one two"},
		"killed":            {"kill -9 $$", "signal: killed"},
		"hangs":             {"exec sleep 60", "no answer within 700ms"},
		"hangs in a child":  {"sleep 60 & wait", "no answer within 700ms"},
		"child with a pipe": {"setsid sleep 60 & exit 0", "unexpected end of JSON input"},
		"garbage":           {"head -c 5000 /dev/urandom", "invalid character"},
		"truncated":         {"head -c 900 FILE", "unexpected end of JSON input"},
		"nothing":           {":", "unexpected end of JSON input"},
		"another type":      {`echo '{"interface": [{"interface": "wan", "up": "yes"}]}'`, "cannot unmarshal"},
		"no list":           {"echo '{}'", "the answer has no interface"},
		"an empty list":     {`echo '{"interface": []}'`, "the answer has no interface"},
		"no name":           {`echo '{"interface": [{}, {"up": true}]}'`, "the answer has no interface"},
		"without end":       {"exec cat /dev/zero", "printed more than 8 MB"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file, path := inNamespace(t), os.Getenv("PATH")
			source := NetifdSource{Kernel: open(t), Netifd: &Netifd{ConfigDir: t.TempDir()}}
			standInForUbus(t, "cat "+file)
			if s, err := source.Read(wan); err != nil || s.NetifdSilent != "" || s.Unsettled || source.Netifd.Answer == nil {
				t.Fatalf("before: %q, unsettled %v, %v", s.NetifdSilent, s.Unsettled, err)
			}
			source.Netifd.answered = source.Netifd.answered.Add(-time.Minute)
			if tt.reason == "no program ubus" {
				t.Setenv("PATH", withoutUbus(t))
			} else {
				standInForUbus(t, strings.ReplaceAll(tt.ubus, "FILE", file))
			}
			start := time.Now()
			s, err := source.Read(wan)
			if took := time.Since(start); took > time.Second {
				t.Errorf("the run was held up for %s", took)
			}
			if err != nil {
				t.Fatal(err)
			}
			const said = "netifd does not answer: what it said 1m"
			if !strings.HasPrefix(s.NetifdSilent, said) || !strings.Contains(s.NetifdSilent, tt.reason) || !s.Unsettled {
				t.Errorf("said %q, want %s… (%s)", s.NetifdSilent, said, tt.reason)
			}
			if got := s.Members[0].IPv4; got.Device != "eth1" || !got.Up || got.Gateway != addr("192.0.2.1") {
				t.Errorf("the member was forgotten: %s", inJSON(got))
			}
			if source.Netifd.Answer != nil {
				t.Error("no answer would be kept as one")
			}
			t.Setenv("PATH", os.Getenv("PATH")+":"+path)
			run(t, "ip link set eth1 down")
			source.Kernel = open(t) // one observes one moment
			if s, err = source.Read(wan); err != nil || s.Members[0].IPv4.Reason != "device 'eth1' is down" {
				t.Errorf("after the link went: %s, %v", inJSON(s.Members), err)
			}
			if took := time.Since(start); took > 1500*time.Millisecond {
				t.Errorf("two runs were held up for %s", took)
			}
		})
	}
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withoutUbus is a PATH on which there is none.
func withoutUbus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink("/bin/sh", filepath.Join(dir, "sh")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestAnswerBeforeThePipeIsClosed: an answer is one, whatever a child of ubus
// still holds open.
func TestAnswerBeforeThePipeIsClosed(t *testing.T) {
	file := inNamespace(t)
	standInForUbus(t, "sleep 2 & cat "+file)
	start := time.Now()
	s, err := NetifdSource{Kernel: open(t)}.Read(wan)
	if took := time.Since(start); err != nil || s.NetifdSilent != "" || s.Members[0].IPv4.Device != "eth1" || took > time.Second {
		t.Errorf("after %s: %s, %v", took, inJSON(s), err)
	}
}

// TestNetifdAnswersAgain: what it says counts again at once when it is asked.
func TestNetifdAnswersAgain(t *testing.T) {
	file := inNamespace(t)
	source := NetifdSource{Kernel: open(t), Netifd: &Netifd{ConfigDir: t.TempDir()}}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	source.Netifd.Recall([]byte("{"), time.Now())
	source.Netifd.Recall(text, time.Now().Add(-time.Hour))
	calls := standInForUbus(t, "exit 4")
	for range 2 {
		if s, err := source.Read(wan); err != nil || !strings.Contains(s.NetifdSilent, "1h0m0s ago") || !s.Members[0].IPv4.Up {
			t.Fatalf("the answer of an earlier process does not count: %q, %v", s.NetifdSilent, err)
		}
	}
	if n := strings.Count(calls(), "\n"); n != 1 {
		t.Errorf("netifd was asked %d times within a moment", n)
	}
	source.Netifd.failed = source.Netifd.failed.Add(-silentFor)
	standInForUbus(t, "sed s/eth1/wan/ "+file)
	s, err := source.Read(wan)
	if err != nil || s.NetifdSilent != "" || s.Unsettled || s.Members[0].IPv4.Device != "wan" {
		t.Errorf("%s, %v", inJSON(s), err)
	}
}

// TestNetifdHangsFromTheStart: only the first run of a process is patient.
func TestNetifdHangsFromTheStart(t *testing.T) {
	inNamespace(t)
	dir := t.TempDir()
	writeFile(t, dir, "network", "config interface 'wan'\n")
	standInForUbus(t, "exec sleep 60")
	source := NetifdSource{Kernel: open(t), Netifd: &Netifd{ConfigDir: dir, failure: errors.New("no answer"), failed: time.Now().Add(-silentFor)}}
	start := time.Now()
	s, err := source.Read(wan)
	if took := time.Since(start); err != nil || !strings.Contains(s.NetifdSilent, "no answer within 700ms") || took > time.Second {
		t.Errorf("after %s: %q, %v", took, s.NetifdSilent, err)
	}
}

// TestNetifdNeverAnswered: the name of an interface of netifd is not taken for a
// device, and what is in use stays.
func TestNetifdNeverAnswered(t *testing.T) {
	for _, ubus := range []string{"exit 4", "exit 255", "exit 7", "echo noise", `echo '{"interface": []}'`} {
		inNamespace(t)
		run(t, "ip addr add 192.0.2.8/24 dev wan")
		run(t, "ip route add default via 192.0.2.1 dev wan")
		dir := t.TempDir()
		writeFile(t, dir, "network", "config interface 'wan'\n\toption device 'eth1'\n")
		standInForUbus(t, ubus)
		source := NetifdSource{Kernel: open(t), RuleInterfaces: []string{"wan"}, Netifd: &Netifd{ConfigDir: dir}}
		s, err := source.Read(wan)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, ubus, s.Members[0].IPv4, &Path{Reason: "nothing is known of interface 'wan', and netifd does not answer"})
		if !strings.HasPrefix(s.NetifdSilent, "netifd does not answer, and no earlier answer is known (ubus call ") || !s.Unsettled {
			t.Errorf("%s: said %q", ubus, s.NetifdSilent)
		}
		if s.Interfaces == nil || len(s.Interfaces) > 0 {
			t.Errorf("%s: a rule's interface has the devices %v", ubus, s.Interfaces)
		}
		source.InUse = true
		if _, err := source.Read(wan); err == nil || !strings.HasPrefix(err.Error(), "ubus call network.interface dump: ") {
			t.Errorf("%s: members in use would go: %v", ubus, err)
		}
	}
}
