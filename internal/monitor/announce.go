package monitor

import (
	"fmt"
	"slices"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/hooks"
	"loadbalance/internal/plan"
)

// announce logs what became of the members and runs the user's scripts. It
// compares what two applies found, so whatever caused a transition is
// announced the same way, and only once it is in the kernel.
func (m *Monitor) announce(before, after []plan.Member) {
	old := map[string]plan.Member{}
	for _, member := range before {
		old[member.Name] = member
	}
	for _, member := range after {
		m.compare(old[member.Name], member)
		delete(old, member.Name)
	}
	for _, member := range before {
		if was, gone := old[member.Name]; gone {
			const reason = "is not configured any more"
			left := plan.Member{Name: was.Name, IPv4: was.IPv4, IPv6: was.IPv6}
			for _, state := range []*plan.MemberState{&left.IPv4, &left.IPv6} {
				state.Online, state.Active, state.Reason = false, false, reason
			}
			m.compare(was, left)
		}
	}
}

// compare announces what became of one member: that it is out of use before
// that it is offline, and that it is online before that it is in use.
func (m *Monitor) compare(was, is plan.Member) {
	// netifd tells no device of an interface that is down.
	if is.IPv4.Device == "" {
		is.IPv4.Device = was.IPv4.Device
	}
	if is.IPv6.Device == "" {
		is.IPv6.Device = was.IPv6.Device
	}
	inactive := families(func(f family.Family) bool { return was.State(f).Active && !is.State(f).Active })
	offline := families(func(f family.Family) bool { return was.State(f).Online && !is.State(f).Online })
	online := families(func(f family.Family) bool { return !was.State(f).Online && is.State(f).Online })
	active := families(func(f family.Family) bool { return !was.State(f).Active && is.State(f).Active })
	// Mostly both come together, and one line says enough.
	if !slices.Equal(inactive, offline) {
		m.log("inactive", is, inactive)
	}
	m.log("offline", is, offline)
	m.log("online", is, online)
	if !slices.Equal(online, active) {
		m.log("active", is, active)
	}
	m.post("inactive", is, inactive)
	m.post("offline", is, offline)
	m.post("online", is, online)
	m.post("active", is, active)
}

func families(hold func(family.Family) bool) []family.Family {
	var found []family.Family
	for _, f := range family.All {
		if hold(f) {
			found = append(found, f)
		}
	}
	return found
}

// log writes one transition, which may be in both families at once.
func (m *Monitor) log(action string, member plan.Member, in []family.Family) {
	if len(in) == 0 {
		return
	}
	text := fmt.Sprintf("member '%s' (%s): %s", member.Name, names(in, ", "), action)
	if reason := member.State(in[0]).Reason; reason != "" {
		text += ": " + reason
	}
	m.Log("notice", text)
}

// post has the user's scripts run for one transition.
func (m *Monitor) post(action string, member plan.Member, in []family.Family) {
	if len(in) == 0 {
		return
	}
	state := member.State(in[0])
	e := hooks.Event{Action: action, Member: member.Name, Device: state.Device,
		Family: names(in, " "), Reason: state.Reason}
	// One that is configured no more has the interface that it had.
	for _, cfg := range []*config.Config{m.announced.Config, m.outcome.Config} {
		if configured := cfg.Member(member.Name); configured != nil {
			e.Interface = configured.Interface
		}
	}
	m.Scripts.Post(e)
}

func names(families []family.Family, separator string) string {
	var names []string
	for _, f := range families {
		names = append(names, f.String())
	}
	return strings.Join(names, separator)
}
