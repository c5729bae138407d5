package status

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"loadbalance/internal/family"
)

// WriteText prints the status as text.
func (s Status) WriteText(w io.Writer) error {
	var text strings.Builder
	if s.Refused != nil {
		text.WriteString(s.Refused.String() + "\n")
	}
	text.WriteString(s.headline() + "\n")
	groups := [][]string{s.Problems, s.Notices}
	if s.Running {
		groups = [][]string{s.Drift, s.Monitor.trouble(), s.Problems, s.Notices}
	}
	for _, group := range groups {
		for _, line := range group {
			text.WriteString("  " + line + "\n")
		}
	}
	text.WriteString("\n" + s.membersTable() + s.ratesTable() + s.healthTable() + s.policiesTable() + s.setsTable())
	_, err := io.WriteString(w, strings.TrimRight(text.String(), "\n")+"\n")
	return err
}

// membersTable has a row for each member and family, and below them why one is not in use, if
// neither a notice nor the table HEALTH says it.
func (s Status) membersTable() string {
	reasons := ""
	rows := []string{"MEMBER\tFAMILY\tSTATE\tDEVICE\tGATEWAY\tMARK\tTABLE\tTIER\tWEIGHT\tSHARE\tDEALT\tCONNECTIONS\tUNANSWERED"}
	s.eachFamily(func(m Member, f family.Family, state *Family) {
		rows = append(rows, m.row(f, state))
		if state.Full && state.Reason != "" {
			reasons += "  member '" + m.Name + "' (" + f.String() + "): " + state.Reason + "\n"
		}
		// A member that has no other family is left out, with a notice.
		if state.State == stateDown && m.IPv6 != nil || (state.State == stateOffline || state.State == statePortal) && state.Health == nil {
			reasons += "  member '" + m.Name + "' (" + f.String() + ") is " + state.State + ": " + state.Reason + "\n"
		}
	})
	for _, u := range s.Usage {
		reasons += "  " + u.String() + "\n"
	}
	return table(rows) + reasons
}

func (s Status) eachFamily(visit func(Member, family.Family, *Family)) {
	for _, m := range s.Members {
		for _, f := range family.All {
			if state := m.family(f); state != nil {
				visit(m, f, state)
			}
		}
	}
}

// table aligns rows of cells that end in tabs. Without a row below the heading there is no table.
func table(rows []string) string {
	if len(rows) == 1 {
		return ""
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(rows, "\n"))
	w.Flush()
	return text.String()
}

const howToStart = "\n  start it: /etc/init.d/loadbalance start"

// howToConfigure makes what a fresh installation has not: a member.
const howToConfigure = "\n  name each uplink, here the interface wan: uci set loadbalance.wan=member; uci commit loadbalance; reload_config"

func (s Status) headline() string {
	switch {
	case !s.Running && !s.Stopped && len(s.Members) == 0:
		return "loadbalance is not running: no member is configured" + howToConfigure
	case !s.Running && s.Stopped:
		return "loadbalance is stopped" + howToStart
	case !s.Running:
		return "loadbalance is not running" + howToStart
	case !s.InSync:
		return "loadbalance is running (" + s.Backend + "), but 'loadbalance apply' would change:"
	}
	return "loadbalance is running (" + s.Backend + ") as configured"
}

func (m Member) row(f family.Family, state *Family) string {
	name := state.State
	if state.Full {
		name = "full"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%s",
		m.Name, f, name, cmp.Or(state.Device, "-"), cmp.Or(state.Gateway, "-"), m.Mark, m.Table,
		m.Metric, m.Weight, percent(state.Share), countText(state.Dealt, state.DealtShare), state.Connections,
		countText(uint64(state.UnansweredConnections), state.Unanswered))
}
