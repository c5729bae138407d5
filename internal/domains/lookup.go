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

// lookupTimeout is what glibc waits for a resolver (RES_TIMEOUT).
const lookupTimeout = 5 * time.Second

// largestAnswer fits into a packet on every path (DNS Flag Day 2020).
const largestAnswer = 1232

// Lookup asks for the addresses of a name as a host of the LAN does: this machine,
// else the resolvers of /etc/resolv.conf. That of package net would add 100 KB.
func Lookup(name string) ([]netip.Addr, error) {
	text, _ := os.ReadFile("/etc/resolv.conf") // without it, only this machine is asked
	var failed error
	for _, resolver := range resolvers(string(text)) {
		addresses, err := ask(resolver, name)
		if err == nil {
			return addresses, nil
		}
		failed = errors.Join(failed, fmt.Errorf("resolver %s: %w", resolver, err))
	}
	return nil, failed
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
		if a, err := netip.ParseAddr(words[1]); err == nil && a.Zone() == "" && a != all[0] {
			all = append(all, a)
		}
	}
	return all
}

// ask asks for the addresses of both families. A name that does not exist has none.
func ask(resolver netip.Addr, name string) (addresses []netip.Addr, err error) {
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
	err = errors.Join(unix.Connect(fd, to), f.SetDeadline(time.Now().Add(lookupTimeout)))
	message := make([]byte, largestAnswer)
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		n := 0
		if err == nil {
			_, err = f.Write(question(name, kind))
		}
		if err == nil {
			n, err = f.Read(message)
		}
		if err != nil {
			return nil, err
		}
		a, ok := parseAnswer(message[:n])
		if code := dnsmessage.RCode(message[3] & 0xf); !ok && code != dnsmessage.RCodeNameError {
			return nil, errors.New("it answers " + strings.TrimPrefix(code.String(), "RCode"))
		}
		for _, r := range a.addresses {
			addresses = append(addresses, r.address)
		}
	}
	return addresses, nil
}

// question is the question for an address of a name that is valid.
func question(name string, kind dnsmessage.Type) []byte {
	var options dnsmessage.ResourceHeader
	_ = options.SetEDNS0(largestAnswer, dnsmessage.RCodeSuccess, false) // such a size is valid
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: kind, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: options, Body: &dnsmessage.OPTResource{}}},
	}
	packed, _ := m.Pack() // nor can this fail
	return packed
}
