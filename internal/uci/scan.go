package uci

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// scanner splits the text into command words and arguments.
//
// libuci holds one line at a time in a buffer, fetches a further one where a
// quoted text or a backslash goes on behind the end of the line, and writes
// its results over the buffer. The scanner keeps the text as it is: end is the
// end of the line, or lines, that libuci would have in its buffer.
type scanner struct {
	file string
	text []byte
	pos  int          // next byte to look at
	end  int          // end of the lines fetched so far
	err  *SyntaxError // the first mistake

	counted     int // the newlines of text[:counted] are in lineCounted
	lineCounted int
}

// line returns the line of the position, which only grows.
func (s *scanner) line() int {
	s.lineCounted += bytes.Count(s.text[s.counted:s.pos], []byte{'\n'})
	s.counted = s.pos
	return s.lineCounted + 1
}

// fail refuses the file. The first mistake is kept: what is read behind it, up
// to the end of its command, means nothing.
func (s *scanner) fail(line int, format string, args ...any) {
	if s.err == nil {
		s.err = &SyntaxError{File: s.file, Line: line, Msg: fmt.Sprintf(format, args...)}
	}
}

// fetchLine extends the fetched text by one line (uci_getln), if there is one.
func (s *scanner) fetchLine() bool {
	if s.end == len(s.text) {
		return false
	}
	line, _, _ := bytes.Cut(s.text[s.end:], []byte{'\n'})
	s.end = min(s.end+len(line)+1, len(s.text))
	return true
}

// dropLine forgets the rest of the fetched text.
func (s *scanner) dropLine() { s.pos = s.end }

// atEnd reports whether the fetched text is used up (libuci's NUL character).
func (s *scanner) atEnd() bool { return s.pos == s.end }

func (s *scanner) at(c byte) bool { return s.pos < s.end && s.text[s.pos] == c }

// atSpace is C's isspace, which ends arguments; only blank and tab end commands.
func (s *scanner) atSpace() bool {
	return s.at(' ') || s.pos < s.end && s.text[s.pos] >= '\t' && s.text[s.pos] <= '\r'
}

func (s *scanner) skipSpace() {
	for s.atSpace() {
		s.pos++
	}
}

func (s *scanner) skipBlanks() {
	for s.at(' ') || s.at('\t') {
		s.pos++
	}
}

// command returns the next command word of the fetched text and moves behind
// the blank that ends it; ended is true if there was none. An empty word means
// that the text is used up or that the rest is a comment.
func (s *scanner) command() (word string, ended bool) {
	start := s.pos
	for !s.atEnd() && !s.at(' ') && !s.at('\t') {
		s.pos++
	}
	word = string(s.text[start:s.pos])
	if word == "" || word[0] == '#' {
		s.dropLine()
		return "", true
	}
	if ended = s.atEnd(); !ended {
		s.pos++
	}
	return word, ended
}

// next returns the next argument (next_arg); it is empty where the command ends.
func (s *scanner) next() Value {
	s.skipSpace()
	arg := Value{Line: s.line()}
	if s.at(';') {
		s.pos++
		return arg
	}
	arg.Text = string(s.word())
	return arg
}

// word reads one argument and the white-space character behind it (parse_str).
// A `;` stays for the next call, unless the argument was written without any
// quote or backslash: libuci then terminates the argument by overwriting the
// `;`, which ends the line.
func (s *scanner) word() []byte {
	var text []byte
	start := s.pos
	for {
		switch {
		case s.atEnd():
			return text
		case s.at('#'):
			s.dropLine()
			return text
		case s.at(';'):
			if s.pos-start == len(text) {
				s.dropLine()
			}
			return text
		case s.at('\''), s.at('"'):
			text = s.quoted(text)
		case s.at('\\'):
			text = s.escaped(text)
		default:
			text = append(text, s.text[s.pos])
			s.pos++
		}
		if s.atSpace() {
			s.pos++
			return text
		}
	}
}

// quoted appends the text between two quotes, over as many lines as it takes.
// Backslashes count in double quotes only.
func (s *scanner) quoted(text []byte) []byte {
	quote, opened := s.text[s.pos], s.line()
	s.pos++
	for {
		switch {
		case s.atEnd():
			if !s.fetchLine() {
				s.fail(opened, "the quote %c that is opened here is never closed", quote)
				return text
			}
		case s.at(quote):
			s.pos++
			return text
		case quote == '"' && s.at('\\'):
			text = s.escaped(text)
		default:
			text = append(text, s.text[s.pos])
			s.pos++
		}
	}
}

// escaped appends the character behind a backslash as it is. At the end of a
// line there is none: the next line is fetched instead.
func (s *scanner) escaped(text []byte) []byte {
	s.pos++
	rest := s.text[s.pos:s.end]
	if len(rest) == 0 || rest[0] == '\n' || string(rest) == "\r\n" {
		s.dropLine()
		s.fetchLine()
		return text
	}
	s.pos++
	return append(text, rest[0])
}

// quote shortens to 40 characters, which any real name has room in.
func quote(text string) string { return Quote(text, 40) }

// Quote returns text from a file as messages show it, safe for a terminal and a
// log: in single quotes, escaped, and shortened to some characters.
func Quote(text string, longest int) string {
	end := "'"
	if shown := fmt.Sprintf("%.*s", longest, text); shown != text {
		text, end = shown, "...'"
	}
	escaped := strconv.Quote(text)
	return "'" + strings.ReplaceAll(escaped[1:len(escaped)-1], `\"`, `"`) + end
}
