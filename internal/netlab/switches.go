package netlab

import (
	"errors"
	"fmt"
	"strconv"
)

// CutCable takes the carrier of uplink i away from the router. The router's
// device stays up, and its addresses and routes stay, as they do in the kernel;
// IfDown is what netifd then does.
func (l *Lab) CutCable(i int) error {
	if err := l.cut(i); err != nil {
		return err
	}
	return l.Router.awaitLinks()
}

func (l *Lab) cut(i int) error {
	u := l.Uplink(i)
	switch l.options.Topology {
	case P2P:
		return l.tuns[i-1].setCarrier(false)
	case Campus:
		// All leases share one cable; this takes the carrier from one device.
		return l.Router.ip("link set " + u.Device + " protodown on\n")
	}
	// accessConfig brings back the IPv6 addresses that this removes.
	return l.Access(i).ip("link set " + u.Device + " down\n")
}

// RestoreCable takes CutCable back.
func (l *Lab) RestoreCable(i int) error {
	if err := l.uncut(i); err != nil {
		return err
	}
	return l.Router.awaitLinks()
}

func (l *Lab) uncut(i int) error {
	u := l.Uplink(i)
	switch l.options.Topology {
	case P2P:
		return l.tuns[i-1].setCarrier(true)
	case Campus:
		return l.Router.ip("link set " + u.Device + " protodown off\n")
	}
	if err := l.Access(i).ip(l.accessConfig(u)); err != nil {
		return err
	}
	return l.awaitAddresses(l.Access(i))
}

// IfDown does what netifd does in ifdown: it removes the addresses and routes of
// uplink i and takes its device down.
func (l *Lab) IfDown(i int) error {
	device := l.UplinkDevice(i)
	return l.Router.ip(fmt.Sprintf("addr flush dev %s\nlink set %s down\n", device, device))
}

// IfUp takes IfDown back.
func (l *Lab) IfUp(i int) error {
	if err := l.Router.ip(l.uplinkConfig(l.Uplink(i))); err != nil {
		return err
	}
	if err := l.Router.awaitLinks(); err != nil {
		return err
	}
	return l.awaitAddresses(l.Router)
}

// Blackhole lets all packets of line i vanish in both directions. The link stays
// up and the gateway (or modem) goes on answering for itself.
func (l *Lab) Blackhole(i int) error { return l.lineFault(i) }

// LoseUplink drops the given percentage of packets, 0 < percent <= 100, in each
// direction of line i, at random.
func (l *Lab) LoseUplink(i int, percent float64) error {
	if percent <= 0 || percent > 100 {
		return fmt.Errorf("uplink %d: loss of %v %%: want more than 0, at most 100", i, percent)
	}
	return l.lineFault(i, "-m", "statistic", "--mode", "random", "--probability", strconv.FormatFloat(percent/100, 'f', -1, 64))
}

// lineFault drops what arrives over line i, at both ends, where it matches.
func (l *Lab) lineFault(i int, match ...string) error {
	rule := append([]string{"PREROUTING", "-i", lineDevice(i)}, match...)
	rule = append(rule, "-j", "DROP")
	for _, ns := range []*Namespace{l.World, l.Access(i)} {
		undo, err := l.rawRule(ns, rule)
		l.mu.Lock()
		l.undo[i] = append(l.undo[i], undo)
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// rawRule inserts a rule into table raw of each family in use. undo deletes what
// was inserted, also after an error.
func (l *Lab) rawRule(ns *Namespace, rule []string) (undo func() error, err error) {
	var inserted []string
	for _, program := range l.iptables() {
		if _, err = ns.Run(program, append([]string{"-t", "raw", "-I"}, rule...)...); err != nil {
			break
		}
		inserted = append(inserted, program)
	}
	return func() error {
		var errs []error
		for _, program := range inserted {
			_, err := ns.Run(program, append([]string{"-t", "raw", "-D"}, rule...)...)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}, err
}

// iptables names the programs that the laboratory uses outside the router.
func (l *Lab) iptables() []string {
	if l.options.IPv6 {
		return []string{"iptables-nft", "ip6tables-nft"}
	}
	return []string{"iptables-nft"}
}

// Restore takes Blackhole and LoseUplink back.
func (l *Lab) Restore(i int) error {
	l.mu.Lock()
	undo := l.undo[i]
	delete(l.undo, i)
	l.mu.Unlock()
	var errs []error
	for _, f := range undo {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// DropFirstSYN, while on, drops the first SYN of every TCP connection at the
// World, after the router has sent it: the router's connection exists already
// when the retransmission comes, one second later. Watch sees the dropped SYN. A
// connection counts as new again a minute after its last SYN.
func (l *Lab) DropFirstSYN(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.undoSYN != nil {
		err := l.undoSYN()
		l.undoSYN = nil
		if err != nil {
			return err
		}
	}
	if !on {
		return nil
	}
	var err error
	l.undoSYN, err = l.rawRule(l.World, []string{"PREROUTING", "-p", "tcp", "--syn",
		// One token per connection, refilled after an hour: only the first
		// SYN is within the limit.
		"-m", "hashlimit", "--hashlimit-name", "first-syn", "--hashlimit-mode", "srcip,srcport,dstip,dstport",
		"--hashlimit-upto", "1/hour", "--hashlimit-burst", "1",
		"--hashlimit-htable-max", "65536", "--hashlimit-htable-expire", "60000",
		"-j", "DROP"})
	return err
}

// DelVPNRoute removes the route to VPNPrefix (and VPNPrefix6) from the router's
// main table. The servers in the World then answer for these addresses.
func (l *Lab) DelVPNRoute() error { return l.vpnRoutes("del") }

// AddVPNRoute takes DelVPNRoute back. A new laboratory has the route.
func (l *Lab) AddVPNRoute() error { return l.vpnRoutes("add") }

func (l *Lab) vpnRoutes(verb string) error {
	lines := vpnRoute(verb) + "\n"
	if l.options.IPv6 {
		lines += vpnRoute6(verb) + "\n"
	}
	return l.Router.ip(lines)
}
