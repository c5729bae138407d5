package domains

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// lookupTimeout is what resolvers themselves wait for theirs, and glibc for them
// (RES_TIMEOUT).
const lookupTimeout = 5 * time.Second

// largestAnswer fits into a packet on every path (DNS Flag Day 2020).
const largestAnswer = 1232

// Lookup asks for the addresses of a name as a host of the LAN does: the resolver
// on this machine, and where none answers, those of /etc/resolv.conf. It returns
// which one has answered. The resolver of package net is not linked otherwise, and
// larger.
func Lookup(name string) (addresses []netip.Addr, resolver netip.Addr, err error) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, resolver, err
	}
	var failed []error
	for _, resolver := range resolvers(string(text)) {
		addresses, err := ask(resolver, name)
		var refused refusal
		if err == nil || errors.As(err, &refused) {
			return addresses, resolver, err
		}
		failed = append(failed, fmt.Errorf("resolver %s: %w", resolver, err))
	}
	return nil, resolver, errors.Join(failed...)
}

// refusal is an answer that says why there is none, which is what hosts get, too.
type refusal dnsmessage.RCode

func (r refusal) Error() string {
	return "the resolver answers " + strings.TrimPrefix(dnsmessage.RCode(r).String(), "RCode")
}

// resolvers are this machine and the servers of a resolv.conf. Those that are
// link-local are left out, since it says their device by name.
func resolvers(text string) []netip.Addr {
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(words[1])
		if err == nil && a.Zone() == "" && a != all[0] {
			all = append(all, a)
		}
	}
	return all
}

// ask asks a resolver for the addresses of both families.
func ask(resolver netip.Addr, name string) ([]netip.Addr, error) {
	domain, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: dnsPort, Addr: resolver.As16()})
	if resolver.Is4() {
		domain, to = unix.AF_INET, &unix.SockaddrInet4{Port: dnsPort, Addr: resolver.As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), resolver.String())
	defer f.Close()
	if err := errors.Join(unix.Connect(fd, to), f.SetDeadline(time.Now().Add(lookupTimeout))); err != nil {
		return nil, err
	}
	var addresses []netip.Addr
	for id, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		query, err := question(uint16(id), name, kind)
		if err == nil {
			_, err = f.Write(query)
		}
		if err != nil {
			return nil, err
		}
		a, err := answerTo(f, uint16(id))
		if err != nil {
			return nil, err
		}
		for _, r := range a.addresses {
			addresses = append(addresses, r.address)
		}
	}
	return addresses, nil
}

func question(id uint16, name string, kind dnsmessage.Type) ([]byte, error) {
	asked, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	var options dnsmessage.ResourceHeader
	err = errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{Name: asked, Type: kind, Class: dnsmessage.ClassINET}),
		b.StartAdditionals(), options.SetEDNS0(largestAnswer, dnsmessage.RCodeSuccess, false),
		b.OPTResource(options, dnsmessage.OPTResource{}))
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// answerTo waits for the answer to a question. A name that does not exist has no
// addresses.
func answerTo(f *os.File, id uint16) (answer, error) {
	message := make([]byte, largestAnswer)
	for {
		n, err := f.Read(message)
		if err != nil {
			return answer{}, err
		}
		var p dnsmessage.Parser
		header, err := p.Start(message[:n])
		if err != nil || header.ID != id || !header.Response {
			continue
		}
		a, ok := parseAnswer(message[:n])
		if !ok && header.RCode != dnsmessage.RCodeNameError {
			return a, refusal(header.RCode)
		}
		return a, nil
	}
}
