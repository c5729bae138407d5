package main

import (
	"fmt"
	"strings"

	"loadbalance/internal/netlab"
)

// recipe holds shell scripts that balance with one process per rule, as the
// guides on the web have it: a chain per uplink that sets a mark and saves it in
// the connection, an nth rule per uplink for new connections, and a routing
// table per uplink with a copy of what main has for the LAN.
type recipe struct {
	load  string // from nothing
	clear string // removes everything
	again string // clear and load: the recipe has no other way to change anything
}

// recipeTable is the routing table of uplink i in the recipe.
func recipeTable(i int) int { return 100 + i }

// recipeLoad balances over the first uplinks, so many of them.
func recipeLoad(l *netlab.Lab, backend string, uplinks int) string {
	var s strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	// -w, since the lock of the legacy back end is the whole machine's.
	mangle := "iptables-" + backend + " -w -t mangle"

	for i := 1; i <= uplinks; i++ {
		line("%s -N wan%d_chain", mangle, i)
		line("%s -A wan%d_chain -j MARK --set-mark %d", mangle, i, i)
		line("%s -A wan%d_chain -j CONNMARK --save-mark", mangle, i)
	}
	line("%s -N RESTORE", mangle)
	line("%s -A RESTORE -j CONNMARK --restore-mark", mangle)
	line("%s -A PREROUTING -m conntrack --ctstate ESTABLISHED,RELATED -j RESTORE", mangle)
	for i := 1; i <= uplinks; i++ {
		line("%s -A PREROUTING -m conntrack --ctstate NEW -m statistic --mode nth --every %d --packet %d -j wan%d_chain",
			mangle, uplinks, i-1, i)
	}
	for i := 1; i <= uplinks; i++ {
		u, table := l.Uplink(i), recipeTable(i)
		line("ip route flush table %d", table)
		line("address=$(ip -4 -brief address show dev %s | awk '{ split($3, a, \"/\"); print a[1] }')", u.Device)
		line("ip rule add iif %s lookup %d", u.Device, table)
		line("ip route add default via %v dev %s table %d", u.Gateway, u.Device, table)
		line("ip route add %v dev %s scope link src %v table %d", netlab.LANPrefix, netlab.LANDevice, netlab.RouterLAN, table)
		line("ip route add %v dev %s scope link src $address table %d", u.Address.Masked(), u.Device, table)
	}
	for i := 1; i <= uplinks; i++ {
		line("ip rule del fwmark %d 2>/dev/null", i)
		line("ip rule add fwmark %d lookup %d", i, recipeTable(i))
	}
	line("ip route flush cache")
	return s.String()
}

// recipeClear removes what must not be there twice; the rest is replaced.
func recipeClear(l *netlab.Lab, backend string) string {
	var s strings.Builder
	mangle := "iptables-" + backend + " -w -t mangle"
	fmt.Fprintf(&s, "%s -F\n%s -X\n", mangle, mangle)
	for i := 1; i <= l.Uplinks(); i++ {
		fmt.Fprintf(&s, "ip rule del iif %s\n", l.UplinkDevice(i))
	}
	return s.String()
}

// removeRecipe brings the router back to what it was.
func (r *rig) removeRecipe() error {
	var s strings.Builder
	fmt.Fprintf(&s, "sh %s\n", r.recipe.clear)
	for i := 1; i <= r.Uplinks(); i++ {
		fmt.Fprintf(&s, "ip rule del fwmark %d\nip route flush table %d\n", i, recipeTable(i))
	}
	_, err := r.Router.RunInput(s.String(), "sh", "-e")
	return err
}
