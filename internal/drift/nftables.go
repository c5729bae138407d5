package drift

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// nftRules is the sum of the rules behind iptables-nft as of one generation, which
// every transaction of anybody counts up. Some programs (dnsmasq, ban lists) make one
// every few seconds: a new list tells whether it was about ours.
type nftRules struct {
	known      bool
	generation uint32
	sum        uint64
}

// read returns the sum, 0 where the kernel has no nftables.
func (n *nftRules) read(h *kernel.Handle) (uint64, error) {
	generation, err := generation(h)
	if isAbsent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("generation of nftables: %w", err)
	}
	if n.known && n.generation == generation {
		return n.sum, nil
	}
	// What changes between the two questions has yet another generation.
	sum := uint64(0)
	for _, f := range family.All {
		rules, err := mangleRules(h, f)
		if err != nil && !isAbsent(err) {
			return 0, fmt.Errorf("nftables rules: %w", err)
		}
		sum += rules
	}
	*n = nftRules{known: true, generation: generation, sum: sum}
	return sum, nil
}

// isAbsent reports whether an error means that the kernel lacks the table, the
// family or nftables altogether.
func isAbsent(err error) bool {
	return kernel.IsMissing(err) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT)
}

// generation returns the number of the last transaction. The netlink library knows
// no nftables, so both requests are made with nl.
func generation(h *kernel.Handle) (generation uint32, err error) {
	req := h.Netfilter(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, 0, family.IPv4)
	answer, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil || len(answer) == 0 || len(answer[0]) < nl.SizeofNfgenmsg {
		return 0, err
	}
	kernel.EachAttribute(answer[0][nl.SizeofNfgenmsg:], func(kind uint16, value []byte) {
		if kind == unix.NFTA_GEN_ID {
			generation = kernel.BigEndian(value)
		}
	})
	return generation, nil
}

// mangleRules sums up the rules of a family's table "mangle".
func mangleRules(h *kernel.Handle, f family.Family) (total uint64, err error) {
	err = kernel.Dump(func() error {
		total = 0
		req := h.Netfilter(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, f)
		req.AddData(nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated("mangle")))
		return req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(m []byte) bool {
			total += hashRule(m)
			return true
		})
	})
	return total, err
}

// hashRule returns a number for a rule in its place: behind the handle of another.
// Handles alone would not do: a rule in another's place takes over its handle.
func hashRule(m []byte) uint64 {
	if len(m) < nl.SizeofNfgenmsg {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(seed)
	add := func(kind uint16, value []byte) {
		// The length keeps what follows apart.
		h.Write(binary.NativeEndian.AppendUint32(nil, uint32(kind)<<16|uint32(len(value))))
		h.Write(value)
	}
	add(0, m[:1]) // the family
	kernel.EachAttribute(m[nl.SizeofNfgenmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.NFTA_RULE_CHAIN, unix.NFTA_RULE_HANDLE, unix.NFTA_RULE_POSITION, unix.NFTA_RULE_USERDATA:
			add(kind, value)
		case unix.NFTA_RULE_EXPRESSIONS:
			kernel.EachAttribute(value, func(kind uint16, expression []byte) {
				if !isCounting(expression) {
					add(kind, expression)
				}
			})
		}
	})
	return h.Sum64()
}

// isCounting reports whether an expression tells what passed and not what the
// rule does. Of matches from iptables that count, such as statistic, the kernel
// keeps the state to itself.
func isCounting(expression []byte) bool {
	counting := false
	kernel.EachAttribute(expression, func(kind uint16, value []byte) {
		if kind == unix.NFTA_EXPR_NAME {
			name := unix.ByteSliceToString(value)
			counting = name == "counter" || name == "quota"
		}
	})
	return counting
}
