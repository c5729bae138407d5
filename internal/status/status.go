// Package status collects what a user wants to know about the running service
// in one value, Status, and prints it as text, as JSON and as metrics.
package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/dealt"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/kernel"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
	"loadbalance/internal/quota"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// Status is the state of the service.
type Status struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	// Counted is when the chains and their counters were read.
	Counted time.Time `json:"counted"`
	// Running is true if the kernel holds our rules.
	Running bool `json:"running"`
	// Stopped: a user has stopped the service, and events do nothing.
	Stopped bool   `json:"stopped"`
	Backend string `json:"backend"`
	// Refused says why the file is not what runs and what all else is about; nil: it is not refused.
	Refused *pipeline.Refusal `json:"refused,omitempty"`
	// InSync: the kernel holds what the configuration asks for; otherwise Drift is the difference.
	InSync   bool          `json:"in_sync"`
	Drift    []string      `json:"drift,omitempty"`
	Problems []string      `json:"problems,omitempty"`
	Notices  []string      `json:"notices,omitempty"`
	Monitor  Monitor       `json:"monitor"`
	Members  []Member      `json:"members"`
	Usage    []quota.Usage `json:"usage,omitempty"`
	Policies []Policy      `json:"policies"`
	Devices  []Device      `json:"devices"`
	// Rules are what rules with lines in the kernel have decided about, by name, such as @rule[0].
	Rules   map[string]uint64 `json:"rules,omitempty"`
	Sets    []Set             `json:"sets,omitempty"`
	Uplinks uplink.State      `json:"uplinks"`
	// History is nil where nobody asked for it, or where no monitor keeps it.
	History *health.DayReport `json:"history,omitempty"`
}

// Member is the state of one member.
type Member struct {
	Name   string `json:"name"`
	Index  int    `json:"index"`
	Mark   string `json:"mark"`
	Table  int    `json:"table"`
	Weight int    `json:"weight"`
	Metric int    `json:"metric"`
	// Fault is what is wrong with its section. What ran before goes on, or it is left out.
	Fault string  `json:"fault,omitempty"`
	IPv4  *Family `json:"ipv4,omitempty"`
	IPv6  *Family `json:"ipv6,omitempty"`
}

// Family is a member's state in one family.
type Family struct {
	// State is active (policy 'balanced' deals it connections), standby (works, but 'balanced' deals
	// it none, for its tier or by configuration), offline (by its health check), portal (the network
	// wants a login) or down (no link, address or route). Reason says why, where it is not obvious.
	State string `json:"state"`
	// Full: its line is full, so it is dealt nothing new while another has room.
	Full    bool   `json:"full,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Device  string `json:"device,omitempty"`
	Gateway string `json:"gateway,omitempty"`
	// Share is what policy 'balanced' deals to the member of new connections, 0 to 1. Dealt counts
	// those since the service was started, and DealtShare is their share of all.
	Share      float64 `json:"share"`
	Dealt      uint64  `json:"dealt"`
	DealtShare float64 `json:"dealt_share"`
	// Connections counts the live ones with the member's mark, UnansweredConnections those without an
	// answer yet. Unanswered is their share, 0 to 1: one much higher than others' is trouble.
	Connections           int     `json:"connections"`
	UnansweredConnections int     `json:"unanswered_connections"`
	Unanswered            float64 `json:"unanswered"`
	// Health is what the monitor found; nil without a monitor or track_ip.
	Health *health.Report `json:"health,omitempty"`
	// NewRate is what all policies deal to the member per second; nil without an earlier status.
	NewRate *float64 `json:"new_per_second,omitempty"`
}

// Input is what New makes a status from.
type Input struct {
	Version  string
	Now      time.Time
	Stopped  bool
	Refused  *pipeline.Refusal
	Problems []string
	// Found are the problems of the configuration file.
	Found   config.Problems
	Notices []string
	Kernel  *apply.Kernel
	// State is what the last run left in the run directory.
	State   rundir.State
	Plan    *plan.Plan
	Changes *apply.Changes
	Uplinks uplink.State
	// Connections counts live connections by masked mark.
	Connections map[family.Family]map[uint32]conntrack.Count
	Traffic     []kernel.Traffic
	// Health is the monitor's answer; nil where none runs, or for the reason in MonitorError.
	Health       *health.Snapshot
	MonitorError error
	// MonitorWanted is true if the configuration has targets to probe.
	MonitorWanted bool
}

// New returns the status for an input.
func New(in Input) Status {
	s := Status{
		Version:  in.Version,
		Time:     in.Now,
		Counted:  in.Now,
		Running:  in.Kernel.Ours(),
		Stopped:  in.Stopped,
		Refused:  in.Refused,
		InSync:   in.Changes.Empty(),
		Drift:    in.Changes.Summary(),
		Problems: in.Problems,
		Notices:  in.Notices,
		Monitor:  in.monitor(),
		Members:  []Member{},
		Policies: in.policies(),
		Rules:    in.rules(),
		Sets:     in.sets(),
		Uplinks:  in.Uplinks,
	}
	if table := in.Kernel.Tables[family.IPv4]; table != nil {
		s.Backend = "nft"
		if table.Legacy {
			s.Backend = "legacy"
		}
		if !table.Taken.IsZero() {
			s.Counted = table.Taken
		}
	}
	for _, m := range in.Plan.Members {
		s.Members = append(s.Members, Member{
			Name: m.Name, Index: m.Index, Mark: fmt.Sprintf("%#x", m.Mark), Table: m.Table,
			Weight: m.Weight, Metric: m.Metric,
			IPv4: in.family(m, family.IPv4),
			IPv6: in.family(m, family.IPv6),
		})
	}
	if in.Health != nil {
		s.Usage, s.History = in.Health.Usage, in.Health.History
	}
	s.Devices = in.devices(s.Members)
	s.addFaults(in.Found)
	return s
}

// addFaults names members that are faulty in the file.
func (s *Status) addFaults(found config.Problems) {
	for i := range found {
		name, isMember := strings.CutPrefix(strings.TrimSuffix(found[i].Section, "'"), "member '")
		if !isMember || found[i].Severity != config.Error {
			continue
		}
		n := slices.IndexFunc(s.Members, func(m Member) bool { return m.Name == name })
		if n < 0 {
			n = len(s.Members)
			s.Members = append(s.Members, Member{Name: name, IPv4: &Family{State: stateDown, Reason: "left out: its section has errors"}})
		}
		s.Members[n].Fault = cmp.Or(s.Members[n].Fault, found[i].String())
	}
}

func (in Input) family(m plan.Member, f family.Family) *Family {
	state := m.State(f)
	if state.Device == "" && !state.Up {
		if f == family.IPv6 {
			return nil
		}
		return &Family{State: stateDown, Reason: state.Reason, Health: in.report(m.Name, f)}
	}
	connections := in.Connections[f][m.Mark]
	result := &Family{
		State:                 stateName(state),
		Reason:                state.Reason,
		Device:                state.Device,
		Share:                 state.Share,
		Connections:           connections.Total,
		UnansweredConnections: connections.Unanswered,
		Unanswered:            part(float64(connections.Unanswered), float64(connections.Total)),
		Health:                in.report(m.Name, f),
		Full:                  m.Full != "" && state.Online,
	}
	// A verdict may be older than the monitor or the link; the report then has no reason.
	if h := result.Health; h != nil && !h.Online && state.Up && !state.Online {
		h.Reason = state.Reason
	}
	if state.Gateway.IsValid() {
		result.Gateway = state.Gateway.String()
	}
	dealt := dealt.By(plan.BalancedPolicy, in.State.Families[f], in.Kernel.Tables[f])
	result.Dealt = dealt.Count[plan.MemberChain(m.Name)]
	result.DealtShare = part(float64(result.Dealt), float64(dealt.Total()))
	return result
}

const (
	stateActive  = "active"
	stateStandby = "standby"
	stateOffline = "offline"
	statePortal  = "portal"
	stateDown    = "down"
)

func stateName(s plan.MemberState) string {
	switch {
	case !s.Up:
		return stateDown
	case s.Portal:
		return statePortal
	case !s.Online:
		return stateOffline
	case s.Active:
		return stateActive
	}
	return stateStandby
}

// WriteJSON prints the status as indented JSON.
func (s Status) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}

// WriteJSONLine prints the status as JSON on one line, for status --watch.
func (s Status) WriteJSONLine(w io.Writer) error {
	return json.NewEncoder(w).Encode(s)
}

func (m *Member) family(f family.Family) *Family { return family.Pick(f, m.IPv4, m.IPv6) }
