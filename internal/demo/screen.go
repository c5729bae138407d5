package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// screen prints what the demo shows. On a terminal, progress is one line that
// is drawn again and again; elsewhere only its end is printed.
type screen struct {
	out      io.Writer
	terminal bool
	color    bool
}

func newScreen(file *os.File) *screen {
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	terminal := err == nil
	return &screen{out: file, terminal: terminal, color: terminal && os.Getenv("NO_COLOR") == ""}
}

func (s *screen) styled(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(text string) string { return s.styled("1", text) }

// heading begins a step.
func (s *screen) heading(format string, args ...any) {
	fmt.Fprintf(s.out, "\n%s\n", s.bold("── "+fmt.Sprintf(format, args...)))
}

func (s *screen) line(format string, args ...any) {
	fmt.Fprintf(s.out, "   "+format+"\n", args...)
}

// command shows a command, and its output indented.
func (s *screen) command(command, output string) {
	s.line("%s", s.bold("# "+command))
	s.text(output)
}

func (s *screen) text(text string) {
	if text == "" {
		return
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		s.line("%s", line)
	}
}

// progress draws the line anew, on a terminal.
func (s *screen) progress(format string, args ...any) {
	if s.terminal {
		fmt.Fprintf(s.out, "\r\x1b[K   "+format, args...)
	}
}

// result ends the progress with a line that stays.
func (s *screen) result(format string, args ...any) {
	if s.terminal {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	s.line(format, args...)
}

// claim prints whether a claim held.
func (s *screen) claim(c claim) {
	mark := s.styled("32", "✓")
	if !c.held {
		mark = s.styled("31;1", "✗ NOT HELD:")
	}
	s.line("%s %s", mark, c.text)
}
