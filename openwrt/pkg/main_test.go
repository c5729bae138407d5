package main

import (
	"io"
	"strings"
	"testing"
)

func TestCommandRefused(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "ipk, apk or release, then names as OpenWrt has them"},
		{"ipk", "ipk, apk or release, then names as OpenWrt has them"},
		{"deb x86_64", "unknown command 'deb'"},
		{"ipk powerpc_464fp", "'powerpc_464fp': Go cannot build"},
		{"-keys testdata apk x86_64", "testdata/key-build"},
	} {
		if err := run(strings.Fields(c.args), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error with %q", c.args, err, c.want)
		}
	}
}
