package explain

import "slices"

// Without is what would happen to the packet without a member.
type Without struct {
	Member string `json:"member"`
	// Changed is true if anything would be different.
	Changed  bool      `json:"changed"`
	Outcomes []Outcome `json:"outcomes"`
}

// Compare adds what would change without a member: then is the explanation of that.
func (e *Explanation) Compare(member string, then *Explanation) {
	same := slices.EqualFunc(e.Outcomes, then.Outcomes, sameWay)
	e.Without = &Without{Member: member, Changed: !same, Outcomes: then.Outcomes}
}

func sameWay(a, b Outcome) bool {
	return slices.Equal(a.Conditions, b.Conditions) && a.Share == b.Share && a.Mark == b.Mark &&
		a.ConnectionMark == b.ConnectionMark && a.Route.way() == b.Route.way()
}
