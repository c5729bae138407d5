// Package config turns the sections of /etc/config/loadbalance into a typed
// Config and reports every problem in them. All validation is here: values in a
// Config are safe to write into rules, and nobody looks at the text again.
package config

import (
	"net/netip"
	"time"

	"loadbalance/internal/family"
)

// Config is a whole configuration, its sections in the order of the file.
type Config struct {
	Globals  Globals
	Members  []Member
	Policies []Policy
	Rules    []Rule
	IPSets   []IPSet
}

// EnabledMembers returns the members without `option enabled '0'`.
func (c *Config) EnabledMembers() []Member {
	var members []Member
	for _, m := range c.Members {
		if m.Enabled {
			members = append(members, m)
		}
	}
	return members
}

// Pos is a position in the file.
type Pos struct {
	File string // base name
	Line int    // from 1
}

// Balance is how a policy deals out new connections.
type Balance string

// The values of option balance.
const (
	NTH    Balance = "nth"    // in exact rotation
	Random Balance = "random" // by chance, in the same shares
	Source Balance = "source" // by a hash of the source address
)

// Globals is the section `config globals 'globals'`.
type Globals struct {
	Enabled            bool
	MarkMask           uint32
	RouterTraffic      bool
	IgnoreSplitDefault bool
	Balance            Balance
	LogLevel           string // error, warning, notice, info or debug
	Monitor            bool
	Bypass             []netip.Prefix // both families
}

// Member is a section `config member 'NAME'`: one uplink.
type Member struct {
	Name       string
	Enabled    bool
	Interface  string // netifd interface; empty when Device is given
	Interface6 string
	Device     string
	Gateway    netip.Addr // IPv4; not valid: taken from the system
	Gateway6   netip.Addr // IPv6; likewise
	Prefix6    []netip.Prefix
	Weight     int    // 1-1000
	Metric     int    // tier, 1-256; lower first
	Mark       uint32 // pinned; 0: chosen by the planner
	Table      int    // pinned; 0: 300 + index
	// RouterTraffic: it is dealt the router's own IPv4 connections too.
	RouterTraffic bool
	Quota         Quota
	// Download and Upload are what its line carries, in bit/s; 0: not stated.
	Download, Upload float64
	Track            Track
}

// Quota is what a member may carry.
type Quota struct {
	Bytes  int64  // a month, both directions together; 0: any number
	Day    int    // 1-28: the month begins then
	Action string // last or off: what becomes of it when they are used up
}

// Track is a member's health checking.
type Track struct {
	IPs             []netip.Addr
	Gateway         bool // the literal target 'gateway'
	Method          string
	Port            uint16
	URL             string
	Status          int // HTTP status that counts as an answer
	Reliability     int // targets that must answer
	Interval        time.Duration
	Timeout         time.Duration
	Down            int           // misses in a row until offline
	Up              int           // hits in a row until online
	Window          int           // probes over which loss and latency are judged
	FailureLoss     int           // percent
	RecoveryLoss    int           // percent
	FailureLatency  time.Duration // 0: latency is not judged
	RecoveryLatency time.Duration
	InitialState    string        // online or offline
	OnDead          string        // reset, clear or none
	Failback        string        // new, all or never
	PortalRetry     time.Duration // until scripts hear of a portal again
}

// LastResort is what a policy does while it has no live member.
type LastResort string

// The values of option last_resort.
const (
	LastUnreachable LastResort = "unreachable" // refuse with an ICMP error
	LastBlackhole   LastResort = "blackhole"   // drop
	LastDefault     LastResort = "default"     // use the main table
)

// Policy is a section `config policy 'NAME'`, or the built-in 'balanced'.
type Policy struct {
	Name       string
	Balance    Balance
	LastResort LastResort
	Failback   string // "": as each member has it
	Members    []PolicyMember
}

// PolicyMember is a member of a policy.
type PolicyMember struct {
	Name   string
	Weight int // 1-1000
	Metric int // tier, 1-256; lower first
}

// Rule is a section `config rule`. Empty selectors match everything.
type Rule struct {
	Pos       Pos
	Name      string // "": anonymous
	Label     string // the name, or "@rule[N]", as messages write it
	Enabled   bool
	Families  []family.Family // the families in which the rule applies
	SrcIP     AddressMatch
	DestIP    AddressMatch
	SrcMAC    []string // lower case, colons
	SrcIface  string   // of netifd, or Router
	SrcDevice string
	Protos    []Proto
	ICMPType  string
	SrcPorts  []PortRange
	DestPorts []PortRange
	IPSet     string // destination set
	IPSetSrc  string
	DSCP      int // -1: any
	// FWMark are bits of another program, FWMask those that are looked at; 0: none.
	FWMark, FWMask uint32
	Sticky         bool
	StickyPair     bool          // each destination of a source has an entry of its own
	Timeout        time.Duration // of a sticky entry, whole seconds
	Use            string        // policy, member, default, unreachable or blackhole
	Log            bool
}

// AddressMatch matches an address that lies in one of Any or has the bits of one
// of Masked (where there is neither: every address), and lies in none of Not.
type AddressMatch struct {
	Any    []netip.Prefix
	Not    []netip.Prefix
	Masked []Masked
}

// Masked matches addresses that have the same bits as Address where Mask has
// ones, or with Not the others. Address has no other bits.
type Masked struct {
	Address, Mask netip.Addr // of one family
	Not           bool
}

// Proto is an IP protocol: its number, and its name in the file.
type Proto struct {
	Number uint8
	Name   string
}

// PortRange is a range of ports; a single port has First == Last.
type PortRange struct {
	First, Last uint16
}

// IPSet is a section `config ipset 'NAME'`: a named set that rules refer to.
type IPSet struct {
	Pos      Pos
	Name     string
	Family   family.Family
	Entries  []netip.Prefix
	LoadFile string
	Domains  []string
}
