package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/hooks"
	"loadbalance/internal/plan"
)

// Reasons of an apply that only say what a look at the kernel has found.
const (
	networkChanged = "network changed"
	repair         = "repair"
)

// tell logs what an apply changed, with the cause, and what else is new. What
// became of members is for announce, once there is something to compare with.
func (m *Monitor) tell(r result) {
	for _, text := range r.News {
		if !m.applied || r.LeftOut[text] == "" {
			m.Log("notice", text)
		}
	}
	if len(r.Summary) > 0 {
		m.Log("notice", strings.Join(m.causes(r), ", ")+": "+strings.Join(r.Summary, "; "))
	}
}

// causes are what led to the changes of an apply. Where links came or went, these
// are, by netifd's event if there was one: others have only made the apply look.
func (m *Monitor) causes(r result) []string {
	reasons := r.reasons
	if r.reload {
		reasons = append([]string{"reload"}, reasons...)
	}
	var links []string
	for _, is := range r.Members {
		for _, was := range m.announced.Members {
			if was.Name == is.Name {
				links = append(links, linkChanges(was, is, reasons, r.Config.Member(is.Name))...)
			}
		}
	}
	if len(links) == 0 {
		return reasons
	}
	others := slices.DeleteFunc(slices.Clone(reasons), func(reason string) bool {
		return reason == networkChanged || reason == repair || isEvent(reason)
	})
	return append(others, links...)
}

// linkChanges names what became of a member's links, by netifd's event if there was.
func linkChanges(was, is plan.Member, reasons []string, member *config.Member) []string {
	var changes []string
	for _, c := range []struct {
		up             bool
		words, another string
	}{{false, "went down", "ifup"}, {true, "came up", "ifdown"}} {
		changed := families(func(f family.Family) bool { return was.State(f).Up != c.up && is.State(f).Up == c.up })
		if len(changed) == 0 {
			continue
		}
		cause := fmt.Sprintf("member '%s' (%s) %s", is.Name, names(changed, ", "), c.words)
		for _, reason := range reasons {
			action, netInterface, _ := strings.Cut(reason, " ")
			if isEvent(reason) && action != c.another && isOf(netInterface, member) {
				cause = reason
			}
		}
		changes = append(changes, cause)
	}
	return changes
}

// isEvent reports whether a reason is netifd's event of an interface.
func isEvent(reason string) bool {
	action, _, _ := strings.Cut(reason, " ")
	return slices.Contains([]string{"ifup", "ifdown", "ifupdate"}, action)
}

// isOf reports whether an interface is a member's, or one that its protocol made
// for it (wwan_4 brings wwan's addresses).
func isOf(netInterface string, member *config.Member) bool {
	return netInterface == member.Interface || netInterface == member.Interface6 || strings.HasPrefix(netInterface, member.Interface+"_")
}

// announce logs what became of the members, as two applies found them, and runs the
// user's scripts: whatever was the cause, and once it is in the kernel.
func (m *Monitor) announce(before, after []plan.Member) {
	old := map[string]plan.Member{}
	for _, member := range before {
		old[member.Name] = member
	}
	for _, member := range after {
		m.compare(old[member.Name], member)
		delete(old, member.Name)
	}
	gone := plan.MemberState{Reason: "is not configured any more"}
	for _, member := range before {
		if was, left := old[member.Name]; left {
			m.compare(was, plan.Member{Name: was.Name, IPv4: gone, IPv6: gone})
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
	now := func(f family.Family) plan.MemberState { return is.State(f) }
	then := func(f family.Family) plan.MemberState { return was.State(f) }
	because := func(reason string) plan.Member {
		told := is
		told.IPv4.Reason, told.IPv6.Reason = reason, reason
		return told
	}
	full := families(func(f family.Family) bool { return was.Full == "" && is.Full != "" && now(f).Online })
	free := families(func(f family.Family) bool { return was.Full != "" && is.Full == "" && now(f).Online })
	quota := families(func(f family.Family) bool {
		return was.Spent == "" && is.Spent != "" && (now(f).Up || !is.IPv4.Up && !is.IPv6.Up)
	})
	inactive := families(func(f family.Family) bool { return then(f).Active && !now(f).Active })
	offline := families(func(f family.Family) bool {
		return (then(f).Online || then(f).Portal) && !now(f).Online && !now(f).Portal
	})
	portal := families(func(f family.Family) bool { return !then(f).Portal && now(f).Portal })
	online := families(func(f family.Family) bool { return !then(f).Online && now(f).Online })
	active := families(func(f family.Family) bool { return !then(f).Active && now(f).Active })
	// Mostly several come together, and one line in the log says enough.
	changes := []struct {
		action string
		member plan.Member
		in     []family.Family
		isSaid bool
	}{
		{"full", because(is.Full), full, false},
		{"free", because(""), free, false},
		{"quota", because(is.Spent), quota, false},
		{"inactive", is, inactive, slices.Equal(inactive, offline) || slices.Equal(inactive, portal) || slices.Equal(inactive, quota)},
		{"offline", is, offline, slices.Equal(offline, quota)},
		{"portal", is, portal, false},
		{"online", is, online, false},
		{"active", is, active, slices.Equal(online, active)},
	}
	for _, c := range changes {
		if !c.isSaid {
			m.log(c.action, c.member, c.in)
		}
	}
	for _, c := range changes {
		m.post(c.action, c.member, c.in, false)
	}
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
func (m *Monitor) post(action string, member plan.Member, in []family.Family, repeat bool) {
	if len(in) == 0 {
		return
	}
	state := member.State(in[0])
	e := hooks.Event{Action: action, Member: member.Name, Device: state.Device,
		Family: names(in, " "), Reason: state.Reason, Repeat: repeat}
	if path := m.outcome.Uplinks.Path(member.Name, in[0]); path != nil && len(path.Addresses) > 0 {
		e.Address = path.Addresses[0].String()
	}
	for _, f := range in {
		e.PortalURL = cmp.Or(e.PortalURL, m.paths.PortalURL(health.Key{Member: member.Name, Family: f}))
	}
	// One that is configured no more has the interface that it had.
	for _, cfg := range []*config.Config{m.announced.Config, m.outcome.Config} {
		if configured := cfg.Member(member.Name); configured != nil {
			e.Interface = configured.Interface
		}
	}
	m.Scripts.Post(e)
}

// remind has scripts of a portal that lasts run again: the login may have failed.
func (m *Monitor) remind(now time.Time) {
	var reminders map[string]time.Time
	for _, member := range m.announced.Members {
		in := families(func(f family.Family) bool { return member.State(f).Portal })
		configured := m.member(member.Name)
		if len(in) == 0 || configured == nil {
			continue
		}
		due, known := m.reminders[member.Name]
		if known && !now.Before(due) {
			m.post("portal", member, in, true)
		}
		if !known || !now.Before(due) {
			due = now.Add(configured.Track.PortalRetry)
		}
		if reminders == nil {
			reminders = map[string]time.Time{}
		}
		reminders[member.Name] = due
	}
	m.reminders = reminders
}

func names(families []family.Family, separator string) string {
	var names []string
	for _, f := range families {
		names = append(names, f.String())
	}
	return strings.Join(names, separator)
}
