package netlab

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// PortalPort is where a Portal listens.
const PortalPort = 8082

// Portal is a captive portal in the World, and what is behind it. Until it has
// seen the right form from an uplink's own address, everything that is asked over
// that uplink leads to the login page.
type Portal struct {
	Username, Password string
	Lifetime           time.Duration // of a login

	lab    *Lab
	mu     sync.Mutex
	leases []lease // of uplink i at i-1
	visits []Visit
	wrong  []string
}

type lease struct {
	token  int       // in the address of the login page
	until  time.Time // logged in; zero: never was
	delays []time.Duration
}

// Visit is a connection from the LAN that came over an uplink.
type Visit struct {
	Uplink   int
	Begun    time.Time // as the client says
	LoggedIn bool
}

// StartPortal starts a portal that answers at Server(1).
func (l *Lab) StartPortal(username, password string, lifetime time.Duration) (*Portal, error) {
	p := &Portal{Username: username, Password: password, Lifetime: lifetime, lab: l, leases: make([]lease, l.Uplinks())}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /generate_204", p.probed)
	mux.HandleFunc("GET /visit/{begun}", p.visited)
	mux.HandleFunc("POST /login", p.login)
	var listener net.Listener
	err := l.World.Do(func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", Server(1), PortalPort))
		return err
	})
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: mux}
	l.closers = append(l.closers, func() { server.Close() })
	go server.Serve(listener)
	return p, nil
}

// URL returns the address of a page.
func (p *Portal) URL(page string) string {
	return fmt.Sprintf("http://%s:%d/%s", Server(1), PortalPort, page)
}

// from returns the uplink over which a request came, and its lease. The caller
// holds the lock.
func (p *Portal) from(r *http.Request) (uplink int, of *lease) {
	uplink = p.lab.UplinkOf(netip.MustParseAddrPort(r.RemoteAddr).Addr())
	if uplink == 0 {
		p.wrong = append(p.wrong, "a request from "+r.RemoteAddr)
		return 0, &lease{}
	}
	return uplink, &p.leases[uplink-1]
}

// query is what stands behind the address of an uplink's login page.
func query(uplink int, of *lease) string { return fmt.Sprintf("lease=%d&token=%d", uplink, of.token) }

// admit reports whether an uplink is logged in, and otherwise redirects.
func (p *Portal) admit(w http.ResponseWriter, uplink int, of *lease) bool {
	if time.Now().Before(of.until) {
		return true
	}
	w.Header().Set("Location", p.URL("login?"+query(uplink, of)))
	w.WriteHeader(http.StatusFound)
	return false
}

func (p *Portal) probed(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uplink, of := p.from(r); p.admit(w, uplink, of) {
		w.WriteHeader(http.StatusNoContent)
	}
}

func (p *Portal) visited(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	uplink, of := p.from(r)
	begun, err := strconv.ParseInt(r.PathValue("begun"), 10, 64)
	if err != nil {
		p.wrong = append(p.wrong, err.Error())
	}
	p.visits = append(p.visits, Visit{Uplink: uplink, Begun: time.Unix(0, begun), LoggedIn: p.admit(w, uplink, of)})
}

// login takes a form. A login that is not needed is as good as one that is.
func (p *Portal) login(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	uplink, of := p.from(r)
	want := url.Values{"username": {p.Username}, "password": {p.Password},
		"ip": {p.lab.Uplink(max(uplink, 1)).Public.String()}, "query": {query(uplink, of)}}
	if err := r.ParseForm(); err != nil || r.PostForm.Encode() != want.Encode() {
		p.wrong = append(p.wrong, fmt.Sprintf("uplink %d sends the form %s, want %s", uplink, r.PostForm.Encode(), want.Encode()))
		w.WriteHeader(http.StatusForbidden)
		return
	}
	now, lifetime := time.Now(), p.Lifetime
	if of.until.IsZero() {
		// From here on the uplinks are logged out one after the other.
		lifetime = p.Lifetime * time.Duration(uplink) / time.Duration(len(p.leases))
	} else {
		of.delays = append(of.delays, max(now.Sub(of.until), 0))
	}
	of.until = now.Add(lifetime)
	of.token++
}

// Delays returns how long each uplink was logged out before each login but the
// first, and before now if it is.
func (p *Portal) Delays() [][]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all [][]time.Duration
	for _, of := range p.leases {
		delays := append([]time.Duration{}, of.delays...)
		if out := time.Since(of.until); out > 0 {
			delays = append(delays, out)
		}
		all = append(all, delays)
	}
	return all
}

// Visits returns all connections from the LAN, and what else came that should not
// have.
func (p *Portal) Visits() (visits []Visit, wrong []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.visits, p.wrong
}
