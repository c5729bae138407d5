package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/kernel"
	"loadbalance/internal/status"
	"loadbalance/internal/uci"
)

func TestOverdraw(t *testing.T) {
	const text = "one\nfour\n\nsix-\n"
	tests := []struct {
		name          string
		columns, rows int
		want          string
	}{
		{"no size", 0, 0, "\x1b[Hone\x1b[K\nfour\x1b[K\n\x1b[K\nsix-\x1b[K\n\x1b[J"},
		{"it fits", 5, 5, "\x1b[Hone\x1b[K\nfour\x1b[K\n\x1b[K\nsix-\x1b[K\n\x1b[J"},
		{"lines that fill the row", 4, 5, "\x1b[Hone\x1b[K\nfour\n\x1b[K\nsix-\n\x1b[J"},
		{"narrow", 2, 80, "\x1b[Hon\nfo\n\x1b[K\nsi\n\x1b[J"},
		{"low", 80, 4, "\x1b[Hone\x1b[K\nfour\x1b[K\n\x1b[K\n\x1b[J"},
		{"one row", 80, 1, "\x1b[H\x1b[J"},
	}
	for _, tt := range tests {
		if got := overdraw(text, tt.columns, tt.rows); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := cutLine("größer", 3); got != "grö" {
		t.Errorf("characters of several bytes: %q", got)
	}
}

// frame is a status at a second, with one device that carries 1000 bytes in
// each.
func frame(second int) status.Status {
	received := uint64(1000 * second)
	return status.Status{
		Version: "1", Time: time.Unix(int64(second), 0),
		Devices: []status.Device{{Traffic: kernel.Traffic{Name: "wan1", Received: received}}},
		Members: []status.Member{{Name: "wan1", IPv4: &status.Family{State: "active", Device: "wan1"}}},
	}
}

func TestFramesWithoutTerminal(t *testing.T) {
	var out strings.Builder
	f := &frames{out: &out}
	for second := 1; second <= 3; second++ {
		if err := f.show(frame(second)); err != nil {
			t.Fatal(err)
		}
	}
	if strings.ContainsRune(out.String(), '\x1b') {
		t.Errorf("escapes in %q", out.String())
	}
	parts := strings.Split(out.String(), "\n\nloadbalance is ")
	if len(parts) != 3 || !strings.HasPrefix(out.String(), "loadbalance is ") {
		t.Fatalf("%d frames in\n%s", len(parts), out.String())
	}
	for i, part := range parts {
		if got := strings.Contains(part, "1.0 kB/s"); got != (i > 0) {
			t.Errorf("frame %d has rates: %v\n%s", i+1, got, part)
		}
	}
}

func TestFramesAsJSON(t *testing.T) {
	var out strings.Builder
	f := &frames{out: &out, json: true}
	for second := 1; second <= 3; second++ {
		if err := f.show(frame(second)); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines in\n%s", len(lines), out.String())
	}
	for i, line := range lines {
		var s status.Status
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		rate := s.Devices[0].Rate
		if (rate != nil) != (i > 0) || rate != nil && rate.Received != 1000 {
			t.Errorf("frame %d: rate %v", i+1, rate)
		}
	}
}

// TestStatusWithoutConfiguration: there is nothing to show, for none of the
// commands that show it, and nothing may be printed as if there were.
func TestStatusWithoutConfiguration(t *testing.T) {
	for _, args := range []string{"status", "status --json", "status --watch", "metrics"} {
		out, messages, code := call(t, "", strings.Fields(args)...)
		if code != exitUsage || out != "" || !strings.Contains(messages, "there is no configuration") {
			t.Errorf("%s: exit code %d, output %q, messages %q", args, code, out, messages)
		}
	}
}

func TestWantsMonitor(t *testing.T) {
	const member = "config member 'wan1'\n"
	tests := []struct {
		name, text string
		want       bool
	}{
		{"no target", member, false},
		{"an address", member + "\tlist track_ip '1.1.1.1'\n", true},
		{"the gateway", member + "\tlist track_ip 'gateway'\n", true},
		{"only a disabled member", member + "\tlist track_ip '1.1.1.1'\n\toption enabled '0'\n", false},
		{"no monitor", "config globals 'globals'\n\toption monitor '0'\n" + member + "\tlist track_ip '1.1.1.1'\n", false},
		{"not enabled", "config globals 'globals'\n\toption enabled '0'\n" + member + "\tlist track_ip '1.1.1.1'\n", false},
	}
	for _, tt := range tests {
		file, err := uci.Parse("loadbalance", []byte(tt.text))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		cfg, problems := config.Read(file)
		if problems.HasErrors() {
			t.Fatalf("%s: %v", tt.name, problems)
		}
		if got := wantsMonitor(cfg); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
