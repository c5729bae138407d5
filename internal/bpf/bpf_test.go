package bpf

import "testing"

// TestRegisters: on a big-endian machine the numbers have changed places.
func TestRegisters(t *testing.T) {
	if got := pack(1, 2, false); got != 0x21 {
		t.Errorf("little endian: %#x", got)
	}
	if got := pack(1, 2, true); got != 0x12 {
		t.Errorf("big endian: %#x", got)
	}
}
