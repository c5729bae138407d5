package config

import (
	"slices"

	"loadbalance/internal/fwmark"
	"loadbalance/internal/uci"
)

// sectionTypes are the types of sections that the file can have.
var sectionTypes = []string{"globals", "member", "policy", "rule", "ipset"}

// state is whether a named section can be used.
type state int

const (
	valid state = iota
	disabled
	faulty
)

// String returns the state as messages write it.
func (s state) String() string {
	switch s {
	case disabled:
		return "disabled"
	case faulty:
		return "faulty"
	}
	return "valid"
}

// declaration is a section that other sections can refer to by name.
type declaration struct {
	name  string
	kind  string // the section's type
	title string
	line  int
	state state
}

// reader turns a file into a Config.
type reader struct {
	file     *uci.File
	config   *Config
	problems collector
	// names has members and policies, which share a namespace, since
	// use_policy may name either.
	names map[string]*declaration
	sets  map[string]*declaration
	// declared has the values of names and sets in the order of reading.
	declared []*declaration
}

// Read turns a file into a Config and reports everything that is wrong in it,
// sorted by line.
//
// The Config holds all that is valid. Sections with an error are left out, and
// so is what cannot work without them: a policy whose members are all faulty, a
// rule whose policy or set is. A boot applies this Config, unless the problems
// are fatal; a running service keeps what it has if there is any error.
func Read(file *uci.File) (*Config, Problems) {
	r := &reader{
		file:   file,
		config: &Config{},
		names:  make(map[string]*declaration),
		sets:   make(map[string]*declaration),
	}
	r.reportUnknownTypes()
	globalsValid := r.readGlobalsSection()
	r.readMembers(globalsValid)
	r.readPolicies()
	r.readIPSets()
	r.readRules()
	return r.config, r.problems.sorted()
}

// Member returns the member with a name, or nil.
func (c *Config) Member(name string) *Member {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i]
		}
	}
	return nil
}

// Policy returns the policy with a name, or nil. After Read there always is one
// with the name 'balanced'.
func (c *Config) Policy(name string) *Policy {
	for i := range c.Policies {
		if c.Policies[i].Name == name {
			return &c.Policies[i]
		}
	}
	return nil
}

// IPSet returns the set with a name, or nil if the file has no such section: a
// rule may also name a set that another program creates.
func (c *Config) IPSet(name string) *IPSet {
	for i := range c.IPSets {
		if c.IPSets[i].Name == name {
			return &c.IPSets[i]
		}
	}
	return nil
}

func (r *reader) reportUnknownTypes() {
	for _, from := range r.file.Sections {
		if slices.Contains(sectionTypes, from.Type) {
			continue
		}
		s := r.section(from)
		if from.Type == "interface" {
			s.warnf(s.pos.Line, "section type 'interface' is mwan3's; here an uplink is a 'member' (loadbalance import-mwan3 converts a whole file)")
			continue
		}
		s.warnf(s.pos.Line, "section type %s is unknown%s", quote(from.Type), didYouMean(from.Type, sectionTypes))
	}
}

func (r *reader) section(from uci.Section) *section {
	return newSection(&r.problems, r.file.Name, from)
}

// sections returns the sections of one type in the order of the file.
func (r *reader) sections(kind string) []*section {
	var sections []*section
	for _, from := range r.file.Sections {
		if from.Type == kind {
			sections = append(sections, r.section(from))
		}
	}
	return sections
}

// readGlobalsSection reads the globals and reports whether they are valid.
// Without such a section every option has its default.
func (r *reader) readGlobalsSection() (valid bool) {
	sections := r.sections("globals")
	if len(sections) == 0 {
		sections = []*section{r.section(uci.Section{Type: "globals", Name: "globals"})}
	}
	s := sections[0]
	r.config.Globals = readGlobals(s)
	for _, further := range sections[1:] {
		further.errorf(further.pos.Line, "section 'globals' already exists (line %d)", s.pos.Line)
	}
	return !s.faulty
}

// readMembers reads all members. With faulty globals the marks are not checked
// against the mask: complaints about a mask that is not in the file would only
// confuse.
func (r *reader) readMembers(maskValid bool) {
	var members []*memberSection
	var declarations []*declaration
	for _, s := range r.sections("member") {
		declarations = append(declarations, r.declare(s, r.names))
		member := readMember(s)
		if member.Enabled && !r.config.Globals.Monitor {
			s.withoutEffect("track_ip", "with monitor '0'")
		}
		members = append(members, &memberSection{s, member})
	}
	checkClaims(members)
	if maskValid {
		checkMask(members, fwmark.Mask(r.config.Globals.MarkMask))
	}
	for i, m := range members {
		switch {
		case m.faulty:
			declarations[i].state = faulty
			continue
		case !m.Enabled:
			declarations[i].state = disabled
		}
		r.config.Members = append(r.config.Members, m.Member)
	}
}

// readPolicies reads all policies, and adds 'balanced' where the file has none.
func (r *reader) readPolicies() {
	for _, s := range r.sections("policy") {
		d := r.declare(s, r.names)
		named := !s.faulty
		if policy, complete := r.readPolicy(s); named && complete {
			r.config.Policies = append(r.config.Policies, policy)
		} else {
			d.state = faulty
		}
	}
	r.addBuiltinPolicy()
}

func (r *reader) readIPSets() {
	for _, s := range r.sections("ipset") {
		d := r.declare(s, r.sets)
		set := readIPSet(s)
		if s.faulty {
			d.state = faulty
			continue
		}
		r.config.IPSets = append(r.config.IPSets, set)
	}
}

func (r *reader) readRules() {
	for _, s := range r.sections("rule") {
		if s.name != "" && !validSectionName(s.name) {
			s.errorf(s.pos.Line, badName)
		}
		rule := r.readRule(s)
		if r.isUsable(s, &rule) && !s.faulty {
			r.config.Rules = append(r.config.Rules, rule)
		}
	}
}

const badName = "the name must be 1 to 32 letters, digits or '_'"

// declare adds a section to a namespace under its name. A name that is missing,
// malformed, reserved or taken is an error.
func (r *reader) declare(s *section, namespace map[string]*declaration) *declaration {
	d := &declaration{name: s.name, kind: s.kind, title: s.title, line: s.pos.Line}
	switch first, taken := namespace[s.name]; {
	case s.name == "":
		s.errorf(s.pos.Line, "has no name (config %s 'NAME')", s.kind)
	case !validSectionName(s.name):
		s.errorf(s.pos.Line, badName)
	case slices.Contains(reservedNames, s.name):
		s.errorf(s.pos.Line, "the name %s is reserved", quote(s.name))
	case s.kind == "member" && s.name == builtinPolicy:
		s.errorf(s.pos.Line, "the name 'balanced' is reserved for the policy of unmatched traffic")
	case taken:
		s.errorf(s.pos.Line, "the name is already taken by %s (line %d)", first.title, first.line)
	default:
		namespace[s.name] = d
		r.declared = append(r.declared, d)
	}
	return d
}

// maxSuggestions bounds the names that a misspelt one is compared with. There
// are 199 members at most, and without a bound the time to read a hostile file
// would grow with the square of its size.
const maxSuggestions = 200

// namesOf returns the names of the sections of some types, for suggestions.
func (r *reader) namesOf(kinds ...string) []string {
	var names []string
	for _, d := range r.declared[:min(len(r.declared), maxSuggestions)] {
		if slices.Contains(kinds, d.kind) {
			names = append(names, d.name)
		}
	}
	return names
}
