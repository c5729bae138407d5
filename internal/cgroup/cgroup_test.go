package cgroup

import (
	"slices"
	"testing"
)

// TestProgram: as the kernel reads it on machines of both byte orders, where the
// numbers of the registers have changed places. What it does, the laboratory shows
// (TestUse in cmd/loadbalance).
func TestProgram(t *testing.T) {
	for order, registers := range map[bool][2]uint8{false: {0x02, 0x21}, true: {0x20, 0x12}} {
		want := []instruction{
			{0xb4, registers[0], 0, 0x01020304}, // w2 = 0x01020304
			{0x63, registers[1], 16, 0},         // *(u32 *)(r1 + 16) = w2
			{0xb4, 0, 0, 1},                     // w0 = 1
			{0x95, 0, 0, 0},                     // exit
		}
		if got := program(0x01020304, order); !slices.Equal(got, want) {
			t.Errorf("big endian %v: %x, want %x", order, got, want)
		}
	}
}
