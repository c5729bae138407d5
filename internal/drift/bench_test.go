package drift

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLook prints what a Look costs: when nothing happened, after a
// transaction of nftables, and with the legacy tables.
func BenchmarkLook(b *testing.B) {
	for _, members := range []int{5, 60} {
		router(b, members)
		writeChains(b, members)
		w := open(b)
		for _, kind := range []string{"quiet", "transaction", "legacy"} {
			b.Run(fmt.Sprintf("members=%d/%s", members, kind), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					w.nftables.known = kind != "transaction" && w.nftables.known
					look(b, w, Scope{Legacy: kind == "legacy"})
				}
			})
		}
	}
}

// writeChains writes about as many rules as a plan has.
func writeChains(b *testing.B, members int) {
	var text strings.Builder
	text.WriteString("*mangle\n:lb_policy - [0:0]\n")
	for i := range members {
		fmt.Fprintf(&text, ":lb_member_%d - [0:0]\n", i)
	}
	for i := range 256 {
		fmt.Fprintf(&text, "-A lb_policy -m statistic --mode nth --every %d --packet 0 -g lb_member_%d\n", 256-i, i%members)
	}
	for i := range members {
		fmt.Fprintf(&text, "-A lb_member_%d -j MARK --set-xmark 0x%x/0x3f00\n", i, (i+1)<<8)
	}
	text.WriteString("COMMIT\n")
	for _, program := range []string{"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"} {
		batch(b, text.String(), program+"-restore", "--noflush")
	}
}
