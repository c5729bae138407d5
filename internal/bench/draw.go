package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// rulesPerDraw is the budget of a new connection in the chains of its policy.
const rulesPerDraw = 32

// drawnPolicy is the chain of the policy, which also begins the names of its parts.
const drawnPolicy = "lb_policy_balanced"

// drawCases are members with their weights.
var drawCases = []struct {
	name    string
	weights []int
}{
	{"2", []int{1, 1}},
	{"3", []int{1, 1, 1}},
	{"3:1:1", []int{3, 1, 1}},
	{"5", []int{1, 1, 1, 1, 1}},
	{"8", []int{1, 1, 1, 1, 1, 1, 1, 1}},
	{"60", make([]int, 60)},
}

// draw measures what a new connection costs: the rules of the policy that it
// passes, and the time until it is open, against the recipe, which deals to all
// members alike.
func (b *bench) draw() error {
	t := newTable(b.out, "members", "back end", "rules passed", "at most", "rules in mangle", "recipe",
		"time to connect", "recipe", "of recipe", "")
	for _, backend := range backends {
		for _, c := range drawCases {
			r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: len(c.weights), Backend: backend})
			if err != nil {
				return err
			}
			err = r.addDraw(t, c.name, c.weights)
			r.Close()
			if err != nil {
				return fmt.Errorf("%s, %s members: %w", backend, c.name, err)
			}
		}
	}
	return t.Flush()
}

// drawCost is what was measured in one state of the router, by round.
type drawCost struct {
	rules   int // in the table mangle
	connect []float64
}

func (r *rig) addDraw(t table, name string, weights []int) error {
	const rounds = 5
	if err := r.program.Configure(r.weighted(weights)); err != nil {
		return err
	}
	var recipe, ours drawCost
	var average float64
	var most int
	for range rounds {
		if _, err := r.Router.Run("sh", r.recipe.load); err != nil {
			return err
		}
		if err := r.measureConnect(&recipe); err != nil {
			return err
		}
		if err := r.removeRecipe(); err != nil {
			return err
		}
		if _, err := r.program.Run("apply"); err != nil {
			return err
		}
		if err := r.measureConnect(&ours); err != nil {
			return err
		}
		var err error
		if average, most, err = r.rulesPassed(); err != nil {
			return err
		}
		if _, err := r.program.Run("stop"); err != nil {
			return err
		}
	}
	t.row(name, r.backend, fmt.Sprintf("%.1f", average), fmt.Sprint(most), fmt.Sprint(ours.rules), fmt.Sprint(recipe.rules),
		fmt.Sprintf("%.1f µs", median(ours.connect)), fmt.Sprintf("%.1f µs", median(recipe.connect)),
		percent(medianRatio(ours.connect, recipe.connect), 1),
		budget(most <= rulesPerDraw, "%d rules passed", rulesPerDraw))
	return nil
}

// weighted is a configuration with all uplinks; a weight of 0 leaves the default.
func (r *rig) weighted(weights []int) string {
	var config strings.Builder
	for i, weight := range weights {
		fmt.Fprintf(&config, "config member '%s'\n", r.UplinkDevice(i+1))
		if weight > 0 {
			fmt.Fprintf(&config, "\toption weight '%d'\n", weight)
		}
	}
	return config.String()
}

// measureConnect adds the number of rules in the table mangle, and the median
// time in µs in which a connection of a LAN host is open.
func (r *rig) measureConnect(cost *drawCost) error {
	chains, err := r.chains("mangle")
	if err != nil {
		return err
	}
	cost.rules = 0
	for _, c := range chains {
		cost.rules += len(c.rules)
	}
	times, err := r.connectTimes(3000)
	if err != nil {
		return err
	}
	cost.connect = append(cost.connect, median(times))
	return nil
}

// connectTimes opens connections one after the other and returns how long each
// took in µs.
func (r *rig) connectTimes(count int) ([]float64, error) {
	hosts, times := r.LANHosts(), make([]float64, 0, count)
	err := r.Client.Do(func() error {
		for i := range count {
			took, err := connectTime(hosts[i%len(hosts)].As4())
			if err != nil {
				return err
			}
			times = append(times, float64(took)/float64(time.Microsecond))
		}
		return nil
	})
	return times, err
}

// connectTime opens a connection from an address, on a thread in the namespace of
// the LAN, and resets it.
func connectTime(source [4]byte) (time.Duration, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	// Close with a reset: TIME_WAIT would use up the ports.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return 0, fmt.Errorf("linger: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source}); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	server := &unix.SockaddrInet4{Addr: netlab.Server(1).As4(), Port: netlab.HTTPPort}
	start := time.Now()
	if err := unix.Connect(fd, server); err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	return time.Since(start), nil
}

// rulesPassed opens connections and returns how many rules of the policy each
// passed, on average and at most.
func (r *rig) rulesPassed() (average float64, most int, err error) {
	before, err := r.chains("mangle")
	if err != nil {
		return 0, 0, err
	}
	// The turns of 2, 3, 5, 8 and 60 members are 16 to 120 connections.
	tally := r.Connect(netlab.Traffic{Count: 2400, Parallel: 10})
	if tally.Failed > 0 {
		return 0, 0, fmt.Errorf("%d connections failed: %w", tally.Failed, tally.Err)
	}
	after, err := r.chains("mangle")
	if err != nil {
		return 0, 0, err
	}
	average, most = passed(before, after)
	return average, most, nil
}

// passed computes from two readings of the counters how many rules of a policy
// its connections passed, on average and at most.
func passed(before, after map[string]*chain) (average float64, most int) {
	var connections, rules uint64
	var follow func(name string, way int)
	follow = func(name string, way int) {
		for i, rule := range after[name].rules {
			matched := rule.packets - before[name].rules[i].packets
			switch {
			case strings.HasPrefix(rule.target, drawnPolicy):
				follow(rule.target, way+i+1)
			case matched > 0:
				connections += matched
				rules += matched * uint64(way+i+1)
				most = max(most, way+i+1)
			}
		}
	}
	follow(drawnPolicy, 0)
	return float64(rules) / float64(connections), most
}
