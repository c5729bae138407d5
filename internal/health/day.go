package health

import (
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// maxDay is what a day may take, in bytes: 11 paths by the minute, and all 120 that
// there can be by sixteen. As text that is 400 kB, and a message on ubus holds 1 MB.
const maxDay = 160 << 10

// Traffic are the bytes that a device has carried since it was created.
type Traffic struct {
	Received uint64 `json:"rx_bytes"`
	Sent     uint64 `json:"tx_bytes"`
}

// The values of a point.
const (
	dayOnline   = iota // percent of the time
	dayLoss            // percent of the probes
	dayLatency         // milliseconds
	dayReceived        // bytes per second
	daySent
	dayValues
)

// dayPoint has one more than the values, as the upper halves of float32, which are
// good to 0.4 %. What is 0 is unknown.
type dayPoint [dayValues]uint16

type dayPath struct {
	points     []dayPoint         // a ring
	sum, count [dayValues]float64 // of the next point
	device     string             // the last one
	carried    *Traffic           // by it when the last step ended; nil: unknown
}

func (p *dayPath) add(value int, v float64) {
	p.sum[value] += v
	p.count[value]++
}

// Day keeps a day of each path, as averages of a minute, or of several where there
// are many paths.
type Day struct {
	paths map[Key]*dayPath
	step  time.Duration
	began time.Time // of the step that is under way
	steps int       // that have ended
}

// NewDay returns a day that begins.
func NewDay(now time.Time) *Day { return &Day{map[Key]*dayPath{}, time.Minute, now, 0} }

func (d *Day) length() int { return int(24 * time.Hour / d.step) }

// Add takes in how a path stands. The device is empty while there is none, r nil
// where nothing is probed.
func (d *Day) Add(key Key, device string, online bool, r *Report) {
	p := d.paths[key]
	switch {
	case p == nil && device == "":
		return // most members have no IPv6, and need no room for it
	case p == nil:
		p = &dayPath{}
		d.paths[key] = p
		for len(d.paths)*d.length()*dayValues*2 > maxDay {
			d.step, d.steps = 2*d.step, 0 // all begin anew
		}
	}
	if device != "" && device != p.device {
		p.device, p.carried = device, nil
	}
	p.add(dayOnline, map[bool]float64{true: 100}[online])
	if r == nil {
		return
	}
	p.add(dayLoss, 100*r.Loss)
	if r.Latency > 0 {
		p.add(dayLatency, float64(r.Latency)/float64(time.Millisecond))
	}
}

// End ends the step that is under way if it is time. traffic is what all devices
// have carried; what cannot be read is unknown.
func (d *Day) End(now time.Time, traffic func() (map[string]Traffic, error)) {
	passed := now.Sub(d.began)
	if passed < d.step {
		return
	}
	devices, _ := traffic()
	for _, p := range d.paths {
		if len(p.points) != d.length() {
			p.points = make([]dayPoint, d.length())
		}
		p.points[d.steps%d.length()] = p.end(passed.Seconds(), devices)
	}
	d.steps, d.began = d.steps+1, now
}

// end returns the averages of a step and begins the next one.
func (p *dayPath) end(seconds float64, devices map[string]Traffic) (average dayPoint) {
	now, known := devices[p.device]
	// Fewer than before: the device was made anew.
	if then := p.carried; known && then != nil && now.Received >= then.Received && now.Sent >= then.Sent {
		p.add(dayReceived, float64(now.Received-then.Received)/seconds)
		p.add(daySent, float64(now.Sent-then.Sent)/seconds)
	}
	for i, count := range p.count {
		if count > 0 {
			average[i] = uint16((math.Float32bits(float32(1+p.sum[i]/count)) + 1<<15) >> 16)
		}
	}
	*p = dayPath{points: p.points, device: p.device}
	if known {
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

// DayOfPath is the day of a path. Device is the one whose traffic it has, that of
// all its members and of both families. Points are in the order of time, with
// semicolons between them and commas between their values; what is unknown is
// empty. They are a text since a number takes 12 bytes on ubus.
type DayOfPath struct {
	Key
	Device string `json:"device"`
	Points string `json:"points"`
}

// Report returns the day, by the clock of now. Paths of which nothing is known,
// such as those that are gone, are left out.
func (d *Day) Report(now time.Time) *DayReport {
	r := &DayReport{Step: int(d.step.Seconds()), End: now.Add(-now.Sub(d.began)), Paths: []DayOfPath{}}
	for key, p := range d.paths {
		var text []byte
		for i := max(d.steps-len(p.points), 0); i < d.steps; i++ {
			for _, half := range p.points[i%len(p.points)] {
				if half != 0 {
					text = strconv.AppendFloat(text, float64(math.Float32frombits(uint32(half)<<16))-1, 'g', 3, 32)
				}
				text = append(text, ',')
			}
			text[len(text)-1] = ';'
		}
		points := strings.TrimSuffix(strings.ReplaceAll(string(text), "e+0", "e"), ";")
		if strings.Trim(points, ",;") != "" {
			r.Paths = append(r.Paths, DayOfPath{key, p.device, points})
		}
	}
	sort.Slice(r.Paths, func(i, j int) bool {
		a, b := r.Paths[i].Key, r.Paths[j].Key
		return a.Member < b.Member || a.Member == b.Member && a.Family < b.Family
	})
	return r
}
