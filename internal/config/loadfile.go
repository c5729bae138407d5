package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"loadbalance/internal/uci"
)

// maxLoadFile is the largest file in bytes that a set is loaded from. A million
// addresses, more than a router's memory wants in a set, take 16 MB.
const maxLoadFile = 16 << 20

const (
	// maxWrongLines is how many lines that are no entries end the reading: lists
	// with host names have thousands, and these take a slow router tenths of a second.
	maxWrongLines = 10_000
	// maxNamed is how many of them are named, each time that the file is read:
	// enough to see what kind of file it is.
	maxNamed = 20
	// maxShown is how many characters of such a line are shown. It is a common
	// IPv6 prefix in full, and of a line of /etc/shadow no password.
	maxShown = 24
)

// LoadSets adds the entries of each set's loadfile. A file or a line of it that
// cannot be read is a warning: the set works with the rest.
func (c *Config) LoadSets() Problems {
	problems := &collector{}
	for i := range c.IPSets {
		set := &c.IPSets[i]
		if set.LoadFile == "" {
			continue
		}
		if err := set.load(problems); err != nil {
			problems.add(Problem{Pos: set.Pos, Severity: Warning, Section: "ipset '" + set.Name + "'",
				Text: fmt.Sprintf("option 'loadfile': %v", err)})
		}
	}
	return problems.sorted()
}

// load adds the entries of the file. The error is about the file as a whole.
func (set *IPSet) load(problems *collector) error {
	file, size, err := uci.OpenRegular(set.LoadFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist", quote(set.LoadFile))
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if size == 0 {
		return fmt.Errorf("%s is empty", quote(set.LoadFile))
	}
	seen := map[netip.Prefix]bool{}
	for _, p := range set.Entries {
		seen[p] = true
	}
	rest := &io.LimitedReader{R: io.LimitReader(file, size), N: maxLoadFile + 1}
	lines := bufio.NewScanner(rest)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		// A line that the limit cuts off is dropped: it may be another address.
		return bufio.ScanLines(data, atEOF && rest.N > 0)
	})
	number, wrong := 1, 0
	for ; wrong < maxWrongLines && lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		prefix, err := set.parseEntry(text)
		if err != nil {
			if wrong++; wrong > maxNamed {
				continue
			}
			problems.add(Problem{Pos: Pos{File: filepath.Base(set.LoadFile), Line: number}, Severity: Warning, Section: "ipset '" + set.Name + "'",
				Text: strings.Replace(err.Error(), quote(text), uci.Quote(text, maxShown), 1)})
			continue
		}
		if prefix = prefix.Masked(); !seen[prefix] {
			seen[prefix] = true
			set.Entries = append(set.Entries, prefix)
		}
	}
	switch {
	case wrong == maxWrongLines:
		return fmt.Errorf("%d lines are no entries, and what follows line %d is not read", wrong, number-1)
	case errors.Is(lines.Err(), bufio.ErrTooLong):
		return fmt.Errorf("line %d is longer than 64 KB, and is not read, nor what follows", number)
	case rest.N == 0:
		return errors.New("only the first 16 MB are read")
	case wrong > maxNamed:
		return fmt.Errorf("%d more lines are no entries", wrong-maxNamed)
	}
	return lines.Err()
}

// RuleInterfaces returns the netifd interfaces that enabled rules name, sorted.
func (c *Config) RuleInterfaces() []string {
	var names []string
	for _, r := range c.Rules {
		if r.Enabled && r.SrcIface != "" && r.SrcIface != Router {
			names = append(names, r.SrcIface)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ForeignSets returns the sets of enabled rules that another program has to create,
// sorted.
func (c *Config) ForeignSets() []string {
	var names []string
	for _, r := range c.Rules {
		for _, name := range []string{r.IPSet, r.IPSetSrc} {
			if r.Enabled && name != "" && c.IPSet(name) == nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
