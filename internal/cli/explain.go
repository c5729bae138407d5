package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/domains"
	"loadbalance/internal/explain"
	"loadbalance/internal/family"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// packetFlags describe the packet of explain, as the user gave them.
type packetFlags struct {
	src, dst, proto, sport, dport, icmpType, in, mac, dscp, mark, without string
}

func explainCommand(in *invocation) int {
	cfg, refused, err := in.shownConfig()
	if err != nil {
		return in.fail(err)
	}
	if cfg.Problems.Fatal() {
		in.report(cfg)
		return exitUsage
	}
	destinations, name, err := in.destinations()
	if err != nil {
		return in.fail(err)
	}
	p, observed, err := in.observeOrRead(cfg)
	if err != nil {
		return in.fail(err)
	}
	defer p.Close()
	if p != nil {
		in.noteDifference(observed)
	}
	var found []*explain.Explanation
	for _, destination := range destinations {
		described := in.packet
		described.dst = destination
		packet, err := described.read(cfg.Config, observed.Uplinks)
		if err != nil {
			return in.fail(err)
		}
		e, err := in.explain(p, observed, packet)
		if err != nil {
			return in.fail(err)
		}
		found = append(found, e)
	}
	if err := in.printExplanations(found, name); err != nil {
		return in.fail(err)
	}
	if cfg.Problems.HasErrors() {
		in.log.Error("the configuration has errors: faulty sections are left out ('loadbalance check' names them)")
	}
	if refused || cfg.Problems.HasErrors() {
		return exitUsage
	}
	return exitDone
}

// destinations are the address of --dst, or those of the name that it is. To ask
// for a name teaches the sets its addresses, as when a host asks.
func (in *invocation) destinations() (addresses []string, name string, err error) {
	dst := in.packet.dst
	name, noName := config.ParseDomain(dst)
	if _, noAddress := netip.ParseAddr(dst); noAddress == nil || noName != nil {
		return []string{dst}, "", nil
	}
	found, err := domains.Lookup(name)
	if err != nil {
		return nil, name, fmt.Errorf("%s: %w", name, err)
	}
	source, _ := netip.ParseAddr(in.packet.src) // a mistake is reported later
	for _, a := range found {
		if !source.IsValid() || family.Of(a) == family.Of(source) {
			addresses = append(addresses, a.String())
		}
	}
	if len(addresses) == 0 {
		return nil, name, fmt.Errorf("%s has no address (with --src, of its family)", name)
	}
	return addresses, name, nil
}

// explain explains the packet. p is nil where there is no kernel to ask.
func (in *invocation) explain(p *pipeline.Pipeline, observed *pipeline.Observed, packet explain.Packet) (*explain.Explanation, error) {
	connection, note, err := findConnection(p, packet)
	if err != nil {
		return nil, err
	}
	input := explain.Input{Config: observed.Config, Plan: observed.Plan(), Connection: connection}
	if p != nil {
		input.InSet = p.Sets.Contains
	}
	e := explain.Explain(input, packet)
	if note != "" {
		e.Notes = append(e.Notes, note)
	}
	member := in.packet.without
	if member == "" {
		return e, nil
	}
	input.Plan = observed.Without(member).Plan()
	if connection != nil && input.Plan.Connections[packet.Family()].Fate(connection.Mark, connection.OriginalDestination) != plan.Keep {
		input.Connection = nil // it is dealt anew
	}
	e.Compare(member, explain.Explain(input, packet))
	return e, nil
}

// noteDifference says so where the kernel does not hold the configuration that is explained.
func (in *invocation) noteDifference(observed *pipeline.Observed) {
	switch {
	case !observed.Kernel.Ours():
		in.log.Notice("loadbalance is not running: this is what would happen if it were")
	case !observed.Changes().Empty():
		in.log.Notice("the kernel does not hold this configuration yet: this is what would happen after 'loadbalance apply'")
	}
}

// findConnection finds the entry that the packet belongs to. Without the ports,
// and for ICMP, it can only tell of connections that look alike.
func findConnection(p *pipeline.Pipeline, packet explain.Packet) (found *explain.Connection, note string, err error) {
	if p == nil || packet.Protocol == explain.Unknown || !packet.Source.IsValid() {
		return nil, "", nil
	}
	search := explain.Search{Packet: packet}
	err = p.Connections.Each(packet.Family(), search.Visit)
	if errors.Is(err, conntrack.ErrUnavailable) {
		return nil, "connections that exist are not looked at: " + err.Error(), nil
	}
	if search.Alike > 0 {
		note = fmt.Sprintf("%d connections of this description exist already and stay where they are; this is about a new one", search.Alike)
	}
	return search.Found, note, err
}

// printExplanations prints that of an address, or those of a name's addresses.
func (in *invocation) printExplanations(all []*explain.Explanation, name string) error {
	if in.json {
		encoder := json.NewEncoder(in.out)
		encoder.SetIndent("", "  ")
		if name == "" {
			return encoder.Encode(all[0])
		}
		return encoder.Encode(struct {
			Name      string                 `json:"name"`
			Addresses []*explain.Explanation `json:"addresses"`
		}{name, all})
	}
	var text strings.Builder
	for i, e := range all {
		if i > 0 {
			text.WriteString("\n")
		}
		if name != "" {
			fmt.Fprintf(&text, "%s, address %d of %d\n", name, i+1, len(all))
		}
		text.WriteString(e.Text())
	}
	_, err := io.WriteString(in.out, text.String())
	return err
}

// IP protocol numbers (IANA).
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

func (f packetFlags) read(cfg *config.Config, uplinks uplink.State) (explain.Packet, error) {
	p := explain.Packet{Protocol: explain.Unknown, SourcePort: explain.Unknown, DestinationPort: explain.Unknown,
		ICMPType: explain.Unknown, ICMPCode: explain.Unknown, DSCP: explain.Unknown}
	if f.dst == "" {
		return p, fmt.Errorf("%w: explain needs --dst ADDRESS or NAME", errUsage)
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
	if f.mark != "" {
		mark, err := config.ParseMark(f.mark)
		note("mark", err)
		p.Mark, p.MarkKnown = mark, true
	}
	if p.Own = f.in == config.Router; !p.Own {
		p.InDevice = deviceNamed(f.in, p.Family(), uplinks)
	}
	if f.without != "" && cfg.Member(f.without) == nil {
		note("without", cfg.NoMember(f.without))
	}
	return p, errors.Join(failed...)
}

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
	if path := uplinks.Path(name, f); path != nil && path.Device != "" {
		return path.Device
	}
	return cmp.Or(uplinks.Interfaces[name], name)
}
