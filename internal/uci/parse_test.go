package uci

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// dump writes a File without its lines, one section a line:
//
//	type name[index] option=value list=[item|item]
func dump(f *File) string {
	var b strings.Builder
	for _, s := range f.Sections {
		fmt.Fprintf(&b, "%s %s[%d]", s.Type, s.Name, s.Index)
		for _, o := range s.Options {
			texts := make([]string, len(o.Values))
			for i, v := range o.Values {
				texts[i] = v.Text
			}
			if o.List {
				fmt.Fprintf(&b, " %s=[%s]", o.Name, strings.Join(texts, "|"))
			} else {
				fmt.Fprintf(&b, " %s=%s", o.Name, strings.Join(texts, "!"))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestParse(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty file", "", ""},
		{"only blanks and comments", " \n\t# c\n\r\n#", ""},
		{"named", "config member 'wan1'\n\toption weight '3'\n", "member wan1[0] weight=3\n"},
		{"anonymous", "config rule\n\toption a b\nconfig rule ''\n\toption a c\n", "rule [0] a=b\nrule [1] a=c\n"},
		{"no newline at the end", "config rule x\noption a b", "rule x[0] a=b\n"},
		{"CRLF", "config rule x\r\n\toption a b\r\n\r\n\toption c 'd'\r\n", "rule x[0] a=b c=d\n"},
		{"CR is white space, not a line end", "config rule\roption\n", "rule option[0]\n"},
		{"tab, vertical tab, form feed", "config\trule\vx\f\n", "rule x[0]\n"},
		{"trailing blanks", "config rule x \t \n option  a   b \t\n", "rule x[0] a=b\n"},

		{"one-letter commands", "p any\nc rule x\no a b\nl e f\nl e g\n", "rule x[0] a=b e=[f|g]\n"},
		{"quoted type and names", "config 'ru'\"le\" \"x\"\noption 'a' b\n", "rule x[0] a=b\n"},
		{"any printable character in a type", "config @r[0]!~ x\n", "@r[0]!~ x[0]\n"},
		{"every letter and digit in names", "c r azAZ09_\no azAZ09_ b\nl a09 c\n", "r azAZ09_[0] azAZ09_=b a09=[c]\n"},
		{"package is ignored", "package 'other-one'\nconfig rule x\npackage third\noption a b\n", "rule x[0] a=b\n"},

		{"single quotes", `c r x` + "\n" + `o a 'b \ " # ; c'`, `r x[0] a=b \ " # ; c` + "\n"},
		{"double quotes", `c r x` + "\n" + `o a "b \" \\ \n \' ' # ; c"`, `r x[0] a=b " \ n ' ' # ; c` + "\n"},
		{"quote inside single quotes", `c r x` + "\n" + `o a 'it'\''s'`, "r x[0] a=it's\n"},
		{"adjacent quotes", `c r x` + "\n" + `o a b'c d'"e f"g`, "r x[0] a=bc de fg\n"},
		{"backslash without quotes", `c r x` + "\n" + `o a \a\ b\'\"\#\;\\`, `r x[0] a=a b'"#;\` + "\n"},
		{"multi-line single quotes", "c r x\no a 'b\n\tc \\\nd'\n", "r x[0] a=b\n\tc \\\nd\n"},
		{"multi-line double quotes", "c r x\no a \"b\n\tc \\\nd\"\n", "r x[0] a=b\n\tc d\n"},
		{"multi-line quotes keep CR", "c r x\r\no a 'b\r\nc'\r\n", "r x[0] a=b\r\nc\n"},
		{"text behind multi-line quotes", "c r x\no a '\n' # c\no b c\n", "r x[0] a=\n b=c\n"},
		{"continuation", "c r x\no a b\\\nc\\\r\nd\n", "r x[0] a=bcd\n"},
		{"continuation before a blank ends the argument", "c r x\no a\\\n b\n", "r x[0] a=b\n"},
		{"continuation in front of a value", "c r x\no a \\\nb\n", "r x[0] a=b\n"},
		{"continuation behind the value", "c r x\no a b \\\n o c d\n", "r x[0] a=b c=d\n"},
		{"backslash at the end of the file", "c r x\no a b\\", "r x[0] a=b\n"},
		{"other control characters are no white space", "c r x\no a \x08b\x0ec\x1fd\n", "r x[0] a=\x08b\x0ec\x1fd\n"},
		{"UTF-8", "c r x\no a 'é→'\n", "r x[0] a=é→\n"},

		{"comment behind a bare value", "c r x#c\no a b#'c\n", "r x[0] a=b\n"},
		{"comment behind a quoted value", "c r x # c\no a 'b'#c\n", "r x[0] a=b\n"},
		{"comment hides a backslash", "c r x # c\\\no a b\n", "r x[0] a=b\n"},
		{"comment in place of the value", "c r x\no a #b\n", "r x[0]\n"},

		{"semicolon behind a quote", "c r 'x';o a 'b';  o c d\n", "r x[0] a=b c=d\n"},
		{"semicolon behind a blank", "c r x ; o a b ; o c d\n", "r x[0] a=b c=d\n"},
		{"semicolon behind an escape", "c r x\no a \\b;o c d\n", "r x[0] a=b c=d\n"},
		{"semicolon behind a bare value loses the line", "c r x\no a b;o c 'd\no e f\n", "r x[0] a=b e=f\n"},
		{"semicolon behind a bare type loses the line", "c r;o a b\no c d\n", "r [0] c=d\n"},
		{"semicolon, then comment", "c r x ;# c\no a 'b'; # c\n", "r x[0] a=b\n"},
		{"semicolon at the end of the file", "c r x\no a 'b';", "r x[0] a=b\n"},
		{"empty argument behind the last", "c r x ''\no a b '' o c d\n", "r x[0] a=b c=d\n"},

		{"empty option is unset", "c r x\no a ''\no b \"\"\no c\no d \no e \"\"'' # f\n", "r x[0]\n"},
		{"empty option leaves the earlier value", "c r x\no a b\no a ''\n", "r x[0] a=b\n"},
		{"empty option leaves the list", "c r x\nl a b\no a\n", "r x[0] a=[b]\n"},
		{"empty list items stay", "c r x\nl a ''\nl a b\nl a\n", "r x[0] a=[|b|]\n"},
		{"a blank is a value", "c r x\no a ' '\n", "r x[0] a= \n"},

		{"last option wins and stays in its place", "c r x\no a 1\no b 2\no a 3\n", "r x[0] a=3 b=2\n"},
		{"same value again stays", "c r x\no a 1\no b 2\no a '1'\n", "r x[0] a=1 b=2\n"},
		{"list behind option", "c r x\no a 1\no b 2\nl a 3\nl a 4\n", "r x[0] a=[1|3|4] b=2\n"},
		{"list goes on in its place", "c r x\nl a 1\no b 2\nl a 3\n", "r x[0] a=[1|3] b=2\n"},
		{"empty item behind option", "c r x\no a 1\nl a ''\n", "r x[0] a=[1|]\n"},
		{"option behind list", "c r x\nl a 1\nl a 2\no b 3\no a 2\n", "r x[0] a=2 b=3\n"},
		{"option like the only list item", "c r x\nl a 1\no b 3\no a 1\n", "r x[0] a=1 b=3\n"},
		{"equal list items stay", "c r x\nl a 1\nl a 1\n", "r x[0] a=[1|1]\n"},

		{"repeated section goes on", "c r x\no a 1\nc r y\nc r x\no b 2\no a 3\n", "r x[0] a=3 b=2\nr y[1]\n"},
		{"third part of a section", "c r x\nc r x\nc r 'x'\no b 2\n", "r x[0] b=2\n"},
		{"index counts named sections of the type", "c r x\nc s\nc r\nc s y\n", "r x[0]\ns [0]\nr [1]\ns y[1]\n"},
		{"name like go-uci's selector", "c r\no a 1\nc r anonymous\no a 2\n", "r [0] a=1\nr anonymous[1] a=2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("loadbalance", []byte(tt.text))
			if err != nil {
				t.Fatalf("Parse(%q): %v", tt.text, err)
			}
			if got := dump(f); got != tt.want {
				t.Errorf("Parse(%q)\n got %q\nwant %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestParseRefused(t *testing.T) {
	const ok = "config r x\n" // line 1
	tests := []struct{ name, text, want string }{
		{"unknown command", ok + "\noptoin a b\n", "3: syntax error: unknown command 'optoin'"},
		{"command with another letter", ok + "co a b\n", "2: syntax error: unknown command 'co'"},
		{"commands are lower case", "Config r\n", "1: syntax error: unknown command 'Config'"},
		{"quoted command", "'config' r\n", "1: syntax error: unknown command ''config''"},
		{"byte order mark", "\ufeffconfig r\n", "1: syntax error: unknown command '\\ufeffconfig'"},
		{"comment sign in a command", ok + "option# a b\n", "2: syntax error: unknown command 'option#'"},
		{"long command", strings.Repeat("a", 100), "1: syntax error: unknown command '" + strings.Repeat("a", 40) + "...'"},

		{"config alone", "config\n", "1: syntax error: 'config' without arguments"},
		{"config alone at the end", ok + "config", "2: syntax error: 'config' without arguments"},
		{"option alone, CRLF", ok + "option\r\n", "2: syntax error: 'option' without arguments"},
		{"package alone", "package \n", "1: syntax error: 'package' without a name"},
		{"config and blank", "\n\tconfig \n", "2: syntax error: 'config' without a section type"},
		{"empty type", "config '' x\n", "1: syntax error: 'config' without a section type"},
		{"semicolon in place of the type", "config ; x\n", "1: syntax error: 'config' without a section type"},
		{"list and blank", ok + "list \n", "2: syntax error: option or list without a name"},
		{"empty option name", ok + "option '' b\n", "2: syntax error: option or list without a name"},
		{"continuation in place of the name", ok + "option \\\n a b\n", "2: syntax error: option or list without a name"},

		{"dash in a section name", "config r wan-1\n", "1: syntax error: section name 'wan-1': only letters, digits and '_' are allowed"},
		{"blank in a section name", "config r 'wan 1'\n", "1: syntax error: section name 'wan 1': only letters, digits and '_' are allowed"},
		{"selector as a section name", "config r '@r[0]'\n", "1: syntax error: section name '@r[0]': only letters, digits and '_' are allowed"},
		{"UTF-8 section name", "config r é\n", "1: syntax error: section name 'é': only letters, digits and '_' are allowed"},
		{"dash in an option name", ok + "option a-b c\n", "2: syntax error: option name 'a-b': only letters, digits and '_' are allowed"},
		{"dot in a list name", ok + "list a.b c\n", "2: syntax error: option name 'a.b': only letters, digits and '_' are allowed"},
		{"newline in an option name", ok + "option 'a\nb' c\n", "2: syntax error: option name 'a\\nb': only letters, digits and '_' are allowed"},
		{"dot in a package name", "package a.b\n", "1: syntax error: package name 'a.b': only letters, digits, '_' and '-' are allowed"},
		{"blank in a type", "config 'a b'\n", "1: syntax error: section type 'a b': spaces, control characters and characters beyond ASCII are not allowed"},
		{"UTF-8 in a type", "config é\n", "1: syntax error: section type 'é': spaces, control characters and characters beyond ASCII are not allowed"},

		{"value with a blank", ok + "option a b c\n", "2: syntax error: unexpected 'c': a value with spaces needs quotes"},
		{"argument behind the section name", "config r x y\n", "1: syntax error: unexpected 'y': a value with spaces needs quotes"},
		{"argument behind the package name", "package a b\n", "1: syntax error: unexpected 'b': a value with spaces needs quotes"},
		{"command on a line continued behind the value", ok + "option a b \\\n  z\n", "3: syntax error: unknown command 'z'"},
		{"argument on a continued line", ok + "option a b\\\n  c\n", "3: syntax error: unexpected 'c': a value with spaces needs quotes"},
		{"argument behind a multi-line value", ok + "option a 'b\n\n' c\n", "4: syntax error: unexpected 'c': a value with spaces needs quotes"},
		{"semicolon in place of the section name", "config r ;option a b\n", "1: syntax error: unexpected 'option': a value with spaces needs quotes"},
		{"semicolon in place of the value", ok + "option a ;option b c\n", "2: syntax error: unexpected 'option': a value with spaces needs quotes"},

		{"semicolon at the end of a line", ok + "option a 'b';\n", "2: syntax error: there is no command after ';'"},
		{"semicolon and blank at the end of a line", ok + "option a 'b' ; \r\n", "2: syntax error: there is no command after ';'"},
		{"two semicolons", ok + "option a 'b';;option c d\n", "2: syntax error: unknown command ';option'"},

		{"single quote never closed", ok + "option a 'b\n\noption c d\n", "2: syntax error: the quote ' that is opened here is never closed"},
		{"package name never closed", "package 'a\n", "1: syntax error: the quote ' that is opened here is never closed"},
		{"section type never closed", "config 'r\n", "1: syntax error: the quote ' that is opened here is never closed"},
		{"section name never closed", "config r 'x\n", "1: syntax error: the quote ' that is opened here is never closed"},
		{"option name never closed", ok + "option 'a b\n", "2: syntax error: the quote ' that is opened here is never closed"},
		{"argument behind the value never closed", ok + "option a b 'c\n", "2: syntax error: the quote ' that is opened here is never closed"},
		{"double quote never closed", ok + "option a \"b\\\"\n", "2: syntax error: the quote \" that is opened here is never closed"},
		{"quote opened on a continued line", ok + "option a b\\\n'c", "3: syntax error: the quote ' that is opened here is never closed"},
		{"quote behind the value", ok + "option a 'it's'\n", "2: syntax error: the quote ' that is opened here is never closed"},
		{"backslash before the end inside quotes", ok + "option a \"b\\", "2: syntax error: the quote \" that is opened here is never closed"},

		{"option first", "# c\n\noption a b\n", "3: syntax error: option or list before the first 'config'"},
		{"list first", "list a b\n", "1: syntax error: option or list before the first 'config'"},
		{"another type", ok + "option a b\nconfig s y\nconfig s x\n", "4: syntax error: section 'x' has type 's' here and type 'r' in line 1"},

		{"NUL in a value", ok + "option a 'b\x00c'\n", "2: syntax error: this line contains a NUL byte"},
		{"NUL first", "\x00config r x\n", "1: syntax error: this line contains a NUL byte"},
		{"NUL in a comment", ok + "\n#\x00\n", "3: syntax error: this line contains a NUL byte"},
		{"too large", ok + "#" + strings.Repeat("a", maxSize) + "\n", "2: syntax error: the file is larger than 4194304 bytes"},
		{"too many commands", strings.Repeat("c r\n", maxCommands+1), "100001: syntax error: the file has more than 100000 commands"},
		{"too many options", ok + manyOptions(maxOptions+1), "1002: syntax error: the section has more than 1000 options"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("loadbalance", []byte(tt.text))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse: error %v is not a *SyntaxError", err)
			}
			if want := "loadbalance:" + tt.want; err.Error() != want {
				t.Errorf("Parse\n got %s\nwant %s", err, want)
			}
		})
	}
}

// TestNeighboursOfLetters: what stands beside letters and digits in ASCII is in
// no name.
func TestNeighboursOfLetters(t *testing.T) {
	for _, c := range "`{@[/:" {
		if f, err := Parse("loadbalance", []byte("config r 'a"+string(c)+"'\n")); err == nil {
			t.Errorf("section name a%c is taken: %s", c, dump(f))
		}
	}
}

// TestLargestFile: the limit itself is still read.
func TestLargestFile(t *testing.T) {
	const section = "config r x\n"
	f, err := Parse("loadbalance", []byte(section+strings.Repeat("#", maxSize-len(section))))
	if err != nil || dump(f) != "r x[0]\n" {
		t.Errorf("%v, %v", f, err)
	}
}

func manyOptions(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "option o%d v\n", i)
	}
	return b.String()
}

// TestParseTolerant: a line with a mistake counts as if it were not there, as
// for `uci -S`.
func TestParseTolerant(t *testing.T) {
	tests := []struct{ name, text, want, mistakes string }{
		{"no mistake", "c r x\no a 1\n", "r x[0] a=1\n", ""},
		{"unknown command", "c r x\nopt a 1\no b 2\n", "r x[0] b=2\n", "2: unknown command 'opt'"},
		{"too many words", "c r x\no a 1 2\no b 2\n", "r x[0] b=2\n", "2: unexpected '2': a value with spaces needs quotes"},
		{"the rest of the line", "c r x\no a '1' ;nonsense ;o b 2\no d 4\n", "r x[0] a=1 d=4\n", "2: unknown command 'nonsense'"},
		{"options of a section that is skipped", "c r x\no a 1\nc r y-z\no a 2\n", "r x[0] a=2\n", "3: section name 'y-z': only letters, digits and '_' are allowed"},
		{"option before a section", "o a 1\nc r x\n", "r x[0]\n", "1: option or list before the first 'config'"},
		{"another type", "c r x\no a 1\nc s x\no b 2\n", "s x[0] a=1 b=2\n", "3: section 'x' has type 's' here and type 'r' in line 1"},
		{"quote that is never closed", "c r x\no a 1\no b 'c\no d 2\n", "r x[0] a=1\n", "3: the quote ' that is opened here is never closed"},
		{"several", "c r x\nx\ny\no a 1\n", "r x[0] a=1\n", "2: unknown command 'x'|3: unknown command 'y'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, skipped, err := ParseTolerant("mwan3", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var mistakes []string
			for _, m := range skipped {
				mistakes = append(mistakes, fmt.Sprintf("%d: %s", m.Line, m.Msg))
			}
			if got := dump(f); got != tt.want || strings.Join(mistakes, "|") != tt.mistakes {
				t.Errorf("got %q and %q, want %q and %q", got, mistakes, tt.want, tt.mistakes)
			}
		})
	}
}

// TestParseTolerantLimits: what is no configuration at all ends the reading
// also where mistakes are forgiven.
func TestParseTolerantLimits(t *testing.T) {
	for name, text := range map[string]string{
		"NUL":      "c r x\n\x00\n",
		"commands": strings.Repeat("c r\n", maxCommands+1),
		"options":  "c r x\n" + optionsUpTo(maxOptions+1),
	} {
		if _, _, err := ParseTolerant("mwan3", []byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func optionsUpTo(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "o a%d 1\n", i)
	}
	return text.String()
}
