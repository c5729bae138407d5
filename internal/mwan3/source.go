package mwan3

import (
	"strconv"
	"strings"

	"loadbalance/internal/uci"
)

// source is a section of mwan3's file. It remembers which options were asked
// for, so that the others can be mentioned.
type source struct {
	uci.Section
	asked map[string]bool
}

func newSource(s uci.Section) *source {
	return &source{Section: s, asked: make(map[string]bool)}
}

// value is the value of an option, with the items of a list joined, as
// config_get of OpenWrt's shell library has it; "" when it is not given.
func (s *source) value(name string) string {
	return strings.Join(s.values(name), " ")
}

// values are the values of an option, one for each item of a list.
func (s *source) values(name string) []string {
	s.asked[name] = true
	var values []string
	for _, o := range s.Options {
		if o.Name != name {
			continue
		}
		for _, v := range o.Values {
			if v.Text != "" {
				values = append(values, v.Text)
			}
		}
	}
	return values
}

// words are the values of a list, of which each item may hold several.
func (s *source) words(name string) []string {
	return strings.Fields(s.value(name))
}

// is1 reports whether a switch is on. mwan3 compares with 1, so 'yes' is off.
func (s *source) is1(name string) bool { return s.value(name) == "1" }

// number is the value of an option that takes a whole number. It says false
// when the value is none.
func (s *source) number(name string, otherwise int) (int, bool) {
	text := s.value(name)
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

// mentionRest adds a note for every option that nobody asked for.
func (s *source) mentionRest(out *section) {
	for _, o := range s.Options {
		if !s.asked[o.Name] {
			out.note("option %s %s is left out: mwan3 does not know it", quote(o.Name), quote(s.value(o.Name)))
		}
	}
}
