// Package sysctl owns the kernel settings that we change under /proc/sys, and puts
// them back. What they were before is in the run directory's state.
package sysctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files is /proc/sys. Paths are relative to it, for example
// "net/ipv4/conf/wan1/rp_filter"; values have no blanks around them. Errors
// of a path that does not exist match fs.ErrNotExist.
type Files interface {
	Read(path string) (string, error)
	Write(path, value string) error
}

// Proc is the Files of the running kernel. What lies under net/ belongs to the
// network namespace of the calling thread.
type Proc struct{}

const root = "/proc/sys"

// Read returns a setting's value.
func (Proc) Read(path string) (string, error) {
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("sysctl %s: not a path under %s", path, root)
	}
	value, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name(path), err)
	}
	return strings.TrimSpace(string(value)), nil
}

// Write changes a setting.
func (Proc) Write(path, value string) error {
	if !filepath.IsLocal(path) {
		return fmt.Errorf("sysctl %s: not a path under %s", path, root)
	}
	// Without O_CREATE: /proc refuses to make files with "permission denied",
	// which would hide that the device has gone.
	file, err := os.OpenFile(filepath.Join(root, path), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", name(path), err)
	}
	_, err = file.WriteString(value + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("sysctl %s: %w", name(path), err)
	}
	return nil
}

// name returns a path as the sysctl command writes it: with dots for the
// slashes, and slashes for the dots in a device's name.
func name(path string) string { return strings.NewReplacer("/", ".", ".", "/").Replace(path) }

// defaultOf returns where the kernel keeps the value that a new device gets:
// net/ipv4/conf/default/rp_filter for net/ipv4/conf/wan1/rp_filter.
func defaultOf(path string) string { return filepath.Join(path, "../../default", filepath.Base(path)) }
