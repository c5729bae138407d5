package rundir

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

func TestStateRoundTrip(t *testing.T) {
	d := Dir(t.TempDir())
	if _, found, err := d.State(); found || err != nil {
		t.Errorf("nothing there: found %v, %v", found, err)
	}
	want := State{
		State: plan.State{Indices: plan.Indices{Members: map[string]int{"wan1": 1, "lte": 60}, Freed: []plan.FreedIndex{{Name: "old", Index: 2}}}},
		Families: map[family.Family]Family{
			family.IPv4: {Starts: map[string]uint64{"lb_policy_balanced": 1<<64 - 1}, Legacy: true},
			family.IPv6: {CreatedTable: true},
		},
	}
	for range 2 { // the second time over an old file
		if err := d.SaveState(want); err != nil {
			t.Fatal(err)
		}
		got, found, err := d.State()
		if err != nil || !found || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v (found %v, %v), want %+v", got, found, err, want)
		}
	}
	entries, err := os.ReadDir(string(d))
	if err != nil || len(entries) != 1 {
		t.Errorf("files left: %v, %v", entries, err)
	}
}

// TestDamagedState is reported with the file's name, and is as good as none.
func TestDamagedState(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"indices": 7}`, `{"families": {"ipv4": {"starts": {"x": -1}}}}`, "\x00"} {
		d := Dir(t.TempDir())
		if err := os.WriteFile(d.path(stateFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, found, err := d.State()
		if found || err == nil || !strings.Contains(err.Error(), d.path(stateFile)) {
			t.Errorf("%q: found %v, error %v", text, found, err)
		}
	}
	d := Dir(t.TempDir())
	if err := os.Mkdir(d.path(stateFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, found, err := d.State(); found || err == nil {
		t.Errorf("a folder: found %v, error %v", found, err)
	}
}

func TestStoppedAndAccepted(t *testing.T) {
	d := Dir(t.TempDir())
	check := func(when string, stopped bool, accepted string) {
		t.Helper()
		text, err := d.Accepted()
		if d.Stopped() != stopped || string(text) != accepted || (accepted == "") != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: stopped %v, accepted %q (%v)", when, d.Stopped(), text, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("at the beginning", false, "")
	must(d.Accept([]byte("config member 'a'\n")))
	check("accepted", false, "config member 'a'\n")
	must(d.SetStopped(false))
	check("not stopped anyway", false, "config member 'a'\n")
	must(d.SetStopped(true))
	must(d.SetStopped(true))
	check("stopped", true, "")
	must(d.SetStopped(false))
	check("started again", false, "")
}

// TestWriteFileReplaces: a reader sees the old text or the new one, and a
// failure leaves the old one.
func TestWriteFileReplaces(t *testing.T) {
	path := t.TempDir() + "/file"
	if err := WriteFile(path, []byte("old"), 0o600, 0); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := WriteFile(path, []byte("new and longer"), 0o600, 0); err != nil {
		t.Fatal(err)
	}
	old := make([]byte, 20)
	if n, _ := before.Read(old); string(old[:n]) != "old" {
		t.Errorf("who had opened it before reads %q", old[:n])
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "new and longer" {
		t.Errorf("%q, %v", text, err)
	}
	if err := WriteFile(path+"/below/a/file", nil, 0o600, 0); err == nil {
		t.Error("no error")
	}
}
