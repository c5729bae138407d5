package netlab

import (
	"io/fs"
	"os"
	"syscall"
)

// WriteFile is os.WriteFile for programs and scripts that are started at once. The
// file has exactly the mode, whatever the umask.
//
// Nothing may fork meanwhile: until a child has become another program it holds
// the file open for writing, and nobody can start it ("text file busy",
// https://go.dev/issue/22315).
func WriteFile(file string, text []byte, mode fs.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, text, mode); err != nil {
		return err
	}
	return os.Chmod(file, mode)
}
