package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// safely keeps root from being led elsewhere, or waiting for a FIFO's other end.
const safely = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// maxFile is 16 times the largest file that we write with 60 members.
const maxFile = 16 << 20

// Create makes the directory. One that is there must be root's, and others must
// not be able to write into it. They may have opened what an earlier version
// left for them to read.
func (d Dir) Create() error {
	err := os.MkdirAll(filepath.Dir(string(d)), 0o755)
	if err == nil {
		err = os.Mkdir(string(d), 0o700)
	}
	if !errors.Is(err, fs.ErrExist) {
		return d.trouble(err)
	}
	if err := d.check(); err != nil {
		return err
	}
	info, err := os.Lstat(string(d))
	entries, _ := filepath.Glob(d.path("*"))
	if err != nil || info.Mode().Perm() == 0o700 || len(entries) > 0 && !d.exists(queueFile) {
		return d.trouble(err) // also a folder that is not only ours: others can do nothing there
	}
	err = os.Chmod(string(d), 0o700)
	for _, name := range []string{lockFile, queueFile, monitorFile} {
		err = errors.Join(err, os.RemoveAll(d.path(name)))
	}
	return d.trouble(err)
}

// check reports why nothing in the directory is to be trusted. The error of one
// that is not there matches fs.ErrNotExist.
func (d Dir) check() error {
	info, err := os.Lstat(string(d))
	if err != nil {
		return d.trouble(err)
	}
	if !info.IsDir() {
		return d.trouble(errors.New("it is no directory"))
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return d.trouble(fmt.Errorf("others can write there (owner %d, mode %o)", owner, info.Mode().Perm()))
	}
	return nil
}

// trouble is an error without the file's name: whatever is written says the same.
func (d Dir) trouble(err error) error {
	if err == nil {
		return nil
	}
	var cause unix.Errno
	if errors.As(err, &cause) {
		err = cause
	}
	return fmt.Errorf("%s: %w", d, err)
}

// Trouble reports why nothing can be kept in the directory, if there is one.
func (d Dir) Trouble() error {
	var room unix.Statfs_t
	err := d.check()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	err = errors.Join(unix.Access(string(d), unix.W_OK), unix.Statfs(string(d), &room))
	if err == nil && (room.Bavail == 0 || room.Files > 0 && room.Ffree == 0) {
		err = unix.ENOSPC
	}
	return d.trouble(err)
}

// clear removes what is in the place of a file and is none.
func (d Dir) clear(name string) error {
	if err := d.check(); err != nil {
		return err
	}
	if info, err := os.Lstat(d.path(name)); err != nil || info.Mode().IsRegular() {
		return nil
	}
	return d.trouble(os.RemoveAll(d.path(name)))
}

// open opens a file, which it makes if need be, to be locked.
func (d Dir) open(name string) (*os.File, error) {
	if err := d.clear(name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|safely, 0o600)
	return file, d.trouble(err)
}

// touch makes a file that is only a mark.
func (d Dir) touch(name string) error {
	file, err := d.open(name)
	if err != nil {
		return err
	}
	return file.Close()
}

// exists reports whether a mark is there.
func (d Dir) exists(name string) bool {
	_, err := os.Lstat(d.path(name))
	return err == nil && d.check() == nil
}

func (d Dir) remove(name string) error {
	err := d.check()
	if err == nil {
		err = d.trouble(os.RemoveAll(d.path(name)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// write replaces a file by what read will return. Where there is no room for
// another, it is overwritten: a text cut off is better than one outdated.
func (d Dir) write(name string, text []byte) error {
	if err := d.clear(name); err != nil {
		return err
	}
	text = append(seal(text), text...)
	err := WriteFile(d.path(name), text, 0o600, 0)
	if err == nil {
		return nil
	}
	file, openErr := os.OpenFile(d.path(name), os.O_WRONLY|safely, 0)
	if openErr != nil {
		return d.trouble(err)
	}
	defer file.Close()
	n, err := file.WriteAt(text, 0)
	return d.trouble(errors.Join(err, file.Truncate(int64(n))))
}

// read returns what was written. The error of a file that is not there matches
// fs.ErrNotExist. What cannot be replaced any more may be outdated.
func (d Dir) read(name string) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	text, err := ReadFile(d.path(name))
	if err != nil {
		return nil, err
	}
	if err := unix.Access(string(d), unix.W_OK); err != nil {
		return nil, d.trouble(err)
	}
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if !bytes.Equal(append(head, '\n'), seal(rest)) {
		return nil, fmt.Errorf("%s is damaged (length and checksum are not those of its first line)", d.path(name))
	}
	return rest, nil
}

func (d Dir) writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return d.write(name, append(text, '\n'))
}

// readJSON reads a value, which stays as it is where nothing was kept.
func (d Dir) readJSON(name string, value any) error {
	text, err := d.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = json.Unmarshal(text, value); err != nil {
			err = fmt.Errorf("%s is damaged (%w)", d.path(name), err)
		}
	}
	return err
}

// seal is the line before a text that shows whether it was cut off or altered.
func seal(text []byte) []byte {
	return fmt.Appendf(nil, "%08x %d\n", crc32.ChecksumIEEE(text), len(text))
}

// WriteFile replaces a file at once: a reader, or a run after a crash, sees
// the old text or the new one. It follows no link that others may have left.
// With flag O_DSYNC also a power cut leaves one of both.
func WriteFile(path string, text []byte, mode fs.FileMode, flag int) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|safely|flag, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}

// ReadFile reads a regular file, no link.
func ReadFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|safely, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file", path))
	}
	return io.ReadAll(io.LimitReader(file, maxFile))
}
