package domains

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/kernel"
)

// maxPacket is the largest packet: on lo, answers come in one piece.
const maxPacket = 0xffff

// readPause keeps a socket that cannot be read from becoming a busy loop.
const readPause = 100 * time.Millisecond

// kernelSets are the sets in the kernel.
type kernelSets interface {
	Learn(set string, entries ...ipset.Learnt) error
	Learnt(set string) ([]ipset.Learnt, error)
}

// Learner learns while it has sets. The zero value, with Log, is ready.
type Learner struct {
	// Log writes a message; level is error, warning, notice or debug.
	Log func(level, text string)

	mutex   sync.Mutex // guards what follows
	matcher *matcher
	// known are the domains of entries, which the kernel tells only for a whole set.
	known  map[place][]string
	told   string // the last message
	sets   kernelSets
	socket *os.File // nil while there is nothing to learn
	handle *kernel.Handle
}

// place is where an address is entered.
type place struct {
	set     string
	address netip.Addr
}

// Learn learns for these sets from now on, and for no others. Without sets there
// is neither a socket nor a goroutine; what was learnt stays in the kernel.
func (l *Learner) Learn(sets []Set) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(sets) == 0 {
		l.close()
		return
	}
	if err := l.open(); err != nil {
		l.tell(fmt.Errorf("%w: no addresses are learnt", err))
		return
	}
	l.matcher, l.known = newMatcher(sets), map[place][]string{}
	for _, s := range sets {
		learnt, err := l.sets.Learnt(s.Name)
		l.tell(err)
		for _, e := range learnt {
			l.known[place{s.Name, e.Address}] = e.Domains
		}
	}
}

func (l *Learner) open() (err error) {
	if l.socket != nil {
		return nil
	}
	if l.handle, err = kernel.Open(); err != nil {
		return err
	}
	socket, err := openSocket()
	if err != nil {
		l.handle.Close()
		return err
	}
	l.sets, l.socket = ipset.New(l.handle), socket
	go l.receive(socket)
	return nil
}

func (l *Learner) close() {
	if l.socket != nil {
		l.socket.Close()
		l.handle.Close()
	}
	l.socket, l.matcher = nil, nil
}

// receive hears all answers until the socket is closed.
func (l *Learner) receive(socket *os.File) {
	packet := make([]byte, maxPacket)
	for {
		n, err := socket.Read(packet)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(readPause)
			continue
		}
		if a, ok := parseAnswer(payload(packet[:n])); ok && len(a.addresses) > 0 {
			l.hear(a)
		}
	}
}

func (l *Learner) hear(a answer) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.matcher == nil {
		return
	}
	for _, lesson := range l.matcher.lessons(a) {
		l.enter(lesson)
	}
}

// enter enters or renews an address, which others of the set's domains may have too.
func (l *Learner) enter(x lesson) {
	at := place{x.set.Name, x.address}
	domains := slices.DeleteFunc(slices.Clone(l.known[at]), func(d string) bool { return d == x.domain })
	domains = append(domains, x.domain)
	lifetime := min(max(x.ttl, ipset.MinLifetime), ipset.MaxLifetime)
	err := l.sets.Learn(x.set.Name, ipset.Learnt{Address: x.address, Domains: domains, Left: int(lifetime)})
	if err == nil {
		l.known[at] = domains
	}
	if !errors.Is(err, unix.ENOENT) { // else a stop goes on
		l.tell(err)
	}
}

// tell reports what goes wrong, such as a full set; the same only once.
func (l *Learner) tell(err error) {
	if err != nil && err.Error() != l.told {
		l.told = err.Error()
		l.Log("warning", "domains: "+l.told)
	}
}
