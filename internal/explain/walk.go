package explain

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// walker follows a packet through the plan of one family.
type walker struct {
	Input
	family family.Family
	plan   *plan.Family
	main   *uplink.Main
	mask   fwmark.Mask
	notes  []string
}

// path is a packet on its way through the chains.
type path struct {
	Outcome               // as far as it is known
	packet     Packet     // with what was assumed on the way
	translated netip.Addr // destination after address translation
	// assumed has the conditions that the description leaves open, by their text.
	assumed map[string]bool
	// refuted are groups of such conditions of which at least one is false.
	refuted [][]string
}

func (p *path) step(chain, text string) {
	p.Steps = append(slices.Clip(p.Steps), Step{Text: text, Chain: chain})
}

// destination returns the packet's destination at the routing decision.
func (p *path) destination() netip.Addr {
	if p.translated.IsValid() {
		return p.translated
	}
	return p.packet.Destination
}

func (w *walker) start(packet Packet) path {
	p := path{Outcome: Outcome{Mark: packet.Mark, Share: 1}, packet: packet, assumed: map[string]bool{}}
	if w.Connection == nil {
		p.step("", w.firstPacket(packet))
		return p
	}
	p.ConnectionMark = w.Connection.Mark
	p.translated = w.Connection.Destination
	p.Draw = ByConnection
	p.step("", w.knownConnection())
	return p
}

// originalSource returns the source of the connection's first packet.
func (w *walker) originalSource(p *path) netip.Addr {
	if w.Connection != nil && w.Connection.Source.IsValid() {
		return w.Connection.Source
	}
	return p.packet.Source
}

// mangle follows a packet through the mangle table and returns all its ways.
func (w *walker) mangle(p path) []path {
	hook := "PREROUTING"
	if p.packet.Own {
		hook = "OUTPUT"
	}
	builtin := plan.Chain{Name: hook}
	for _, jump := range w.plan.Jumps {
		if jump.Chain == hook {
			builtin.Rules = append(builtin.Rules, jump.Rule)
		}
	}
	return w.follow(p, builtin, 0)
}

// follow follows a packet from a chain's i-th rule on and returns all ways in which it leaves.
func (w *walker) follow(p path, chain plan.Chain, i int) []path {
	for ; i < len(chain.Rules); i++ {
		hit, miss := w.test(p, chain.Rules[i])
		if hit == nil {
			p = *miss
			continue
		}
		ways := w.act(*hit, chain, i)
		if miss != nil {
			ways = append(ways, w.follow(*miss, chain, i+1)...)
		}
		return ways
	}
	return w.deal(p, chain)
}

// test splits a way at a rule: hit if the rule matches, miss if not; nil if that cannot be.
func (w *walker) test(p path, rule plan.Rule) (hit, miss *path) {
	var open []plan.Match
	for _, m := range rule.Matches {
		switch w.judge(&p, m) {
		case no:
			return nil, &p
		case unknown:
			open = append(open, m)
		}
	}
	if p.refutes(open) {
		return nil, &p
	}
	if len(open) == 0 {
		return &p, nil
	}
	taken, left := p.assume(open), p.refute(open)
	return &taken, &left
}

// judge evaluates a condition, with what was assumed on the way.
func (w *walker) judge(p *path, m plan.Match) truth {
	t := w.holds(p, m)
	if assumed, decided := p.assumed[m.Args()]; t == unknown && decided {
		return is(assumed)
	}
	return t
}

// refutes reports whether the conditions are known not to hold all together.
func (p *path) refutes(open []plan.Match) bool {
	return slices.ContainsFunc(p.refuted, func(group []string) bool {
		return !slices.ContainsFunc(group, func(args string) bool {
			return !slices.ContainsFunc(open, func(m plan.Match) bool { return m.Args() == args })
		})
	})
}

// assume returns the way on which the conditions hold.
func (p path) assume(open []plan.Match) path {
	p.assumed = maps.Clone(p.assumed)
	for _, m := range open {
		p.assumed[m.Args()] = true
		switch m := m.(type) {
		case plan.InDevice:
			p.packet.InDevice = string(m)
		case plan.SourceMAC:
			p.packet.SourceMAC = string(m)
		case plan.Protocol:
			p.packet.Protocol = int(m)
		case plan.DSCP:
			p.packet.DSCP = int(m)
		case plan.MarkIs:
			p.Mark = p.Mark&^m.Mask | m.Value
		}
	}
	p.Conditions = append(slices.Clip(p.Conditions), conditionText(open))
	return p
}

// refute returns the way on which at least one of the conditions is false.
func (p path) refute(open []plan.Match) path {
	if len(open) == 1 {
		p.assumed = maps.Clone(p.assumed)
		p.assumed[open[0].Args()] = false
	} else {
		var group []string
		for _, m := range open {
			group = append(group, m.Args())
		}
		p.refuted = append(slices.Clip(p.refuted), group)
	}
	p.Conditions = append(slices.Clip(p.Conditions), "not: "+conditionText(open))
	return p
}

// act carries out the target of a chain's i-th rule and follows the packet from there.
func (w *walker) act(p path, chain plan.Chain, i int) []path {
	rule := chain.Rules[i]
	switch t := rule.Target.(type) {
	case plan.Goto:
		w.addJump(&p, chain, rule, string(t))
		return w.follow(p, w.chain(string(t)), 0)
	case plan.JumpTo:
		var ways []path
		for _, back := range w.follow(p, w.chain(string(t)), 0) {
			ways = append(ways, w.follow(back, chain, i+1)...)
		}
		return ways
	case plan.Return:
		w.addJump(&p, chain, rule, "")
		return []path{p}
	case plan.SetMark:
		p.Mark = p.Mark&^t.Mask ^ t.Value
		w.addMark(&p, chain, t)
	case plan.SaveMark:
		if w.tracked(p.packet) {
			p.ConnectionMark = p.ConnectionMark&^uint32(t) ^ p.Mark&uint32(t)
		}
	case plan.RestoreMark:
		if w.tracked(p.packet) {
			p.Mark = p.Mark&^uint32(t) ^ p.ConnectionMark&uint32(t)
		}
	case plan.AddSource:
		p.step(chain.Name, fmt.Sprintf("%s is added to set %s for %d s: its next connections use the same member",
			stuck(&p, t.Pair), t.Set, t.Seconds))
	case plan.Log:
		p.step(chain.Name, "is logged by the kernel, as \""+string(t)+"…\"")
	}
	return w.follow(p, chain, i+1)
}

// deal carries out the end of a chain: its draw, if it has one.
func (w *walker) deal(p path, chain plan.Chain) []path {
	draw, weights, total := ByTurn, map[string]int{}, len(chain.Cascade)
	for _, target := range chain.Cascade {
		weights[target]++
	}
	for _, lot := range chain.Lots {
		draw = ByChance
		weights[lot.Target] += lot.Weight
		total += lot.Weight
	}
	if len(weights) == 0 {
		return []path{p}
	}
	if len(weights) == 1 {
		draw = ByOnlyOneAlive
	}
	var ways []path
	for _, target := range slices.Sorted(maps.Keys(weights)) {
		way, share := p, float64(weights[target])/float64(total)
		way.Share *= share
		way.Draw = draw
		w.addDeal(&way, chain, target, share)
		ways = append(ways, w.follow(way, w.chain(target), 0)...)
	}
	return ways
}

// chain returns the chain with a name. The plan has every chain that it names.
func (w *walker) chain(name string) plan.Chain {
	i := slices.IndexFunc(w.plan.Chains, func(c plan.Chain) bool { return c.Name == name })
	if i < 0 {
		return plan.Chain{Name: name}
	}
	return w.plan.Chains[i]
}
