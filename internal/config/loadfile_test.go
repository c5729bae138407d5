package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLoadSets holds what becomes of a load file, also of one that is too large:
// the line in which it is cut is no entry.
func TestLoadSets(t *testing.T) {
	// The last line ends with the last byte that is read.
	filler := func(last string) string {
		line := strings.Repeat("#", 1023) + "\n"
		text := strings.Repeat(line, maxLoadFile/len(line))
		return text[:maxLoadFile-len(last)-1] + "\n" + last
	}
	const tooLarge = "warning loadbalance:1: ipset 's': option 'loadfile': only the first 16 MB are read"
	for _, c := range []struct {
		name, text string
		want       []string
		problem    string
	}{
		{"entries", "192.0.2.1 # a host\n\n198.51.100.0/24\n192.0.2.1", []string{"192.0.2.1/32", "198.51.100.0/24"}, ""},
		{"no entry", "192.0.2.1\n192.0.2.256\n", []string{"192.0.2.1/32"},
			"warning list.txt:2: ipset 's': '192.0.2.256' is not an IP address or prefix"},
		{"largest", filler("192.0.2.1"), []string{"192.0.2.1/32"}, ""},
		{"cut", filler("192.0.2.1") + "6\n", nil, tooLarge},
		{"cut behind a line", filler("192.0.2.1\n") + "192.0.2.2\n", []string{"192.0.2.1/32"}, tooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "list.txt")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			config := read(t, "config ipset s\n\toption loadfile "+path+"\n")
			problems := config.LoadSets()
			var want []netip.Prefix
			for _, p := range c.want {
				want = append(want, netip.MustParsePrefix(p))
			}
			if got := config.IPSets[0].Entries; !reflect.DeepEqual(got, want) {
				t.Errorf("entries %v, want %v", got, want)
			}
			var got string
			for _, p := range problems {
				got += p.Severity.String() + " " + p.String()
			}
			if got != c.problem {
				t.Errorf("problem %q, want %q", got, c.problem)
			}
		})
	}
}

// TestLoadSetsKeepsItsFamily: an entry of the other family would have the kernel
// refuse the whole set. What the section has already is not there twice.
func TestLoadSetsKeepsItsFamily(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("2001:db8::1\n192.0.2.1\n198.51.100.9/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := read(t, "config ipset s\n\tlist entry 192.0.2.1\n\toption loadfile "+path+"\nconfig ipset none\n")
	problems := config.LoadSets()
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("198.51.100.0/24")}
	if got := config.IPSets[0].Entries; !reflect.DeepEqual(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	const message = "list.txt:1: ipset 's': '2001:db8::1' does not match the set's family ipv4"
	if len(problems) != 1 || problems[0].String() != message {
		t.Errorf("problems %v, want %s", problems, message)
	}
}

// TestLoadFileThatCannotBeRead is a warning with the reason, and keeps nobody
// waiting.
func TestLoadFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "pipe"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for path, want := range map[string]string{
		dir + "/none":   "'" + dir + "/none' does not exist",
		dir + "/file/x": "stat " + dir + "/file/x: not a directory",
		dir + "/file":   "'" + dir + "/file' is empty",
		dir:             dir + " is a directory",
		dir + "/pipe":   dir + "/pipe is not a regular file",
		dir + "/link":   dir + "/link is not a regular file",
		dir + "/socket": dir + "/socket is not a regular file",
		"/dev/zero":     "/dev/zero is not a regular file",
		"/dev/ptmx":     "/dev/ptmx is not a regular file",
		"/dev/kmsg":     "/dev/kmsg is not a regular file",
		"/proc/kmsg":    "'/proc/kmsg' is empty",
	} {
		config := read(t, "config ipset s\n\toption loadfile "+path+"\n\tlist entry 192.0.2.1\n")
		start := time.Now()
		problems := config.LoadSets()
		want = "loadbalance:1: ipset 's': option 'loadfile': " + want
		if len(problems) != 1 || problems[0].String() != want || problems.HasErrors() {
			t.Errorf("%s: %v, want %s", path, problems, want)
		}
		if took := time.Since(start); took > time.Second || len(config.IPSets[0].Entries) != 1 {
			t.Errorf("%s: took %s, entries %v", path, took, config.IPSets[0].Entries)
		}
	}
}

// TestLoadFileOfSomethingElse, of passwords for example: a line is named and not
// shown, nothing of it reaches the terminal as it is, and what has no end of such
// lines ends the reading.
func TestLoadFileOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shadow")
	const text = "root:$6$saltsaltsaltsalt$hashhashhashhash:19000:0:99999:7:::\n" +
		"admin:$1$abcdefgh$0123456789abcdefghijkl:1::\n\x1b[2Jx\n192.0.2.1\nx"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	config := read(t, "config ipset s\n\toption loadfile "+link+"\n")
	var got []string
	for _, p := range config.LoadSets() {
		got = append(got, p.String())
	}
	want := []string{
		"link:1: ipset 's': 'root:$6$saltsaltsaltsalt...' is not an IP address or prefix",
		"link:2: ipset 's': 'admin:$1$abcdefgh$012345...' is not an IP address or prefix",
		`link:3: ipset 's': '\x1b[2Jx' is not an IP address or prefix`,
		"link:5: ipset 's': 'x' is a host name; an address is needed",
	}
	if !slices.Equal(got, want) || len(config.IPSets[0].Entries) != 1 {
		t.Errorf("%q, want %q", got, want)
	}
	for name, c := range map[string]struct{ text, want string }{
		"some":      {strings.Repeat("x\n", 100) + "192.0.2.1", "80 more lines are no entries"},
		"lines":     {strings.Repeat("x\n", maxLoadFile/2), "10000 lines are no entries, and what follows line 10000 is not read"},
		"one line":  {"192.0.2.1\n" + strings.Repeat("x", 1<<20), "line 2 is longer than 64 KB, and is not read, nor what follows"},
		"zero byte": {strings.Repeat("\x00", maxLoadFile+10), "line 1 is longer than 64 KB, and is not read, nor what follows"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		config := read(t, "config ipset s\n\toption loadfile "+path+"\n")
		start := time.Now()
		problems := config.LoadSets()
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Text == "option 'loadfile': "+c.want }) {
			t.Errorf("%s: %v", name, problems)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}
