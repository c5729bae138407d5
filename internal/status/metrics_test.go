package status

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"loadbalance/internal/apply"
	"loadbalance/internal/health"
	"loadbalance/internal/kernel"
)

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	helpLine   = regexp.MustCompile(`^# HELP (\S+) ([^\\]+)$`)
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (counter|gauge)$`)
)

// readMetrics reads the exposition format, and nothing beyond what we mean to
// write of it: HELP, TYPE, then the samples, for one metric after the other. It
// returns the values by name and labels as fmt prints them.
func readMetrics(text string) (map[string]float64, error) {
	values := map[string]float64{}
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line has no end")
	}
	seen := map[string]bool{}
	var current, kind string
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if m := helpLine.FindStringSubmatch(line); m != nil {
			if seen[m[1]] || !metricName.MatchString(m[1]) {
				return nil, fmt.Errorf("line %d: a second or invalid metric: %s", i+1, line)
			}
			current, kind, seen[m[1]] = m[1], "", true
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			if m[1] != current || kind != "" || (m[2] == "counter") != strings.HasSuffix(m[1], "_total") {
				return nil, fmt.Errorf("line %d: a type out of place: %s", i+1, line)
			}
			kind = m[2]
			continue
		}
		name, labels, value, err := readSample(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %s", i+1, err, line)
		}
		key := fmt.Sprint(name, labels)
		if _, twice := values[key]; twice || name != current || kind == "" || kind == "counter" && value < 0 {
			return nil, fmt.Errorf("line %d: a sample out of place or twice: %s", i+1, line)
		}
		values[key] = value
	}
	return values, nil
}

func readSample(line string) (name string, labels map[string]string, value float64, err error) {
	end := strings.IndexAny(line, "{ ")
	if end < 0 || !metricName.MatchString(line[:end]) {
		return "", nil, 0, fmt.Errorf("no name")
	}
	name, labels = line[:end], map[string]string{}
	rest := line[end:]
	if rest[0] == '{' {
		if rest, err = readLabels(rest[1:], labels); err != nil {
			return "", nil, 0, err
		}
	}
	number, ok := strings.CutPrefix(rest, " ")
	if !ok || strings.ContainsAny(number, " \t") {
		return "", nil, 0, fmt.Errorf("no value")
	}
	value, err = strconv.ParseFloat(number, 64)
	return name, labels, value, err
}

// readLabels reads up to the closing brace and returns what follows it.
func readLabels(text string, labels map[string]string) (rest string, err error) {
	for {
		name, after, ok := strings.Cut(text, `="`)
		if _, twice := labels[name]; !ok || twice || !labelName.MatchString(name) {
			return "", fmt.Errorf("no label")
		}
		var value strings.Builder
		i := 0
		for ; i < len(after) && after[i] != '"'; i++ {
			if after[i] != '\\' {
				value.WriteByte(after[i])
				continue
			}
			if i++; i == len(after) || !strings.ContainsRune(`\"n`, rune(after[i])) {
				return "", fmt.Errorf("an unknown escape")
			}
			value.WriteString(map[byte]string{'\\': `\`, '"': `"`, 'n': "\n"}[after[i]])
		}
		if i+1 >= len(after) {
			return "", fmt.Errorf("no end of labels")
		}
		labels[name] = value.String()
		text = after[i+2:]
		switch after[i+1] {
		case '}':
			return text, nil
		case ',':
		default:
			return "", fmt.Errorf("no comma between labels")
		}
	}
}

func TestReadMetricsRefuses(t *testing.T) {
	const head = "# HELP a Help.\n# TYPE a gauge\n"
	for _, text := range []string{
		"", head + "a 1", "a 1\n", head + "b 1\n", head + "a\n", head + "a x\n", head + "a 1 2\n", head + "a  1\n", head + "a 1\na 2\n",
		head + "a{} 1\n", head + `a{b="c} 1` + "\n", head + `a{b="c"d="e"} 1` + "\n", head + `a{b="\t"} 1` + "\n",
		head + `a{b="c",b="d"} 1` + "\n", head + `a{b="c"}1` + "\n", head + `a{1="c"} 1` + "\n", head + "\n", head + head,
		"# TYPE a gauge\n# HELP a Help.\na 1\n", "# HELP a Help.\n# TYPE a counter\na 1\n", "# HELP a_total Help.\n# TYPE a_total counter\na_total -1\n",
	} {
		if values, err := readMetrics(text); err == nil {
			t.Errorf("%q was read as %v", text, values)
		}
	}
	values, err := readMetrics(head + "a 1\na{b=\"\\\\n\\n\\\"\",c=\"\"} 2.5\n")
	if want := fmt.Sprint(map[string]float64{"amap[]": 1, "amap[b:\\n\n\" c:]": 2.5}); err != nil || fmt.Sprint(values) != want {
		t.Errorf("got %q (%v), want %q", fmt.Sprint(values), err, want)
	}
}

func metrics(t *testing.T, s Status) map[string]float64 {
	t.Helper()
	var text strings.Builder
	if err := s.WriteMetrics(&text); err != nil {
		t.Fatal(err)
	}
	values, err := readMetrics(text.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	return values
}

func TestMetrics(t *testing.T) {
	values := metrics(t, New(input(t)))
	tests := map[string]float64{
		"loadbalance_infomap[backend:nft version:1.2.3]":                                         1,
		"loadbalance_runningmap[]":                                                               1,
		"loadbalance_stoppedmap[]":                                                               0,
		"loadbalance_in_syncmap[]":                                                               1,
		"loadbalance_problemsmap[]":                                                              1,
		"loadbalance_monitor_upmap[]":                                                            1,
		"loadbalance_monitor_start_time_secondsmap[]":                                            1772359200,
		"loadbalance_member_infomap[device:wwan0 family:ipv4 member:lte]":                        1,
		"loadbalance_member_upmap[family:ipv4 member:ppp]":                                       0,
		"loadbalance_member_upmap[family:ipv4 member:lte]":                                       1,
		"loadbalance_member_onlinemap[family:ipv4 member:lte]":                                   0,
		"loadbalance_member_activemap[family:ipv4 member:lte]":                                   0,
		"loadbalance_member_activemap[family:ipv6 member:wan1]":                                  1,
		"loadbalance_member_connectionsmap[family:ipv4 member:wan1]":                             17,
		"loadbalance_member_unanswered_connectionsmap[family:ipv4 member:wan1]":                  2,
		"loadbalance_health_loss_ratiomap[family:ipv4 member:lte]":                               0.2,
		"loadbalance_health_latency_secondsmap[family:ipv4 member:wan1]":                         0.0142,
		"loadbalance_health_missesmap[family:ipv4 member:lte]":                                   7,
		"loadbalance_health_hitsmap[family:ipv4 member:wan1]":                                    380,
		"loadbalance_health_flaps_totalmap[family:ipv4 member:lte]":                              4,
		"loadbalance_health_transition_time_secondsmap[family:ipv4 member:lte]":                  1772366398.5,
		"loadbalance_policy_share_ratiomap[family:ipv4 member:wan1 policy:balanced]":             0.75,
		"loadbalance_policy_expected_ratiomap[family:ipv4 member:wan1 policy:balanced]":          0.6,
		"loadbalance_policy_dealt_ratiomap[family:ipv4 member:wan1 policy:balanced]":             0.59,
		"loadbalance_policy_dealt_connections_totalmap[family:ipv4 member:wan1 policy:balanced]": 59,
		"loadbalance_device_receive_bytes_totalmap[device:wan1]":                                 9e9,
		"loadbalance_device_transmit_bytes_totalmap[device:wan2]":                                700,
	}
	for key, want := range tests {
		if got, ok := values[key]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, ok, want)
		}
	}
	for _, absent := range []string{"loadbalance_health_loss_ratiomap[family:ipv4 member:wan2]", "loadbalance_device_receive_bytes_totalmap[device:lo]"} {
		if value, ok := values[absent]; ok {
			t.Errorf("%s is %v and should not be there", absent, value)
		}
	}
}

func TestMetricsWithoutMonitor(t *testing.T) {
	in := input(t)
	in.Health, in.Kernel, in.Stopped = nil, &apply.Kernel{}, true
	values := metrics(t, New(in))
	if values["loadbalance_monitor_upmap[]"] != 0 || values["loadbalance_runningmap[]"] != 0 || values["loadbalance_stoppedmap[]"] != 1 {
		t.Errorf("got %v", values)
	}
	for key := range values {
		if strings.HasPrefix(key, "loadbalance_health_") || strings.HasPrefix(key, "loadbalance_monitor_start") {
			t.Errorf("%s without a monitor", key)
		}
	}
}

// TestMetricsOfStates: a member that stands by is online, one whose health check
// failed is up.
func TestMetricsOfStates(t *testing.T) {
	for state, want := range map[string][4]float64{
		stateActive: {1, 1, 1, 0}, stateStandby: {1, 1, 0, 0}, stateOffline: {1, 0, 0, 0}, statePortal: {1, 0, 0, 1}, stateDown: {0, 0, 0, 0},
	} {
		s := Status{Members: []Member{{Name: "wan1", IPv4: &Family{State: state, Health: &health.Report{Loss: 1}}}}}
		values := metrics(t, s)
		for i, name := range []string{"member_up", "member_online", "member_active", "member_portal"} {
			if got, ok := values["loadbalance_"+name+"map[family:ipv4 member:wan1]"]; !ok || got != want[i] {
				t.Errorf("%s: %s is %v (%v), want %v", state, name, got, ok, want[i])
			}
		}
		if got := values["loadbalance_health_loss_ratiomap[family:ipv4 member:wan1]"]; got != 1 {
			t.Errorf("%s: the loss is %v", state, got)
		}
	}
}

// TestMetricsEscape: names of devices may hold anything but slashes and blanks.
func TestMetricsEscape(t *testing.T) {
	const name = `a\n"b`
	s := Status{Version: "1\n2", Devices: []Device{{Traffic: kernel.Traffic{Name: name, Received: 1, Sent: 2}}}}
	values := metrics(t, s)
	for _, key := range []string{"loadbalance_device_receive_bytes_totalmap[device:" + name + "]", "loadbalance_infomap[backend: version:1\n2]"} {
		if values[key] != 1 {
			t.Errorf("no %q in %v", key, values)
		}
	}
}
