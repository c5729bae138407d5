// Package quota counts what members use of their quotas. It is pure: the clock
// and the counters of devices are passed in, and whoever calls keeps the Book.
package quota

import (
	"fmt"
	"time"

	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
)

// Usage is what a member has used of its quota.
type Usage struct {
	Member string `json:"member"`
	// Since is when the period began; zero until the clock is set.
	Since  time.Time `json:"since"`
	Bytes  int64     `json:"bytes"`
	Quota  int64     `json:"quota"`
	Action string    `json:"action"` // last or off
}

// Verdict is what is held against the member, in words that stay the same as it goes on.
func (u Usage) Verdict() (v plan.Verdict) {
	if u.Bytes >= u.Quota {
		v.Spent = fmt.Sprintf("its quota of %v GB is used up", float64(u.Quota)/1e9)
	}
	if u.Action == "off" {
		v.Offline = v.Spent
	}
	return v
}

// String returns the usage in words.
func (u Usage) String() string {
	used, quota := float64(u.Bytes)/1e9, float64(u.Quota)/1e9
	return fmt.Sprintf("member '%s' has used %.3f of %v GB (%.1f%%) since %s", u.Member, used, quota, 100*used/quota, u.Since.Format("2006-01-02"))
}

// Book is all that has to outlive a reboot.
type Book struct {
	Members []Usage `json:"members"`
	// Counted is the latest time by a clock that was set.
	Counted time.Time `json:"counted"`
	// Devices are the counters that were read last, in the boot Boot.
	Boot    string           `json:"boot"`
	Devices []kernel.Traffic `json:"devices"`
}

// firstYear is that of this line: no clock that is set tells an earlier one.
const firstYear = 2026

// Of returns what a member has used; nil if it is not in the book.
func (b *Book) Of(member string) *Usage {
	for i := range b.Members {
		if b.Members[i].Member == member {
			return &b.Members[i]
		}
	}
	return nil
}

// Count adds to members that have a quota what their devices have carried since the last time, but
// nothing from before they had one. It returns what they have used, and whether that is news.
//
// A period begins where its first moment lies between the last time and now, so
// neither a clock that is not set yet nor another quota_day does it.
func (b *Book) Count(now time.Time, traffic []kernel.Traffic, members []plan.Member) (usage []Usage, news bool) {
	isSet := now.Year() >= firstYear && now.After(b.Counted)
	for i := range members {
		m := &members[i]
		if m.Quota.Bytes == 0 {
			continue
		}
		u := b.Of(m.Name)
		var was Usage
		if u == nil {
			b.Members = append(b.Members, Usage{Member: m.Name})
			u = b.Of(m.Name)
		} else {
			was = *u
			u.Bytes += b.grown(traffic, m)
		}
		u.Quota, u.Action = m.Quota.Bytes, m.Quota.Action
		begin := time.Date(now.Year(), now.Month(), m.Quota.Day, 0, 0, 0, 0, now.Location())
		if begin.After(now) {
			begin = begin.AddDate(0, -1, 0)
		}
		if isSet && begin.After(b.Counted) && !u.Since.IsZero() {
			u.Bytes = 0
		}
		if isSet && (begin.After(b.Counted) || u.Since.IsZero()) {
			u.Since = begin
		}
		usage, news = append(usage, *u), news || *u != was
	}
	if isSet {
		b.Counted = now
	}
	b.Devices = traffic
	return usage, news
}

// grown is by how much that device of a member has grown that carried most: they are mostly one in
// both families, or one a tunnel through the other (DS-Lite). A new index is that of a device made
// since, whose counter began with 0.
func (b *Book) grown(traffic []kernel.Traffic, m *plan.Member) (most int64) {
	for _, t := range traffic {
		if t.Name != m.IPv4.Device && t.Name != m.IPv6.Device {
			continue
		}
		grown := t.Received + t.Sent
		for _, last := range b.Devices {
			if last.Index == t.Index && last.Received+last.Sent <= grown { // or begun anew
				grown -= last.Received + last.Sent
			}
		}
		most = max(most, int64(grown))
	}
	return most
}
