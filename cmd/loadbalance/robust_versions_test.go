package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestIptables187: up to 1.8.7 a save does not say which back end made it
// (OpenWrt 22.03, Debian 11). By the system's names and by the back end's, what
// is flushed comes back within 5 s, nothing of ours is taken for a leftover of
// the other back end, and a stop leaves nothing.
func TestIptables187(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, by := range []string{"auto", backend} {
			t.Run("by the name of "+by, func(t *testing.T) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true}, members(netlab.Separate, 2))
				before := r.dump()
				r.backend = by
				p := newPrograms(t)
				p.link("sed")
				p.link(iptablesPrograms(otherBackend(backend))...)
				for _, name := range iptablesPrograms(backend) {
					alias := strings.Replace(name, "-"+backend, "", 1)
					// The exit code is that of sed: what cannot be read is cut short.
					script := fmt.Sprintf(`case "$0 $*" in
*-save\ * | *--version) REAL "$@" | sed 's/v1\.8\.[0-9]*/v1.8.7/; /^# Gen/s/ (nf_tables)//; /^# Gen/s/%s/%s/' ;;
*) exec REAL "$@" ;;
esac`, name, alias)
					if by != "auto" {
						p.script(name, strings.Replace(script, alias, name, 1))
						continue
					}
					p.link(name)
					p.script(alias, strings.ReplaceAll(script, "REAL", name))
				}
				r.env = p.env()

				r.must("apply")
				expectAll(t, r.lab.Connect(netlab.Traffic{Count: 6}))
				applied := r.dump().sorted()
				r.expectApplied("the next apply", applied)
				r.must("apply")
				r.expectSame("applied twice", applied, r.dump().sorted())
				m := r.startMonitor()
				for _, program := range []string{"iptables-", "ip6tables-"} {
					start := time.Now()
					r.sh(program + backend + " -t mangle -F lb_hook")
					eventually(t, "the chain is back", func() bool {
						return strings.Contains(r.sh(program+backend+" -t mangle -S lb_hook"), "-A lb_hook")
					})
					if took := time.Since(start); took > 5*time.Second {
						t.Errorf("%s: the chain came back after %s", program, took)
					}
				}
				if m.Log.Count("repair") == 0 {
					t.Error("no repair was logged")
				}
				r.must("stop")
				r.expectSame("after stop", before, r.dump())
			})
		}
	})
}
