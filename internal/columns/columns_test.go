package columns

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestWriter(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"a\tb\nlonger\tc\n", "a       b\nlonger  c\n"},
		{"one\n", "one\n"},
		{"a\tb\tc\n\t\tlast", "a  b  c\n      last\n"},
		{"ü\tx\nuu\ty\n", "ü   x\nuu  y\n"},
		{"short\na\tb\n", "short\na  b\n"},
	}
	for _, tt := range tests {
		var out strings.Builder
		w := New(&out)
		fmt.Fprint(w, tt.text)
		if err := w.Flush(); err != nil || out.String() != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.text, out.String(), err, tt.want)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestFlushFails(t *testing.T) {
	w := New(broken{})
	fmt.Fprint(w, "a\tb\n")
	if err := w.Flush(); err == nil {
		t.Error("no error")
	}
}
