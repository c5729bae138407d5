package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints aligned columns.
type table struct{ *tabwriter.Writer }

func newTable(out io.Writer, columns ...string) table {
	t := table{tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t table) row(cells ...string) {
	fmt.Fprintln(t, "   "+strings.Join(cells, "\t"))
}

// budget reports whether a figure is within its budget.
func budget(met bool, format string, args ...any) string {
	return "budget " + fmt.Sprintf(format, args...) + ": " + map[bool]string{true: "met", false: "NOT MET"}[met]
}

// median returns the median of an odd number of values; of an even number the
// higher of the two in the middle.
func median[T cmp.Ordered](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// times formats how many times as long as another something takes.
func times(long, short time.Duration) string {
	return fmt.Sprintf("%.1f x", float64(long)/float64(short))
}

func percent(part, whole float64) string { return fmt.Sprintf("%.1f %%", 100*part/whole) }
