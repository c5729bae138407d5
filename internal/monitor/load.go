package monitor

import (
	"time"

	"loadbalance/internal/health"
)

// weighEvery is a third of the time over which a rate is the average.
const weighEvery = time.Second

// weigh finds out which lines are full. Where no rate is stated nothing is read.
func (m *Monitor) weigh(now time.Time) {
	m.weighAt = time.Time{}
	stated := map[string]health.Rates{}
	for _, member := range m.outcome.Members {
		if c := m.member(member.Name); c.Download > 0 || c.Upload > 0 {
			stated[member.Name] = health.Rates{Download: c.Download, Upload: c.Upload, Devices: [2]string{member.IPv4.Device, member.IPv6.Device}}
		}
	}
	m.load.Keep(stated)
	if len(stated) == 0 {
		return
	}
	m.weighAt = now.Add(weighEvery)
	traffic, err := m.Traffic()
	if err != nil {
		m.Log("debug", err.Error()) // the next look has it
		return
	}
	if m.load.Read(now, traffic, stated) && m.save() {
		m.want(request{at: now, reasons: []string{"load"}})
	}
}
