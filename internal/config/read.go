package config

import (
	"slices"

	"loadbalance/internal/fwmark"
	"loadbalance/internal/uci"
)

// sectionTypes are the types of sections that the file can have.
var sectionTypes = []string{"globals", "member", "policy", "rule", "ipset"}

type reader struct {
	file     *uci.File
	config   *Config
	problems collector
	// names has members and policies: use_policy may name either.
	names map[string]*section
	sets  map[string]*section
}

// Read turns a file into a Config and reports everything that is wrong in it,
// sorted by line. Sections with an error are left out, and so is what cannot work
// without them: a policy whose members are all faulty, a rule whose policy or set
// is. A boot applies this Config, unless the problems are fatal; a running service
// keeps what it has if there is any error.
func Read(file *uci.File) (*Config, Problems) {
	r := &reader{
		file:   file,
		config: &Config{},
		names:  make(map[string]*section),
		sets:   make(map[string]*section),
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
	return find(c.Members, func(m Member) bool { return m.Name == name })
}

// Policy returns a policy, or nil. There always is one with the name 'balanced'.
func (c *Config) Policy(name string) *Policy {
	return find(c.Policies, func(p Policy) bool { return p.Name == name })
}

// IPSet returns a set, or nil if another program creates it.
func (c *Config) IPSet(name string) *IPSet {
	return find(c.IPSets, func(s IPSet) bool { return s.Name == name })
}

func find[T any](all []T, wanted func(T) bool) *T {
	if i := slices.IndexFunc(all, wanted); i >= 0 {
		return &all[i]
	}
	return nil
}

func (r *reader) reportUnknownTypes() {
	for _, from := range r.file.Sections {
		if slices.Contains(sectionTypes, from.Type) {
			continue
		}
		hint := " is unknown" + didYouMean(from.Type, sectionTypes)
		if from.Type == "interface" {
			hint = " is mwan3's; here an uplink is a 'member' (loadbalance import-mwan3 converts a whole file)"
		}
		r.section(from).warnf(from.Line, "section type %s%s", quote(from.Type), hint)
	}
}

func (r *reader) section(from uci.Section) *section {
	kind := from.Type
	if !validSectionName(kind) {
		kind = quote(kind)
	}
	return &section{
		Section:  from,
		problems: &r.problems,
		title:    kind + " " + quote(from.Label()),
		pos:      Pos{File: r.file.Name, Line: from.Line},
	}
}

func (r *reader) sections(kind string) (sections []*section) {
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
		further.errorf(further.Line, "section 'globals' already exists (line %d)", s.Line)
	}
	return s.state != faulty
}

// readMembers reads all members. Marks are not checked against a faulty mask,
// in whose place is one that is not in the file.
func (r *reader) readMembers(maskValid bool) {
	var members []*memberSection
	for _, s := range r.sections("member") {
		r.declare(s, r.names)
		member := readMember(s)
		if member.Enabled && !r.config.Globals.Monitor {
			s.withoutEffect("track_ip", "with monitor '0'")
			s.withoutEffect("quota", "with monitor '0': the monitor counts")
			s.withoutEffect("download", "with monitor '0': the monitor measures")
			s.withoutEffect("upload", "with monitor '0': the monitor measures")
		}
		members = append(members, &memberSection{s, member})
	}
	checkClaims(members)
	if maskValid {
		checkMask(members, fwmark.Mask(r.config.Globals.MarkMask))
	}
	for _, m := range members {
		if m.state == faulty {
			continue
		}
		if !m.Enabled {
			m.state = disabled
		}
		r.config.Members = append(r.config.Members, m.Member)
	}
}

// readPolicies reads all policies, and adds 'balanced' where the file has none.
func (r *reader) readPolicies() {
	for _, s := range r.sections("policy") {
		r.declare(s, r.names)
		named := s.state == valid
		policy, usable := r.readPolicy(s)
		s.state = faulty
		if named && usable {
			s.state = valid // also where a line of it is faulty
			r.config.Policies = append(r.config.Policies, policy)
		}
	}
	r.addBuiltinPolicy()
}

func (r *reader) readIPSets() {
	for _, s := range r.sections("ipset") {
		r.declare(s, r.sets)
		set := readIPSet(s)
		if s.state == valid {
			r.config.IPSets = append(r.config.IPSets, set)
		}
	}
}

func (r *reader) readRules() {
	for _, s := range r.sections("rule") {
		if s.Name != "" && !validSectionName(s.Name) {
			s.errorf(s.Line, badName)
		}
		rule := r.readRule(s)
		if r.isUsable(s, &rule) && s.state == valid {
			r.config.Rules = append(r.config.Rules, rule)
		}
	}
}

const badName = "the name must be 1 to 32 letters, digits or '_'"

// declare adds a section to a namespace under its name. A name that is missing,
// malformed, reserved or taken is an error.
func (r *reader) declare(s *section, namespace map[string]*section) {
	switch first, taken := namespace[s.Name]; {
	case s.Name == "":
		s.errorf(s.Line, "has no name (config %s 'NAME')", s.Type)
	case !validSectionName(s.Name):
		s.errorf(s.Line, badName)
	case slices.Contains(reservedNames, s.Name):
		s.errorf(s.Line, "the name %s is reserved", quote(s.Name))
	case s.Type == "member" && s.Name == builtinPolicy:
		s.errorf(s.Line, "the name 'balanced' is reserved for the policy of unmatched traffic")
	case taken:
		s.errorf(s.Line, "the name is already taken by %s (line %d)", first.title, first.Line)
	default:
		namespace[s.Name] = s
	}
}

// maxSuggestions bounds the names that a misspelt one is compared with, or the
// time would grow with the square of the file. There are 199 members at most.
const maxSuggestions = 200

// namesOf returns the names of the sections of some types, for suggestions.
func (r *reader) namesOf(kinds ...string) (names []string) {
	for _, s := range r.file.Sections {
		if slices.Contains(kinds, s.Type) && s.Name != "" && len(names) < maxSuggestions {
			names = append(names, s.Name)
		}
	}
	return names
}
