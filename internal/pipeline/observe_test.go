package pipeline

import (
	"net/netip"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// observed is what is observed of two uplinks in an empty kernel.
func observed(t *testing.T, globals string) *Observed {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte("config globals 'globals'\n"+globals+"config member 'wan1'\nconfig member 'wan2'\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Read(file)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	uplinks := uplink.State{IPv4: uplink.Main{Enabled: true}}
	for i, name := range []string{"wan1", "wan2"} {
		uplinks.Members = append(uplinks.Members, uplink.Member{Name: name, IPv4: &uplink.Path{Device: name, Up: true,
			Gateway: netip.AddrFrom4([4]byte{198, 18, byte(i), 1}), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i), 2})}}})
	}
	return FromNothing(cfg, uplinks)
}

// TestWithout: a member is taken for offline, and the observation stays as it is.
func TestWithout(t *testing.T) {
	o := observed(t, "")
	now := o.Plan()
	then := o.Without("wan1").Plan()
	if share := then.Members[0].IPv4.Share; share != 0 || then.Members[1].IPv4.Share != 1 {
		t.Errorf("without wan1 its share is %v", share)
	}
	if share := now.Members[0].IPv4.Share; share != 0.5 {
		t.Errorf("with wan1 its share is %v", share)
	}
	if o.Plan() != now {
		t.Error("the same observation is planned twice")
	}
}

// TestSwitchedOff: a service that is switched off wants nothing, but its plan can
// be shown.
func TestSwitchedOff(t *testing.T) {
	o := observed(t, "\toption enabled '0'\n")
	if changes := o.Changes(); !changes.Empty() || changes.Commands() != "" {
		t.Errorf("%v", changes.Summary())
	}
	if wanted := o.Plan(); len(wanted.Members) != 2 {
		t.Errorf("the plan has %v", wanted)
	}
	if observed(t, "").Changes().Empty() {
		t.Error("a service that is switched on wants nothing")
	}
}
