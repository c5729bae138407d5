package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"loadbalance/internal/netlab"
)

const (
	connections = 50   // of a throughput measurement: a household at work
	dealt       = 1000 // connections whose shares are counted
	lost        = 3    // the uplink that dies
	// wanted is the part of the lines' sum that must arrive. Measurements of
	// a few seconds scatter by 1 to 2 %; `make bench` measures longer.
	wanted = 0.95
	// answerTime is how long a connection may take to answer, on a slow day.
	answerTime = 5 * time.Second
)

// demo is one run.
type demo struct {
	*screen
	lab     *netlab.Lab
	program *netlab.Program
	monitor *netlab.Process // nil until it is started
	claims  []claim
	alone   []float64 // the throughput of each uplink by itself, in Mbit/s
	before  string    // the router's state before the first apply
}

// claim is a sentence of the summary.
type claim struct {
	text string
	held bool
}

func (d *demo) claim(held bool, format string, args ...any) {
	c := claim{fmt.Sprintf(format, args...), held}
	d.claims = append(d.claims, c)
}

func (d *demo) run() error {
	d.introduce()
	defer d.endMonitor()
	for _, step := range []func() error{
		d.measureAlone, d.apply, d.measureTogether, d.countShares, d.showStatus, d.loseUplink, d.stop,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) introduce() {
	fmt.Fprintln(d.out, d.bold("loadbalance: five uplinks as one"))
	fmt.Fprintf(d.out, `
   10 LAN hosts ── router ═╦═ %s … %s, 20 Mbit/s each ══ gateway ── servers
                           ╙─ five leases in one network, behind one gateway

   The network consists of namespaces of this machine, and vanishes at the end.
`, d.lab.UplinkDevice(1), d.lab.UplinkDevice(uplinks))
}

// measureAlone measures each line by itself: main's default route, with which
// a router without balancing sends everything, is led over one after another.
func (d *demo) measureAlone() error {
	d.heading("Before: a router uses one uplink. Each one alone, %d connections:", connections/uplinks)
	for i := 1; i <= uplinks; i++ {
		mbit, err := d.measureOver(i)
		if err != nil {
			return err
		}
		d.alone = append(d.alone, mbit)
	}
	d.result("%s   sum %5.1f Mbit/s", d.rates(d.alone), sum(d.alone))
	return nil
}

func (d *demo) measureOver(i int) (float64, error) {
	u := d.lab.Uplink(i)
	// The lab's own defaults have the metrics 1 and up: 0 outranks them.
	route := []string{"default", "via", u.Gateway.String(), "dev", u.Device, "metric", "0"}
	if _, err := d.lab.Router.Run("ip", append([]string{"route", "add"}, route...)...); err != nil {
		return 0, err
	}
	t, err := d.lab.Throughput(netlab.Bulk{
		Connections: connections / uplinks, WarmUp: 500 * time.Millisecond, Duration: 1500 * time.Millisecond,
		Progress: func(mbit []float64) { d.progress("%s", d.rates(append(d.alone, sum(mbit)))) },
	})
	if err != nil {
		return 0, err
	}
	if _, err := d.lab.Router.Run("ip", append([]string{"route", "del"}, route...)...); err != nil {
		return 0, err
	}
	return t.Mbit, nil
}

func (d *demo) apply() error {
	var config strings.Builder
	for i := 1; i <= uplinks; i++ {
		fmt.Fprintf(&config, "config member '%s'\n\tlist track_ip '%v'\n", d.lab.UplinkDevice(i), netlab.Server(1))
	}
	if err := d.program.Configure(config.String()); err != nil {
		return err
	}
	var err error
	if d.before, err = d.lab.Dump(); err != nil {
		return err
	}
	d.heading("Two lines per uplink configure it, the second for the health check:")
	d.command("cat /etc/config/loadbalance", config.String())
	return d.call("apply")
}

// call calls the program and shows the call.
func (d *demo) call(command string) error {
	start := time.Now()
	out, err := d.program.Run(command)
	if err != nil {
		return err
	}
	d.command("loadbalance "+command, out)
	if command != "status" {
		d.line("(in %d ms)", time.Since(start).Milliseconds())
	}
	return nil
}

func (d *demo) measureTogether() error {
	d.heading("All five together, %d connections:", connections)
	t, err := d.measure(5 * time.Second)
	if err != nil {
		return err
	}
	ratio := t.Mbit / sum(d.alone)
	d.claim(ratio >= wanted, "%d connections over five uplinks: %.1f Mbit/s, %.1f %% of the sum of the five alone (one: %.1f Mbit/s)",
		connections, t.Mbit, 100*ratio, d.alone[0])
	return nil
}

// measure measures the throughput of all connections, with progress.
func (d *demo) measure(duration time.Duration) (netlab.Throughput, error) {
	t, err := d.lab.Throughput(netlab.Bulk{
		Connections: connections, Duration: duration,
		Progress: func(mbit []float64) { d.progress("%s   sum %5.1f Mbit/s", d.rates(mbit[1:]), sum(mbit)) },
	})
	if err == nil {
		d.result("%s   sum %5.1f Mbit/s", d.rates(t.ByUplink[1:]), t.Mbit)
	}
	return t, err
}

func (d *demo) countShares() error {
	d.heading("%d new connections from 10 hosts:", dealt)
	tally := d.connect()
	d.claim(exact(tally, 200, 200, 200, 200, 200), "%d connections dealt out to five: %s", dealt, shares(tally))
	return nil
}

// connect opens many connections, one after another on ten hosts at a time.
func (d *demo) connect() netlab.Tally {
	d.progress("connecting …")
	tally := d.lab.Connect(netlab.Traffic{Count: dealt, Parallel: 10})
	var shares []string
	for i, n := range tally.Shares() {
		shares = append(shares, fmt.Sprintf("%s %3d", d.lab.UplinkDevice(i+1), n))
	}
	d.result("%s", strings.Join(shares, "   "))
	return tally
}

// exact reports whether each uplink got its share, give or take one connection.
func exact(tally netlab.Tally, want ...int) bool {
	for i, got := range tally.Shares() {
		if got < want[i]-1 || got > want[i]+1 {
			return false
		}
	}
	return tally.Failed == 0 && tally.ByUplink[0] == 0
}

// shares tells a tally's shares, and what went wrong.
func shares(tally netlab.Tally) string {
	text := strings.Trim(fmt.Sprint(tally.Shares()), "[]")
	if tally.Failed > 0 {
		text += fmt.Sprintf(", and %d failed: %v", tally.Failed, tally.Err)
	}
	return text
}

func (d *demo) showStatus() error {
	d.heading("With the monitor, which probes the lines, this is how it stands:")
	if err := d.startMonitor(); err != nil {
		return err
	}
	return d.call("status")
}

func (d *demo) loseUplink() error {
	device := d.lab.UplinkDevice(lost)
	d.heading("%s dies silently while %d connections are open:", device, connections)
	flows, tally := d.lab.Open(netlab.Traffic{Count: connections, Parallel: connections})
	defer flows.Close()
	if tally.Failed > 0 {
		return fmt.Errorf("%d connections failed: %w", tally.Failed, tally.Err)
	}
	if err := d.lab.Blackhole(lost); err != nil {
		return err
	}
	d.line("its link is up, but every packet vanishes further away")
	took, err := d.await(device + "' (ipv4): offline")
	if err != nil {
		return err
	}
	d.text(d.monitor.Log.String())
	d.claim(true, "a line that died silently was noticed after %.1f s", took.Seconds())
	d.checkFlows(flows, device)

	tally = d.connect()
	d.claim(exact(tally, 250, 250, 0, 250, 250), "%d new connections dealt out to the other four: %s", dealt, shares(tally))
	t, err := d.measure(4 * time.Second)
	if err != nil {
		return err
	}
	sumOfFour := sum(d.alone) - d.alone[lost-1]
	d.claim(t.Mbit >= wanted*sumOfFour, "%d connections over the four: %.1f Mbit/s, %.1f %% of their sum",
		connections, t.Mbit, 100*t.Mbit/sumOfFour)
	if err := d.lab.Restore(lost); err != nil {
		return err
	}
	took, err = d.await(device + "' (ipv4): online")
	if err == nil {
		d.line("the line works again, and is in use %.1f s later", took.Seconds())
	}
	return err
}

// checkFlows lets the connections on the living uplinks go on, and counts those
// on the dead one that were reset.
func (d *demo) checkFlows(flows netlab.Flows, device string) {
	var living, dead netlab.Flows
	for _, f := range flows {
		if f.Uplink == lost {
			dead = append(dead, f)
		} else {
			living = append(living, f)
		}
	}
	start := time.Now()
	reset := 0
	for _, f := range dead {
		if _, err := f.Exchange(answerTime); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			reset++
		}
	}
	took := time.Since(start)
	failed, _ := living.Check(answerTime)
	d.line("%d connections were on other uplinks: %d of them go on", len(living), len(living)-failed)
	d.claim(reset == len(dead) && took < answerTime, "all %d connections over %s were reset at once, so that programs can try again", len(dead), device)
	d.claim(failed == 0, "all %d other connections went on undisturbed", len(living))
}

func (d *demo) stop() error {
	d.heading("And away again:")
	if err := d.call("stop"); err != nil {
		return err
	}
	// The kernel takes a moment to bring the routes of the cable back that
	// was cut.
	var left []string
	for end := time.Now().Add(answerTime); ; time.Sleep(50 * time.Millisecond) {
		after, err := d.lab.Dump()
		if err != nil {
			return err
		}
		left = difference(d.before, after)
		if len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	d.line("iptables, ip rules, routes and ipsets: %d lines differ from before", len(left))
	d.text(strings.Join(left, "\n"))
	d.claim(len(left) == 0, "after 'stop', iptables, ip rules, routes and ipsets are what they were before")
	return nil
}

// difference lists the lines that only one of two dumps has.
func difference(before, after string) []string {
	var lines []string
	only := func(sign, one, other string) {
		for _, line := range strings.Split(one, "\n") {
			if !strings.Contains("\n"+other+"\n", "\n"+line+"\n") {
				lines = append(lines, sign+" "+line)
			}
		}
	}
	only("-", before, after)
	only("+", after, before)
	return lines
}

// summary prints all claims and reports whether they held.
func (d *demo) summary(elapsed time.Duration) bool {
	d.heading("Summary, after %.0f seconds:", elapsed.Seconds())
	held := true
	for _, c := range d.claims {
		d.screen.claim(c)
		held = held && c.held
	}
	return held
}

// rates shows throughputs by uplink.
func (d *demo) rates(mbit []float64) string {
	var parts []string
	for i, rate := range mbit {
		parts = append(parts, fmt.Sprintf("%s %4.1f", d.lab.UplinkDevice(i+1), rate))
	}
	return strings.Join(parts, "   ")
}

func sum(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum
}
