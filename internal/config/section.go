package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"loadbalance/internal/uci"
)

// section reads options. It records which were read: the rest is unknown.
type section struct {
	uci.Section
	problems *collector
	title    string // "member 'wan2'", as messages begin
	pos      Pos
	known    []string // option names that were read
	state    state
}

// state is whether a section can be used; every error makes it faulty.
type state int

const (
	valid state = iota
	disabled
	faulty
)

func (s state) String() string { return [...]string{"valid", "disabled", "faulty"}[s] }

func (s *section) errorf(line int, format string, args ...any) {
	s.report(line, Error, format, args)
}

func (s *section) refuse(name string, v uci.Value, err error) {
	s.errorf(v.Line, "option '%s': %v", name, err)
}

func (s *section) warnf(line int, format string, args ...any) {
	s.report(line, Warning, format, args)
}

func (s *section) report(line int, severity Severity, format string, args []any) {
	if severity == Error {
		s.state = faulty
	}
	s.problems.add(Problem{
		Pos:      Pos{File: s.pos.File, Line: line},
		Severity: severity,
		Section:  s.title,
		Text:     fmt.Sprintf(format, args...),
		// Nothing can be applied without valid globals, above all the mask.
		Fatal: severity == Error && s.Type == "globals",
	})
}

// items returns the values of an option; a plain one counts as a list of one.
func (s *section) items(name string) []uci.Value {
	if !slices.Contains(s.known, name) {
		s.known = append(s.known, name)
	}
	return s.Values(name)
}

// words returns the values of a list, of which each item may hold several with
// blanks between them, as netifd reads its lists. separators count as blanks.
func (s *section) words(name, separators string) []uci.Value {
	var words []uci.Value
	for _, item := range s.items(name) {
		fields := strings.FieldsFunc(item.Text, func(r rune) bool {
			return strings.ContainsRune(" \t\r\n\v\f"+separators, r)
		})
		for _, field := range fields {
			words = append(words, uci.Value{Text: field, Line: item.Line})
		}
	}
	return words
}

func (s *section) given(name string) bool { return len(s.items(name)) > 0 }

// line returns the line of an option, or that of the section without it.
func (s *section) line(name string) int {
	if values := s.items(name); len(values) > 0 {
		return values[0].Line
	}
	return s.Line
}

// withoutEffect warns that an option, if it is given, does nothing; why
// completes the sentence "option 'NAME' has no effect WHY".
func (s *section) withoutEffect(name, why string) {
	if s.given(name) {
		s.warnf(s.line(name), "option '%s' has no effect %s", name, why)
	}
}

// reportUnknown, at the end, warns about options that were not read. In a rule
// they are errors: without a misspelt selector it would match other traffic, too.
func (s *section) reportUnknown() {
	for _, option := range s.Options {
		if slices.Contains(s.known, option.Name) {
			continue
		}
		severity, why := Warning, ""
		if s.Type == "rule" {
			severity, why = Error, ", without it the rule might match too much"
		}
		s.report(option.Line, severity, "option %s is unknown%s%s",
			[]any{quote(option.Name), didYouMean(option.Name, s.known), why})
	}
}

// single reads an option with one value through a parser. It returns otherwise
// if the option is not given, or is faulty, which it reports.
func single[T any](s *section, name string, otherwise T, parse func(string) (T, error)) T {
	values := s.items(name)
	if len(values) > 1 {
		s.errorf(values[1].Line, "option '%s' takes one value, not a list of %d", name, len(values))
	}
	if len(values) != 1 {
		return otherwise
	}
	parsed, err := parse(values[0].Text)
	if err != nil {
		s.refuse(name, values[0], err)
		return otherwise
	}
	return parsed
}

// several reads the words of a list; it reports faulty ones and leaves them out.
func several[T any](s *section, name, separators string, parse func(string) (T, error)) []T {
	var all []T
	for _, v := range s.words(name, separators) {
		parsed, err := parse(v.Text)
		if err != nil {
			s.refuse(name, v, err)
			continue
		}
		all = append(all, parsed)
	}
	return all
}

func (s *section) boolean(name string, otherwise bool) bool {
	return single(s, name, otherwise, ParseBoolean)
}

func (s *section) integer(name string, otherwise, lowest, highest int) int {
	return single(s, name, otherwise, integerWithin(lowest, highest))
}

// duration reads a time; a plain number counts in units. Some options count in
// milliseconds, so that it warns where milliseconds were probably meant: at 100
// or more seconds that are not whole minutes, or are out of range.
func (s *section) duration(name string, otherwise, unit, shortest, longest time.Duration) time.Duration {
	parse := durationWithin(unit, shortest, longest)
	return single(s, name, otherwise, func(text string) (time.Duration, error) {
		d, err := parse(text)
		n, notPlain := strconv.Atoi(text)
		if unit == time.Second && notPlain == nil && n >= 100 && (n%60 != 0 || err != nil) {
			s.warnf(s.line(name), "option '%s': '%s' is in seconds, for milliseconds write '%sms'", name, text, text)
		}
		return d, err
	})
}

// prefixes reads a list of addresses and prefixes, each once.
func (s *section) prefixes(name string, parse func(string) (netip.Prefix, error)) []netip.Prefix {
	var all []netip.Prefix
	seen := make(map[netip.Prefix]bool)
	for _, v := range s.words(name, "") {
		prefix, ok := s.prefix(name, v, parse)
		if ok && !seen[prefix] {
			seen[prefix] = true
			all = append(all, prefix)
		}
	}
	return all
}

// prefix reads a prefix. Host bits are cleared, as by iptables, with a warning.
func (s *section) prefix(name string, v uci.Value, parse func(string) (netip.Prefix, error)) (netip.Prefix, bool) {
	written, err := parse(v.Text)
	if err != nil {
		hint := ""
		if name == "dest_ip" && validDomain(v.Text) {
			hint = "; for host names use 'list domain' of a config ipset"
		}
		s.errorf(v.Line, "option '%s': %v%s", name, err, hint)
		return netip.Prefix{}, false
	}
	masked := written.Masked()
	if masked != written {
		s.warnf(v.Line, "option '%s': %s has host bits set, %s is used", name, quote(v.Text), masked)
	}
	return masked, true
}
