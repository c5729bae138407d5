package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sourceDate returns the time that all files of all packages bear:
// SOURCE_DATE_EPOCH, or the last commit's time, or in sources without a
// repository the newest file's. In a tarball of ours, as in that of a forge, all
// files have the last commit's time.
func sourceDate(root string) (time.Time, error) {
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		return parseDate("SOURCE_DATE_EPOCH", text)
	}
	if !hasRepository(root) {
		return newestFile(root)
	}
	commit, err := git(root, "log", "-1", "--format=%ct")
	if err != nil {
		return time.Time{}, fmt.Errorf("no date for the files: %w; set SOURCE_DATE_EPOCH", err)
	}
	return parseDate("git log", strings.TrimSpace(commit))
}

// parseDate reads seconds since 1970. Of these apk's records hold 32 bits.
func parseDate(source, text string) (time.Time, error) {
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: '%s' is no number of seconds since 1970", source, text)
	}
	return time.Unix(int64(seconds), 0).UTC(), nil
}

// hasRepository reports whether root is the top folder of a checkout. A tarball
// that was unpacked somewhere inside another project's checkout is none.
func hasRepository(root string) bool {
	_, err := os.Stat(filepath.Join(root, ".git"))
	return err == nil
}

// git runs git in the checkout and returns what it prints.
func git(root string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", root}, args...)...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return string(text), nil
}

func newestFile(root string) (time.Time, error) {
	var newest time.Time
	err := walkSources(root, func(_ string, info fs.FileInfo) error {
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return nil
	})
	return newest.UTC().Truncate(time.Second), err
}

// walkSources calls visit for every file of the sources, by its name below root
// with slashes. Left out is what git leaves out: its own folder and what is built.
func walkSources(root string, visit func(name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", "bin", "dist"}, name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // .git is a file in a linked work tree
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(name), info)
	})
}

// sourceTarball archives the sources in the folder top. A file's mode says only
// whether it can be executed, as in git.
func sourceTarball(root, top string, date time.Time) ([]byte, error) {
	var entries []entry
	err := walkSources(root, func(name string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: no regular file", name)
		}
		body, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		e := entry{name: path.Join(top, name), mode: 0o644, body: body}
		if info.Mode()&0o100 != 0 {
			e.mode = 0o755
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return makeTarGz(entries, date)
}

// checkClean refuses changes that were not committed: the tarball would contain
// them, and no commit could be named that gives these bytes.
func checkClean(root string) error {
	if !hasRepository(root) {
		return nil
	}
	changes, err := git(root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return fmt.Errorf("a release is made of committed sources; commit first:\n%s", changes)
	}
	return nil
}
