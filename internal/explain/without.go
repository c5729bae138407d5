package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Without is what would happen to the packet without a member.
type Without struct {
	Member string `json:"member"`
	// Changed is true if anything would be different.
	Changed  bool      `json:"changed"`
	Outcomes []Outcome `json:"outcomes"`
}

// Compare returns what would change for a packet if a member were down: now and
// then are the explanations with and without it.
func Compare(member string, now, then *Explanation) Without {
	same := slices.EqualFunc(now.Outcomes, then.Outcomes, sameWay)
	return Without{Member: member, Changed: !same, Outcomes: then.Outcomes}
}

func sameWay(a, b Outcome) bool {
	return slices.Equal(a.Conditions, b.Conditions) && a.Share == b.Share && a.Mark == b.Mark &&
		a.ConnectionMark == b.ConnectionMark && a.Route.way() == b.Route.way()
}

// WriteText prints the difference as text.
func (c Without) WriteText(out io.Writer) error {
	if !c.Changed {
		_, err := fmt.Fprintf(out, "\nwithout '%s': nothing would change\n", c.Member)
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nwithout '%s':\n", c.Member)
	writeOutcomes(&text, c.Outcomes)
	_, err := io.WriteString(out, text.String())
	return err
}
