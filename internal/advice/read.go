package advice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/family"
	"loadbalance/internal/uci"
)

// ReadFiles reads the configuration of other programs in a folder such as
// /etc/config, and the boot links in the folder rc.d beside it. What cannot be
// read is left out and named in the error; a file that does not exist is no
// error.
func ReadFiles(configDir string) (Files, error) {
	var files Files
	var err, linkErr error
	read := func(name string) *uci.File {
		file, readErr := uci.Load(configDir, name)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = errors.Join(err, readErr)
		}
		return file
	}
	files.Firewall = read("firewall")
	files.Network = read("network")
	files.MWAN3Link, linkErr = bootLink(filepath.Join(filepath.Dir(filepath.Clean(configDir)), "rc.d"), "mwan3")
	return files, errors.Join(err, linkErr)
}

// bootLink returns the link that starts a program at boot, "" for none.
func bootLink(dir, program string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, entry := range entries {
		name := entry.Name()
		if isBootLink(name, program) {
			return filepath.Join(dir, name), nil
		}
	}
	return "", nil
}

// isBootLink reports whether a name is S, two digits and the program.
func isBootLink(name, program string) bool {
	rank, found := strings.CutSuffix(name, program)
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	return found && len(rank) == 3 && rank[0] == 'S' && isDigit(rank[1]) && isDigit(rank[2])
}

// ReadTCPLoose returns net.netfilter.nf_conntrack_tcp_loose; "" if conntrack is
// not loaded.
func ReadTCPLoose() (string, error) {
	value, err := sysctl.Proc{}.Read("net/netfilter/nf_conntrack_tcp_loose")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return value, err
}

// The kernel interrupts a dump when the table changes under it. Five is what
// the CNI plug-ins use, too.
const dumpAttempts = 5

// ReadRules reads the ip rules that are not ours, in the network namespace of
// the calling thread.
func ReadRules() ([]Rule, error) {
	var rules []Rule
	for _, f := range family.All {
		found, err := readRules(f)
		if err != nil {
			return nil, fmt.Errorf("ip rules (%s): %w", f, err)
		}
		rules = append(rules, found...)
	}
	return rules, nil
}

func readRules(f family.Family) ([]Rule, error) {
	var rules []Rule
	err := dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, f, func() { rules = nil }, func(header *nl.RtMsg, attrs []syscall.NetlinkRouteAttr) {
		r := Rule{Family: f, Table: int(header.Table)}
		protocol := uint8(0)
		for _, a := range attrs {
			switch a.Attr.Type {
			case nl.FRA_PRIORITY:
				r.Priority = int(number(a.Value))
			case nl.FRA_TABLE:
				r.Table = int(number(a.Value))
			case nl.FRA_FWMARK:
				r.Mark = number(a.Value)
			case nl.FRA_FWMASK:
				r.Mask = number(a.Value)
			case nl.FRA_PROTOCOL:
				protocol = a.Value[0]
			}
		}
		if protocol != routing.Protocol {
			rules = append(rules, r)
		}
	})
	return rules, err
}

// ReadRoutes reads the routes that are not ours in all tables but the kernel's
// own, in the network namespace of the calling thread.
func ReadRoutes() ([]Route, error) {
	var routes []Route
	for _, f := range family.All {
		found, err := readRoutes(f)
		if err != nil {
			return nil, fmt.Errorf("routes (%s): %w", f, err)
		}
		routes = append(routes, found...)
	}
	return routes, nil
}

func readRoutes(f family.Family) ([]Route, error) {
	var routes []Route
	err := dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, f, func() { routes = nil }, func(header *nl.RtMsg, attrs []syscall.NetlinkRouteAttr) {
		table := int(header.Table)
		for _, a := range attrs {
			if a.Attr.Type == unix.RTA_TABLE {
				table = int(number(a.Value))
			}
		}
		kernels := table >= unix.RT_TABLE_DEFAULT && table <= unix.RT_TABLE_LOCAL
		if header.Protocol != routing.Protocol && !kernels && header.Flags&unix.RTM_F_CLONED == 0 {
			routes = append(routes, Route{Family: f, Table: table})
		}
	})
	return routes, err
}

// dump asks for all objects of a family and calls each for every message of
// type answer; reset is called before each attempt.
func dump(ask, answer int, f family.Family, reset func(), each func(*nl.RtMsg, []syscall.NetlinkRouteAttr)) error {
	var err error
	for range dumpAttempts {
		reset()
		req := nl.NewNetlinkRequest(ask, unix.NLM_F_DUMP)
		req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: kernelFamily(f)}})
		var parseErr error
		err = req.ExecuteIter(unix.NETLINK_ROUTE, uint16(answer), func(m []byte) bool {
			// A kernel without the family answers with all others.
			if len(m) < unix.SizeofRtMsg || m[0] != kernelFamily(f) {
				return true
			}
			var attrs []syscall.NetlinkRouteAttr
			if attrs, parseErr = nl.ParseRouteAttr(m[unix.SizeofRtMsg:]); parseErr == nil {
				each(nl.DeserializeRtMsg(m), attrs)
			}
			return parseErr == nil
		})
		if parseErr != nil {
			return fmt.Errorf("unreadable answer of the kernel: %w", parseErr)
		}
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the kernel has no such family
	}
	return err
}

func kernelFamily(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func number(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
