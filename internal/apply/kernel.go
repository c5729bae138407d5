package apply

import (
	"errors"
	"sync"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// Kernel is what the kernel holds of ours.
type Kernel struct {
	// Tables are the mangle tables; a family whose programs are missing, or
	// that the kernel does not have, has none.
	Tables map[family.Family]*iptables.Table
	// Unread says why a table could not be read: its family is left as it is.
	Unread  map[family.Family]error
	Routing map[family.Family]routing.State
	Sets    []ipset.Set
	sysctls func(path string) (value string, err error)
	// nftTables says which families have a mangle table of nftables. It is known
	// only where our first transaction would make one.
	nftTables map[family.Family]bool
}

// Read reads what the kernel holds of ours.
func (e *Engine) Read() (*Kernel, error) {
	k := &Kernel{
		Tables:    map[family.Family]*iptables.Table{},
		Unread:    map[family.Family]error{},
		Routing:   map[family.Family]routing.State{},
		nftTables: map[family.Family]bool{},
		sysctls:   e.Sysctls.Read,
	}
	// Each save is a process of its own, and most of what reading takes.
	var saves sync.WaitGroup
	var tables [len(family.All)]*iptables.Table
	var failed [len(family.All)]error
	for i, f := range family.All {
		if f == family.IPv4 || kernel.HasIPv6() {
			saves.Add(1)
			go func() {
				defer saves.Done()
				tables[i], failed[i] = e.Mangle.Read(f)
			}()
		}
	}
	err := e.readRest(k)
	saves.Wait()
	for i, f := range family.All {
		switch missing := errors.Is(failed[i], iptables.ErrMissing); {
		case tables[i] != nil:
			k.Tables[f] = tables[i]
		case missing && f == family.IPv4:
			err = errors.Join(err, failed[i])
		case failed[i] != nil && !missing:
			k.Unread[f] = failed[i]
		}
	}
	if err == nil && len(k.Tables) == 0 {
		err = errors.Join(k.Unread[family.IPv4], k.Unread[family.IPv6])
	}
	if err != nil {
		return nil, err
	}
	return k, e.findNFTables(k)
}

// readRest reads all but the mangle tables.
func (e *Engine) readRest(k *Kernel) (err error) {
	for _, f := range family.All {
		if f == family.IPv6 && !kernel.HasIPv6() {
			continue
		}
		if k.Routing[f], err = e.Routing.Read(f); err != nil {
			return err
		}
	}
	k.Sets, err = e.Sets.Read()
	if err != nil && !errors.Is(err, ipset.ErrUnavailable) {
		return err
	}
	return nil
}

// findNFTables asks for the tables that our first transaction would make: those
// are removed by a stop.
func (e *Engine) findNFTables(k *Kernel) error {
	for f, table := range k.Tables {
		if table.Legacy || len(table.Chains) > 0 {
			continue
		}
		exists, err := e.NFTables.Exists(f)
		if err != nil {
			return err
		}
		k.nftTables[f] = exists
	}
	return nil
}

// Ours reports whether the kernel holds anything of ours: we ran before.
func (k *Kernel) Ours() bool {
	for _, f := range family.All {
		if t := k.Tables[f]; t != nil && len(t.Chains)+len(t.Jumps) > 0 {
			return true
		}
		if r := k.Routing[f]; len(r.Rules)+len(r.Routes) > 0 {
			return true
		}
	}
	return len(k.Sets) > 0
}

// Legacy reports whether the back end iptables-legacy holds our chains.
func (k *Kernel) Legacy() bool {
	table := k.Tables[family.IPv4]
	return table != nil && table.Legacy
}

// ForPlan is what a plan depends on of all this.
func (k *Kernel) ForPlan() plan.Kernel {
	facts := plan.Kernel{Ours: k.Ours(), NoIP6Tables: k.Tables[family.IPv6] == nil && k.Unread[family.IPv6] == nil,
		Rules: map[family.Family][]uplink.Rule{}, Routes: map[family.Family][]plan.Route{}}
	for _, f := range family.All {
		for _, r := range k.Routing[f].Rules {
			facts.Rules[f] = append(facts.Rules[f], r.Rule)
		}
		for _, r := range k.Routing[f].Routes {
			facts.Routes[f] = append(facts.Routes[f], r.Route)
		}
		if table := k.Tables[f]; table != nil {
			for name, chain := range table.Chains {
				facts.MemberChains = append(facts.MemberChains, plan.MemberChainMark{Chain: name, Mark: chain.Mark, Mask: chain.Mask})
			}
		}
	}
	return facts
}

// EmptyKernel is a kernel that holds nothing of ours and in which everything is
// possible. What is compared with it can only be printed or rehearsed.
func EmptyKernel() *Kernel {
	unset := func(string) (string, error) { return "", nil }
	k := &Kernel{Tables: map[family.Family]*iptables.Table{}, sysctls: unset}
	for _, f := range family.All {
		k.Tables[f] = &iptables.Table{}
	}
	return k
}
