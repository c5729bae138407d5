package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/kernel"
	"loadbalance/internal/quota"
)

// used is what a monitor keeps.
var used = quota.Book{
	Members: []quota.Usage{{Member: "lte", Since: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Bytes: 12345678901, Quota: 50e9, Action: "off"}},
	Counted: time.Date(2026, 12, 10, 0, 0, 0, 0, time.UTC), Boot: "first", Devices: []kernel.Traffic{{Name: "wwan0", Index: 7, Received: 1 << 63}},
}

func TestUsage(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "etc", "loadbalance.d"))
	if book, err := d.Usage(); err != nil || book.Members != nil {
		t.Errorf("before the first time: %+v, %v", book, err)
	}
	if err := d.SaveUsage(used); err != nil {
		t.Fatal(err)
	}
	book, err := d.Usage()
	if err != nil || !reflect.DeepEqual(book, used) {
		t.Errorf("%+v, %v", book, err)
	}
	info, err := os.Stat(filepath.Join(string(d), usageFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v (%v)", entries, err)
	}
}

func TestDamagedUsage(t *testing.T) {
	d := Dir(t.TempDir())
	file := filepath.Join(string(d), usageFile)
	if err := d.SaveUsage(used); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]string{"cut off": string(text[:len(text)-20]), "altered": strings.Replace(string(text), "12345678901", "02345678901", 1), "empty": ""} {
		if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if book, err := d.Usage(); err == nil || book.Members != nil {
			t.Errorf("%s: %+v, %v", name, book, err)
		}
	}
	if err := d.SaveUsage(used); err != nil {
		t.Errorf("in place of a damaged file: %v", err)
	}
}

// A flash without room keeps what it has.
func TestUsageOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=8k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	d := Dir(dir)
	if err := d.SaveUsage(used); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rest"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveUsage(quota.Book{Boot: "second"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error: %v", err)
	}
	if book, err := d.Usage(); err != nil || book.Boot != "first" {
		t.Errorf("%+v, %v", book, err)
	}
}
