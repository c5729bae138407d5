package cli

import (
	"loadbalance/internal/apply"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/dnsmasq"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/reset"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/rundir"
)

// system is the engine with the sockets to the kernel that it uses.
type system struct {
	*apply.Engine
	routing     *routing.Netlink
	sets        *ipset.Netlink
	connections *conntrack.Netlink
}

// openSystem opens the kernel of the calling thread's network namespace.
func (in *invocation) openSystem() (*system, error) {
	s := &system{}
	var err error
	if s.routing, err = routing.Open(); err != nil {
		return nil, err
	}
	if s.sets, err = ipset.Open(); err != nil {
		s.Close()
		return nil, err
	}
	if s.connections, err = conntrack.Open(); err != nil {
		s.Close()
		return nil, err
	}
	s.Engine = &apply.Engine{
		Mangle:      iptables.Tool{Backend: iptables.Backend(in.iptables)},
		Other:       otherBackend,
		NFTables:    iptables.NFTables{},
		Routing:     s.routing,
		Sets:        s.sets,
		Sysctls:     sysctl.Proc{},
		Connections: s.connections,
		Resets:      reset.Sender{},
		Run:         rundir.Dir(in.runDir),
		NamesDir:    in.rtTables,
		DNS:         in.dnsServer(),
		Notice:      in.log.Notice,
	}
	return s, nil
}

// dnsServer is the dnsmasq that fills sets.
func (in *invocation) dnsServer() dnsmasq.Server {
	if in.dnsmasqDir != "" {
		return dnsmasq.Folder{Path: in.dnsmasqDir, Notice: in.log.Notice}
	}
	return dnsmasq.OpenWrt{}
}

func otherBackend(legacy bool) apply.Mangle {
	if legacy {
		return iptables.Tool{Backend: iptables.NFT}
	}
	return iptables.Tool{Backend: iptables.Legacy}
}

// Close closes what was opened.
func (s *system) Close() {
	if s.routing != nil {
		s.routing.Close()
	}
	if s.sets != nil {
		s.sets.Close()
	}
	if s.connections != nil {
		s.connections.Close()
	}
}
