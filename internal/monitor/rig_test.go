package monitor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/config"
	"loadbalance/internal/domains"
	"loadbalance/internal/drift"
	"loadbalance/internal/health"
	"loadbalance/internal/health/probe"
	"loadbalance/internal/hooks"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
	"loadbalance/internal/quota"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// rig is a monitor in a world that is made up, with a clock that the test
// moves.
type rig struct {
	t *testing.T
	*Monitor
	now time.Time

	// The world.
	config  string
	down    map[string]bool // links, by member
	silent  map[string]bool // lines that do not answer, by member
	portal  map[string]bool // lines on which a portal answers, by member
	blocked map[string]bool // lines over which no probe can be sent, by member
	kernel  drift.Fingerprint
	applied plan.Verdicts // verdicts of the last apply
	failing bool          // applies fail
	failure error         // with what; nil: they are refused
	undo    bool          // somebody undoes each apply at once
	stopped bool
	idle    bool // the configuration wants no monitor
	// noDevice: links that are down have no device, as netifd tells it.
	noDevice bool
	// rising: netifd has not brought up an interface; mute: it does not answer.
	rising bool
	mute   string
	// noGateway6: the links are point-to-point in IPv6.
	noGateway6 bool
	refused    bool  // applies get only half-way
	full       bool  // there is no room for verdicts
	damaged    error // why the verdicts of the last monitor cannot be read
	// summaries: applies tell what they change, as real ones do.
	summaries bool

	// What the last apply left.
	members string
	notices []string

	// What the monitor did.
	applies  []string
	events   []string
	event    hooks.Event // the last one
	overdue  bool        // a reload is to be made up for
	logged   []string
	sent     map[health.Key]int
	learning []domains.Set
	store    plan.Verdicts
	carried  []kernel.Traffic
	unread   error // why that cannot be read
	kept     quota.Book
	keeps    []string // when it was kept, since the start
	begun    time.Time
	unlucky  error // why what was used can be neither kept nor read
	pending  []probe.Answer
	answers  chan probe.Answer
	messages chan struct{}
}

// step is how far the clock moves at a time: well below every interval.
const step = 10 * time.Millisecond

func newMonitorRig(t *testing.T, config string) *rig {
	g := &rig{
		t: t, now: time.Unix(1e9, 0), config: config,
		down: map[string]bool{}, silent: map[string]bool{}, portal: map[string]bool{}, blocked: map[string]bool{},
		sent: map[health.Key]int{}, answers: make(chan probe.Answer, 1000), messages: make(chan struct{}, 1),
	}
	g.Monitor = &Monitor{
		Applier: g, Prober: g, Watcher: g, Scripts: g, Store: g, Learner: g, Ledger: g, Answers: g.answers,
		Traffic: func() ([]kernel.Traffic, error) { return g.carried, g.unread },
		Log:     func(level, text string) { g.logged = append(g.logged, level+": "+text) },
	}
	return g
}

func (g *rig) Usage() (quota.Book, error) { return g.kept, g.unlucky }

func (g *rig) SaveUsage(book quota.Book) error {
	g.keeps = append(g.keeps, g.now.Sub(g.begun).Round(time.Second).String())
	if g.unlucky != nil {
		return g.unlucky
	}
	text, err := json.Marshal(book)
	if err == nil {
		g.kept = quota.Book{}
		err = json.Unmarshal(text, &g.kept)
	}
	return err
}

// Learn notes what is to be learnt.
func (g *rig) Learn(sets []domains.Set) { g.learning = sets }

// run starts the monitor and lets some time pass.
func (g *rig) start() {
	g.begun = g.now
	g.begin(g.now)
	g.pass(time.Second)
}

// pass lets time pass.
func (g *rig) pass(d time.Duration) {
	for end := g.now.Add(d); g.now.Before(end); {
		g.now = g.now.Add(step)
		for _, a := range g.pending {
			g.answers <- a
		}
		g.pending = nil
		g.hear()
		g.paths.Wake() // as the loop does before it sleeps
		g.work(g.now)
		if g.applying {
			r := <-g.results
			if r.reload {
				g.applies = append(g.applies, "reload")
			} else {
				g.applies = append(g.applies, "follow "+strings.Join(r.reasons, ", "))
			}
			g.finish(r, g.now)
		}
	}
}

func (g *rig) Reload(verdicts plan.Verdicts) (Outcome, error) { return g.Follow(verdicts) }

func (g *rig) Overdue(time.Time) (due, later bool) {
	due = g.overdue
	g.overdue = false
	return due, false
}

// Follow panics over a configuration of no use: a test cannot be ended from the
// goroutine of an apply.
func (g *rig) Follow(verdicts plan.Verdicts) (Outcome, error) {
	if g.failing {
		return Outcome{}, cmp.Or(g.failure, errors.New("mangle restore (ipv4): refused"))
	}
	if g.idle {
		g.store = nil
	}
	if g.stopped || g.idle {
		return Outcome{Idle: true}, nil
	}
	file, err := uci.Parse("loadbalance", []byte(g.config))
	if err != nil {
		panic(err)
	}
	cfg, problems := config.Read(file)
	if problems.HasErrors() {
		panic(fmt.Sprint(problems))
	}
	uplinks := g.uplinks(cfg)
	p := plan.Build(plan.Input{Config: cfg, Uplinks: uplinks, Verdicts: verdicts})
	changed := fmt.Sprint(g.applied) != fmt.Sprint(verdicts) || g.kernel.Ours%2 == 1
	g.applied = verdicts
	if changed && !g.undo {
		g.kernel.Ours += 2 - g.kernel.Ours%2 // even: as planned
	}
	if g.refused {
		err = errors.New("mangle restore (ipv6): refused")
	}
	outcome := Outcome{Config: cfg, Uplinks: uplinks, Members: p.Members, Domains: domains.SetsOf(p), Changed: changed, LeftOut: p.LeftOut}
	if members := fmt.Sprint(p.Members); g.summaries && (changed || members != g.members) {
		g.members = members
		outcome.Summary = []string{"ipv4: 3 chains written, 2 routes deleted, 12 connections freed", "ipv6: 3 chains written"}
	}
	outcome.News = slices.DeleteFunc(slices.Clone(p.Notices), func(notice string) bool { return slices.Contains(g.notices, notice) })
	g.notices = p.Notices
	return outcome, err
}

// damage has somebody change what is ours.
func (g *rig) damage() { g.kernel.Ours |= 1 }

// uplinks are those of the configuration's members: wan1 is 198.18.1.2 behind
// 198.18.1.1, with IPv6 where its name ends in 6.
func (g *rig) uplinks(cfg *config.Config) uplink.State {
	state := uplink.State{IPv4: uplink.Main{Enabled: true}, IPv6: uplink.Main{Enabled: true},
		NetifdSilent: g.mute, Unsettled: g.rising || g.mute != ""}
	state.IPv4.Addresses = []uplink.Address{{Device: "br-lan", Prefix: netip.MustParsePrefix("192.168.1.1/24")}}
	for i, m := range cfg.Members {
		member := uplink.Member{Name: m.Name, IPv4: &uplink.Path{
			Device: m.Name, Up: !g.down[m.Name],
			Gateway:   netip.AddrFrom4([4]byte{198, 18, byte(i + 1), 1}),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i + 1), 2})},
		}}
		if strings.HasSuffix(m.Name, "6") {
			member.IPv6 = &uplink.Path{Device: m.Name, Up: !g.down[m.Name], Gateway: netip.MustParseAddr("fe80::1")}
			if g.noGateway6 {
				member.IPv6.Gateway = netip.Addr{}
			}
		}
		if g.noDevice && g.down[m.Name] {
			member.IPv4.Device = ""
		}
		state.Members = append(state.Members, member)
	}
	return state
}

func (g *rig) Send(p probe.Probe) error {
	if g.blocked[p.Key.Member] {
		return fmt.Errorf("probe of %s: %w", p.Address, unix.EPERM)
	}
	g.sent[p.Key]++
	if !g.silent[p.Key.Member] {
		a := probe.Answer{Key: p.Key, Round: p.Round, Target: p.Target, At: g.now.Add(step)}
		if g.portal[p.Key.Member] {
			a.Portal = health.Portal{Status: 302, URL: "http://portal/" + fmt.Sprint(p.Round)}
		}
		g.pending = append(g.pending, a)
	}
	return nil
}

func (g *rig) Forget(key health.Key) { delete(g.sent, key) }

func (g *rig) Events() <-chan struct{} { return g.messages }

func (g *rig) Look(drift.Scope) (drift.Fingerprint, error) { return g.kernel, nil }

func (g *rig) Post(e hooks.Event) {
	g.event = e
	g.events = append(g.events, strings.TrimSpace(e.Action+" "+e.Member+" "+e.Family))
}

func (g *rig) SaveVerdicts(o plan.Verdicts) error {
	if g.full {
		return errors.New("no space left on device")
	}
	g.store, g.damaged = maps.Clone(o), nil
	return nil
}

func (g *rig) LastVerdicts() (plan.Verdicts, error) { return g.store, g.damaged }

func (g *rig) ForgetVerdicts() error {
	g.store = nil
	return nil
}

func (g *rig) Stopped() bool { return g.stopped }

// stop has another process stop the service.
func (g *rig) stop() {
	g.stopped, g.store = true, nil
}

// accept has another process start the service, or the monitor hear of a stop.
func (g *rig) accept() {
	g.unsaved = true
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
}

// expect compares a list with the wanted one and empties it.
func (g *rig) expect(what string, got *[]string, want ...string) {
	g.t.Helper()
	if fmt.Sprint(*got) != fmt.Sprint(want) {
		g.t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(*got, "\n"), strings.Join(want, "\n"))
	}
	*got = nil
}
