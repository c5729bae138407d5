package domains

import (
	"fmt"
	"testing"
)

func TestResolvers(t *testing.T) {
	for text, want := range map[string]string{
		"": "[127.0.0.1]",
		"search lan\nnameserver 127.0.0.1\nnameserver ::1\n":                        "[127.0.0.1 ::1]",
		"# nameserver 1.1.1.1\nnameserver\t9.9.9.9 # x\nnameserver fe80::1%lan\n":   "[127.0.0.1 9.9.9.9]",
		"nameserver\nnameserver example.org\noptions edns0\nnameserver 192.168.1.1": "[127.0.0.1 192.168.1.1]",
	} {
		if got := fmt.Sprint(resolvers(text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
