package cli

import (
	"loadbalance/internal/health"
	"loadbalance/internal/monitor"
	"loadbalance/internal/quota"
	"strings"
	"testing"
	"time"
)

// TestUsage asks a monitor that has counted for two members.
func TestUsage(t *testing.T) {
	run, args := folders(t, someMember, "")
	if err := run.Create(); err != nil {
		t.Fatal(err)
	}
	usage := func(words ...string) (out, messages string, code int) {
		t.Helper()
		return runProgram(append(append([]string{"usage"}, args...), words...)...)
	}
	if out, messages, code := usage(); code != 1 || out != "" || messages != "no monitor runs\n" {
		t.Errorf("without a monitor: exit code %d, output %q, messages %q", code, out, messages)
	}
	socket, err := monitor.Listen(string(run))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	since := time.Date(2026, 12, 15, 0, 0, 0, 0, time.UTC)
	used := map[string]int64{"lte": 12_345_678_901, "sat": 0}
	go func() {
		for q := range socket.Questions() {
			if q.Used != nil {
				if _, known := used[q.Used.Member]; known {
					used[q.Used.Member] = q.Used.Bytes
				}
			}
			q.Answer <- health.Snapshot{Usage: []quota.Usage{
				{Member: "lte", Since: since, Bytes: used["lte"], Quota: 50e9, Action: "last"},
				{Member: "sat", Since: since, Bytes: used["sat"], Quota: 1e12, Action: "off"}}}
		}
	}()
	const lte, sat = "member 'lte' has used 12.346 of 50 GB (24.7%) since 2026-12-15\n", "member 'sat' has used 0.000 of 1000 GB (0.0%) since 2026-12-15\n"
	for _, c := range []struct {
		words, out, messages string
		code                 int
	}{
		{"", lte + sat, "", 0},
		{"sat", sat, "", 0},
		{"--json lte", `{"usage":[{"member":"lte","since":"2026-12-15T00:00:00Z","bytes":12345678901,"quota":50000000000,"action":"last"}]}` + "\n", "", 0},
		{"lte 51GB", "member 'lte' has used 51.000 of 50 GB (102.0%) since 2026-12-15\n", "", 0},
		{"lte 0", "member 'lte' has used 0.000 of 50 GB (0.0%) since 2026-12-15\n", "", 0},
		{"lte 12345678901", lte, "", 0},
		{"dsl", "", "usage: no member 'dsl' has a quota\n", 2},
		{"dsl 1GB", "", "usage: no member 'dsl' has a quota\n", 2},
		{"lte much", "", "usage: 'much' is neither 0 nor an amount of bytes from 1MB to 1000TB, such as 50GB\n", 2},
	} {
		out, messages, code := usage(strings.Fields(c.words)...)
		if out != c.out || messages != c.messages || code != c.code {
			t.Errorf("usage %s: exit code %d, messages %q\n%s", c.words, code, messages, out)
		}
	}
}
