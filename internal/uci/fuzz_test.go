package uci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// canonical writes a File the way `uci export` does, types quoted as well.
func canonical(f *File) string {
	escape := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	var b strings.Builder
	for _, s := range f.Sections {
		fmt.Fprintf(&b, "\nconfig %s", escape(s.Type))
		if s.Name != "" {
			fmt.Fprintf(&b, " %s", escape(s.Name))
		}
		b.WriteByte('\n')
		for _, o := range s.Options {
			command := "option"
			if o.List {
				command = "list"
			}
			for _, v := range o.Values {
				fmt.Fprintf(&b, "\t%s %s %s\n", command, o.Name, escape(v.Text))
			}
		}
	}
	return b.String()
}

// FuzzParse: whatever the text is, it is refused with a line of the file, or it
// gives a File that keeps its promises and survives being written and read.
func FuzzParse(f *testing.F) {
	spellings, err := filepath.Glob(filepath.Join("testdata", "spellings", "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range spellings {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("c a\no b \\\nc;l d '\n'\"\\\n\";p \x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := 1 + strings.Count(string(text), "\n")
		file, err := Parse("fuzz", text)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("error %v is not a *SyntaxError", err)
			}
			if syntax.Line < 1 || syntax.Line > lines || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%d lines, error %q", lines, err)
			}
			return
		}
		checkFile(t, file, len(text), lines)

		again, err := Parse("fuzz", []byte(canonical(file)))
		if err != nil {
			t.Fatalf("%v in\n%s", err, canonical(file))
		}
		if got, want := dump(again), dump(file); got != want {
			t.Fatalf("written and read again\n%s\nwas\n%s", got, want)
		}
	})
}

// checkFile tests what the types of the package promise, and that the File
// holds no more text than went in.
func checkFile(t *testing.T, file *File, size, lines int) {
	held := 0
	for _, s := range file.Sections {
		held += len(s.Type) + len(s.Name)
		if !validType(s.Type) || s.Line < 1 || s.Line > lines {
			t.Fatalf("section %+v", s)
		}
		for _, o := range s.Options {
			held += len(o.Name)
			if !validName(o.Name, "") || o.Line < s.Line || o.Line > lines || len(o.Values) == 0 {
				t.Fatalf("option %+v", o)
			}
			if !o.List && (len(o.Values) != 1 || o.Values[0].Text == "") {
				t.Fatalf("option %+v", o)
			}
			for _, v := range o.Values {
				held += len(v.Text)
				if v.Line < s.Line || v.Line > lines {
					t.Fatalf("value %+v", v)
				}
			}
		}
	}
	if held > size {
		t.Fatalf("%d bytes of text out of %d", held, size)
	}
}
