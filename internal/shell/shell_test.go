package shell

import (
	"os/exec"
	"strings"
	"testing"
)

// odd are names that a kernel takes for a device, a set or a chain, and more.
var odd = []string{
	"wan1", "", "a b", "$(reboot)", "`reboot`", "a;reboot", "a&&b", "a|b", "a>b", "~", "*", "?", "[a]", "{a,b}", "#a", "!a", "-n",
	`a"b`, "a'b", `a\b`, `\`, "'", "a\nreboot", "a\tb", "\x1b[2J", "\x9b2J", "\x7f", "wän", "\xff", "a'\n\\'b", "EOF", "x=1", "%s",
}

// TestQuote gives each word to real shells, which must hand it on as it is.
func TestQuote(t *testing.T) {
	for _, word := range odd {
		quoted := Quote(word)
		if !isPrintable(quoted) {
			t.Errorf("%q is written as %q", word, quoted)
		}
		if got := bash(t, "printf %s "+quoted); got != word {
			t.Errorf("%q is written as %s and read as %q", word, quoted, got)
		}
	}
	for word, want := range map[string]string{"lb_local": "lb_local", "net.ipv4.conf.wan1/5.rp_filter=2": "net.ipv4.conf.wan1/5.rp_filter=2",
		"a;b": "'a;b'", "a'b": `'a'\''b'`, "a\n": `$'a\n'`, "wän": "'wän'"} {
		if got := Quote(word); got != want {
			t.Errorf("%q is written as %s, want %s", word, got, want)
		}
	}
}

// TestInput: no line of the text ends it, and the command gets it as it is.
func TestInput(t *testing.T) {
	for _, text := range append([]string{"", "*mangle\nCOMMIT\n", "a\nEOF\nreboot\n", "EOF\n", "EOF \n", "xEOF\n"}, odd...) {
		text = strings.TrimSuffix(text, "\n") + "\n"
		command := Input("cat", text)
		if !isPrintable(strings.ReplaceAll(command, "\n", "")) {
			t.Errorf("%q is written as %q", text, command)
		}
		if got := bash(t, command); got != text {
			t.Errorf("%q is written as\n%s\nand read as %q", text, command, got)
		}
	}
	if got := Input("cat", "a\n"); got != "cat <<'EOF'\na\nEOF" {
		t.Error(got)
	}
}

func bash(t *testing.T, command string) string {
	t.Helper()
	output, err := exec.Command("bash", "-c", command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(output)
}
