package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// The chains of the plan that are the same in every configuration.
const (
	outChain      = plan.ChainPrefix + "out"
	hookChain     = plan.ChainPrefix + "hook"
	hookOutChain  = plan.ChainPrefix + "hook_out"
	rulesChain    = plan.ChainPrefix + "rules"
	rulesOutChain = plan.ChainPrefix + "rules_out"
	socketsChain  = plan.ChainPrefix + "sockets"
)

func (w *walker) firstPacket(p Packet) string {
	switch {
	case !w.tracked(p):
		return "the packet belongs to no known connection and cannot begin one"
	case p.Mark&uint32(w.mask) != 0:
		return fmt.Sprintf("the packet already has the mark %#x", p.Mark)
	}
	return "the first packet of a connection has no mark yet"
}

func (w *walker) knownConnection() string {
	text, mark := "the packet belongs to a known connection", " without a mark of ours"
	if w.Connection.Reply {
		text += " (as a reply)"
	}
	if member := w.memberOfMark(w.Connection.Mark); member != "" {
		mark = " with the mark of '" + member + "'"
	}
	return text + mark
}

// addJump adds the step that a rule sends the packet to a chain, or, with "", returns.
func (w *walker) addJump(p *path, chain plan.Chain, rule plan.Rule, target string) {
	var text string
	switch {
	case slices.Contains([]string{hookChain, hookOutChain, rulesChain, rulesOutChain}, target):
		return
	case chain.Name == hookChain || chain.Name == hookOutChain || chain.Name == outChain:
		text = w.hookText(p, chain.Name, rule, target)
	case chain.Name == rulesChain || chain.Name == rulesOutChain:
		text = w.ruleStep(p, rule, target)
	case slices.ContainsFunc(rule.Matches, w.isSticky):
		p.Draw = BySticky
		text = fmt.Sprintf("%s has a sticky entry: it keeps '%s'", stuck(p, rule.Matches[0].(plan.InSet).Pair), w.memberOfChain(target))
	case slots(chain) > 0:
		p.Draw = ByHash
		source, total := w.originalSource(p), slots(chain)
		text = fmt.Sprintf("%s: %s hashes to slot %d of %d: '%s'", w.dealer(p, chain),
			source, slotOf(source, total, plan.ClusterSeed), total, w.memberOfChain(target))
	case w.policyOf(chain.Name) != nil:
		p.Policy = w.policyOf(chain.Name).Name
		text = w.lastResort(p, chain, w.memberOfChain(target))
	case w.policyOf(target) != nil:
		p.Policy = w.policyOf(target).Name
		text = "goes to policy '" + p.Policy + "'"
	default:
		return // to a member's chain, which adds the step for the mark
	}
	p.step(chain.Name, text)
}

// hookText returns the step for a decision before any configured rule.
func (w *walker) hookText(p *path, chain string, rule plan.Rule, target string) string {
	member := w.memberOfChain(target)
	for _, m := range rule.Matches {
		switch m := m.(type) {
		case plan.InDevice:
			p.Draw = ByArrival
			return fmt.Sprintf("comes in on '%s': the connection belongs to '%s', replies leave by it", string(m), member)
		case plan.InSet:
			return fmt.Sprintf("the destination is local: it is in set %s (routes of main, addresses of the router, option bypass)", m.Name)
		case plan.Destination:
			if m.Prefix.IsSingleIP() && len(rule.Matches) > 1 { // with the ports of DNS
				return fmt.Sprintf("the destination %s is a DNS server of '%s'", m.Prefix.Addr(), member)
			}
			return fmt.Sprintf("the destination is in %s, the network of '%s'", m.Prefix, member)
		case plan.Source:
			if target == plan.MemberChain("default") {
				return fmt.Sprintf("the source %s belongs to a line that is no member: main's default route for it", family.PrefixText(m.Prefix))
			}
			if owner := w.ownerOf(m.Prefix); target == plan.MemberChain("unreachable") && owner != "" {
				return fmt.Sprintf("the source %s belongs to '%s', which %s: refused", family.PrefixText(m.Prefix), owner, w.notOnline(owner))
			}
			return fmt.Sprintf("the source %s belongs to '%s'", family.PrefixText(m.Prefix), member)
		case plan.ICMPv6Type:
			return "neighbour discovery is not balanced"
		case plan.CtState:
			if w.tracked(p.packet) {
				return "the connection was answered before it had a mark: it stays on the main table's route"
			}
			return "a packet without a connection is not balanced"
		case plan.MarkIs:
			switch {
			case chain == outChain && target == "":
				return fmt.Sprintf("an ip rule of another program looks for the mark %#x as a whole: left alone", p.Mark)
			case target == socketsChain && p.Mark&^uint32(w.mask) != 0:
				return fmt.Sprintf("the mark %#x has bits of mark_mask but is no member's: left alone", p.Mark)
			}
			return fmt.Sprintf("keeps the mark %#x ('%s')", p.Mark, w.memberOfMark(p.Mark))
		}
	}
	return "goes to '" + member + "'"
}

// ownerOf returns the member that a prefix is delegated to, "" for none.
func (w *walker) ownerOf(prefix netip.Prefix) string {
	for _, m := range w.Plan.Uplinks.Members {
		if slices.Contains(plan.LinePrefixes(m.Path(w.family)), prefix) {
			return m.Name
		}
	}
	return ""
}

// ruleStep returns the step for a configured rule, or for the end of the rules.
func (w *walker) ruleStep(p *path, rule plan.Rule, target string) string {
	used := w.policyOf(target)
	if rule.Origin == "" {
		p.Policy = plan.BalancedPolicy
		return "no rule matches: policy '" + plan.BalancedPolicy + "'"
	}
	p.Rule = rule.Origin
	configured := w.configured(rule.Origin)
	if configured != nil && used == nil {
		used = w.Config.Policy(configured.Use)
	}
	switch {
	case used != nil:
		p.Policy = used.Name
		return rule.Origin + " matches: policy '" + used.Name + "'"
	case configured == nil:
		return rule.Origin + " matches"
	case target == plan.MemberChain("unreachable") && configured.Use != "unreachable":
		return fmt.Sprintf("%s matches: member '%s' %s: refused", rule.Origin, configured.Use, w.notOnline(configured.Use))
	}
	return rule.Origin + " matches: '" + configured.Use + "'"
}

// notOnline says that a member is not, and of a portal.
func (w *walker) notOnline(member string) string {
	if slices.ContainsFunc(w.Plan.Members, func(m plan.Member) bool { return m.Name == member && m.State(w.family).Portal }) {
		return "is not online (portal)"
	}
	return "is not online"
}

// configured returns the section that a rule of the plan comes from, or nil.
func (w *walker) configured(origin string) *config.Rule {
	i := slices.IndexFunc(w.Config.Rules, func(r config.Rule) bool {
		return strings.HasPrefix(origin, "rule '"+r.Label+"' (")
	})
	if i < 0 {
		return nil
	}
	return &w.Config.Rules[i]
}

func (w *walker) lastResort(p *path, chain plan.Chain, use string) string {
	p.Draw = ByLastResort
	return fmt.Sprintf("%s has no live member: last resort '%s'", w.dealer(p, chain), use)
}

func (w *walker) addDeal(p *path, chain plan.Chain, target string, share float64) {
	if policy := w.policyOf(chain.Name); policy != nil {
		p.Policy = policy.Name
	}
	text := fmt.Sprintf("deals %s: '%s' gets %s", drawWords[p.Draw], w.memberOfChain(target), percent(share))
	if p.Draw == ByOnlyOneAlive {
		text = fmt.Sprintf("has only one live member: '%s'", w.memberOfChain(target))
	}
	p.step(chain.Name, w.dealer(p, chain)+" "+text)
}

var drawWords = map[Draw]string{ByTurn: "in turn", ByChance: "by chance", ByHash: "by hash"}

// addMark adds the step for a mark. A policy's own chain sets it without a live member.
func (w *walker) addMark(p *path, chain plan.Chain, t plan.SetMark) {
	member := w.memberOfMark(t.Value)
	if !slices.ContainsFunc(chain.Rules, func(r plan.Rule) bool { _, saves := r.Target.(plan.SaveMark); return saves }) {
		if w.policyOf(chain.Name) != nil || member == "default" {
			p.step(chain.Name, w.lastResort(p, chain, member))
		}
		p.step(chain.Name, fmt.Sprintf("gets the mark %#x ('%s') for this packet only", t.Value, member))
		return
	}
	p.step(chain.Name, fmt.Sprintf("gets the mark %#x ('%s'), which the connection keeps", t.Value, member))
}

// dealer returns what deals in a chain, in words: a policy, itself or for a sticky rule.
func (w *walker) dealer(p *path, chain plan.Chain) string {
	if policy := w.policyOf(chain.Name); policy != nil {
		text := "policy '" + policy.Name + "'"
		if chain.Name != plan.PolicyChain(policy.Name) {
			text += " (without members of router_traffic '0')"
		}
		return text
	}
	if p.Policy != "" {
		return "policy '" + p.Policy + "' (" + p.Rule + ", sticky)"
	}
	return chain.Name
}

// policyOf returns the policy whose chain this is, or nil.
func (w *walker) policyOf(chain string) *config.Policy {
	for i := range w.Config.Policies {
		p := &w.Config.Policies[i]
		if chain == plan.PolicyChain(p.Name) || chain == plan.PolicyChain(plan.OutputPolicy(p.Name)) {
			return p
		}
	}
	return nil
}

// memberOfChain returns the member to which a chain finally leads.
func (w *walker) memberOfChain(name string) string {
	names := []string{"default", "unreachable", "blackhole"}
	for _, m := range w.Plan.Members {
		names = append(names, m.Name)
	}
	for _, n := range names {
		if plan.MemberChain(n) == name {
			return n
		}
	}
	if rules := w.chain(name).Rules; len(rules) > 0 {
		if last, ok := rules[len(rules)-1].Target.(plan.Goto); ok {
			return w.memberOfChain(string(last))
		}
	}
	return name
}

// stuck is what a sticky rule remembers of a packet.
func stuck(p *path, pair bool) string {
	if pair {
		return fmt.Sprintf("%s to %s", p.packet.Source, p.packet.Destination)
	}
	return p.packet.Source.String()
}

func (w *walker) isSticky(m plan.Match) bool {
	in, _ := m.(plan.InSet)
	set := w.plan.Set(in.Name)
	return set != nil && set.Timeout > 0
}

// slots returns into how many slots a chain divides sources; 0 if it does not.
func slots(c plan.Chain) int {
	for _, r := range c.Rules {
		for _, m := range r.Matches {
			switch m := m.(type) {
			case plan.Slot:
				return m.Total
			case plan.Masked:
				return 32 // the address's last five bits
			}
		}
	}
	return 0
}

func conditionText(open []plan.Match) string {
	var parts []string
	for _, m := range open {
		parts = append(parts, matchText(m))
	}
	return strings.Join(parts, " and ")
}

func matchText(m plan.Match) string {
	switch m := m.(type) {
	case plan.InDevice:
		return "it comes in on '" + string(m) + "'"
	case plan.MarkIs:
		return fmt.Sprintf("its mark is %#x/%#x", m.Value, m.Mask)
	case plan.SourceMAC:
		return "the source MAC address is " + string(m)
	case plan.Protocol:
		return "the protocol is number " + strconv.Itoa(int(m))
	case plan.Ports:
		_, list, _ := strings.Cut(m.Args(), "ports ")
		return "the " + side(m.Source) + " port is in " + list
	case plan.ICMPType:
		return "the ICMP type is " + m.Type
	case plan.DSCP:
		return fmt.Sprintf("the DSCP is %#02x", uint8(m))
	case plan.InSet:
		verb := "is in"
		if m.Not {
			verb = "is not in"
		}
		if m.Pair {
			verb = "with its destination " + verb
		}
		return fmt.Sprintf("the %s %s set %s", side(m.Source), verb, m.Name)
	}
	return m.Args()
}

func side(source bool) string {
	if source {
		return "source"
	}
	return "destination"
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }

// ruleText formats an ip rule as `ip rule` does.
func (w *walker) ruleText(r uplink.Rule) string {
	return r.Text(tableText(r.Table, w.tableName(r.Table)))
}

func tableText(table int, name string) string {
	switch {
	case table == defaultTable:
		return name
	case name == "" || table == uplink.MainTable:
		return uplink.TableText(table)
	}
	return fmt.Sprintf("%d (%s)", table, name)
}

// tableName returns the name of a table, or "".
func (w *walker) tableName(table int) string {
	switch table {
	case uplink.MainTable:
		return "main"
	case defaultTable:
		return "default"
	}
	for _, m := range w.Plan.Members {
		if m.Table == table {
			return m.Name
		}
	}
	switch table {
	case fwmark.Table(w.mask.Unreachable()):
		return "unreachable"
	case fwmark.Table(w.mask.Blackhole()):
		return "blackhole"
	}
	return ""
}
