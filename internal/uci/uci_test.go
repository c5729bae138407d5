package uci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestLines(t *testing.T) {
	const text = `# comment
config member 'wan1' ; option weight '1'
	option device 'a
b' # two lines
	list track_ip '1.1.1.1'
	list track_ip \
'8.8.8.8'
config rule
config member 'wan1'
	option weight '2'
	option device 'a
b'
	option family '4'
	list family '6'
`
	got, err := Parse("loadbalance", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &File{Name: "loadbalance", Sections: []Section{
		{Type: "member", Name: "wan1", Line: 2, Options: []Option{
			{Name: "weight", Line: 10, Values: []Value{{"2", 10}}},
			{Name: "device", Line: 11, Values: []Value{{"a\nb", 11}}},
			{Name: "track_ip", Line: 6, List: true, Values: []Value{{"1.1.1.1", 5}, {"8.8.8.8", 6}}},
			{Name: "family", Line: 14, List: true, Values: []Value{{"4", 13}, {"6", 14}}},
		}},
		{Type: "rule", Line: 8},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLabel(t *testing.T) {
	f, err := Parse("loadbalance", []byte("c rule\nc member wan1\nc rule named\nc rule\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range f.Sections {
		got = append(got, s.Label())
	}
	want := []string{"@rule[0]", "wan1", "named", "@rule[2]"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("labels %v, want %v", got, want)
	}
}

// TestSpellings reads every file in testdata/spellings: all of them say the
// same in another way.
func TestSpellings(t *testing.T) {
	const want = "globals globals[0] enabled=1 mark_mask=0x3f00 loglevel=notice bypass=[10.0.0.0/8|192.168.0.0/16]\n" +
		"member wan1[0] device=eth1 gateway=192.0.2.1 weight=3\n" +
		"member wan2[1] device=eth2 gateway=198.51.100.1\n" +
		"policy balanced[0] use_member=[wan1|wan2 weight=1] last_resort=default\n"
	dir := filepath.Join("testdata", "spellings")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 30 {
		t.Fatalf("%d spellings, want 30 or more", len(entries))
	}
	texts := make(map[string]string)
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			f, err := Load(dir, entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			if got := dump(f); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if same, ok := texts[string(text)]; ok {
				t.Errorf("the same text as %s", same)
			}
			texts[string(text)] = entry.Name()
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("loadbalance", "config member 'wan1'\n")
	write("broken", "config member 'wan1\n")
	write("huge", strings.Repeat("#\n", maxSize))
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A device, and a file that calls itself regular and never ends.
	for name, target := range map[string]string{"kmsg": "/dev/kmsg", "endless": "/proc/kmsg"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}

	f, err := Load(dir, "loadbalance")
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "loadbalance" || dump(f) != "member wan1[0]\n" {
		t.Errorf("got %+v", f)
	}
	if f, err := Load(dir, "endless"); err != nil || len(f.Sections) > 0 {
		t.Errorf("got %+v, error %v", f, err)
	}
	if _, err := Load(dir, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: error %v is not fs.ErrNotExist", err)
	}
	refused := []struct{ name, want string }{
		{"broken", "broken:1: syntax error: the quote ' that is opened here is never closed"},
		{"huge", fmt.Sprintf("huge:%d: syntax error: the file is larger than 4194304 bytes", maxSize/2+1)},
		{"folder", filepath.Join(dir, "folder") + " is a directory"},
		{"kmsg", filepath.Join(dir, "kmsg") + " is not a regular file"},
		{"pipe", filepath.Join(dir, "pipe") + " is not a regular file"},
		{"../loadbalance", "'../loadbalance' is not a name for a configuration file"},
		{"", "'' is not a name for a configuration file"},
	}
	for _, tt := range refused {
		if _, err := Load(dir, tt.name); err == nil || err.Error() != tt.want {
			t.Errorf("Load(%q): error %v, want %s", tt.name, err, tt.want)
		}
	}
}

// TestManySections: with all sections in one configuration of go-uci it takes
// thirty times as long.
func TestManySections(t *testing.T) {
	f, err := Parse("loadbalance", manySections())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sections) != 20_000 {
		t.Fatalf("%d sections, want 20000", len(f.Sections))
	}
	for i, s := range f.Sections {
		if (s.Name == "") != (i%2 == 0) || s.Index != i || s.Line != 4*i+1 {
			t.Fatalf("section %d: %+v", i, s)
		}
		if got := s.Options[2].Values[0].Text; got != fmt.Sprint(i) {
			t.Fatalf("section %d: option c is %s", i, got)
		}
	}
}

func TestLongLine(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	f, err := Parse("loadbalance", []byte("config r\noption a "+long+"\noption b \""+long+"\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range f.Sections[0].Options {
		if o.Values[0].Text != long {
			t.Errorf("option %s: %d bytes, want %d", o.Name, len(o.Values[0].Text), len(long))
		}
	}
}

// manySections returns 20 000 sections of three options, every other anonymous.
func manySections() []byte {
	var b strings.Builder
	for i := range 20_000 {
		name := ""
		if i%2 == 1 {
			name = fmt.Sprint("s", i)
		}
		fmt.Fprintf(&b, "config rule %s\noption a 1\nlist b 2\noption c %d\n", name, i)
	}
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	text := manySections()
	b.SetBytes(int64(len(text)))
	for range b.N {
		if _, err := Parse("loadbalance", text); err != nil {
			b.Fatal(err)
		}
	}
}
