package fwmark

import (
	"math/bits"
	"testing"
)

var masks = []Mask{
	Fallback, 0x7, 0xff, 0xff0000, 0x0f0f0000, 0x80808080, 0xaaaaaaaa, 0x10001001,
	0xf0000000, 0x0000ffff, 0x0001ffff, 0xffffffff, 0x7fffffff, 0xfffffff0,
}

// TestRoundTrip: every value that a connection can carry comes back, and no
// mark touches a bit that is not ours.
func TestRoundTrip(t *testing.T) {
	for _, mask := range masks {
		values := []int{mask.Default(), mask.Unreachable(), mask.Blackhole()}
		for value := 0; value <= mask.Capacity(); value++ {
			values = append(values, value)
		}
		seen := map[uint32]int{}
		for _, value := range values {
			mark := mask.Mark(value)
			if mark&^uint32(mask) != 0 {
				t.Errorf("mask %#x: mark %#x of value %d lies outside", mask, mark, value)
			}
			if other, twice := seen[mark]; twice {
				t.Errorf("mask %#x: values %d and %d have the same mark %#x", mask, value, other, mark)
			}
			seen[mark] = value
			if got := mask.Value(mark); got != value {
				t.Errorf("mask %#x: mark %#x has value %d, want %d", mask, mark, got, value)
			}
			if got := mask.Value(mark | ^uint32(mask)); got != value {
				t.Errorf("mask %#x: with all foreign bits value %d reads as %d", mask, value, got)
			}
		}
	}
}

// TestMarkSpreads: a value's bits go to the mask's bits from the lowest to the
// highest.
func TestMarkSpreads(t *testing.T) {
	tests := []struct {
		mask  Mask
		value int
		want  uint32
	}{
		{Fallback, 1, 0x1000000},
		{Fallback, 2, 0x2000000},
		{Fallback, 60, 0x3c000000},
		{Fallback, 63, 0x3f000000},
		{0xff0000, 1, 0x10000},
		{0x0f0f0000, 0xf, 0xf0000},
		{0x0f0f0000, 0x10, 0x1000000},
		{0x0f0f0000, 0xff, 0xf0f0000},
		{0x80000001, 2, 0x80000000},
	}
	for _, tt := range tests {
		if got := tt.mask.Mark(tt.value); got != tt.want {
			t.Errorf("mask %#x: mark of %d is %#x, want %#x", tt.mask, tt.value, got, tt.want)
		}
	}
}

func TestReservedValues(t *testing.T) {
	tests := []struct {
		mask                                      Mask
		fallback, unreachable, blackhole, members int
	}{
		{Fallback, 63, 62, 61, 60},
		{0x7, 7, 6, 5, 4},
		{0x3, 3, 2, 1, 0},
		{0xff, 255, 254, 253, 199}, // 252 would fit, the priorities end at 199
		{0x7f0000, 127, 126, 125, 124},
		{0xffffffff, 65535, 65534, 65533, 199},
	}
	for _, tt := range tests {
		if tt.mask.Default() != tt.fallback || tt.mask.Unreachable() != tt.unreachable ||
			tt.mask.Blackhole() != tt.blackhole || tt.mask.Capacity() != tt.members {
			t.Errorf("mask %#x: default %d, unreachable %d, blackhole %d, room for %d; want %+v", tt.mask,
				tt.mask.Default(), tt.mask.Unreachable(), tt.mask.Blackhole(), tt.mask.Capacity(), tt)
		}
	}
}

// TestIsMember: neither unmarked packets nor the reserved values are members,
// and no table of a member is one of theirs.
func TestIsMember(t *testing.T) {
	for _, mask := range masks {
		if bits.OnesCount32(uint32(mask)) < 3 {
			t.Fatalf("mask %#x is smaller than the configuration allows", mask)
		}
		for _, value := range []int{-1, 0, mask.Capacity() + 1, mask.Blackhole(), mask.Unreachable(), mask.Default()} {
			if mask.IsMember(value) {
				t.Errorf("mask %#x: %d counts as a member", mask, value)
			}
		}
		if !mask.IsMember(1) || !mask.IsMember(mask.Capacity()) {
			t.Errorf("mask %#x: 1 or %d is no member", mask, mask.Capacity())
		}
		// A foreign mark of a mask with more bits than values is no member.
		if value := mask.Value(uint32(mask)); mask.IsMember(value) {
			t.Errorf("mask %#x: all bits set is member %d", mask, value)
		}
	}
}

func TestTable(t *testing.T) {
	if Table(1) != 301 || Table(Fallback.Blackhole()) != 361 || Table(Fallback.Unreachable()) != 362 {
		t.Errorf("tables %d, %d, %d", Table(1), Table(Fallback.Blackhole()), Table(Fallback.Unreachable()))
	}
}
