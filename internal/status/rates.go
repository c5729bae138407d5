package status

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
)

// Device is a device that members use. Its counters include all its members and
// both families.
type Device struct {
	Name string `json:"name"`
	health.Traffic
	// Rate is nil if there is no earlier status to compare with.
	Rate *Rate `json:"rate,omitempty"`
}

// Rate is what a device carries, in bytes per second.
type Rate struct {
	Received float64 `json:"rx_bytes_per_second"`
	Sent     float64 `json:"tx_bytes_per_second"`
}

// ReadTraffic reads the counters of all devices, by name, in the network
// namespace of the calling thread.
func ReadTraffic() (map[string]health.Traffic, error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return nil, fmt.Errorf("device counters: %w", err)
	}
	return parseTraffic(string(text)), nil
}

// parseTraffic reads net/dev of proc(5): after two lines of heading, one line
// per device, in which the bytes received are the first number and the bytes
// sent the ninth.
func parseTraffic(text string) map[string]health.Traffic {
	devices := map[string]health.Traffic{}
	for _, line := range strings.Split(text, "\n") {
		name, rest, isDevice := strings.Cut(line, ":")
		numbers := strings.Fields(rest)
		if !isDevice || len(numbers) < 9 {
			continue
		}
		received, err := strconv.ParseUint(numbers[0], 10, 64)
		sent, errSent := strconv.ParseUint(numbers[8], 10, 64)
		if err == nil && errSent == nil {
			devices[strings.TrimSpace(name)] = health.Traffic{Received: received, Sent: sent}
		}
	}
	return devices
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
			if traffic, ok := in.Traffic[state.Device]; ok {
				devices = append(devices, Device{Name: state.Device, Traffic: traffic})
			}
		}
	}
	return devices
}

// AddRates adds the rates since an earlier status. A counter that is lower than
// before was reset in between and gives no rate.
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

// dealtTo returns how many connections all policies have dealt to a member.
func (s Status) dealtTo(member string, f family.Family) uint64 {
	var dealt uint64
	s.eachShare(func(_, to string, of family.Family, share *PolicyShare) {
		if to == member && of == f {
			dealt += share.Dealt
		}
	})
	return dealt
}

// ratesTable has the rates of each member, if AddRates has added them. Members
// that share a device have its rates in the first row only.
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

// rateText formats the rates of a device, "as above" if they were shown
// already.
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
	for _, unit := range []string{"B/s", "kB/s", "MB/s"} {
		if rate < 1000 {
			return strconv.FormatFloat(rate, 'f', decimals(rate, unit), 64) + " " + unit
		}
		rate /= 1000
	}
	return strconv.FormatFloat(rate, 'f', 2, 64) + " GB/s"
}

// decimals returns the number of digits after the point: none for bytes and for
// numbers from 100 on.
func decimals(rate float64, unit string) int {
	if unit == "B/s" || rate >= 100 {
		return 0
	}
	return 1
}
