package status

import (
	"cmp"
	"fmt"
	"slices"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// Device is a device of members. Its counters include all of them and both families.
type Device struct {
	kernel.Traffic
	// Rate is nil if there is no earlier status to compare with.
	Rate *Rate `json:"rate,omitempty"`
}

// Rate is what a device carries, in bytes per second.
type Rate struct {
	Received float64 `json:"rx_bytes_per_second"`
	Sent     float64 `json:"tx_bytes_per_second"`
}

// devices returns the existing devices of the members, in the order of these.
func (in Input) devices(members []Member) []Device {
	devices := []Device{}
	for _, m := range members {
		for _, f := range family.All {
			state := m.family(f)
			if state == nil || slices.ContainsFunc(devices, func(d Device) bool { return d.Name == state.Device }) {
				continue
			}
			for _, traffic := range in.Traffic {
				if traffic.Name == state.Device {
					devices = append(devices, Device{Traffic: traffic})
				}
			}
		}
	}
	return devices
}

// AddRates adds the rates since an earlier status. A counter that was reset gives none.
func (s *Status) AddRates(before Status) {
	seconds := s.Time.Sub(before.Time).Seconds()
	if seconds <= 0 {
		return
	}
	for i := range s.Devices {
		now, then := s.Devices[i], before.device(s.Devices[i].Name)
		if then == nil || now.Received < then.Received || now.Sent < then.Sent {
			continue
		}
		s.Devices[i].Rate = &Rate{
			Received: float64(now.Received-then.Received) / seconds,
			Sent:     float64(now.Sent-then.Sent) / seconds,
		}
	}
	s.eachFamily(func(m Member, f family.Family, state *Family) {
		now, then := s.dealtTo(m.Name, f), before.dealtTo(m.Name, f)
		if now >= then {
			rate := float64(now-then) / seconds
			state.NewRate = &rate
		}
	})
}

func (s Status) device(name string) *Device {
	for i := range s.Devices {
		if s.Devices[i].Name == name {
			return &s.Devices[i]
		}
	}
	return nil
}

func (s Status) dealtTo(member string, f family.Family) uint64 {
	var dealt uint64
	s.eachShare(func(_, to string, of family.Family, share *PolicyShare) {
		if to == member && of == f {
			dealt += share.Dealt
		}
	})
	return dealt
}

// ratesTable has what AddRates has added; what members share stands in the first row only.
func (s Status) ratesTable() string {
	rows := []string{"\nRATES\tFAMILY\tDEVICE\tRECEIVED\tSENT\tNEW/S\tCONNECTIONS"}
	shown := map[string]bool{}
	s.eachFamily(func(m Member, f family.Family, state *Family) {
		if state.NewRate == nil {
			return
		}
		received, sent := s.rateText(state.Device, shown)
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%.1f\t%d",
			m.Name, f, cmp.Or(state.Device, "-"), received, sent, *state.NewRate, state.Connections))
	})
	return table(rows)
}

// rateText formats the rates of a device, "as above" if they were shown already.
func (s Status) rateText(name string, shown map[string]bool) (received, sent string) {
	device := s.device(name)
	if device == nil || device.Rate == nil {
		return "-", "-"
	}
	if shown[name] {
		return "as above", "as above"
	}
	shown[name] = true
	return bytesPerSecond(device.Rate.Received), bytesPerSecond(device.Rate.Sent)
}

// bytesPerSecond formats a rate with about three digits and a decimal unit.
func bytesPerSecond(rate float64) string {
	units, unit, decimals := []string{"B/s", "kB/s", "MB/s", "GB/s"}, 0, 0
	for ; rate >= 1000 && unit < 3; unit++ {
		rate /= 1000
	}
	switch {
	case unit == 3:
		decimals = 2
	case unit > 0 && rate < 100:
		decimals = 1
	}
	return fmt.Sprintf("%.*f %s", decimals, rate, units[unit])
}
