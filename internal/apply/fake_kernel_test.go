package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"loadbalance/internal/apply/challenge"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

var errInjected = errors.New("injected failure")

// fakeKernel keeps everything that an apply reads and changes, and refuses
// what a kernel refuses. It counts operations and can let one of them fail.
type fakeKernel struct {
	t       *testing.T
	mangle  *fakeMangle
	other   *fakeMangle
	rules   map[family.Family][]uplink.Rule
	routes  map[family.Family][]plan.Route
	sets    map[string]ipset.Set
	inUse   string // a set that a rule of somebody else names
	sysctls map[string]string
	entries []conntrack.Entry
	// dealtMeanwhile are connections that the old chains deal out during the
	// next write.
	dealtMeanwhile []conntrack.Entry
	resets         []challenge.Flow // the connections whose clients were told
	// answersOn is the uplink by which clients answer at once that are told;
	// 0: they do not.
	answersOn int

	mutex  sync.Mutex // both families are read at the same time
	log    []string   // the operations that were tried
	failAt int        // the number of the one that fails; 0: none
}

func newFakeKernel(t *testing.T) *fakeKernel {
	k := &fakeKernel{
		t:       t,
		rules:   map[family.Family][]uplink.Rule{},
		routes:  map[family.Family][]plan.Route{},
		sets:    map[string]ipset.Set{},
		sysctls: map[string]string{},
	}
	k.mangle = &fakeMangle{kernel: k, tables: map[family.Family]*fakeTable{}, missing: map[family.Family]bool{}, locked: map[family.Family]int{}}
	k.other = &fakeMangle{kernel: k, legacy: true, tables: map[family.Family]*fakeTable{}}
	for _, device := range []string{"default", "wan1", "wan2", "wan3"} {
		for _, setting := range []string{"rp_filter", "src_valid_mark"} {
			k.sysctls["net/ipv4/conf/"+device+"/"+setting] = "0"
		}
	}
	for _, setting := range []string{"arp_ignore", "arp_announce"} {
		k.sysctls["net/ipv4/conf/all/"+setting] = "0"
		k.sysctls["net/ipv4/conf/default/"+setting] = "0"
	}
	return k
}

func (k *fakeKernel) step(format string, args ...any) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.log = append(k.log, fmt.Sprintf(format, args...))
	if len(k.log) == k.failAt {
		return fmt.Errorf("%s: %w", k.log[len(k.log)-1], errInjected)
	}
	return nil
}

func (k *fakeKernel) notice(text string) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.log = append(k.log, "notice: "+text)
}

// engine is an engine over this kernel.
func (k *fakeKernel) engine(run string) *Engine {
	return &Engine{
		Mangle:      k.mangle,
		Other:       func(bool) OtherBackend { return k.other },
		NFTables:    fakeNFTables{k},
		Routing:     fakeRouting{k},
		Sets:        fakeSets{k},
		Sysctls:     fakeSysctls{k},
		Connections: fakeConnections{k},
		Resets:      fakeResets{k},
		Run:         rundir.Dir(run),
		NamesDir:    run + "/rt_tables.d",
		Notice:      k.notice,
	}
}

// dump is everything that is there, without counters.
func (k *fakeKernel) dump() string {
	var text strings.Builder
	for _, f := range family.All {
		for _, back := range []*fakeMangle{k.mangle, k.other} {
			if table := back.tables[f]; table != nil {
				for _, name := range slices.Sorted(maps.Keys(table.chains)) {
					fmt.Fprintf(&text, "%s legacy=%v :%s\n", f, back.legacy, name)
					for _, rule := range table.chains[name] {
						fmt.Fprintf(&text, "  %s\n", rule.text)
					}
				}
			}
		}
		var lines []string
		for _, r := range k.rules[f] {
			lines = append(lines, fmt.Sprintf("%s rule %+v\n", f, r))
		}
		for _, r := range k.routes[f] {
			lines = append(lines, fmt.Sprintf("%s route %+v\n", f, r))
		}
		slices.Sort(lines)
		text.WriteString(strings.Join(lines, ""))
	}
	for _, name := range slices.Sorted(maps.Keys(k.sets)) {
		fmt.Fprintf(&text, "set %s %v\n", name, k.sets[name].Entries)
	}
	for _, path := range slices.Sorted(maps.Keys(k.sysctls)) {
		fmt.Fprintf(&text, "%s=%s\n", path, k.sysctls[path])
	}
	return text.String()
}

// chains is the mangle table of a family without counters and empty built-in
// chains.
func (k *fakeKernel) chains(f family.Family) string {
	var text strings.Builder
	if table := k.mangle.tables[f]; table != nil {
		for _, name := range slices.Sorted(maps.Keys(table.chains)) {
			if len(table.chains[name]) == 0 && slices.Contains(builtinChains, name) {
				continue
			}
			text.WriteString(name + "\n")
			for _, rule := range table.chains[name] {
				text.WriteString("  " + rule.text + "\n")
			}
		}
	}
	return text.String()
}

// deal lets packets pass the first rule of a chain.
func (k *fakeKernel) deal(f family.Family, chain string, packets int) {
	k.mangle.tables[f].chains[chain][0].packets += packets
}

type fakeNFTables struct{ *fakeKernel }

func (k fakeNFTables) backend() *fakeMangle {
	if k.mangle.legacy {
		return k.other
	}
	return k.mangle
}

func (k fakeNFTables) Exists(f family.Family) (bool, error) {
	if err := k.step("nftables table (%s)", f); err != nil {
		return false, err
	}
	return k.backend().tables[f] != nil, nil
}

func (k fakeNFTables) Delete(f family.Family) error {
	if err := k.step("nftables table delete (%s)", f); err != nil {
		return err
	}
	table := k.backend().tables[f]
	if table == nil {
		return nil
	}
	for name, rules := range table.chains {
		if len(rules) > 0 || !slices.Contains(builtinChains, name) {
			k.t.Errorf("the deleted nftables table (%s) had %s", f, name)
		}
	}
	delete(k.backend().tables, f)
	return nil
}

type fakeRouting struct{ *fakeKernel }

func (k fakeRouting) Read(f family.Family) (routing.State, error) {
	if err := k.step("ip rules and routes (%s)", f); err != nil {
		return routing.State{}, err
	}
	var state routing.State
	for _, r := range k.rules[f] {
		state.Rules = append(state.Rules, routing.Rule{Rule: r})
	}
	for _, r := range k.routes[f] {
		state.Routes = append(state.Routes, routing.Route{Route: r})
	}
	return state, nil
}

func (k fakeRouting) AddRule(f family.Family, r uplink.Rule) error {
	if err := k.step("rule add (%s) %d lookup %d", f, r.Priority, r.Table); err != nil {
		return err
	}
	if slices.Contains(k.rules[f], r) {
		k.t.Errorf("%s: rule %+v is there already", f, r)
	}
	k.rules[f] = append(k.rules[f], r)
	return nil
}

func (k fakeRouting) DeleteRule(f family.Family, r routing.Rule) error {
	if err := k.step("rule del (%s) %d lookup %d", f, r.Priority, r.Table); err != nil {
		return err
	}
	i := slices.Index(k.rules[f], r.Rule)
	if i < 0 {
		k.t.Fatalf("%s: rule %+v is not there", f, r)
	}
	k.rules[f] = slices.Delete(k.rules[f], i, i+1)
	return nil
}

func (k fakeRouting) place(f family.Family, r plan.Route) int {
	return slices.IndexFunc(k.routes[f], func(have plan.Route) bool {
		return have.Table == r.Table && have.Destination == r.Destination
	})
}

func (k fakeRouting) AddRoute(f family.Family, r plan.Route) error {
	if err := k.step("route add (%s) %s table %d", f, r.Destination, r.Table); err != nil {
		return err
	}
	if k.place(f, r) >= 0 {
		k.t.Errorf("%s: route %+v: another one is there", f, r)
	}
	k.routes[f] = append(k.routes[f], r)
	return nil
}

func (k fakeRouting) ReplaceRoute(f family.Family, r plan.Route) error {
	if err := k.step("route replace (%s) %s table %d", f, r.Destination, r.Table); err != nil {
		return err
	}
	i := k.place(f, r)
	if i < 0 {
		k.t.Fatalf("%s: route %+v replaces nothing", f, r)
	}
	k.routes[f][i] = r
	return nil
}

func (k fakeRouting) DeleteRoute(f family.Family, r routing.Route) error {
	if err := k.step("route del (%s) %s table %d", f, r.Destination, r.Table); err != nil {
		return err
	}
	for _, rule := range k.rules[f] {
		if rule.Table == r.Table && len(k.mangle.tables) == 0 {
			k.t.Errorf("%s: route %+v goes before the rule %+v", f, r, rule)
		}
	}
	i := slices.Index(k.routes[f], r.Route)
	if i < 0 {
		k.t.Fatalf("%s: route %+v is not there", f, r)
	}
	k.routes[f] = slices.Delete(k.routes[f], i, i+1)
	return nil
}

type fakeSets struct{ *fakeKernel }

func (k fakeSets) Read() ([]ipset.Set, error) {
	if err := k.step("ipset list"); err != nil {
		return nil, err
	}
	var sets []ipset.Set
	for _, name := range slices.Sorted(maps.Keys(k.sets)) {
		sets = append(sets, k.sets[name])
	}
	return sets, nil
}

func (k fakeSets) Create(name string, f family.Family, o ipset.Options) error {
	if err := k.step("ipset create %s", name); err != nil {
		return err
	}
	if _, exists := k.sets[name]; exists {
		k.t.Errorf("set %s is there already", name)
	}
	k.sets[name] = ipset.Set{Name: name, Type: setType(o), Family: f, MaxElements: o.MaxElements, Timeout: o.Timeout, Learns: o.Learns}
	return nil
}

func setType(o ipset.Options) string {
	switch {
	case o.Pairs:
		return "hash:net,net"
	case o.Timeout > 0:
		return "hash:ip"
	}
	return "hash:net"
}

func (k fakeSets) Learn(name string, entries ...ipset.Learnt) error {
	if err := k.step("ipset learn %s", name); err != nil {
		return err
	}
	set := k.sets[name]
	if !set.Learns {
		k.t.Errorf("set %s takes no time limits and comments", name)
	}
	for _, l := range entries {
		set.Learnt = slices.DeleteFunc(slices.Clone(set.Learnt), func(have ipset.Learnt) bool { return have.Address == l.Address })
		set.Learnt = append(set.Learnt, l)
	}
	k.sets[name] = set
	return nil
}

func (k fakeSets) change(name string, change func([]netip.Prefix) []netip.Prefix) {
	set, exists := k.sets[name]
	if !exists {
		k.t.Fatalf("no set %s", name)
	}
	set.Entries = change(slices.Clone(set.Entries))
	slices.SortFunc(set.Entries, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	k.sets[name] = set
}

func (k fakeSets) Add(name string, entries []netip.Prefix) error {
	if err := k.step("ipset add %s", name); err != nil {
		return err
	}
	k.change(name, func(have []netip.Prefix) []netip.Prefix { return append(have, entries...) })
	return nil
}

func (k fakeSets) Delete(name string, entries []netip.Prefix) error {
	if err := k.step("ipset del %s", name); err != nil {
		return err
	}
	k.change(name, func(have []netip.Prefix) []netip.Prefix {
		return slices.DeleteFunc(have, func(p netip.Prefix) bool { return slices.Contains(entries, p) })
	})
	set := k.sets[name]
	set.Learnt = slices.DeleteFunc(slices.Clone(set.Learnt), func(l ipset.Learnt) bool {
		return slices.Contains(entries, netip.PrefixFrom(l.Address, l.Address.BitLen()))
	})
	k.sets[name] = set
	return nil
}

func (k fakeSets) Swap(a, b string) error {
	if err := k.step("ipset swap %s %s", a, b); err != nil {
		return err
	}
	first, second := k.sets[a], k.sets[b]
	first.Name, second.Name = b, a
	k.sets[a], k.sets[b] = second, first
	return nil
}

func (k fakeSets) Destroy(name string) error {
	if err := k.step("ipset destroy %s", name); err != nil {
		return err
	}
	if name == k.inUse {
		return errors.New("the set is in use by a rule")
	}
	if _, exists := k.sets[name]; !exists || k.mangle.uses(name) || k.other.uses(name) {
		k.t.Errorf("set %s is in use or not there", name)
	}
	delete(k.sets, name)
	return nil
}

type fakeSysctls struct{ *fakeKernel }

func (k fakeSysctls) Read(path string) (string, error) {
	if path == "net/netfilter/nf_conntrack_count" {
		return strconv.Itoa(len(k.entries)), nil
	}
	value, exists := k.sysctls[path]
	if !exists {
		return "", fmt.Errorf("sysctl %s: %w", path, fs.ErrNotExist)
	}
	return value, nil
}

func (k fakeSysctls) Write(path, value string) error {
	if err := k.step("sysctl %s=%s", path, value); err != nil {
		return err
	}
	k.sysctls[path] = value
	return nil
}

// The fakes stand for what the engine really uses.
var (
	_ Mangle         = (*fakeMangle)(nil)
	_ Mangle         = iptables.Tool{}
	_ nftables       = fakeNFTables{}
	_ connections    = fakeConnections{}
	_ resets         = fakeResets{}
	_ resets         = challenge.Sender{}
	_ ipset.Kernel   = fakeSets{}
	_ routing.Kernel = fakeRouting{}
)
