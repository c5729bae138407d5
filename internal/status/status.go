// Package status gathers what a user wants to know about the running service
// into one value and prints it, as text and as JSON. It owns nothing.
package status

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"loadbalance/internal/apply"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// Status is the state of the service.
type Status struct {
	Version string `json:"version"`
	// Running says that the kernel holds our rules.
	Running bool `json:"running"`
	// Stopped says that somebody has stopped the service: events do nothing.
	Stopped bool   `json:"stopped"`
	Backend string `json:"backend"`
	// InSync says that the kernel holds exactly what the configuration asks
	// for now; otherwise Drift tells what an apply would change.
	InSync   bool         `json:"in_sync"`
	Drift    []string     `json:"drift,omitempty"`
	Problems []string     `json:"problems,omitempty"`
	Notices  []string     `json:"notices,omitempty"`
	Members  []Member     `json:"members"`
	Policies []Policy     `json:"policies"`
	Uplinks  uplink.State `json:"uplinks"`
}

// Member is the state of one member.
type Member struct {
	Name   string  `json:"name"`
	Index  int     `json:"index"`
	Mark   string  `json:"mark"`
	Table  int     `json:"table"`
	Weight int     `json:"weight"`
	Metric int     `json:"metric"`
	IPv4   *Family `json:"ipv4,omitempty"`
	IPv6   *Family `json:"ipv6,omitempty"`
}

// Family is a member's state in one family.
type Family struct {
	// State is active (is dealt connections), standby (could be, but a lower
	// tier is in use), offline (its health check says so) or down.
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Device  string `json:"device,omitempty"`
	Gateway string `json:"gateway,omitempty"`
	// Share is the part of new connections that policy 'balanced' deals to
	// the member, 0 to 1; Dealt is how many it was dealt since the service was
	// started, DealtShare their part of all.
	Share      float64 `json:"share"`
	Dealt      uint64  `json:"dealt"`
	DealtShare float64 `json:"dealt_share"`
	// Connections are the live ones that carry the member's mark.
	Connections int `json:"connections"`
}

// Input is what a status is made from.
type Input struct {
	Version  string
	Stopped  bool
	Problems []string
	Actual   *apply.Actual
	Changes  *apply.Changes
	Uplinks  uplink.State
	// Connections counts live connections by masked mark.
	Connections map[family.Family]map[uint32]int
}

// New makes a status.
func New(in Input) Status {
	s := Status{
		Version:  in.Version,
		Running:  in.Actual.Ours(),
		Stopped:  in.Stopped,
		Backend:  backend(in.Actual),
		InSync:   in.Changes.Empty(),
		Drift:    in.Changes.Summary(),
		Problems: in.Problems,
		Notices:  in.Changes.Plan.Notices,
		Members:  []Member{},
		Policies: in.policies(),
		Uplinks:  in.Uplinks,
	}
	for _, m := range in.Changes.Plan.Members {
		s.Members = append(s.Members, Member{
			Name: m.Name, Index: m.Index, Mark: fmt.Sprintf("%#x", m.Mark), Table: m.Table,
			Weight: m.Weight, Metric: m.Metric,
			IPv4: in.family(m, family.IPv4),
			IPv6: in.family(m, family.IPv6),
		})
	}
	return s
}

func backend(actual *apply.Actual) string {
	switch table := actual.Tables[family.IPv4]; {
	case table == nil:
		return ""
	case table.Legacy:
		return "legacy"
	}
	return "nft"
}

func (in Input) family(m plan.Member, f family.Family) *Family {
	state := m.State(f)
	if state.Device == "" && !state.Up {
		if f == family.IPv6 {
			return nil
		}
		return &Family{State: "down", Reason: state.Reason}
	}
	result := &Family{
		State:       stateName(state),
		Reason:      state.Reason,
		Device:      state.Device,
		Share:       state.Share,
		Connections: in.Connections[f][m.Mark],
	}
	if state.Gateway.IsValid() {
		result.Gateway = state.Gateway.String()
	}
	result.Dealt, result.DealtShare = in.dealt(m.Name, f)
	return result
}

func stateName(s plan.MemberState) string {
	switch {
	case !s.Up:
		return "down"
	case !s.Online:
		return "offline"
	case s.Active:
		return "active"
	}
	return "standby"
}

// dealt counts what policy 'balanced' has dealt to a member.
func (in Input) dealt(member string, f family.Family) (count uint64, share float64) {
	dealt := in.Actual.Dealt(f, plan.BalancedPolicy)
	count = dealt.Count[plan.MemberChain(member)]
	return count, part(float64(count), float64(dealt.Total()))
}

// CountConnections counts live connections by masked mark in both families.
func CountConnections(count func(family.Family, uint32) (map[uint32]int, error), mask fwmark.Mask) (map[family.Family]map[uint32]int, error) {
	all := map[family.Family]map[uint32]int{}
	for _, f := range family.All {
		n, err := count(f, uint32(mask))
		if err != nil {
			return nil, fmt.Errorf("connections (%s): %w", f, err)
		}
		all[f] = n
	}
	return all, nil
}

// WriteJSON prints the status for programs.
func (s Status) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}

// WriteText prints the status for people.
func (s Status) WriteText(w io.Writer) error {
	var text strings.Builder
	text.WriteString(s.headline() + "\n")
	groups := [][]string{s.Problems, s.Notices}
	if s.Running {
		groups = [][]string{s.Drift, s.Problems, s.Notices}
	}
	for _, group := range groups {
		for _, line := range group {
			text.WriteString("  " + line + "\n")
		}
	}
	text.WriteString("\n")
	table := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "MEMBER\tFAMILY\tSTATE\tDEVICE\tGATEWAY\tMARK\tTABLE\tTIER\tWEIGHT\tSHARE\tDEALT\tCONNECTIONS")
	for _, m := range s.Members {
		m.writeRow(table, family.IPv4, m.IPv4)
		m.writeRow(table, family.IPv6, m.IPv6)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := s.writePolicies(&text); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.TrimRight(text.String(), "\n")+"\n")
	return err
}

func (s Status) headline() string {
	switch {
	case !s.Running && s.Stopped:
		return "loadbalance is stopped"
	case !s.Running:
		return "loadbalance is not running"
	case !s.InSync:
		return "loadbalance is running (" + s.Backend + "), but 'loadbalance apply' would change:"
	}
	return "loadbalance is running (" + s.Backend + ") as configured"
}

func (m Member) writeRow(w io.Writer, f family.Family, state *Family) {
	if state == nil {
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.1f%%\t%s\t%d\n",
		m.Name, f, state.State, dash(state.Device), dash(state.Gateway), m.Mark, m.Table,
		m.Metric, m.Weight, 100*state.Share, dealtText(state.Dealt, state.DealtShare), state.Connections)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
