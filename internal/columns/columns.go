// Package columns lines up the cells of tables for people. text/tabwriter does
// more, and takes 12 KB of a router's flash for it.
package columns

import (
	"io"
	"strings"
	"unicode/utf8"
)

// gap is the number of blanks between two columns.
const gap = 2

// Writer collects a table: a tab ends a cell, a newline a row. The last cell of
// a row is not filled up.
type Writer struct {
	out  io.Writer
	text strings.Builder
}

// New returns an empty table that Flush will write to out.
func New(out io.Writer) *Writer { return &Writer{out: out} }

// Write adds text to the table. It cannot fail.
func (w *Writer) Write(text []byte) (int, error) { return w.text.Write(text) }

// Flush writes the table; nothing where it has no rows.
func (w *Writer) Flush() error {
	if w.text.Len() == 0 {
		return nil
	}
	rows := strings.Split(strings.TrimSuffix(w.text.String(), "\n"), "\n")
	widths := map[int]int{}
	for _, row := range rows {
		cells := strings.Split(row, "\t")
		for i, cell := range cells[:len(cells)-1] {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		cells := strings.Split(row, "\t")
		for i, cell := range cells {
			text.WriteString(cell)
			if i < len(cells)-1 {
				text.WriteString(strings.Repeat(" ", widths[i]+gap-utf8.RuneCountInString(cell)))
			}
		}
		text.WriteByte('\n')
	}
	w.text.Reset()
	_, err := io.WriteString(w.out, text.String())
	return err
}
