package domains

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/kernel"
)

// maxPacket is the largest packet: on lo, answers come in one piece.
const maxPacket = 0xffff

// readPause keeps a socket that cannot be read (out of memory or the like) from
// becoming a busy loop.
const readPause = 100 * time.Millisecond

// kernelSets are the sets in the kernel.
type kernelSets interface {
	Learn(set string, entries []ipset.Learnt) error
	Learnt(set string) ([]ipset.Learnt, error)
}

// Learner learns while it has sets to follow. The zero value, with Log, is ready.
type Learner struct {
	// Log writes a message; level is error, warning, notice or debug.
	Log func(level, text string)

	mutex   sync.Mutex // guards what follows
	matcher *matcher
	memory  map[string]*memory // by set
	told    map[string]bool    // what was said, to say it once
	sets    kernelSets
	socket  *os.File // nil while there is nothing to learn
	handle  *kernel.Handle
	ended   sync.WaitGroup
}

// memory is what a set has learnt.
type memory struct {
	entries map[netip.Addr]entry
	// full, where there is no room, is when the first entry goes.
	full time.Time
}

// entry is what the kernel has learnt, as far as we know.
type entry struct {
	ipset.Learnt
	at time.Time // of Learnt.Left
}

// left is how many seconds are left; at most 0 when the entry is gone.
func (e entry) left(now time.Time) int { return e.Left - int(now.Sub(e.at)/time.Second) }

// Learn learns for these sets from now on, and for no others. It is to be called
// after each apply: what got lost meanwhile is entered again. Without sets there
// is neither a socket nor a goroutine.
func (l *Learner) Learn(sets []Set) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(sets) == 0 {
		l.close()
		return
	}
	if err := l.open(); err != nil {
		l.tell("error", fmt.Sprintf("domains: %v: no addresses are learnt", err))
		return
	}
	l.matcher = newMatcher(sets)
	before := l.memory
	l.memory = map[string]*memory{}
	for i := range sets {
		if err := l.adopt(&sets[i], before[sets[i].Name], time.Now()); err != nil {
			l.tell("error", fmt.Sprintf("domains: %v", err))
		}
	}
}

// adopt takes over what a set has learnt, and enters what it has lost.
func (l *Learner) adopt(s *Set, before *memory, now time.Time) error {
	learnt, err := l.sets.Learnt(s.Name)
	if err != nil {
		return err
	}
	entries := map[netip.Addr]entry{}
	for _, e := range learnt {
		entries[e.Address] = entry{e, now}
	}
	l.memory[s.Name] = &memory{entries: entries}
	if before == nil {
		return nil
	}
	for a, e := range before.entries {
		again, wanted := e.For(s.Domains)
		again.Left = e.left(now)
		if _, known := entries[a]; known || !wanted || again.Left <= 0 || !s.learns(a) {
			continue
		}
		if err := l.sets.Learn(s.Name, []ipset.Learnt{again}); err != nil {
			return err
		}
		entries[a] = entry{again, now}
	}
	return nil
}

func (l *Learner) open() error {
	if l.socket != nil {
		return nil
	}
	handle, err := kernel.Open()
	if err != nil {
		return err
	}
	socket, err := openSocket()
	if err != nil {
		handle.Close()
		return err
	}
	l.handle, l.socket, l.sets = handle, socket, ipset.New(handle)
	l.told = map[string]bool{}
	l.ended.Add(1)
	go l.receive(socket)
	return nil
}

func (l *Learner) close() {
	if l.socket != nil {
		l.socket.Close()
		l.handle.Close()
	}
	l.socket, l.handle, l.sets, l.matcher, l.memory = nil, nil, nil, nil, nil
}

// Close ends the learning. What was learnt stays in the kernel.
func (l *Learner) Close() {
	l.Learn(nil)
	l.ended.Wait()
}

// receive hears all answers until the socket is closed.
func (l *Learner) receive(socket *os.File) {
	defer l.ended.Done()
	packet := make([]byte, maxPacket)
	for {
		n, err := socket.Read(packet)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			time.Sleep(readPause)
			continue
		}
		if a, ok := parseAnswer(payload(packet[:n])); ok && len(a.addresses) > 0 {
			l.hear(a, time.Now())
		}
	}
}

// hear learns from an answer.
func (l *Learner) hear(a answer, now time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.matcher == nil {
		return
	}
	for _, lesson := range l.matcher.lessons(a) {
		l.enter(lesson, now)
	}
}

func (l *Learner) enter(x lesson, now time.Time) {
	m := l.memory[x.set.Name]
	if m == nil {
		return // it could not be read
	}
	known, exists := m.entries[x.address]
	if exists && known.left(now) <= 0 {
		known, exists = entry{}, false
	}
	if !exists && !m.hasRoom(now) {
		l.tell("warning", fmt.Sprintf("ipset %s is full: it has learnt %d addresses, further ones are left out until some of them go",
			x.set.Name, ipset.MaxLearnt))
		return
	}
	fresh := entry{ipset.NewLearnt(x.address, x.domain, x.ttl, known.Learnt), now}
	// A popular name may be answered a thousand times a second.
	if exists && len(fresh.Domains) == len(known.Domains) && fresh.Left == known.left(now) {
		return
	}
	if err := l.sets.Learn(x.set.Name, []ipset.Learnt{fresh.Learnt}); err != nil {
		if !errors.Is(err, unix.ENOENT) { // a stop goes on
			l.tell("error", fmt.Sprintf("domains: %v", err))
		}
		return
	}
	m.entries[x.address] = fresh
}

// hasRoom reports whether there is room for a further address. Those whose time
// is over are forgotten when it is needed.
func (m *memory) hasRoom(now time.Time) bool {
	if len(m.entries) < ipset.MaxLearnt {
		return true
	}
	if now.Before(m.full) {
		return false
	}
	m.full = now.Add(ipset.MinLifetime * time.Second)
	for a, e := range m.entries {
		goes := e.at.Add(time.Duration(e.Left) * time.Second)
		if e.left(now) <= 0 {
			delete(m.entries, a)
		} else if goes.Before(m.full) {
			m.full = goes
		}
	}
	return len(m.entries) < ipset.MaxLearnt
}

// tell writes a message once, as long as the learning goes on.
func (l *Learner) tell(level, text string) {
	if l.told == nil {
		l.told = map[string]bool{}
	}
	if !l.told[text] {
		l.told[text] = true
		l.Log(level, text)
	}
}
