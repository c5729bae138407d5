package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/explain"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// packetFlags describe the packet of explain, as the user gave them.
type packetFlags struct {
	src, dst, proto, sport, dport, icmpType, in, mac, dscp, without string
}

// explainCommand tells which way a packet takes and why.
func explainCommand(in *invocation) int {
	cfg, err := in.readConfig()
	if err != nil {
		in.log.Error(err.Error())
		return exitUsage
	}
	if cfg.problems.Fatal() {
		in.report(cfg)
		return exitUsage
	}
	known, err := in.explainWorld(cfg)
	if err != nil {
		return in.fail(err)
	}
	defer known.close()
	packet, err := in.packet.read(cfg.Config, known.uplinks)
	if err != nil {
		in.log.Error(err.Error())
		return exitUsage
	}
	if err := in.explain(cfg, known, packet); err != nil {
		return in.fail(err)
	}
	if cfg.problems.HasErrors() {
		in.log.Error("the configuration has errors: faulty sections are left out ('loadbalance check' names them)")
		return exitUsage
	}
	return exitDone
}

// explainWorld is what explain knows besides the configuration.
type explainWorld struct {
	uplinks uplink.State
	indices plan.Indices
	offline rundir.Offline // the monitor's verdicts
	held    map[family.Family]map[string]bool
	noIPv6  bool    // ip6tables is missing
	system  *system // nil with --uplinks
}

func (w *explainWorld) close() {
	if w.system != nil {
		w.system.Close()
	}
}

func (in *invocation) explainWorld(cfg *configuration) (*explainWorld, error) {
	w := &explainWorld{}
	var err error
	if in.uplinks != "" {
		if w.uplinks, err = readUplinks(in.uplinks); err != nil {
			return nil, err
		}
		w.indices, err = plan.Indices{}.Assign(cfg.Config)
		return w, err
	}
	if w.system, err = in.openSystem(); err != nil {
		return nil, err
	}
	if err := in.readWorld(w, cfg); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// readWorld reads the kernel, and says so where it does not hold what the
// configuration asks for: the explanation is of the configuration.
func (in *invocation) readWorld(w *explainWorld, cfg *configuration) error {
	actual, err := w.system.Read()
	if err != nil {
		return err
	}
	if w.uplinks, err = in.world(w.system, cfg); err != nil {
		return err
	}
	if w.offline, err = in.offline(cfg); err != nil {
		return err
	}
	changes, err := w.system.Plan(cfg.Config, w.uplinks, w.offline, actual)
	if err != nil {
		return err
	}
	switch {
	case !actual.Ours():
		in.log.Notice("loadbalance is not running: this is what would happen if it were")
	case !changes.Empty():
		in.log.Notice("the kernel does not hold this configuration yet: this is what would happen after 'loadbalance apply'")
	}
	w.held = changes.Plan.Held
	w.uplinks = apply.WithLastPrefixes(w.uplinks, actual.State.Prefixes)
	w.noIPv6 = actual.Tables[family.IPv6] == nil
	w.indices, err = actual.Indices(cfg.Config).Assign(cfg.Config)
	return err
}

// plan computes the plan. without, unless empty, is a member to be taken for
// offline.
func (w *explainWorld) plan(cfg *config.Config, without string) (*plan.Plan, error) {
	offline := map[family.Family]map[string]string{}
	for _, f := range family.All {
		offline[f] = map[string]string{}
		maps.Copy(offline[f], w.offline[f])
		if without != "" {
			offline[f][without] = "assumed"
		}
	}
	p, err := plan.Build(plan.Input{Config: cfg, Uplinks: w.uplinks, Indices: w.indices, Offline: offline, Held: w.held})
	if err == nil && w.noIPv6 {
		p.IPv6 = plan.Family{}
	}
	return p, err
}

func (in *invocation) explain(cfg *configuration, known *explainWorld, packet explain.Packet) error {
	connection, notes, err := known.connection(packet)
	if err != nil {
		return err
	}
	now, err := known.explain(cfg.Config, packet, connection, "")
	if err != nil {
		return err
	}
	now.Notes = append(now.Notes, notes...)
	if in.packet.without == "" {
		return in.printExplanation(now, nil)
	}
	then, err := known.explainWithout(cfg.Config, in.packet.without, packet, connection)
	if err != nil {
		return err
	}
	without := explain.Compare(in.packet.without, now, then)
	return in.printExplanation(now, &without)
}

func (in *invocation) printExplanation(now *explain.Explanation, without *explain.Without) error {
	if in.json {
		encoder := json.NewEncoder(in.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			*explain.Explanation
			Without *explain.Without `json:"without,omitempty"`
		}{now, without})
	}
	if err := now.WriteText(in.out); err != nil || without == nil {
		return err
	}
	return without.WriteText(in.out)
}

func (w *explainWorld) explain(cfg *config.Config, packet explain.Packet, connection *explain.Connection,
	without string) (*explain.Explanation, error) {
	p, err := w.plan(cfg, without)
	if err != nil {
		return nil, err
	}
	input := explain.Input{Config: cfg, Plan: p, Uplinks: w.uplinks, Connection: connection}
	if w.system != nil {
		input.InSet = w.inSet
	}
	return explain.Explain(input, packet)
}

// explainWithout explains the packet as if a member were down. The entries of
// its connections are deleted then, except of those that came in by it.
func (w *explainWorld) explainWithout(cfg *config.Config, member string, packet explain.Packet,
	connection *explain.Connection) (*explain.Explanation, error) {
	if connection != nil && !connection.Incoming {
		p, err := w.plan(cfg, "")
		if err != nil {
			return nil, err
		}
		for _, m := range p.Members {
			if m.Name == member && connection.Mark&cfg.Globals.MarkMask == m.Mark {
				connection = nil
				break
			}
		}
	}
	return w.explain(cfg, packet, connection, member)
}

// inSet asks the kernel.
func (w *explainWorld) inSet(set string, a netip.Addr) (in, known bool) {
	in, err := w.system.sets.Contains(set, a)
	return in, err == nil
}

// connection finds the entry that the packet belongs to. Without the ports,
// and for ICMP, it can only tell of connections that look alike.
func (w *explainWorld) connection(p explain.Packet) (*explain.Connection, []string, error) {
	if w.system == nil || p.Protocol == explain.Unknown || !p.Source.IsValid() {
		return nil, nil, nil
	}
	search := explain.Search{Packet: p, Uplinks: w.uplinks}
	err := w.system.connections.Each(p.Family(), conntrack.Filter{}, search.Visit)
	if errors.Is(err, conntrack.ErrUnavailable) {
		return nil, []string{"connections that exist are not looked at: " + err.Error()}, nil
	}
	var notes []string
	if search.Alike > 0 {
		notes = append(notes, fmt.Sprintf("%d connections of this description exist already and stay where they are; this is about a new one", search.Alike))
	}
	return search.Found, notes, err
}

// IP protocol numbers (IANA).
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// read turns the flags into a packet.
func (f packetFlags) read(cfg *config.Config, uplinks uplink.State) (explain.Packet, error) {
	p := explain.Packet{Protocol: explain.Unknown, SourcePort: explain.Unknown, DestinationPort: explain.Unknown,
		ICMPType: explain.Unknown, ICMPCode: explain.Unknown, DSCP: explain.Unknown}
	if f.dst == "" {
		return p, fmt.Errorf("%w: explain needs --dst ADDRESS", errUsage)
	}
	var failed []error
	note := func(flag string, err error) {
		if err != nil {
			failed = append(failed, fmt.Errorf("%w: --%s: %w", errUsage, flag, err))
		}
	}
	address := func(flag, text string) (a netip.Addr) {
		if text != "" {
			var err error
			a, err = netip.ParseAddr(text)
			note(flag, err)
		}
		return a
	}
	p.Source, p.Destination = address("src", f.src), address("dst", f.dst)
	if len(failed) > 0 {
		return p, errors.Join(failed...)
	}
	if p.Source.IsValid() && family.Of(p.Source) != p.Family() {
		return p, fmt.Errorf("%w: --src and --dst are not of the same family", errUsage)
	}
	note("proto", f.readTransport(&p))
	if f.mac != "" {
		mac, err := config.ParseMAC(f.mac)
		note("mac", err)
		p.SourceMAC = mac
	}
	if f.dscp != "" {
		dscp, err := config.ParseDSCP(f.dscp)
		note("dscp", err)
		p.DSCP = dscp
	}
	p.InDevice = deviceNamed(f.in, p.Family(), uplinks)
	if f.without != "" && cfg.Member(f.without) == nil {
		note("without", fmt.Errorf("there is no member '%s'", f.without))
	}
	return p, errors.Join(failed...)
}

// readTransport reads the protocol and what depends on it.
func (f packetFlags) readTransport(p *explain.Packet) error {
	if f.proto == "" {
		if f.sport != "" || f.dport != "" || f.icmpType != "" {
			return errors.New("is needed along with ports and ICMP types")
		}
		return nil
	}
	proto, err := config.ParseProto(strings.ToLower(f.proto))
	if err != nil {
		return err
	}
	p.Protocol = int(proto.Number)
	if p.Protocol == 0 {
		p.Protocol = explain.Unknown // "all"
	}
	if p.Protocol == protoICMP && p.Family() == family.IPv6 {
		p.Protocol = protoICMPv6 // what people mean
	}
	for _, port := range []struct {
		text string
		into *int
	}{{f.sport, &p.SourcePort}, {f.dport, &p.DestinationPort}} {
		if port.text == "" {
			continue
		}
		if !explain.HasPorts(p.Protocol) {
			return fmt.Errorf("'%s' has no ports", f.proto)
		}
		number, err := strconv.ParseUint(port.text, 10, 16)
		if err != nil || number == 0 {
			return fmt.Errorf("'%s' is no port", port.text)
		}
		*port.into = int(number)
	}
	if f.icmpType == "" {
		return nil
	}
	if p.Protocol != protoICMP && p.Protocol != protoICMPv6 {
		return fmt.Errorf("'%s' has no ICMP types", f.proto)
	}
	p.ICMPType, p.ICMPCode, err = explain.ParseICMPType(p.Family(), f.icmpType)
	return err
}

// deviceNamed is the device of a member, of an interface, or itself.
func deviceNamed(name string, f family.Family, uplinks uplink.State) string {
	for _, m := range uplinks.Members {
		if path := m.Path(f); m.Name == name && path != nil && path.Device != "" {
			return path.Device
		}
	}
	if device := uplinks.Interfaces[name]; device != "" {
		return device
	}
	return name
}
