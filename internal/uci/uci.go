// Package uci reads files of /etc/config. It accepts what libuci accepts and
// gives it the same meaning, keeps the line of everything, and refuses with a
// *SyntaxError what libuci refuses.
// All goes through go-uci's Tree: every value in a File is read from there.
//
// The model is file.c, list.c and util.c of libuci, with the strict mode of
// uci_alloc_context: the first mistake refuses the whole file. (The shell scripts
// use `uci -S`: ParseTolerant.) What one might not expect:
//
//   - `package NAME` is checked and otherwise ignored, whatever the name.
//   - An `option` with an empty value does nothing; an earlier value stays.
//     An empty `list` item is kept as an empty item.
//   - A repeated option takes the new value and stays where it was. `list`
//     after `option` appends to a list that begins with the option's value;
//     `option` after `list` replaces the list.
//   - A repeated section name continues the first section of that name; with
//     another type the file is refused.
//   - `;` separates commands after a value that ends in a quote or is followed
//     by a blank. Right behind an argument that has neither a quote nor a
//     backslash it loses the rest of the line: `option a b;option c d` sets
//     only a. In place of a value or section name it stands for an empty one,
//     so that `config member ;option a b` has too many arguments. A `;` at the
//     end of a line is an error.
//   - Backslash and newline join two lines outside of quotes and in "…",
//     not in '…'. Blanks at the start of the second line separate arguments.
//
// Where this package differs from libuci:
//
//   - A NUL byte is an error. libuci drops some of the text behind it.
//   - libuci names anonymous sections (cfg013fd6, differently from version to
//     version), and a section in the file may carry such a name to continue
//     one. Here anonymous sections have no name.
//   - There are limits: see maxSize, maxCommands and maxOptions.
//   - Changes that `uci commit` has not written yet are not seen.
package uci

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSize is in bytes: 60 uplinks with every option set take some 50 KiB.
const maxSize = 4 << 20

// File is one parsed configuration file.
type File struct {
	Name     string
	Sections []Section
}

// Section is a `config` command with its options. A section whose name is
// repeated in the file appears once, where it was first.
type Section struct {
	Type, Name string   // Name is "" for an anonymous section
	Index      int      // position among all sections of its type, from 0
	Line       int      // of the first `config` command, from 1
	Options    []Option // in libuci's order, one per name, none without a value
}

// Label returns the name as `uci` takes it, of an anonymous section "@type[index]".
func (s Section) Label() string {
	if s.Name == "" {
		return fmt.Sprintf("@%s[%d]", s.Type, s.Index)
	}
	return s.Name
}

// Values returns the values of an option; an empty one is unset.
func (s Section) Values(name string) []Value {
	var values []Value
	for _, o := range s.Options {
		if o.Name != name {
			continue
		}
		for _, v := range o.Values {
			if v.Text != "" {
				values = append(values, v)
			}
		}
	}
	return values
}

// Words returns the words of an option: most programs accept a list as well as
// one value with blanks between the words.
func (s Section) Words(name string) []string {
	var words []string
	for _, v := range s.Values(name) {
		words = append(words, strings.Fields(v.Text)...)
	}
	return words
}

// Option is a value or a list of values, of which there is at least one.
type Option struct {
	Name   string
	Line   int // of the last `option` or `list` command for it
	List   bool
	Values []Value
}

// Value is one text and the line on which its first character stands.
type Value struct {
	Text string
	Line int
}

// SyntaxError is the reason why a file is refused as a whole.
type SyntaxError struct {
	File string // name of the file without its directory
	Line int    // from 1
	Msg  string
}

// Error returns the place and the reason: "loadbalance:3: syntax error: …".
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: syntax error: %s", e.File, e.Line, e.Msg)
}

// Load is ReadText and Parse.
func Load(dir, name string) (*File, error) {
	text, err := ReadText(dir, name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}

// ReadText reads the file dir/name. The error may wrap fs.ErrNotExist.
func ReadText(dir, name string) ([]byte, error) {
	if !validName(name, "-") {
		return nil, fmt.Errorf("%s is not a name for a configuration file", quote(name))
	}
	f, size, err := OpenRegular(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, min(size, maxSize+1)))
}

// OpenRegular opens a regular file, or a link to one, and nothing that could
// make the caller wait. No more than the returned size should be read of it:
// /proc/kmsg calls itself regular and empty, and a reader of it waits.
func OpenRegular(path string) (*os.File, int64, error) {
	// Asked before, since to open a device can have effects, and afterwards,
	// since another file may have taken the place.
	info, err := os.Stat(path)
	var f *os.File
	if err == nil && info.Mode().IsRegular() {
		// O_NONBLOCK: opening a named pipe must not wait for a writer.
		f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err == nil {
			info, err = f.Stat()
		}
	}
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", path)
	default:
		return f, info.Size(), nil
	}
	f.Close() // of nil it does nothing
	return nil, 0, err
}

// Parse reads text as the file called name. Its errors are *SyntaxErrors.
func Parse(name string, text []byte) (*File, error) {
	file, _, err := parse(name, text, false)
	return file, err
}

// ParseTolerant reads text as the shell scripts of OpenWrt do: a line with a
// mistake is returned and counts as if it were not there. The options behind a
// `config` line that is skipped belong to the section before.
func ParseTolerant(name string, text []byte) (*File, []*SyntaxError, error) {
	return parse(name, text, true)
}
