package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// entry is a file or a folder in an archive. Everything belongs to root.
type entry struct {
	name string // as in ./etc/config; folders end in a slash
	mode fs.FileMode
	body []byte
}

func (e entry) isDir() bool { return e.name[len(e.name)-1] == '/' }

// treeEntries returns a folder and all that is in it, in the order of names.
func treeEntries(root string) ([]entry, error) {
	var entries []entry
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		e := entry{name: "./" + filepath.ToSlash(name), mode: info.Mode().Perm()}
		switch {
		case path == root:
			e.name = "./"
		case info.IsDir():
			e.name += "/"
		case info.Mode().IsRegular():
			if e.body, err = os.ReadFile(path); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s: neither a file nor a folder", path)
		}
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

// tarRecord is the size that GNU tar fills its archives up to, 20 blocks of
// 512 bytes. OpenWrt takes Installed-Size from such an archive.
const tarRecord = 20 * 512

// makeTar archives entries in the GNU format, with numeric owners.
func makeTar(entries []entry, date time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, e := range entries {
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     e.name,
			Mode:     int64(e.mode),
			Size:     int64(len(e.body)),
			ModTime:  date,
			Format:   tar.FormatGNU,
		}
		if e.isDir() {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		if _, err := w.Write(e.body); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if rest := buffer.Len() % tarRecord; rest != 0 {
		buffer.Write(make([]byte, tarRecord-rest))
	}
	return buffer.Bytes(), nil
}

// compress applies gzip, without a name or a time in the header, as OpenWrt's
// ipkg-build does and with the same program: GNU gzip, whose output has not
// changed in decades, makes 1 % less of it than Go's package, whose output is
// another one with some releases of Go.
func compress(data []byte) ([]byte, error) {
	cmd := exec.Command("gzip", "-9nc")
	cmd.Stdin = bytes.NewReader(data)
	packed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return packed, nil
}

// What gzip writes around the compressed data, by RFC 1952: a header, which
// without a name has this size, and behind it a sum and the size.
const (
	gzipHeader  = 10
	gzipTrailer = 8
)

// deflate compresses as gzip does, without its header and trailer.
func deflate(data []byte) ([]byte, error) {
	packed, err := compress(data)
	if err != nil {
		return nil, err
	}
	return packed[gzipHeader : len(packed)-gzipTrailer], nil
}

func makeTarGz(entries []entry, date time.Time) ([]byte, error) {
	archive, err := makeTar(entries, date)
	if err != nil {
		return nil, err
	}
	return compress(archive)
}
