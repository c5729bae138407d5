package main

import (
	"encoding/json"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// ask calls a method as rpcd's plugin does and reads the reply into value.
func (r *router) ask(method, arguments string, value any) {
	r.t.Helper()
	cmd := exec.Command(binary, r.args("rpc", "call", method)...)
	cmd.Env = r.env
	var out, messages strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(arguments), &out, &messages
	if err := r.lab.Router.Start(cmd); err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || messages.Len() > 0 {
		r.t.Errorf("rpc call %s: %v %s", method, err, messages.String())
	}
	if err := json.Unmarshal([]byte(out.String()), value); err != nil {
		r.t.Fatalf("rpc call %s: %v: %s", method, err, out.String())
	}
}

func (r *router) statuses() (live, polled status.Status) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.must("status", "--json")), &live); err != nil {
		r.t.Fatal(err)
	}
	r.ask("status", "", &polled)
	return live, polled
}

// TestPollsStartFewPrograms: whoever polls the status starts iptables no more
// than once in 30 s for each family, and is told at once what applies do.
func TestPollsStartFewPrograms(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true}, members(netlab.Separate, 3))
		p := newPrograms(t)
		p.count()
		r.env = p.env()
		poll := func() (s status.Status) {
			r.ask("status", "", &s)
			return s
		}
		if s := poll(); s.Running || s.InSync {
			t.Errorf("before the first apply: running %v, in sync %v", s.Running, s.InSync)
		}
		if got := p.started(); len(got) > 0 {
			t.Errorf("before the first apply a poll started %q", got)
		}
		expect := func(when string, shares ...float64) {
			t.Helper()
			p.started()
			for range 10 {
				s := poll()
				if running := len(shares) > 0; s.Running != running || !s.InSync || s.Backend != backend {
					t.Errorf("%s: running %v, in sync %v %q, back end %s", when, s.Running, s.InSync, s.Drift, s.Backend)
				}
				for i, share := range shares {
					if got := s.Members[i].IPv4.Share; got != share {
						t.Errorf("%s: member %d has the share %v, not %v", when, i+1, got, share)
					}
				}
			}
			// One for each family in which an apply has changed what was known.
			if got := p.started(); len(got) == 0 || len(got) > 2 || len(got) == 2 && got[0] == got[1] {
				t.Errorf("%s: ten polls started %q", when, got)
			}
			r.must("apply") // looks, and changes nothing
			p.started()
			poll()
			if got := p.started(); len(got) > 0 {
				t.Errorf("%s: a poll after an apply without changes started %q", when, got)
			}
		}
		r.must("apply")
		third := 1.0 / 3
		expect("applied", third, third, third)
		expectAll(t, r.lab.Connect(netlab.Traffic{Count: 12}))
		r.configure(members(netlab.Separate, 3, "option weight '1'") + "config rule\n\toption dest_ip '203.0.113.9'\n\toption use_policy 'unreachable'\n")
		r.must("apply")
		expect("a rule added", third, third, third)
		live, polled := r.statuses()
		for i := range live.Members {
			if live, polled := live.Members[i].IPv4.Dealt, polled.Members[i].IPv4.Dealt; live != 4 || polled > live {
				t.Errorf("member %d was dealt %d connections, to a poll %d", i+1, live, polled)
			}
		}
		r.configure(members(netlab.Separate, 2))
		r.must("apply")
		expect("a member gone", 0.5, 0.5)
		r.must("stop")
		if s := poll(); s.Running || !s.Stopped {
			t.Errorf("stopped: running %v, stopped %v", s.Running, s.Stopped)
		}
		if got := p.started(); len(got) > 10 {
			t.Errorf("stop and a poll started %q", got)
		}
	})
}

// TestCounted: a poll says how old its counters are, and those are not older than
// 30 s.
func TestCounted(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
	r.must("apply")
	var first, second, third status.Status
	r.ask("status", "", &first)
	expectAll(t, r.lab.Connect(netlab.Traffic{Count: 4}))
	r.ask("status", "", &second)
	if age := first.Time.Sub(first.Counted); age < 0 || age > time.Second {
		t.Errorf("the first poll's counters are %s old", age)
	}
	if !second.Counted.Equal(first.Counted) || second.Members[0].IPv4.Dealt != 0 {
		t.Errorf("counted %v, before %v: %d", second.Counted, first.Counted, second.Members[0].IPv4.Dealt)
	}
	// What is older than 30 s is read anew.
	r.sh("cd " + r.runDir() + ` && for f in mangle-*; do
		taken=$(grep -o '"Taken":"[^"]*"' $f) && text=$(sed -e 1d -e "s/$taken/\"Taken\":\"2020-01-01T00:00:00Z\"/" $f) &&
		crc=$(printf '%s' "$text" | gzip -c | tail -c8 | od -An -tx4 -N4 | tr -d ' ') && printf '%s %d\n%s' $crc ${#text} "$text" > $f || exit 1; done`)
	r.ask("status", "", &third)
	if third.Members[0].IPv4.Dealt != 2 || !third.Counted.After(second.Time) {
		t.Errorf("old counters: %d, of %v", third.Members[0].IPv4.Dealt, third.Counted)
	}
	if live, _ := r.statuses(); live.Time.Sub(live.Counted) > time.Second {
		t.Errorf("at a terminal counters are of %v at %v", live.Counted, live.Time)
	}
}

// TestAsked: the other methods tell what their commands do.
func TestAsked(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		type answer struct {
			Text     string
			Error    string
			OK       bool
			Messages []struct{ Level, Text string }
		}
		ask := func(method, arguments string) (reply answer) {
			t.Helper()
			r.ask(method, arguments, &reply)
			return reply
		}
		if reply, want := ask("plan", ""), r.must("plan"); reply.Text != want || !strings.Contains(want, "iptables-restore") {
			t.Errorf("plan: %s", reply.Text)
		}
		r.must("apply")
		if reply := ask("plan", "{}"); reply.Text != "" || reply.Error != "" {
			t.Errorf("plan with nothing to do: %+v", reply)
		}
		if reply := ask("check", ""); !reply.OK {
			t.Errorf("check: %+v", reply)
		}
		question := `{"src":"10.20.1.1","dst":"203.0.113.9","proto":"tcp","dport":443,"without":"wan1"}`
		var got, want map[string]any
		r.ask("explain", question, &got)
		if _, has := got["messages"]; !has {
			t.Error("explain: no messages")
		}
		delete(got, "messages")
		printed := r.must("explain", "--json", "--src", "10.20.1.1", "--dst", "203.0.113.9", "--proto", "tcp", "--dport", "443", "--without", "wan1")
		if err := json.Unmarshal([]byte(printed), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("explain: %v, but the command prints %s (%v)", got, printed, err)
		}
		r.configure(members(netlab.Separate, 2, "option weight 'abc'"))
		if reply := ask("check", ""); reply.OK || len(reply.Messages) != 2 || reply.Messages[0].Level != "error" {
			t.Errorf("check of a faulty file: %+v", reply)
		}
		if reply := ask("explain", question); reply.Error != "" || !strings.HasPrefix(reply.Messages[0].Text, "the configuration file is refused") {
			t.Errorf("explain next to a faulty file: %+v", reply)
		}
	})
}

// TestFaultyMemberStays: a mistake in a member's section, at any time, does not
// make it vanish from the status.
func TestFaultyMemberStays(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		faulty := strings.Replace(members(netlab.Separate, 2), "member 'wan2'\n", "member 'wan2'\n\toption weight 'abc'\n", 1)
		const fault = "loadbalance:5: member 'wan2': option 'weight': 'abc' is not a whole number"
		expect := func(when, state string, shares ...float64) {
			t.Helper()
			live, polled := r.statuses()
			for _, s := range []status.Status{live, polled} {
				if len(s.Members) != 2 {
					t.Fatalf("%s: %d members", when, len(s.Members))
				}
				wan1, wan2 := s.Members[0], s.Members[1]
				if wan1.Fault != "" || wan2.Fault != fault || wan1.IPv4.State != "active" || wan2.IPv4.State != state ||
					wan1.IPv4.Share != shares[0] || wan2.IPv4.Share != shares[1] {
					t.Errorf("%s: %+v %+v, %+v %+v", when, wan1, wan1.IPv4, wan2, wan2.IPv4)
				}
			}
		}
		r.must("apply")
		r.configure(faulty)
		expect("the file is refused", "active", 0.5, 0.5)
		if out := r.must("status"); !strings.Contains(out, fault) {
			t.Errorf("the text does not say so:\n%s", out)
		}
		r.must("stop")
		if _, _, code := r.call("apply"); code != 2 {
			t.Errorf("exit code %d", code)
		}
		expect("at boot", "down", 1, 0)
	})
}
