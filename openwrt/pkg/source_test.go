package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// commit commits everything in a folder to a new repository of its own.
func commit(t *testing.T, dir string, date time.Time) {
	t.Helper()
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "-A"},
		{"-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "test"},
	} {
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+date.Format(time.RFC3339), "GIT_AUTHOR_DATE="+date.Format(time.RFC3339))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
}

// write writes a file with a time into a folder that may be missing.
func write(t *testing.T, name, text string, mode fs.FileMode, date time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, date, date); err != nil {
		t.Fatal(err)
	}
}

func TestSourceDate(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	outer := t.TempDir()
	dir := filepath.Join(outer, "loadbalance-0.1.0")
	newest := date.Add(24 * time.Hour)
	write(t, filepath.Join(dir, "go.mod"), "x", 0o644, date)
	write(t, filepath.Join(dir, "cmd/main.go"), "x", 0o644, newest)
	write(t, filepath.Join(dir, "dist/x.ipk"), "x", 0o644, newest.Add(time.Hour))
	write(t, filepath.Join(dir, "bin/loadbalance"), "x", 0o755, newest.Add(time.Hour))
	check := func(name string, want time.Time) {
		t.Helper()
		if got, err := sourceDate(dir); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	check("no repository: the newest source", newest)
	commit(t, outer, date.Add(time.Minute))
	check("in another project's repository", newest)
	commit(t, dir, date.Add(time.Second))
	check("a repository: its commit", date.Add(time.Second))
	t.Setenv("SOURCE_DATE_EPOCH", "1234567890")
	check("SOURCE_DATE_EPOCH", time.Unix(1234567890, 0))
}

func TestSourceDateRefused(t *testing.T) {
	for _, text := range []string{"yesterday", "-1", "4294967296", "1.5"} {
		t.Setenv("SOURCE_DATE_EPOCH", text)
		if got, err := sourceDate(t.TempDir()); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH: '"+text+"'") {
			t.Errorf("%s: got %v, %v, want an error", text, got, err)
		}
	}
	// A repository that git cannot read must not silently give another date.
	t.Setenv("SOURCE_DATE_EPOCH", "")
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".git"), "gitdir: nowhere\n", 0o644, date)
	if got, err := sourceDate(dir); err == nil || !strings.Contains(err.Error(), "git log") || !strings.Contains(err.Error(), "set SOURCE_DATE_EPOCH") {
		t.Errorf("a broken repository: got %v, %v, want an error", got, err)
	}
}

func TestSourceTarball(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{
		"go.mod": 0o600, "files/etc/init.d/loadbalance": 0o700, ".ci/run": 0o775, "cmd/bin/x.go": 0o664,
		"bin/loadbalance": 0o755, "dist/x.ipk": 0o644, ".git/config": 0o644,
	} {
		write(t, filepath.Join(dir, name), name, mode, date.Add(time.Hour))
	}
	tarball, err := sourceTarball(dir, "loadbalance-0.1.0", date)
	if err != nil {
		t.Fatal(err)
	}
	got := list(t, writeFile(t, t.TempDir(), file{"x.tar.gz", tarball}))
	want := []string{
		"-rwxr-xr-x " + stamp + " loadbalance-0.1.0/.ci/run",
		"-rw-r--r-- " + stamp + " loadbalance-0.1.0/cmd/bin/x.go",
		"-rwxr-xr-x " + stamp + " loadbalance-0.1.0/files/etc/init.d/loadbalance",
		"-rw-r--r-- " + stamp + " loadbalance-0.1.0/go.mod",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := os.Symlink("go.mod", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := sourceTarball(dir, "x", date); err == nil || !strings.Contains(err.Error(), "link: no regular file") {
		t.Errorf("a link: got %v, want an error", err)
	}
}

func TestCheckClean(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "x", 0o644, date)
	if err := checkClean(dir); err != nil {
		t.Errorf("no repository: %v", err)
	}
	commit(t, dir, date)
	if err := checkClean(dir); err != nil {
		t.Errorf("everything is committed: %v", err)
	}
	write(t, filepath.Join(dir, "new"), "x", 0o644, date)
	if err := checkClean(dir); err == nil || !strings.Contains(err.Error(), "?? new") {
		t.Errorf("got %v, want an error that names the new file", err)
	}
}
