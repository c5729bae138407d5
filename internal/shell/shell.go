// Package shell writes what a person may paste into a shell: no name that
// another program has chosen may run there, or reach the terminal as a control
// sequence.
package shell

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// plain are the characters that mean nothing to a shell, in no place of a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:/@%+="

// Quote returns a word as a shell reads it, with quotes if need be. One that cannot
// be printed stands in the form $'\x1b', which bash and busybox read.
func Quote(word string) string {
	switch {
	case word != "" && strings.Trim(word, plain) == "":
		return word
	case isPrintable(word):
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	escaped := strconv.Quote(word)
	return "$'" + strings.ReplaceAll(escaped[1:len(escaped)-1], "'", `\'`) + "'"
}

// Input returns a command with a text, which ends with a line break, as its input.
func Input(command, text string) string {
	const end = "EOF\n"
	if isPrintable(strings.ReplaceAll(text, "\n", "")) && !strings.Contains("\n"+text, "\n"+end) {
		return command + " <<'EOF'\n" + text + "EOF"
	}
	return "printf %s " + Quote(text) + " | " + command
}

// isPrintable reports whether a text is one printable line.
func isPrintable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) })
}
