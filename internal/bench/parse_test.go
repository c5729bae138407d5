package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestExecuted(t *testing.T) {
	const trace = `11 execve("/usr/sbin/loadbalance", ["loadbalance", "apply"], 0x7ffd /* 20 vars */) = 0
12 execve("/usr/local/sbin/iptables-save", ["iptables-save", "-c"], 0xc000 /* 20 vars */) = -1 ENOENT (No such file or directory)
12 execve("/usr/sbin/iptables-save", ["iptables-save", "-c"], 0xc000 /* 20 vars */ <unfinished ...>
13 execve("/usr/sbin/ip", ["ip", "rule"], 0xc000 /* 20 vars */) = 0
12 <... execve resumed>)                   = 0
`
	got, err := executed(trace)
	want := [][]string{{"loadbalance", "apply"}, {"ip", "rule"}, {"iptables-save", "-c"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("executed = %v, %v; want %v", got, err, want)
	}
	if _, err := executed(`12 execve("/bin/x", 0x55, 0x66) = 0`); err == nil {
		t.Error("a call without readable arguments is accepted")
	}
}

func TestRestoreInputs(t *testing.T) {
	const plan = `# mangle table (ipv4)
iptables-restore --noflush <<'EOF'
*mangle
COMMIT
EOF

# ip rules (ipv6)
ip -6 rule add pref 7000 lookup main
`
	want := map[string]string{"iptables-restore": "*mangle\nCOMMIT\n"}
	if got := restoreInputs(plan); !reflect.DeepEqual(got, want) {
		t.Errorf("restoreInputs = %q, want %q", got, want)
	}
}

// TestCompared has ten packets: all of them compared with both rules of
// PREROUTING; four stopped by the first rule of "a", six compared with its second.
func TestCompared(t *testing.T) {
	read := func(arrived uint64, saved string) counters {
		t.Helper()
		chains, err := parseChains(saved)
		if err != nil {
			t.Fatal(err)
		}
		return counters{arrived, chains}
	}
	before := read(5, `*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:a - [0:0]
[5:300] -A PREROUTING -j a
[0:0] -A PREROUTING -m mark --mark 0x1
[7:420] -A OUTPUT -j a
[1:60] -A a -m mark ! --mark 0x0 -j RETURN
[4:240] -A a -j MARK --set-xmark 0x1/0x1
COMMIT
`)
	after := read(15, `*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:a - [0:0]
[15:900] -A PREROUTING -j a
[0:0] -A PREROUTING -m mark --mark 0x1
[7:420] -A OUTPUT -j a
[5:300] -A a -m mark ! --mark 0x0 -j RETURN
[10:600] -A a -j MARK --set-xmark 0x1/0x1
COMMIT
`)
	builtin, own := compared(before, after)
	if builtin != 2 || own != 1.6 {
		t.Errorf("compared = %v, %v; want 2, 1.6", builtin, own)
	}
}

// TestHookCall: part g finds the call in the hook that it replaces.
func TestHookCall(t *testing.T) {
	hook, err := os.ReadFile("../../" + hookFile)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(hook), "\n"+hookCall); n != 1 {
		t.Errorf("%s calls %q %d times, want once", hookFile, hookCall, n)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]int{9, 1, 5}); got != 5 {
		t.Errorf("median = %d, want 5", got)
	}
	if got := medianRatio([]float64{10, 30, 20}, []float64{10, 10, 10}); got != 2 {
		t.Errorf("medianRatio = %v, want 2", got)
	}
}

// TestPassed has eight connections: two that the policy's first rule took, three
// each that the two rules of its part took; and a rule that nobody met.
func TestPassed(t *testing.T) {
	read := func(saved string) map[string]*chain {
		t.Helper()
		chains, err := parseChains(saved)
		if err != nil {
			t.Fatal(err)
		}
		return chains
	}
	before := read(`:lb_policy_balanced - [0:0]
:lb_policy_balanced.1 - [0:0]
:lb_member_a - [0:0]
[1:60] -A lb_policy_balanced -m statistic --mode nth --every 4 --packet 0 -g lb_member_a
[9:540] -A lb_policy_balanced -g lb_policy_balanced.1
[2:120] -A lb_policy_balanced.1 -m statistic --mode nth --every 3 --packet 0 -g lb_member_a
[2:120] -A lb_policy_balanced.1 -m statistic --mode nth --every 2 --packet 0 -g lb_member_a
[0:0] -A lb_policy_balanced.1 -g lb_member_a
`)
	after := read(`:lb_policy_balanced - [0:0]
:lb_policy_balanced.1 - [0:0]
:lb_member_a - [0:0]
[3:180] -A lb_policy_balanced -m statistic --mode nth --every 4 --packet 0 -g lb_member_a
[15:900] -A lb_policy_balanced -g lb_policy_balanced.1
[5:300] -A lb_policy_balanced.1 -m statistic --mode nth --every 3 --packet 0 -g lb_member_a
[5:300] -A lb_policy_balanced.1 -m statistic --mode nth --every 2 --packet 0 -g lb_member_a
[0:0] -A lb_policy_balanced.1 -g lb_member_a
`)
	if average, most := passed(before, after); average != (2*1+3*3+3*4)/8.0 || most != 4 {
		t.Errorf("passed %v on average, %d at most", average, most)
	}
}
