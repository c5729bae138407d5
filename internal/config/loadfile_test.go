package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
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

// TestLoadFileThatCannotBeRead is a warning with the reason.
func TestLoadFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir + "/none":   "loadbalance:1: ipset 's': option 'loadfile': '" + dir + "/none' does not exist",
		dir + "/file/x": "loadbalance:1: ipset 's': option 'loadfile': open " + dir + "/file/x: not a directory",
		dir:             "loadbalance:1: ipset 's': option 'loadfile': read " + dir + ": is a directory",
	} {
		config := read(t, "config ipset s\n\toption loadfile "+path+"\n")
		problems := config.LoadSets()
		if len(problems) != 1 || problems[0].String() != want || problems.HasErrors() {
			t.Errorf("%s: %v, want %s", path, problems, want)
		}
	}
}
