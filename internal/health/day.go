package health

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"loadbalance/internal/kernel"
)

// maxDay is what a day may take, in bytes: 11 paths by the minute, and all 120 that
// there can be by sixteen. As text that is 400 kB, and a message on ubus holds 1 MB.
const maxDay = 160 << 10

// The values of a point.
const (
	dayOnline   = iota // percent of the time
	dayLoss            // per mille of the probes
	dayLatency         // microseconds
	dayReceived        // bytes per second
	daySent
	dayValues
)

// dayPoint has one more than the values, packed; what is 0 is unknown.
type dayPoint [dayValues]uint16

// pack keeps the highest 11 bits of a number (0.1 %), and how many there are below.
func pack(n uint64) uint16 {
	shift := max(bits.Len64(n)-11, 0)
	return uint16(shift<<11) | uint16(n>>shift)
}

func unpack(packed uint16) uint64 { return uint64(packed&(1<<11-1)) << (packed >> 11) }

type dayPath struct {
	key        Key
	points     []dayPoint        // a ring
	sum, count [dayValues]uint64 // of the next point
	device     string            // the last one
	carried    *kernel.Traffic   // by it when the last step ended; nil: unknown
}

func (p *dayPath) add(value int, n uint64) {
	p.sum[value] += n
	p.count[value]++
}

// Day keeps a day of each path, as averages of a minute; of several for many paths.
type Day struct {
	paths []*dayPath
	step  time.Duration
	began time.Time // of the step that is under way
	steps int       // that have ended
}

// NewDay returns a day that begins.
func NewDay(now time.Time) *Day { return &Day{step: time.Minute, began: now} }

func (d *Day) length() int { return int(24 * time.Hour / d.step) }

// Add takes in how a path stands: device is "" without one, r nil if not probed.
func (d *Day) Add(key Key, device string, online bool, r *Report) {
	i := slices.IndexFunc(d.paths, func(p *dayPath) bool { return p.key == key })
	if i < 0 && device == "" {
		return // most members have no IPv6, and need no room for it
	}
	if i < 0 {
		i = len(d.paths)
		d.paths = append(d.paths, &dayPath{key: key})
		for len(d.paths)*d.length()*dayValues*2 > maxDay {
			d.step, d.steps = 2*d.step, 0 // all begin anew
		}
	}
	p := d.paths[i]
	if device != "" && device != p.device {
		p.device, p.carried = device, nil
	}
	if online {
		p.sum[dayOnline] += 100
	}
	p.count[dayOnline]++
	if r == nil {
		return
	}
	p.add(dayLoss, uint64(1000*r.Loss))
	if r.Latency > 0 {
		p.add(dayLatency, uint64(r.Latency/time.Microsecond))
	}
}

// End ends the step that is under way if it is time. traffic is what all devices
// have carried; what cannot be read is unknown.
func (d *Day) End(now time.Time, traffic func() ([]kernel.Traffic, error)) {
	passed := now.Sub(d.began)
	if passed < d.step {
		return
	}
	devices, _ := traffic()
	for _, p := range d.paths {
		if len(p.points) != d.length() {
			p.points = make([]dayPoint, d.length())
		}
		p.points[d.steps%d.length()] = p.end(uint64(passed/time.Second), devices)
	}
	d.steps, d.began = d.steps+1, now
}

// end returns the averages of a step and begins the next one.
func (p *dayPath) end(seconds uint64, devices []kernel.Traffic) (average dayPoint) {
	i := slices.IndexFunc(devices, func(t kernel.Traffic) bool { return t.Name == p.device })
	var now kernel.Traffic
	if i >= 0 {
		now = devices[i]
	}
	// Fewer than before: the device was made anew.
	if then := p.carried; i >= 0 && then != nil && now.Received >= then.Received && now.Sent >= then.Sent {
		p.add(dayReceived, (now.Received-then.Received)/seconds)
		p.add(daySent, (now.Sent-then.Sent)/seconds)
	}
	for i, count := range p.count {
		if count > 0 {
			average[i] = pack(1 + p.sum[i]/count)
		}
	}
	*p = dayPath{key: p.key, points: p.points, device: p.device}
	if i >= 0 {
		p.carried = &now
	}
	return average
}

// DayReport is a day as status prints it.
type DayReport struct {
	Step  int         `json:"step_s"` // seconds that a point stands for
	End   time.Time   `json:"end"`    // of the last point
	Paths []DayOfPath `json:"paths"`
}

// DayOfPath is the day of a path. Device is the one whose whole traffic it has.
// Points are in the order of time, with semicolons between them and commas between
// their values, empty where unknown: as numbers each would take 12 bytes on ubus.
type DayOfPath struct {
	Key
	Device string `json:"device"`
	Points string `json:"points"`
}

// Report returns the day, by the clock of now. Paths of which nothing is known,
// such as those that are gone, are left out.
func (d *Day) Report(now time.Time) *DayReport {
	r := &DayReport{Step: int(d.step.Seconds()), End: now.Add(-now.Sub(d.began)), Paths: []DayOfPath{}}
	for _, p := range d.paths {
		var text []byte
		for i := max(d.steps-len(p.points), 0); i < d.steps; i++ {
			for _, packed := range p.points[i%len(p.points)] {
				if packed != 0 {
					text = strconv.AppendUint(text, unpack(packed)-1, 10)
				}
				text = append(text, ',')
			}
			text[len(text)-1] = ';'
		}
		points := strings.TrimSuffix(string(text), ";")
		if strings.Trim(points, ",;") != "" {
			r.Paths = append(r.Paths, DayOfPath{p.key, p.device, points})
		}
	}
	return r
}
