package main

import (
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
