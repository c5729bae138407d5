package mwan3

import (
	"cmp"
	"strconv"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

// source is a section of mwan3's file. Options that were not asked for are noted.
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

func (s *source) words(name string) []string {
	s.asked[name] = true
	return s.Words(name)
}

// is1 reports whether a switch is on. mwan3 compares with 1: 'yes' is off.
func (s *source) is1(name string) bool { return s.value(name) == "1" }

// boolean is for the few switches that mwan3 reads as others do.
func (s *source) boolean(name string, otherwise bool) bool {
	if on, err := config.ParseBoolean(s.value(name)); err == nil {
		return on
	}
	return otherwise
}

// number returns the value of an option that takes a whole number, by default 1.
// ok is false if the value is not a number from 0 on.
func (s *source) number(name string) (n int, ok bool) {
	n, err := strconv.Atoi(cmp.Or(s.value(name), "1"))
	return n, err == nil && n >= 0
}

// mentionRest notes the options that were not read. A rule that has any is left
// out: without it the rule might match more.
func (s *source) mentionRest(out *section) {
	var rest []string
	for _, o := range s.Options {
		if !s.asked[o.Name] && s.value(o.Name) != "" {
			rest = append(rest, o.Name)
		}
	}
	if out.kind != "rule" || len(rest) == 0 {
		out.noteAll(minor, "option %s is left out: it has no counterpart here", rest)
		return
	}
	for _, name := range rest {
		out.option(name, s.value(name)) // to be seen, since the rule is a comment
	}
	out.leaveOut(traffic, "option %s has no counterpart here, and without it the rule might match more", quoteAll(rest))
}

func quoteAll(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return strings.Join(quoted, ", ")
}
