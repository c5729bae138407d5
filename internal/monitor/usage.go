package monitor

import (
	"fmt"
	"time"

	"loadbalance/internal/quota"
)

const (
	// countEvery is the time between two looks at what members with a quota have
	// carried: 1.25 GB at 1 Gbit/s. It is also what is lost of a device that goes.
	countEvery = 10 * time.Second
	// keepEvery is the least time between two writes to the flash, which wears
	// out. A power cut costs no more than what was carried since.
	keepEvery = 15 * time.Minute
)

// ledger keeps across reboots what was counted.
type ledger interface {
	Usage() (quota.Book, error)
	SaveUsage(quota.Book) error
}

// count counts what members with a quota have used.
func (m *Monitor) count(now time.Time) {
	m.countAt = time.Time{}
	for i := range m.outcome.Members {
		if m.outcome.Members[i].Quota.Bytes > 0 {
			m.countAt = now.Add(countEvery)
		}
	}
	if m.countAt.IsZero() {
		m.usage = nil
		return
	}
	traffic, err := m.Traffic()
	if err != nil {
		m.Log("debug", err.Error()) // the next look has it
		return
	}
	var news bool
	m.usage, news = m.book.Count(now, traffic, m.outcome.Members)
	m.unkept = m.unkept || news
	if m.save() {
		m.want(request{at: now, reasons: []string{"quota"}})
	}
	if now.Sub(m.keptAt) >= keepEvery {
		m.keep(now)
	}
}

// keep writes down what was counted, if that is news.
func (m *Monitor) keep(now time.Time) {
	if !m.unkept {
		return
	}
	m.keptAt = now
	err, text := m.Ledger.SaveUsage(m.book), ""
	if m.unkept = err != nil; m.unkept {
		text = fmt.Sprintf("use of quotas: %v: a restart will not know it", err)
	}
	m.logOnce(&m.unkeepable, text)
}

// correct sets what a member has used by now.
func (m *Monitor) correct(used quota.Usage, now time.Time) {
	m.count(now) // what is not to be added later
	if u := m.book.Of(used.Member); u != nil {
		u.Bytes, m.unkept = used.Bytes, true
	}
	m.count(now)
}
