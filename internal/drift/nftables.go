package drift

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// nftRules is the sum of the rules behind iptables-nft as of one generation.
// Every transaction of anybody counts the generation up, and some programs
// (dnsmasq, ban lists) make one every few seconds, so the rules are listed
// again to see whether it was about ours.
type nftRules struct {
	known      bool
	generation uint32
	sum        uint64
}

func (w *Watcher) nftables() (uint64, error) {
	generation, err := w.generation()
	if isNoSubsystem(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("generation of nftables: %w", err)
	}
	if w.listed.known && w.listed.generation == generation {
		return w.listed.sum, nil
	}
	// What changes between the two questions has yet another generation.
	sum := uint64(0)
	for _, f := range family.All {
		rules, err := w.mangleRules(f)
		if err != nil {
			return 0, fmt.Errorf("nftables rules (%s): %w", f, err)
		}
		sum += rules
	}
	w.listed = nftRules{known: true, generation: generation, sum: sum}
	return sum, nil
}

// generation returns the number of the last transaction.
func (w *Watcher) generation() (uint32, error) {
	generation := uint32(0)
	err := w.filter.exchange(askGeneration, 0, netfilterRequest(unix.AF_UNSPEC), func(m message) error {
		return eachNetfilterAttribute(m.body, func(kind uint16, value []byte) {
			if kind == unix.NFTA_GEN_ID {
				generation = number32(value)
			}
		})
	})
	return generation, err
}

// mangleRules sums up the rules of the family's table "mangle".
func (w *Watcher) mangleRules(f family.Family) (uint64, error) {
	request := netfilterRequest(unix.NFPROTO_IPV4)
	if f == family.IPv6 {
		request = netfilterRequest(unix.NFPROTO_IPV6)
	}
	request = appendAttribute(request, unix.NFTA_RULE_TABLE, []byte("mangle\x00"))
	return w.filter.sum(askRules, request, readNFTRule)
}

// readNFTRule reads a struct nfgenmsg and a rule's attributes. Its position is
// the handle of the rule before it. Handles alone would not do: a rule that is
// put in another's place takes over its handle.
func readNFTRule(body []byte) (d digest, wanted bool, err error) {
	var nested error
	d = newDigest(ofChains)
	err = eachNetfilterAttribute(body, func(kind uint16, value []byte) {
		switch kind {
		case unix.NFTA_RULE_CHAIN, unix.NFTA_RULE_HANDLE, unix.NFTA_RULE_POSITION, unix.NFTA_RULE_USERDATA:
			d = d.field(kind, value)
		case unix.NFTA_RULE_EXPRESSIONS:
			nested = eachAttribute(value, func(kind uint16, expression []byte) {
				if !isCounting(expression) {
					d = d.field(kind, expression)
				}
			})
		}
	})
	if err = errors.Join(err, nested); err != nil {
		return d, false, err
	}
	return d.bytes(body[:1]), true, nil // the family
}

// isCounting says whether an expression tells what passed and not what the
// rule does. Of matches from iptables that count, such as statistic, the kernel
// keeps the state to itself.
func isCounting(expression []byte) bool {
	counting := false
	// What is unreadable here is not left out, so it still counts.
	_ = eachAttribute(expression, func(kind uint16, value []byte) {
		if kind == unix.NFTA_EXPR_NAME {
			switch string(bytes.TrimRight(value, "\x00")) {
			case "counter", "quota":
				counting = true
			}
		}
	})
	return counting
}
