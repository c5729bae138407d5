package status

import (
	"io"
	"strconv"
	"strings"
	"time"

	"loadbalance/internal/family"
)

// exposition builds a text in Prometheus's exposition format, version 0.0.4: for each metric
// its help, its type, then its samples.
type exposition struct{ text strings.Builder }

// begin begins a metric; help has no backslash and no line break.
func (e *exposition) begin(name, kind, help string) {
	e.text.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes a value; labels are pairs of name and value.
func (e *exposition) sample(name string, value float64, labels ...string) {
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+labelEscapes.Replace(labels[i+1])+`"`)
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	e.text.WriteString(name + " " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}

const (
	gauge   = "gauge"
	counter = "counter"
)

// WriteMetrics prints the status as the textfile collector of Prometheus's node exporter reads it.
func (s Status) WriteMetrics(w io.Writer) error {
	var e exposition
	s.serviceMetrics(&e)
	s.memberMetrics(&e)
	s.usageMetrics(&e)
	s.policyMetrics(&e)
	s.deviceMetrics(&e)
	_, err := io.WriteString(w, e.text.String())
	return err
}

func (s Status) serviceMetrics(e *exposition) {
	e.begin("loadbalance_info", gauge, "Version and iptables back end of the load balancer; always 1.")
	e.sample("loadbalance_info", 1, "version", s.Version, "backend", s.Backend)
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"loadbalance_running", "Whether the kernel holds the rules of the load balancer.", truth(s.Running)},
		{"loadbalance_stopped", "Whether a user has stopped the load balancer.", truth(s.Stopped)},
		{"loadbalance_in_sync", "Whether the kernel holds exactly what the configuration asks for.", truth(s.InSync)},
		{"loadbalance_config_refused", "Whether the configuration file has errors, so that the one before goes on.", truth(s.Refused != nil)},
		{"loadbalance_problems", "Errors and warnings in the configuration.", float64(len(s.Problems))},
		{"loadbalance_netifd_silent", "Whether netifd does not answer, so that its last answer counts.", truth(s.Uplinks.NetifdSilent != "")},
		{"loadbalance_monitor_up", "Whether the monitor, which probes the members, runs and answers.", truth(s.Monitor.Running)},
		{"loadbalance_monitor_wanted", "Whether the configuration has targets to probe.", truth(s.Monitor.Wanted)},
		{"loadbalance_monitor_silent", "Whether no target answers in a family, so that no member goes offline there.", truth(s.Monitor.Silent)},
	} {
		e.begin(m.name, gauge, m.help)
		e.sample(m.name, m.value)
	}
	e.begin("loadbalance_monitor_start_time_seconds", gauge, "When the monitor was started, in Unix time.")
	if s.Monitor.Started != nil {
		e.sample("loadbalance_monitor_start_time_seconds", unixSeconds(*s.Monitor.Started))
	}
}

// memberMetrics have the labels member and family. With health, value needs a report.
var memberMetrics = []struct {
	name, kind, help string
	health           bool
	value            func(*Family) float64
}{
	{"loadbalance_member_up", gauge, "Whether the member has a link, an address and a route.", false,
		func(f *Family) float64 { return truth(f.State != stateDown) }},
	{"loadbalance_member_online", gauge, "Whether the member is up and its health check, where there is one, agrees.", false,
		func(f *Family) float64 { return truth(f.State == stateActive || f.State == stateStandby) }},
	{"loadbalance_member_portal", gauge, "Whether a captive portal wants a login on the member.", false,
		func(f *Family) float64 { return truth(f.State == statePortal) }},
	{"loadbalance_member_full", gauge, "Whether the member's line is full, so that it gets nothing new while another has room.", false,
		func(f *Family) float64 { return truth(f.Full) }},
	{"loadbalance_member_active", gauge, "Whether policy balanced deals new connections to the member.", false,
		func(f *Family) float64 { return truth(f.State == stateActive) }},
	{"loadbalance_member_connections", gauge, "Live connections over the member.", false,
		func(f *Family) float64 { return float64(f.Connections) }},
	{"loadbalance_member_unanswered_connections", gauge, "Live connections that have seen no answer yet.", false,
		func(f *Family) float64 { return float64(f.UnansweredConnections) }},
	{"loadbalance_health_loss_ratio", gauge, "Share of the probes in the window that went unanswered, for the worst target that is needed.", true,
		func(f *Family) float64 { return f.Health.Loss }},
	{"loadbalance_health_latency_seconds", gauge, "Mean time to an answer in the window, for the worst target that is needed; 0 without any answer.", true,
		func(f *Family) float64 { return f.Health.Latency.Seconds() }},
	{"loadbalance_health_hits", gauge, "Rounds in a row in which enough targets answered.", true,
		func(f *Family) float64 { return float64(f.Health.Hits) }},
	{"loadbalance_health_misses", gauge, "Rounds in a row in which too few targets answered.", true,
		func(f *Family) float64 { return float64(f.Health.Misses) }},
	{"loadbalance_health_flaps_total", counter, "How often the member went offline since the monitor was started.", true,
		func(f *Family) float64 { return float64(f.Health.Flaps) }},
	{"loadbalance_health_transition_time_seconds", gauge, "When the verdict last changed, in Unix time.", true,
		func(f *Family) float64 { return unixSeconds(f.Health.Since) }},
}

func (s Status) memberMetrics(e *exposition) {
	e.begin("loadbalance_member_info", gauge, "The device of a member; always 1.")
	s.eachFamily(func(m Member, f family.Family, state *Family) {
		e.sample("loadbalance_member_info", 1, "member", m.Name, "family", f.String(), "device", state.Device)
	})
	for _, metric := range memberMetrics {
		e.begin(metric.name, metric.kind, metric.help)
		s.eachFamily(func(m Member, f family.Family, state *Family) {
			if !metric.health || state.Health != nil {
				e.sample(metric.name, metric.value(state), "member", m.Name, "family", f.String())
			}
		})
	}
}

func (s Status) usageMetrics(e *exposition) {
	for i, metric := range [][2]string{
		{"loadbalance_quota_bytes", "What the member may carry in a period, in both directions."},
		{"loadbalance_quota_used_bytes", "What it has carried in this period."},
		{"loadbalance_quota_period_start_time_seconds", "When this period began, in Unix time."},
	} {
		e.begin(metric[0], gauge, metric[1])
		for _, u := range s.Usage {
			e.sample(metric[0], []float64{float64(u.Quota), float64(u.Bytes), unixSeconds(u.Since)}[i], "member", u.Member)
		}
	}
}

// policyMetrics are the metrics with the labels policy, member and family.
var policyMetrics = []struct {
	name, kind, help string
	value            func(*PolicyShare) float64
}{
	{"loadbalance_policy_share_ratio", gauge, "Share of the policy's new connections that the member is dealt now.",
		func(p *PolicyShare) float64 { return p.Share }},
	{"loadbalance_policy_expected_ratio", gauge, "Share of the dealt connections that the member should have got; 0 while none was dealt.",
		func(p *PolicyShare) float64 { return p.ExpectedShare }},
	{"loadbalance_policy_dealt_ratio", gauge, "Share of the dealt connections that the member got; 0 while none was dealt.",
		func(p *PolicyShare) float64 { return p.DealtShare }},
	{"loadbalance_policy_dealt_connections_total", counter, "Connections that the policy has dealt to the member since the service was started.",
		func(p *PolicyShare) float64 { return float64(p.Dealt) }},
}

func (s Status) policyMetrics(e *exposition) {
	for _, metric := range policyMetrics {
		e.begin(metric.name, metric.kind, metric.help)
		s.eachShare(func(policy, member string, f family.Family, share *PolicyShare) {
			e.sample(metric.name, metric.value(share), "policy", policy, "member", member, "family", f.String())
		})
	}
}

// deviceMetrics have no label member: members may share a device, and a sum over members would
// count its bytes twice.
func (s Status) deviceMetrics(e *exposition) {
	e.begin("loadbalance_device_receive_bytes_total", counter, "Bytes that a member's device has received, of all its traffic.")
	for _, d := range s.Devices {
		e.sample("loadbalance_device_receive_bytes_total", float64(d.Received), "device", d.Name)
	}
	e.begin("loadbalance_device_transmit_bytes_total", counter, "Bytes that a member's device has sent, of all its traffic.")
	for _, d := range s.Devices {
		e.sample("loadbalance_device_transmit_bytes_total", float64(d.Sent), "device", d.Name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unixSeconds returns Unix time to the millisecond, more than a verdict has.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
