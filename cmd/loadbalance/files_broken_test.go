package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// faults are broken pieces of a configuration, to be put behind a good one
// that has the members wan1 and wan2. Line is that of the mistake, in the
// piece; message is a part of what must be said there.
var faults = []struct {
	name    string
	text    string
	line    int
	message string
}{
	// What libuci refuses.
	{"quote never closed", "config member wan3\n\toption device 'wan3\n\toption weight 1\n", 2, "syntax error: the quote"},
	{"double quote never closed", "config member wan3\n\toption device \"wan3\n", 2, "syntax error: the quote"},
	{"unknown command", "config member wan3\n\toptoin device wan3\n", 2, "syntax error: unknown command 'optoin'"},
	{"too many arguments", "config member wan3\n\toption device wan 3\n", 2, "syntax error: unexpected '3'"},
	{"option without a name", "config member wan3\n\toption\n", 2, "syntax error"},
	{"config without a type", "\n\nconfig\n", 3, "syntax error"},
	{"bad option name", "config member wan3\n\toption a-b 1\n", 2, "syntax error: option name 'a-b'"},
	{"bad section name", "config member wan-3\n", 1, "syntax error: section name 'wan-3'"},
	{"bad section type", "config 'mem ber' wan3\n", 1, "syntax error: section type 'mem ber'"},
	{"bad package name", "package load/balance\n", 1, "syntax error: package name"},
	{"section of two types", "config policy wan1\n", 1, "syntax error: section 'wan1' has type"},
	{"NUL byte", "config member wan3\n\toption device 'wan\x003'\n", 2, "syntax error: this line contains a NUL byte"},
	{"semicolon at the end of a line", "config member 'wan3' ;\n", 1, "syntax error"},
	{"text after the last section", "config rule r\n\tuse_policy balanced\n", 2, "syntax error: unknown command 'use_policy'"},

	// Members.
	{"member without a name", "config member\n\toption device wan3\n", 1, "has no name"},
	{"reserved name", "config member main\n", 1, "'main' is reserved"},
	{"name too long", "config member a23456789012345678901234567890123\n", 1, "1 to 32 letters"},
	{"bad gateway", "config member wan3\n\toption device wan3\n\toption gateway 10.0.0.256\n", 3, "'10.0.0.256' is not an IP address"},
	{"gateway of the wrong family", "config member wan3\n\toption gateway 2001:db8::1\n", 2, "is not an IPv4 address"},
	{"bad device", "config member wan3\n\toption device eth+\n", 2, "is not a device name"},
	{"weight out of range", "config member wan3\n\toption weight 1001\n", 2, "out of range (1 to 1000)"},
	{"weight no number", "config member wan3\n\toption weight three\n", 2, "is not a whole number"},
	{"not a boolean", "config member wan3\n\toption enabled maybe\n", 2, "is neither 1 (on, true, yes, enabled) nor 0"},
	{"list for one value", "config member wan3\n\tlist metric 1\n\tlist metric 2\n", 3, "takes one value"},
	{"device of another member", "config member wan3\n\toption device wan1\n", 2, "already belongs to member 'wan1'"},
	{"device and interface", "config member wan3\n\toption device wan3\n\toption interface wan3\n", 3, "exclude each other"},
	{"pinned mark outside the mask", "config member wan3\n\toption mark 0x80000\n", 2, "lies outside mark_mask"},
	{"pinned table of the kernel", "config member wan3\n\toption table 254\n", 2, "the kernel's own"},
	{"pins overlap", "config member wan3\n\toption mark 0x5000000\nconfig member wan4\n\toption mark 0x5000000\n", 4, "already belongs to member 'wan3'"},
	{"target of the health check", "config member wan3\n\tlist track_ip one.one.one.one\n", 2, "is a host name"},
	{"health check that can never succeed", "config member wan3\n\tlist track_ip 1.1.1.1\n\toption reliability 2\n", 3, "2 must answer, but track_ip lists only 1"},

	// Globals.
	{"mask too small", "config globals g\n\toption mark_mask 0x3\n", 2, "mark_mask"},
	{"mask no number", "config globals g\n\toption mark_mask 0xzz\n", 2, "is not a number"},
	{"too many members for the mask", "config globals g\n\toption mark_mask 0x7000000\nconfig member a\nconfig member b\nconfig member c\n", 5, "has room for 4"},
	{"bypass of everything", "config globals g\n\tlist bypass 0.0.0.0/0\n", 2, "matches every address"},
	{"two globals", "config globals g\nconfig globals h\n", 2, "section 'globals' already exists"},

	// Policies, rules and sets.
	{"unknown member", "config policy p\n\tlist use_member wan9\n", 2, "there is no member 'wan9'"},
	{"unknown key of a policy's member", "config policy p\n\tlist use_member 'wan1 wieght=2'\n", 2, "neither weight=N nor metric=N"},
	{"unknown last resort", "config policy p\n\toption last_resort drop\n", 2, "is not one of"},
	{"unknown policy", "config rule r\n\toption use_policy vidoe\n", 2, "there is no policy or member 'vidoe'"},
	{"port without protocol", "config rule r\n\toption dest_port 80\n", 2, "needs option 'proto'"},
	{"unknown protocol", "config rule r\n\toption proto tpc\n", 2, "did you mean 'tcp'?"},
	{"addresses of both families", "config rule r\n\tlist src_ip 10.0.0.1\n\tlist dest_ip 2001:db8::1\n", 3, "is ipv6, but"},
	{"entry of a set", "config ipset s\n\tlist entry example.org\n", 2, "is a host name"},
}

// TestBrokenFileLeavesRunningState applies each broken file on a running
// system.
func TestBrokenFileLeavesRunningState(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		good := members(netlab.Separate, 2)
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, good)
		r.must("apply")
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 10}))
		before, counters := r.dump(), r.counters()
		for _, fault := range faults {
			r.configure(good + fault.text)
			position := fmt.Sprintf("loadbalance:%d: ", strings.Count(good, "\n")+fault.line)
			for _, command := range []string{"apply", "check"} {
				out, messages, code := r.call(command)
				if code != 2 || out != "" {
					t.Errorf("%s: %s: exit code %d, output %q", fault.name, command, code, out)
				}
				if !hasLine(messages, position, fault.message) {
					t.Errorf("%s: %s: no message at %swith %q:\n%s", fault.name, command, position, fault.message, messages)
				}
			}
			r.expectCounters(fault.name, counters)
		}
		r.expectSame("after all broken files", before, r.dump())
		r.configure(good)
		if out := r.must("apply"); out != "" {
			t.Errorf("the good file again changes:\n%s", out)
		}
	})
}

// hasLine says whether a line begins with one text and contains another.
func hasLine(text, prefix, part string) bool {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, prefix) && strings.Contains(line, part) {
			return true
		}
	}
	return false
}

// TestBrokenFileAtBoot applies broken files where nothing of ours runs.
func TestBrokenFileAtBoot(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		good := members(netlab.Separate, 2)
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, good)
		before := r.dump()
		want := r.fresh(good)
		r.must("stop")
		for _, c := range []struct {
			name, text string
			applied    bool
		}{
			{"faulty member", "config member wan3\n\toption device wan3\n\toption weight 0\n", true},
			{"faulty rule", "config rule r\n\toption dest_port 80\n", true},
			{"faulty set and rule with it", "config ipset s\n\tlist entry x\nconfig rule r\n\toption ipset s\n", true},
			{"syntax error", "config member 'wan3\n", false},
			{"faulty globals", "config globals g\n\toption mark_mask 3\n", false},
		} {
			r.forget()
			r.configure(good + c.text)
			_, messages, code := r.call("apply")
			if code != 2 || !strings.Contains(messages, "loadbalance:") {
				t.Errorf("%s: exit code %d, messages:\n%s", c.name, code, messages)
			}
			if !c.applied {
				r.expectSame(c.name, before, r.dump())
				continue
			}
			r.expectSame(c.name, want, r.dump().sorted())
			expectShares(t, r.lab.Connect(netlab.Traffic{Count: 10}), 0, 5, 5, 0)
			// Now it runs, and the same file no longer changes anything.
			if out, _, code := r.call("apply"); code != 2 || out != "" {
				t.Errorf("%s, again: exit code %d, output %q", c.name, code, out)
			}
			r.must("stop")
		}
	})
}

// TestNoFile has no configuration file, and something else in its place.
func TestNoFile(t *testing.T) {
	good := members(netlab.Separate, 2)
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, good)
	r.must("apply")
	before := r.dump()
	path := filepath.Join(r.dir, "config", "loadbalance")
	expect := func(what, part string) {
		t.Helper()
		for _, command := range []string{"apply", "check", "plan"} {
			out, messages, code := r.call(command)
			if code != 2 || out != "" || !strings.Contains(messages, path) || !strings.Contains(messages, part) {
				t.Errorf("%s: %s: exit code %d, output %q, messages:\n%s", what, command, code, out, messages)
			}
		}
		r.expectSame(what, before, r.dump())
	}
	check(t, os.Remove(path))
	expect("missing file", "does not exist")
	check(t, os.Mkdir(path, 0o755))
	expect("folder", "is a directory")
	// Stopping needs no file.
	r.must("stop")
}

// TestUsage calls the program in wrong ways.
func TestUsage(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 1}, members(netlab.Separate, 1))
	before := r.dump()
	for _, args := range [][]string{
		{}, {"aply"}, {"apply", "now"}, {"apply", "--colour"}, {"--colour", "apply"},
		{"apply", "--log", "file"}, {"apply", "--json=perhaps"},
	} {
		out, messages, code := r.call(args...)
		if code != 2 || out != "" || !strings.Contains(messages, "usage: loadbalance") {
			t.Errorf("%q: exit code %d, output %q, messages:\n%s", args, code, out, messages)
		}
	}
	r.backend = "xtables"
	if _, messages, code := r.call("apply"); code != 2 || !strings.Contains(messages, "'xtables'") {
		t.Errorf("unknown back end: exit code %d, messages:\n%s", code, messages)
	}
	r.backend = "nft"
	r.expectSame("after wrong usage", before, r.dump())
	for _, args := range [][]string{{"--help"}, {"help"}, {"apply", "--help"}} {
		if out, _, code := r.call(args...); code != 0 || !strings.Contains(out, "usage: loadbalance") {
			t.Errorf("%q: exit code %d, output %q", args, code, out)
		}
	}
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if out, _, code := r.call(args...); code != 0 || !strings.HasPrefix(out, "loadbalance ") {
			t.Errorf("%q: exit code %d, output %q", args, code, out)
		}
	}
}
