package health

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

const ms = time.Millisecond

// epoch is when simulations start.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// probe is a probe that was sent: the how manieth round of its path it belongs
// to, counted from 0, and when it was sent.
type probe struct {
	key    Key
	target int
	round  int
	sent   time.Duration
}

// lost is the latency of a probe without an answer.
const lost = time.Duration(-1)

// A latency above one of these is that of a wrong answer: of a portal, or of a
// target in trouble.
const (
	portal  = time.Hour
	trouble = 2 * time.Hour
)

// sim runs Paths against a network, as the monitor does.
type sim struct {
	paths    *Paths
	network  func(probe) time.Duration
	now      time.Duration
	targets  map[Key]int
	rounds   map[Key]int
	inFlight []answer
	passed   []Transition
	sent     []probe // the first probe of each round, where keepSent
	keepSent bool
	wakeups  int
	idle     int // wakeups since the time last went on
	// reference, where there is one, is told the same and must say the same.
	reference *reference
}

type answer struct {
	at time.Duration
	probe
	number uint32
	wrong  Portal // with a status: the answer is wrong
}

func newSim(network func(probe) time.Duration) *sim {
	return &sim{paths: NewPaths(), network: network, targets: make(map[Key]int), rounds: make(map[Key]int)}
}

func (s *sim) set(key Key, rules Rules, online bool) {
	s.targets[key] = len(rules.Targets)
	s.paths.Set(key, rules, online, epoch.Add(s.now))
	if s.reference != nil {
		s.reference.add(key, rules, online, s.now)
	}
}

// until runs the simulation up to a time, and through it.
func (s *sim) until(end time.Duration) {
	for {
		next := end
		if wake := s.paths.Wake(); !wake.IsZero() {
			next = min(next, max(wake.Sub(epoch), s.now))
		}
		for i := range s.inFlight {
			next = min(next, s.inFlight[i].at)
		}
		if next == end && s.now == end {
			return
		}
		if s.idle++; next > s.now {
			s.idle = 0
		}
		if s.idle > 100 {
			panic("Wake wants to be called at once for ever")
		}
		s.now = next
		s.step()
		if next == end {
			return
		}
	}
}

func (s *sim) step() {
	now := epoch.Add(s.now)
	s.wakeups++
	s.deliver()
	for _, key := range s.paths.Due(now) {
		number := s.paths.Sent(key, now)
		if s.reference != nil {
			s.reference.send(key, s.now)
		}
		for target := range s.targets[key] {
			p := probe{key: key, target: target, round: s.rounds[key], sent: s.now}
			if s.keepSent && target == 0 {
				s.sent = append(s.sent, p)
			}
			if latency := s.network(p); latency != lost {
				a := answer{at: s.now + latency%portal, probe: p, number: number}
				if latency >= portal {
					a.wrong = Portal{Status: 302, URL: "http://login.example/?token=1"}
				}
				if latency >= trouble {
					a.wrong = Portal{Status: 503}
				}
				s.inFlight = append(s.inFlight, a)
			}
		}
		s.rounds[key]++
	}
	passed := s.paths.Check(now)
	s.passed = append(s.passed, passed...)
	if s.reference != nil {
		s.reference.check(s.now, passed)
	}
}

// deliver hands in the answers that are there by now.
func (s *sim) deliver() {
	kept := s.inFlight[:0]
	for _, a := range s.inFlight {
		if a.at > s.now {
			kept = append(kept, a)
			continue
		}
		if a.wrong.Status != 0 {
			s.paths.Intercepted(a.key, a.number, a.target, a.wrong, epoch.Add(a.at))
		} else {
			s.paths.Answered(a.key, a.number, a.target, epoch.Add(a.at))
		}
		switch {
		case s.reference != nil && a.wrong.Status != 0:
			s.reference.intercept(a.key, int(a.number), a.target, a.wrong.Status)
		case s.reference != nil:
			s.reference.answer(a.key, int(a.number), a.target, a.at)
		}
	}
	s.inFlight = kept
}

// verdicts prints the transitions as "MEMBER up|down|portal TIME", and "MEMBER ipv6"
// for a path in that family.
func (s *sim) verdicts() []string {
	var out []string
	for _, p := range s.passed {
		word := "down"
		switch {
		case p.Online:
			word = "up"
		case p.Portal:
			word = "portal"
		}
		out = append(out, pathName(p.Key)+" "+word+" "+p.At.Sub(epoch).String())
	}
	return out
}

func pathName(key Key) string {
	if key.Family == family.IPv6 {
		return key.Member + " ipv6"
	}
	return key.Member
}

func (s *sim) want(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(s.verdicts(), ", "); got != strings.Join(want, ", ") {
		t.Errorf("got  %s\nwant %s", got, strings.Join(want, ", "))
	}
}

// defaults are the rules of a member that only has targets, as package config
// has them; its own test holds these numbers.
func defaults(targets ...string) Rules {
	return RulesOf(config.Track{
		Reliability: 1, Interval: 500 * ms, Timeout: 800 * ms, Down: 4, Up: 6, Window: 60,
		FailureLoss: 30, RecoveryLoss: 10,
	}, targets)
}

// quick are rules of small numbers: interval 100 ms, time limit 200 ms, down 3,
// up 3, window 10, no limits.
func quick(targets ...string) Rules {
	return RulesOf(config.Track{
		Reliability: 1, Interval: 100 * ms, Timeout: 200 * ms, Down: 3, Up: 3, Window: 10,
	}, targets)
}

// trace is a network in which the rounds of each member do as its text says:
// + answered after 20 ms, L late after 250 ms, - lost, P a portal answers, T the
// target is in trouble. The last one goes on.
// Targets beyond the first one have texts of their own, after a blank.
func trace(of map[string]string) func(probe) time.Duration {
	return func(p probe) time.Duration {
		fields := strings.Fields(of[p.key.Member])
		text := fields[min(p.target, len(fields)-1)]
		switch text[min(p.round, len(text)-1)] {
		case '+':
			return 20 * ms
		case 'L':
			return 250 * ms
		case 'P':
			return portal + 20*ms
		case 'T':
			return trouble + 20*ms
		}
		return lost
	}
}
