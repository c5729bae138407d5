package plan

import (
	"fmt"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// TestTransportsOfAFamily: a line of a table asks for a protocol only where its
// family has it.
func TestTransportsOfAFamily(t *testing.T) {
	tests := []struct {
		protos     []uint8
		ipv4, ipv6 string
	}{
		{nil, "[[]]", "[[]]"},
		{[]uint8{6, 17}, "[[-p 6] [-p 17]]", "[[-p 6] [-p 17]]"},
		{[]uint8{1}, "[[-p 1]]", "[]"},
		{[]uint8{58}, "[]", "[[-p 58]]"},
		{[]uint8{50, 51}, "[[-p 50] [-p 51]]", "[[-p 50]]"},
		{[]uint8{43, 44, 59, 60}, "[[-p 43] [-p 44] [-p 59] [-p 60]]", "[[-p 59]]"},
	}
	for _, tt := range tests {
		for f, want := range map[family.Family]string{family.IPv4: tt.ipv4, family.IPv6: tt.ipv6} {
			b := ruleBuilder{familyBuilder: &familyBuilder{family: f}}
			for _, number := range tt.protos {
				b.rule.Protos = append(b.rule.Protos, config.Proto{Number: number})
			}
			lines := [][]string{}
			for _, matches := range b.transports() {
				line := []string{}
				for _, m := range matches {
					line = append(line, m.(Protocol).Args())
				}
				lines = append(lines, line)
			}
			if got := fmt.Sprint(lines); got != want {
				t.Errorf("protocols %v, %s: %s, want %s", tt.protos, f, got, want)
			}
		}
	}
}
