package cgroup

import (
	"slices"
	"testing"

	"loadbalance/internal/bpf"
)

// TestProgram: the instructions as the kernel has them. What it does, the laboratory
// shows (TestUse in cmd/loadbalance).
func TestProgram(t *testing.T) {
	want := []bpf.Instruction{
		{Operation: 0xb4, Registers: bpf.Registers(2, 0), Value: 0x01020304}, // w2 = 0x01020304
		{Operation: 0x63, Registers: bpf.Registers(1, 2), Offset: 16},        // *(u32 *)(r1 + 16) = w2
		{Operation: 0xb4, Value: 1},                                          // w0 = 1
		{Operation: 0x95},                                                    // exit
	}
	if got := program(0x01020304); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
