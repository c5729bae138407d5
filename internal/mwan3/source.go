package mwan3

import (
	"strconv"
	"strings"

	"loadbalance/internal/uci"
)

// source is a section of mwan3's file. It records which options were read, so
// that the others can be noted.
type source struct {
	uci.Section
	asked map[string]bool
}

// value returns the value of an option, with the items of a list joined by
// blanks, as config_get of OpenWrt's shell library does; "" if it is not given.
func (s *source) value(name string) string {
	s.asked[name] = true
	var items []string
	for _, v := range s.Values(name) {
		items = append(items, v.Text)
	}
	return strings.Join(items, " ")
}

// words returns the values of a list, of which each item may hold several.
func (s *source) words(name string) []string {
	s.asked[name] = true
	return s.Words(name)
}

// is1 reports whether a switch is on. mwan3 compares with 1: 'yes' is off.
func (s *source) is1(name string) bool { return s.value(name) == "1" }

// number returns the value of an option that takes a whole number, or otherwise
// if it is not given. ok is false if the value is not a number from 0 on.
func (s *source) number(name string, otherwise int) (n int, ok bool) {
	text := s.value(name)
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

// mentionRest adds a note for every option that was not read.
func (s *source) mentionRest(out *section) {
	for _, o := range s.Options {
		if !s.asked[o.Name] {
			out.note("option %s %s is left out: mwan3 does not know it", quote(o.Name), quote(s.value(o.Name)))
		}
	}
}
