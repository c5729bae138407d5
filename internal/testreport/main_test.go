package main

import (
	"slices"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const passing = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.01s\n"}
{"Action":"pass","Package":"p"}
`
	for _, test := range []struct {
		name, events, want string
		ok                 bool
	}{
		{"pass", passing, "ok  \tp\t0.01s\n1 passed, 0 failed, 0 skipped\n", true},
		{"package without tests", passing + `{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}
{"Action":"skip","Package":"q"}
`, "ok  \tp\t0.01s\n?   \tq\t[no test files]\n1 passed, 0 failed, 0 skipped\n", true},
		{"skip", passing + `{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
`, "ok  \tp\t0.01s\n--- SKIP: TestB\nSKIPPED p TestB (counts as a failure)\n1 passed, 0 failed, 1 skipped\n", false},
		{"failure", passing + `{"Action":"output","Package":"q","Test":"TestC","Output":"got 1\n"}
{"Action":"fail","Package":"q","Test":"TestC"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.01s\n"}
{"Action":"fail","Package":"q"}
`, "ok  \tp\t0.01s\ngot 1\nFAIL\tq\t0.01s\nFAILED  q TestC\n1 passed, 1 failed, 0 skipped\n", false},
		{"failure outside a test", `{"Action":"output","Package":"p","Output":"panic: in TestMain\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.01s\n"}
{"Action":"fail","Package":"p"}
`, "FAIL\tp\t0.01s\npanic: in TestMain\n0 passed, 0 failed, 0 skipped\n", false},
		{"compiler", `{"ImportPath":"p","Action":"build-output","Output":"p.go:1:1: expected 'package'\n"}
# p
`, "p.go:1:1: expected 'package'\n# p\n0 passed, 0 failed, 0 skipped\n", false},
		{"nothing ran", "", "0 passed, 0 failed, 0 skipped\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(test.events)); err != nil {
				t.Fatal(err)
			}
			if ok := r.end(); ok != test.ok {
				t.Errorf("ok = %v, want %v", ok, test.ok)
			}
			if out.String() != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", out.String(), test.want)
			}
		})
	}
}

// TestList: what builds a laboratory does so in its tests, or is netlab itself.
func TestList(t *testing.T) {
	laboratories, others, err := list([]string{"loadbalance/internal/netlab", "loadbalance/internal/uplink", "loadbalance/internal/uci"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"loadbalance/internal/netlab", "loadbalance/internal/uplink"}; !slices.Equal(laboratories, want) {
		t.Errorf("laboratories: %q, want %q", laboratories, want)
	}
	if want := []string{"loadbalance/internal/uci"}; !slices.Equal(others, want) {
		t.Errorf("others: %q, want %q", others, want)
	}
}

// TestBothGroupsAreRun asks for one test of each group.
func TestBothGroupsAreRun(t *testing.T) {
	var out strings.Builder
	args := []string{"-run=^(TestBadOptions|TestFamily)$", "loadbalance/internal/netlab", "loadbalance/internal/family"}
	if ok, err := run(args, &out); !ok || err != nil || !strings.HasSuffix(out.String(), "\n2 passed, 0 failed, 0 skipped\n") {
		t.Errorf("ok = %v, %v:\n%s", ok, err, &out)
	}
}

// TestFailureOutsideATest: the tests of one group pass, and the other's package is
// not there.
func TestFailureOutsideATest(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	r.passed = 1
	if err := r.test(nil, nil, []string{"loadbalance/internal/missing"}); err != nil {
		t.Fatal(err)
	}
	if r.end() {
		t.Errorf("a package that is missing counts as tested:\n%s", &out)
	}
}
