package status

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// earlier is the status two seconds before that of input: 4 connections fewer
// were dealt to wan1, and wan2's device was counted from a higher number.
func earlier(t *testing.T) Status {
	t.Helper()
	in := input(t)
	in.Now = now.Add(-2 * time.Second)
	table, err := iptables.Parse([]byte(strings.Replace(save, "[30:0]", "[26:0]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	in.Kernel.Tables[family.IPv4] = table
	in.Traffic = []kernel.Traffic{{Name: "wan1", Received: 8_995_000_000, Sent: 999_000}, {Name: "wan2", Received: 6000, Sent: 600}}
	return New(in)
}

func TestAddRates(t *testing.T) {
	s := New(input(t))
	s.AddRates(earlier(t))
	if r := s.device("wan1").Rate; r == nil || *r != (Rate{2_500_000, 500}) {
		t.Errorf("wan1's device: %v", r)
	}
	if r := s.device("wan2").Rate; r != nil {
		t.Errorf("a device whose counters were reset has the rate %v", *r)
	}
	for i, want := range []float64{2, 0, 0, 0} {
		if r := s.Members[i].IPv4.NewRate; r == nil || *r != want {
			t.Errorf("%s: new connections per second: %v, want %v", s.Members[i].Name, r, want)
		}
	}
}

func TestNoRates(t *testing.T) {
	tests := map[string]func(s, before *Status){
		"at the same moment": func(s, before *Status) { before.Time = s.Time },
		"the clock went back": func(s, before *Status) {
			before.Time = s.Time.Add(time.Minute)
		},
		"all was reset": func(_, before *Status) {
			before.Devices[0].Sent = 1 << 40
			before.Devices[1].Received = 1 << 40
			for _, m := range before.Policies[0].Members {
				m.IPv4.Dealt = 1 << 40
			}
			before.Policies[0].Members[0].IPv6.Dealt = 1 << 40
		},
	}
	for name, change := range tests {
		s, before := New(input(t)), earlier(t)
		change(&s, &before)
		s.AddRates(before)
		for _, d := range s.Devices {
			if d.Rate != nil {
				t.Errorf("%s: device %s has the rate %v", name, d.Name, *d.Rate)
			}
		}
		s.eachFamily(func(m Member, f family.Family, state *Family) {
			if state.NewRate != nil {
				t.Errorf("%s: %s (%v) is dealt %v connections per second", name, m.Name, f, *state.NewRate)
			}
		})
	}
}

// TestRatesOfOddDevices: a quiet device has a rate of 0, a new one none.
func TestRatesOfOddDevices(t *testing.T) {
	quiet := Device{Traffic: kernel.Traffic{Name: "quiet", Received: 300, Sent: 200}}
	s := Status{Time: now, Devices: []Device{quiet, {Traffic: kernel.Traffic{Name: "new", Received: 300, Sent: 200}}}}
	s.AddRates(Status{Time: now.Add(-time.Second), Devices: []Device{quiet}})
	if r := s.device("quiet").Rate; r == nil || *r != (Rate{}) {
		t.Errorf("quiet: %v", r)
	}
	if r := s.device("new").Rate; r != nil {
		t.Errorf("new: %v", *r)
	}
}

// TestDealtTo adds up what all policies dealt to a member, of which some may
// have no part in a family.
func TestDealtTo(t *testing.T) {
	s := Status{Policies: []Policy{
		{Members: []PolicyMember{{Name: "wan1", IPv4: &PolicyShare{Dealt: 3}}, {Name: "wan2", IPv4: &PolicyShare{Dealt: 50}}}},
		{Members: []PolicyMember{{Name: "wan1", IPv4: &PolicyShare{Dealt: 4}, IPv6: &PolicyShare{Dealt: 5}}}},
	}}
	if v4, v6 := s.dealtTo("wan1", family.IPv4), s.dealtTo("wan1", family.IPv6); v4 != 7 || v6 != 5 {
		t.Errorf("%d and %d, want 7 and 5", v4, v6)
	}
}

// TestSharedDevice: the rates of a device stand in one row only.
func TestSharedDevice(t *testing.T) {
	s := Status{Time: now, Devices: []Device{{Traffic: kernel.Traffic{Name: "eth1", Received: 300_000, Sent: 2_000}}}}
	before := Status{Time: now.Add(-time.Second), Devices: []Device{{Traffic: kernel.Traffic{Name: "eth1"}}}}
	for _, name := range []string{"wan1", "wan2"} {
		s.Members = append(s.Members, Member{Name: name, IPv4: &Family{Device: "eth1", Connections: 3}})
	}
	s.AddRates(before)
	const want = `
RATES  FAMILY  DEVICE  RECEIVED  SENT      NEW/S  CONNECTIONS
wan1   ipv4    eth1    300 kB/s  2.0 kB/s  0.0    3
wan2   ipv4    eth1    as above  as above  0.0    3
`
	if got := s.ratesTable(); got != want {
		t.Errorf("got%s", got)
	}
}

func TestBytesPerSecond(t *testing.T) {
	tests := map[float64]string{
		0: "0 B/s", 12.4: "12 B/s", 999: "999 B/s", 1000: "1.0 kB/s", 2500: "2.5 kB/s", 100_000: "100 kB/s", 312_499: "312 kB/s",
		2_500_000: "2.5 MB/s", 125e6: "125 MB/s", 1.25e9: "1.25 GB/s", 12.5e9: "12.50 GB/s",
	}
	for rate, want := range tests {
		if got := bytesPerSecond(rate); got != want {
			t.Errorf("%v: %s, want %s", rate, got, want)
		}
	}
}
