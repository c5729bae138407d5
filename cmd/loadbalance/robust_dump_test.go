package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// dump is a picture of the router's kernel by the names of what was asked.
type dump map[string]string

// dumpCommands print what the kernel holds, ours and everybody else's. Both
// back ends are asked, whichever the router uses.
var dumpCommands = []string{
	"iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save",
	"ip -4 rule", "ip -6 rule",
	"ip -4 route show table all", "ip -6 route show table all",
	"ipset list", "ipset save",
	// All per-device settings, not only those that we know of.
	"grep -r . /proc/sys/net/ipv4/conf 2>/dev/null | sort",
}

// dump takes the picture. Comments, counters and empty built-in tables are
// left out of it, and so are the kernel's own routes for link-local addresses,
// which come a second after their device, and the time that a learnt IPv6
// route has left.
func (r *router) dump() dump {
	r.t.Helper()
	d := dump{}
	for _, command := range dumpCommands {
		text := r.sh(command)
		if strings.HasSuffix(command, "-save") {
			text = parseSaved(text).String()
		}
		d[command] = passing.ReplaceAllString(text, "")
	}
	return d
}

var passing = regexp.MustCompile(`(?m) expires \d+sec|^(local|anycast) fe80::.* proto kernel .*\n|^fe80::/64 .* proto kernel .*\n|^multicast ff00::/8 .* proto kernel .*\n`)

// accidental is what a set has from its history: room for entries that have
// gone, and where its hash began.
var accidental = regexp.MustCompile(`(?m)^Size in memory: \d+$| initval 0x[0-9a-f]+`)

// sorted leaves out in which order the kernel was given ip rules of the same
// priority and routes of the same table, by how far a cascade is rotated, and
// the memory that sets take.
func (d dump) sorted() dump {
	sorted := dump{}
	for command, text := range d {
		lines := strings.Split(accidental.ReplaceAllString(text, ""), "\n")
		if strings.HasSuffix(command, "-save") {
			lines = unrotated(lines)
		} else {
			slices.Sort(lines)
		}
		sorted[command] = strings.Join(lines, "\n")
	}
	return sorted
}

// withoutFormer leaves out the rule for the address of a member that was removed,
// and its table: they stay until stop, and a fresh start knows nothing of it.
func (d dump) withoutFormer(fresh dump) dump {
	kept := dump{}
	for command, text := range d {
		rules := fresh["ip -4 rule"]
		if strings.HasPrefix(command, "ip -6") {
			rules = fresh["ip -6 rule"]
		}
		kept[command] = text
		for i := 1; i < 10 && strings.HasPrefix(command, "ip "); i++ {
			if strings.Contains(rules, fmt.Sprintf("%d:", 9000+i)) {
				continue
			}
			former := func(line string) bool {
				return strings.HasPrefix(line, fmt.Sprintf("%d:", 9500+i)) || strings.Contains(line, fmt.Sprintf(" table %d ", 300+i))
			}
			kept[command] = strings.Join(slices.DeleteFunc(strings.Split(kept[command], "\n"), former), "\n")
		}
	}
	return kept
}

// shownLines is how many differences of one command are shown: a cascade alone
// has 256 rules.
const shownLines = 12

// difference lists the lines that only one of two pictures has, in a diff's
// way; "" if they are equal.
func difference(want, got dump) string {
	var text strings.Builder
	for _, command := range dumpCommands {
		if want[command] == got[command] {
			continue
		}
		fmt.Fprintf(&text, "%s:\n", command)
		before, after := strings.Split(want[command], "\n"), strings.Split(got[command], "\n")
		lines := append(onlyIn(before, after, "  - "), onlyIn(after, before, "  + ")...)
		if len(lines) == 0 {
			lines = []string{"  the same lines in another order"}
		}
		if more := len(lines) - shownLines; more > 0 {
			lines = append(lines[:shownLines], fmt.Sprintf("  and %d lines more", more))
		}
		text.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return text.String()
}

// onlyIn returns the lines that the other side lacks.
func onlyIn(side, other []string, prefix string) []string {
	var lines []string
	for _, line := range side {
		if !slices.Contains(other, line) {
			lines = append(lines, prefix+line)
		}
	}
	return lines
}

// savedTables is the output of iptables-save: by table, each chain with its
// policy and its rules in order.
type savedTables map[string]map[string][]string

var declared = regexp.MustCompile(`^:(\S+) (\S+) \[\d+:\d+\]$`)

// parseSaved reads the output of iptables-save. A line that is neither
// comment, table, chain, rule nor COMMIT is kept as it is, as a table of its
// own.
func parseSaved(text string) savedTables {
	tables, table := savedTables{}, ""
	for _, line := range strings.Split(text, "\n") {
		chain := declared.FindStringSubmatch(line)
		switch {
		case line == "" || line == "COMMIT" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "*"):
			table = line
			tables[table] = map[string][]string{}
		case chain != nil:
			tables[table][chain[1]] = []string{":" + chain[1] + " " + chain[2]}
		case strings.HasPrefix(line, "-A "):
			name := strings.Fields(line)[1]
			tables[table][name] = append(tables[table][name], line)
		default:
			tables["unknown line: "+line] = map[string][]string{"": {line}}
		}
	}
	return tables
}

// String writes the tables sorted by table and chain, without those that hold
// only empty built-in chains with the policy ACCEPT.
func (s savedTables) String() string {
	var lines []string
	for _, table := range slices.Sorted(maps.Keys(s)) {
		if !emptyTable(s[table]) {
			lines = append(lines, table)
			for _, chain := range slices.Sorted(maps.Keys(s[table])) {
				lines = append(lines, s[table][chain]...)
			}
		}
	}
	return strings.Join(lines, "\n")
}

func emptyTable(chains map[string][]string) bool {
	for _, lines := range chains {
		if len(lines) > 1 || !strings.HasSuffix(lines[0], " ACCEPT") {
			return false
		}
	}
	return true
}

// unrotated writes each cascade, which may stand at any rotation, at the
// smallest one.
func unrotated(lines []string) []string {
	result := slices.Clone(lines)
	for start := 0; start < len(result); start++ {
		end := start
		for end < len(result) && strings.HasPrefix(result[end], "-A lb_policy_") &&
			strings.Fields(result[end])[1] == strings.Fields(result[start])[1] {
			end++
		}
		if end == start {
			continue
		}
		targets := smallestRotation(cascadeTargets(result[start:end]))
		for i := start; i < end; i++ {
			rule, _, _ := strings.Cut(result[i], " -g ")
			result[i] = rule + " -g " + targets[i-start]
		}
		start = end - 1
	}
	return result
}

// cascadeTargets are the chains that the rules of a policy go to.
func cascadeTargets(rules []string) []string {
	var targets []string
	for _, rule := range rules {
		_, target, _ := strings.Cut(rule, " -g ")
		targets = append(targets, target)
	}
	return targets
}

func smallestRotation(slots []string) []string {
	smallest := slots
	for i := range slots {
		rotated := slices.Concat(slots[i:], slots[:i])
		if slices.Compare(rotated, smallest) < 0 {
			smallest = rotated
		}
	}
	return smallest
}

// counters is all of IPv4's tables with the counters of every rule. While no
// traffic passes they stand still, unless somebody writes a chain.
func (r *router) counters() string {
	r.t.Helper()
	return r.sh("iptables-" + r.backend + "-save -c | grep -v '^#'")
}

// expectCounters fails the test if the counters are not what they were.
func (r *router) expectCounters(what, want string) {
	r.t.Helper()
	save := "iptables-" + r.backend + "-save"
	r.expectSame(what+", counters", dump{save: want}, dump{save: r.counters()})
}

// expectSame fails the test if two pictures differ.
func (r *router) expectSame(what string, want, got dump) {
	r.t.Helper()
	if diff := difference(want, got); diff != "" {
		r.t.Errorf("%s:\n%s", what, diff)
	}
}

// expectApplied fails the test unless the kernel holds what a fresh apply has
// given it, and the program sees it so.
func (r *router) expectApplied(what string, want dump) {
	r.t.Helper()
	r.expectSame(what, want, r.dump().sorted().withoutFormer(want))
	if out := r.must("plan"); out != "" {
		r.t.Errorf("%s: plan still finds work:\n%s", what, out)
	}
}

// fresh stops, forgets everything, applies, and returns the picture.
func (r *router) fresh(config string) dump {
	r.t.Helper()
	r.must("stop")
	r.forget()
	r.configure(config)
	r.must("apply")
	return r.dump().sorted()
}

// forget removes the run directory.
func (r *router) forget() {
	r.t.Helper()
	r.sh("rm -rf " + r.runDir())
}

// nftMangle reports whether the family has an nftables table "mangle".
func (r *router) nftMangle(f family.Family) bool {
	r.t.Helper()
	exists := false
	err := r.lab.Router.Do(func() (err error) {
		k, err := kernel.Open()
		if err != nil {
			return err
		}
		defer k.Close()
		exists, err = iptables.NFTables{Kernel: k}.Exists(f)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return exists
}

// cascade is the order in which uplinks are dealt out next by the policy
// 'balanced' of a router whose members are called wan1, wan2, ….
func (r *router) cascade() []int {
	r.t.Helper()
	rules := parseSaved(r.sh("iptables-" + r.backend + "-save -t mangle"))["*mangle"]["lb_policy_balanced"]
	var uplinks []int
	for _, target := range cascadeTargets(rules[min(1, len(rules)):]) {
		n := 0
		if _, err := fmt.Sscanf(target, "lb_member_wan%d", &n); err != nil {
			r.t.Fatalf("lb_policy_balanced goes to %q", target)
		}
		uplinks = append(uplinks, n)
	}
	return uplinks
}

// countLines counts the lines that begin with a prefix.
func countLines(text, prefix string) int {
	n := 0
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}
