package main

import (
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestKernelRefuses lets the transaction of one family fail.
func TestKernelRefuses(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, program := range []string{"iptables", "ip6tables"} {
			t.Run(program, func(t *testing.T) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true}, members(netlab.Separate, 3))
				changed := members(netlab.Separate, 2, "option weight '3'") + "config policy other\n\tlist use_member wan2\n"
				want := r.fresh(changed)
				r.fresh(members(netlab.Separate, 3))
				sequence, cascade := r.connectInTurn(2), r.cascade()

				p := newPrograms(t)
				p.link(iptablesPrograms(backend)...)
				p.script(program+"-"+backend+"-restore", "cat > /dev/null\necho \"${0##*/}: line 7 failed\" >&2\nexit 1")
				p.link("cat")
				r.env = p.env()
				r.configure(changed)
				save := program + "-" + backend + "-save"
				before, counters := r.dump(), r.counters()
				_, messages, code := r.call("apply")
				if code != 1 {
					t.Errorf("exit code %d, want 1", code)
				}
				for _, text := range []string{"line 7 failed", "   1  *mangle\n", "\n   7  "} {
					if !strings.Contains(messages, text) {
						t.Errorf("the messages lack %q:\n%s", text, messages)
					}
				}
				if diff := difference(dump{save: before[save]}, dump{save: r.dump()[save]}); diff != "" {
					t.Errorf("the refused transaction changed the table:\n%s", diff)
				}
				if program == "iptables" {
					r.expectCounters("a refused apply", counters)
				}
				version := "-4"
				if program == "ip6tables" {
					version = "-6"
				}
				now := r.dump()
				for _, command := range []string{"ip " + version + " rule", "ip " + version + " route show table all"} {
					for _, line := range strings.Split(before[command], "\n") {
						if !strings.Contains(now[command], line) {
							t.Errorf("%s: lost: %s", command, line)
						}
					}
				}
				if program == "iptables" {
					r.expectCascade("over a refused apply", cascade, 0, append(sequence, r.connectInTurn(5)...))
				}

				r.env = nil
				r.must("apply")
				r.expectApplied("the next apply", want)
			})
		}
	})
}
