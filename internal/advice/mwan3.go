package advice

import (
	"slices"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// What mwan3 puts into the kernel (lib/mwan3/mwan3.sh of its package): a chain in mangle, and ip
// rules with priorities 1000+id to 3000+id and the mask 0x3f00 unless option mmx_mask says otherwise.
const (
	mwan3Chain         = "mwan3_hook"
	mwan3FirstPriority = 1000
	mwan3LastPriority  = 3999
	mwan3Mask          = 0x3f00
)

// MWAN3Runs reports whether the kernel has the rules of mwan3, which balances by mark bits, too,
// and deletes rules and routes of others when it stops.
func MWAN3Runs(mangle map[family.Family]*iptables.Table, uplinks uplink.State) bool {
	for _, table := range mangle {
		if table != nil && slices.Contains(table.ForeignChains, mwan3Chain) {
			return true
		}
	}
	return slices.ContainsFunc(slices.Concat(uplinks.IPv4.Rules, uplinks.IPv6.Rules), isMWAN3)
}

func isMWAN3(r uplink.Rule) bool {
	return r.Priority >= mwan3FirstPriority && r.Priority <= mwan3LastPriority && r.Mask == mwan3Mask
}

// MWAN3Running is the message to the user if mwan3 runs.
const MWAN3Running = "mwan3 is running, and both would balance the same connections: " +
	"run `/etc/init.d/mwan3 stop; /etc/init.d/mwan3 disable`, then `/etc/init.d/loadbalance restart`"

func (f *finder) mwan3() {
	switch {
	case MWAN3Runs(f.Mangle, f.Uplinks):
		f.Errors = append(f.Errors, MWAN3Running)
	case f.MWAN3Link != "":
		f.Errors = append(f.Errors, "mwan3 starts at boot ("+f.MWAN3Link+"), and both would balance the same connections: "+
			"run `/etc/init.d/mwan3 disable`")
	}
}
