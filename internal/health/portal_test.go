package health

import (
	"strings"
	"testing"
	"time"
)

// A wrong answer is a miss that is known at once, 20 ms after the round; so many
// misses are a portal if one of them was a wrong answer.
func TestPortal(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Rules)
		trace   string
		offline bool
		want    []string
	}{
		{name: "logged out", trace: "+++P", want: []string{"wan1 portal 520ms"}},
		{name: "from the start", trace: "P", want: []string{"wan1 portal 220ms"}},
		{name: "first verdict offline", offline: true, trace: "P", want: []string{"wan1 portal 220ms"}},
		{name: "one wrong answer less than down", trace: "PP+PP+PP+PP+"},
		{name: "back after up hits", trace: "+PPP+", want: []string{"wan1 portal 320ms", "wan1 up 620ms"}},
		{name: "logged out again before that", trace: "+PPP++P", want: []string{"wan1 portal 320ms"}},
		{name: "falls silent", trace: "+PPP-", want: []string{"wan1 portal 320ms", "wan1 down 800ms"}},
		{name: "loses answers", trace: "+PPP--P--P--P--P--P", want: []string{"wan1 portal 320ms"}},
		{name: "was silent", trace: "+-----P", want: []string{"wan1 down 500ms", "wan1 portal 700ms"}},
		{name: "one wrong answer among silence", trace: "+-P-", want: []string{"wan1 portal 500ms", "wan1 down 700ms"}},
		{name: "a silent target beside it", trace: "+P +-", want: []string{"wan1 portal 500ms"}},
		{name: "the right answer of another target", trace: "+P +"},
		{name: "both are needed", change: func(r *Rules) { r.Needed = 2 }, trace: "+P +", want: []string{"wan1 portal 320ms"}},
		{name: "a target in trouble", trace: "+T", want: []string{"wan1 portal 320ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(trace(map[string]string{"wan1": c.trace}))
			rules := quick([]string{"1.1.1.1", "8.8.8.8"}[:len(strings.Fields(c.trace))]...)
			rules.Status = 204
			if c.change != nil {
				c.change(&rules)
			}
			s.set(Key{Member: "wan1"}, rules, !c.offline)
			s.until(2 * time.Second)
			s.want(t, c.want...)
		})
	}
}

// Where all want a login, all say so: nobody would log in otherwise. A target that
// is in trouble for all of them is no portal, and takes nobody out.
func TestPortalOfAll(t *testing.T) {
	for _, c := range []struct {
		trace string
		want  []string
	}{
		{"+P", []string{"wan1 portal 320ms", "wan2 portal 320ms"}},
		{"+T", nil},
	} {
		s := newSim(trace(map[string]string{"wan1": c.trace, "wan2": c.trace}))
		for _, member := range []string{"wan1", "wan2"} {
			s.set(Key{Member: member}, quick("1.1.1.1"), true)
		}
		s.until(3 * time.Second)
		s.want(t, c.want...)
		if silent := s.paths.Silent() != 0; silent != (c.want == nil) {
			t.Errorf("%s: silent %v", c.trace, silent)
		}
	}
}

func TestStatusesOfPortals(t *testing.T) {
	for status, want := range map[int]bool{200: true, 302: true, 307: true, 403: true, 404: true, 428: true, 429: false, 500: false, 503: false, 511: true} {
		if p := (path{met: Portal{Status: status}}); p.knowsPortal() != want {
			t.Errorf("status %d: %v", status, !want)
		}
	}
}

// Leases that are logged out every few seconds do not flap: each login is to count
// at once.
func TestPortalIsNoFlap(t *testing.T) {
	s := newSim(trace(map[string]string{"wan1": strings.Repeat("++++PPP", 30), "wan2": "+"}))
	s.set(Key{Member: "wan1"}, quick("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
	s.until(21 * time.Second)
	if r := s.paths.Report(Key{Member: "wan1"}, epoch.Add(s.now)); len(s.passed) != 59 || r.Flaps != 0 || r.Hold != 0 {
		t.Errorf("%d transitions, %d flaps, hold %v", len(s.passed), r.Flaps, r.Hold)
	}
}

func TestPortalReport(t *testing.T) {
	s := newSim(trace(map[string]string{"wan1": "+PPPPP+"}))
	rules := quick("1.1.1.1")
	rules.Status = 204
	s.set(Key{Member: "wan1"}, rules, true)
	s.until(500 * ms)
	const reason, url = "status 302 instead of 204, redirected to http://login.example/", "http://login.example/?token=1"
	if r := s.paths.Report(Key{Member: "wan1"}, epoch.Add(s.now)); r.Online || r.Reason != reason || r.PortalURL != url || r.Loss != 0.8 || r.Misses != 4 {
		t.Errorf("%+v", r)
	}
	s.until(2 * time.Second)
	if r := s.paths.Report(Key{Member: "wan1"}, epoch.Add(s.now)); !r.Online || r.PortalURL != "" {
		t.Errorf("%+v", r)
	}
}
