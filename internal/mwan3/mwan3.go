// Package mwan3 converts a configuration of mwan3 into one of ours with the
// same routing. Comments in the result say what cannot be converted, and what
// mwan3 itself did not do although its file asks for it.
//
// It follows mwan3 2.12: lib/mwan3/mwan3.sh for interfaces, members, policies
// and rules, usr/sbin/mwan3track for health. Differences that are decided here:
//
//   - An interface becomes a member, always one of its own. A pair such as wan
//     and wan6 on one line is not joined into a member with interface6: mwan3
//     judges the two by targets of their own, and a member has one verdict, so
//     IPv4 that is dead would hide behind IPv6 that answers.
//   - What sections `member` say stands in the policies' lists.
//   - What mwan3 did with a rule counts, not what its author may have meant: a
//     rule that it left out is commented out. So is one that it widened (a port
//     without a protocol), since nobody can have wanted that.
//   - mwan3 leaves traffic that no rule matches to the main table; here it
//     would be dealt out by 'balanced'. A last rule keeps mwan3's way.
package mwan3

import (
	"fmt"
	"slices"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uci"
)

// Result is a converted configuration.
type Result struct {
	Text  string // of /etc/config/loadbalance, without errors
	Notes int    // comments about differences in it
}

type converter struct {
	out      *document
	logging  bool                // the global switch without which no rule logs
	members  map[string]member   // the interfaces by their name in mwan3
	uses     map[string]*source  // the sections `member` by name
	policies map[string]string   // what rules use for a policy of mwan3: ours, or the last resort of an empty one
	sets     map[string]*section // the sections `ipset` by the name that rules use
	hasIPv6  bool                // an interface for IPv6 is enabled
	moreIPv4 []string            // policies with more live members for IPv4 than for IPv6
	names    map[string]bool     // taken in the result
}

// maxSkipped is how many lines that cannot be read are named one by one.
const maxSkipped = 10

// Convert converts a configuration of mwan3, the text of the file name. Like
// mwan3 it skips lines with mistakes. The error is a *uci.SyntaxError if nothing
// of the file can be read; any other means a bug in this package.
func Convert(name string, text []byte) (Result, error) {
	file, skipped, err := uci.ParseTolerant(name, text)
	if err != nil {
		return Result{}, err
	}
	if len(file.Sections) == 0 && len(skipped) > 0 {
		return Result{}, skipped[0]
	}
	c := newConverter(file.Name)
	lines := strings.Split(string(text), "\n")
	for i, mistake := range skipped {
		if i == maxSkipped {
			c.out.general.note(traffic, "%d more such lines", len(skipped)-maxSkipped)
			break
		}
		c.out.general.note(traffic, "line %d, %s, has a mistake, which mwan3 passes over: %s",
			mistake.Line, uci.Quote(strings.TrimSpace(lines[mistake.Line-1]), 60), mistake.Msg)
	}
	return c.convert(file)
}

func newConverter(name string) *converter {
	return &converter{
		out: &document{header: []string{
			"Converted from the configuration " + quote(name) + " of mwan3. Lines with " + noteMark,
			"say what is different here or left out, and why, first what changes the way of packets.",
		}},
		members:  make(map[string]member),
		uses:     make(map[string]*source),
		policies: make(map[string]string),
		sets:     make(map[string]*section),
		names:    make(map[string]bool),
	}
}

func (c *converter) convert(file *uci.File) (Result, error) {
	c.readGlobals(file)
	each(file, "interface", c.readInterface)
	each(file, "member", func(s *source) { c.uses[s.Name] = s })
	each(file, "policy", c.readPolicy)
	each(file, "ipset", c.readIPSet)
	each(file, "rule", c.readRule)
	c.noteOthers(file)
	// Which rules there are is known when all are settled.
	cfg, err := c.out.settle()
	if err != nil {
		return Result{}, err
	}
	c.noteFamilies(cfg)
	c.leaveTheRest(cfg)
	if _, err := c.out.settle(); err != nil {
		return Result{}, err
	}
	return Result{Text: c.out.String(), Notes: len(c.out.notes(traffic)) + len(c.out.notes(minor))}, nil
}

func each(file *uci.File, kind string, f func(*source)) {
	for _, s := range file.Sections {
		if s.Type == kind {
			f(&source{Section: s, asked: make(map[string]bool)})
		}
	}
}

func (c *converter) noteOthers(file *uci.File) {
	var types []string
	for _, s := range file.Sections {
		if !slices.Contains([]string{"globals", "interface", "member", "policy", "rule", "ipset"}, s.Type) && !slices.Contains(types, s.Type) {
			types = append(types, s.Type)
		}
	}
	c.out.general.noteAll(traffic, "sections of type %s are left out: mwan3 does not know them", types)
}

func (c *converter) noteFamilies(cfg *config.Config) {
	if c.hasIPv6 {
		c.out.general.note(traffic, "IPv6 with a source in a provider's prefix leaves by that provider's line, whatever the rules say; "+
			"the router's own IPv6 connections use the main table")
	}
	used := slices.DeleteFunc(c.moreIPv4, func(policy string) bool {
		return !slices.ContainsFunc(cfg.Rules, func(r config.Rule) bool {
			return r.Enabled && r.Use == policy && slices.Contains(r.Families, family.IPv6)
		})
	})
	if len(used) > 0 {
		c.out.general.note(traffic, "rules for IPv6 use policies with fewer IPv6 than IPv4 uplinks: %s. mwan3 sends IPv6 only by IPv6 uplinks, and applies last_resort where there is none; "+
			"here a member also carries the IPv6 of its line, unless that is a member of its own; where no member has IPv6, only rules with family 'ipv6' and rules that refuse traffic apply to it",
			strings.Join(used, ", "))
	}
}

// add adds the section that s becomes, under a name or, noted, under another one.
func (c *converter) add(kind, name string, s *source) *section {
	wanted := name
	if name != "" {
		name = c.newName(kind, name)
	}
	out := c.out.add(kind, name)
	out.label = s.Label()
	if name != wanted && kind != "ipset" {
		out.note(minor, "its name is %s here, since %s is not allowed or taken", quote(name), quote(wanted))
	}
	return out
}

// newName returns an old name, or one like it if that is too long, reserved or taken.
func (c *converter) newName(kind, name string) string {
	const maxName = 32 // characters; see package config
	isFree := func(name string) bool {
		_, problems, err := read("config " + kind + " " + quoteUCI(name) + "\n")
		return !c.names[name] && err == nil && !problems.HasErrors()
	}
	candidate := name
	for i := 2; !isFree(candidate); i++ {
		suffix := fmt.Sprintf("_%d", i)
		candidate = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	c.names[candidate] = true
	return candidate
}
