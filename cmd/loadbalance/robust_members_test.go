package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// expectCheck fails the test unless all flows go on over their uplinks.
func expectCheck(t *testing.T, flows netlab.Flows) {
	t.Helper()
	if failed, err := flows.Check(10 * time.Second); failed > 0 {
		t.Errorf("%d connections failed or changed their uplink: %v", failed, err)
	}
}

// sections are member sections for the given uplinks in that order.
func sections(uplinks ...int) string {
	var text strings.Builder
	for _, i := range uplinks {
		fmt.Fprintf(&text, "config member 'wan%d'\n\toption device 'wan%d'\n", i, i)
	}
	return text.String()
}

// marks are the members' marks by uplink as the kernel has them.
func (r *router) marks() map[int]string {
	r.t.Helper()
	marks := map[int]string{}
	for chain, lines := range parseSaved(r.sh("iptables-" + r.backend + "-save -t mangle"))["*mangle"] {
		uplink := 0
		if _, err := fmt.Sscanf(chain, "lb_member_wan%d", &uplink); err != nil {
			continue
		}
		_, rest, _ := strings.Cut(strings.Join(lines, " "), "--set-xmark ")
		mark, _, _ := strings.Cut(rest, "/")
		marks[uplink] = mark
	}
	return marks
}

func (r *router) expectMarks(what string, want map[int]string) {
	r.t.Helper()
	if got := r.marks(); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: marks by uplink %v, want %v", what, got, want)
	}
}

// TestMarksStayWithNames moves, inserts and removes member sections.
func TestMarksStayWithNames(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5}, sections(1, 2, 3))
		r.must("apply")
		flows, tally := r.lab.Open(netlab.Traffic{Count: 30})
		defer flows.Close()
		expectAll(t, tally)
		steps := []struct {
			name    string
			members []int
			want    map[int]string
		}{
			{"as first applied", []int{1, 2, 3}, map[int]string{1: "0x1000000", 2: "0x2000000", 3: "0x3000000"}},
			{"turned round", []int{3, 2, 1}, map[int]string{1: "0x1000000", 2: "0x2000000", 3: "0x3000000"}},
			{"one inserted at the front", []int{4, 3, 2, 1}, map[int]string{1: "0x1000000", 2: "0x2000000", 3: "0x3000000", 4: "0x4000000"}},
			{"the inserted one removed", []int{3, 1, 2}, map[int]string{1: "0x1000000", 2: "0x2000000", 3: "0x3000000"}},
			{"another inserted: the freed index comes last", []int{5, 3, 1, 2}, map[int]string{1: "0x1000000", 2: "0x2000000", 3: "0x3000000", 5: "0x5000000"}},
			{"the removed one is back with its own", []int{5, 4, 3, 1, 2}, map[int]string{1: "0x1000000", 2: "0x2000000", 3: "0x3000000", 4: "0x4000000", 5: "0x5000000"}},
		}
		for _, step := range steps {
			r.configure(sections(step.members...))
			r.must("apply")
			r.expectMarks(step.name, step.want)
			expectCheck(t, flows)
		}
		// From our chains alone: the run directory is lost.
		r.forget()
		r.configure(sections(2, 5, 1, 4, 3))
		r.must("apply")
		r.expectMarks("run directory lost", steps[len(steps)-1].want)
		expectCheck(t, flows)
		// Across a stop they are kept in the run directory.
		r.must("stop")
		r.configure(sections(5, 3))
		r.must("apply")
		r.expectMarks("after a stop", map[int]string{3: "0x3000000", 5: "0x5000000"})
	})
}

// TestRemovedMember takes a member away while it carries connections.
func TestRemovedMember(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, sections(1, 2, 3))
		r.must("apply")
		flows, tally := r.lab.Open(netlab.Traffic{Count: 30})
		defer flows.Close()
		expectEqual(t, tally)
		r.configure(sections(1, 3))
		r.must("apply")
		if marks := connmarks(r); len(marks) != 2 || marks[0x1000000] != 10 || marks[0x3000000] != 10 {
			t.Errorf("connections by mark: %v, want 10 each of 0x1000000 and 0x3000000", hexKeys(marks))
		}
		others := slices.DeleteFunc(slices.Clone(flows), func(f *netlab.Flow) bool { return f.Uplink == 2 })
		expectCheck(t, others)
	})
}

// TestFreedIndexIsClearedBeforeUse fills a mask that has room for four, so
// that a new member gets the index of a removed one.
func TestFreedIndexIsClearedBeforeUse(t *testing.T) {
	const small = "config globals g\n\toption mark_mask 0x7000000\n"
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5}, small+sections(1, 2, 3, 4))
		r.must("apply")
		flows, tally := r.lab.Open(netlab.Traffic{Count: 40})
		defer flows.Close()
		expectAll(t, tally)
		r.configure(small + sections(1, 3, 4, 5))
		r.must("apply")
		r.expectMarks("one replaced", map[int]string{1: "0x1000000", 3: "0x3000000", 4: "0x4000000", 5: "0x2000000"})
		if marks := connmarks(r); marks[0x2000000] != 0 {
			t.Errorf("%d connections of the removed member now have the new one's mark", marks[0x2000000])
		}
		others := slices.DeleteFunc(slices.Clone(flows), func(f *netlab.Flow) bool { return f.Uplink == 2 })
		expectCheck(t, others)
	})
}

// TestPins pins marks and tables, also on a running system.
func TestPins(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, sections(1)+"\toption mark 0x5000000\n\toption table 252\n"+sections(2, 3))
		before := r.dump()
		r.must("apply")
		r.expectMarks("pinned", map[int]string{1: "0x5000000", 2: "0x1000000", 3: "0x2000000"})
		r.expectTable("wan1", 252)
		r.expectTable("wan2", 301)
		flows, tally := r.lab.Open(netlab.Traffic{Count: 30})
		defer flows.Close()
		expectEqual(t, tally)

		r.configure(sections(1) + "\toption mark 0x7000000\n\toption table 900\n" + sections(2, 3))
		r.must("apply")
		r.expectMarks("pinned anew", map[int]string{1: "0x7000000", 2: "0x1000000", 3: "0x2000000"})
		r.expectTable("wan1", 900)
		if routes := r.sh("ip route show table 252 2>/dev/null; true"); routes != "" {
			t.Errorf("the table pinned before still holds:\n%s", routes)
		}
		others := slices.DeleteFunc(slices.Clone(flows), func(f *netlab.Flow) bool { return f.Uplink == 1 })
		expectCheck(t, others)

		// The pin is another member's index: that member makes room.
		r.configure(sections(1) + "\toption mark 0x1000000\n" + sections(2, 3))
		r.must("apply")
		marks := r.marks()
		if marks[1] != "0x1000000" || marks[2] == "0x1000000" || marks[3] != "0x2000000" {
			t.Errorf("pinned to another's mark: %v", marks)
		}
		if left := connmarks(r)[0x1000000]; left != 0 {
			t.Errorf("%d connections of wan2 now have wan1's mark", left)
		}
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 30}))
		if out := r.must("plan"); out != "" {
			t.Errorf("plan still finds work:\n%s", out)
		}
		r.must("stop")
		r.expectSame("after stop", before, r.dump())
	})
}

// expectTable fails the test unless a member's default route lies in a table.
func (r *router) expectTable(device string, table int) {
	r.t.Helper()
	if routes := r.sh(fmt.Sprintf("ip route show table %d 2>/dev/null; true", table)); !strings.Contains(routes, "default via") || !strings.Contains(routes, "dev "+device+" ") {
		r.t.Errorf("table %d of %s holds:\n%s", table, device, routes)
	}
}

// TestFreedIndexIsClearedAfterAll interrupts the apply that gives a freed index
// to another member: the next one clears what it could not.
func TestFreedIndexIsClearedAfterAll(t *testing.T) {
	const small = "config globals g\n\toption mark_mask 0x7000000\n"
	interruptions := []struct{ name, restore string }{
		{"refused", "exit 1"},
		{"killed before the restore", "kill -9 $PPID\nexit 1"},
		{"killed after the restore", "REAL \"$@\"\nkill -9 $PPID"},
	}
	eachBackend(t, func(t *testing.T, backend string) {
		for _, interruption := range interruptions {
			t.Run(interruption.name, func(t *testing.T) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 5}, small+sections(1, 2, 3, 4))
				r.must("apply")
				flows, tally := r.lab.Open(netlab.Traffic{Count: 40})
				defer flows.Close()
				expectAll(t, tally)
				p := newPrograms(t)
				p.link(iptablesPrograms(backend)...)
				p.script("iptables-"+backend+"-restore", interruption.restore)
				r.env = p.env()
				r.configure(small + sections(1, 3, 4, 5))
				if _, _, code := r.call("apply"); code == 0 {
					t.Fatal("the interrupted apply exits with 0")
				}
				r.env = nil
				r.must("apply")
				r.expectMarks("one replaced", map[int]string{1: "0x1000000", 3: "0x3000000", 4: "0x4000000", 5: "0x2000000"})
				if left := connmarks(r)[0x2000000]; left != 0 {
					t.Errorf("%d connections of the removed member now have the new one's mark", left)
				}
				others := slices.DeleteFunc(slices.Clone(flows), func(f *netlab.Flow) bool { return f.Uplink == 2 })
				expectCheck(t, others)
			})
		}
	})
}
