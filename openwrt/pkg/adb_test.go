package main

import (
	"strings"
	"testing"
)

// Texts of all sizes at which the form changes, and numbers.
func TestDatabaseValues(t *testing.T) {
	d := newDatabase()
	var texts []string
	var values []value
	for _, size := range []int{0, 1, 254, 255, 256, 65535, 65536, 70000} {
		texts = append(texts, strings.Repeat("x", size))
		values = append(values, d.text(texts[len(texts)-1]))
	}
	numbers := []uint32{0, 1, 1<<28 - 1, 1 << 28, 1796076548, 1<<32 - 1}
	for _, n := range numbers {
		values = append(values, d.integer(n))
	}
	d.finish(d.array(append(values, 0, 0)...))
	r := &reader{data: d.data}
	got := r.array(r.root())
	if len(got) != len(texts)+len(numbers) {
		t.Fatalf("got %d values, want %d without the absent ones at the end", len(got), len(texts)+len(numbers))
	}
	for i, want := range texts {
		if r.text(got[i]) != want {
			t.Errorf("text of %d bytes: got one of %d", len(want), len(r.text(got[i])))
		}
	}
	for i, want := range numbers {
		if n := r.integer(got[len(texts)+i]); n != want {
			t.Errorf("number %d: got %d", want, n)
		}
	}
	if r.err != nil {
		t.Error(r.err)
	}
}

func TestDatabaseStoresOnce(t *testing.T) {
	d := newDatabase()
	first := d.object(d.integer(0o644), d.text("root"), d.text("root"))
	size := len(d.data)
	if second := d.object(d.integer(0o644), d.text("root"), d.text("root")); second != first || len(d.data) != size {
		t.Errorf("the same object again: got %#x and %d bytes, want %#x and %d", second, len(d.data), first, size)
	}
	if other := d.object(d.integer(0o755), d.text("root"), d.text("root")); other == first {
		t.Error("another object is stored as the same one")
	}
	if d.object(0, 0) != 0 || d.array() != 0 {
		t.Error("what has no values must be absent")
	}
}

// Bytes that are there at an odd offset do not serve where alignment is needed.
func TestDatabaseAligns(t *testing.T) {
	d := newDatabase()
	d.put([]byte{1}, 1)
	d.put([]byte{7, 0, 0, 0x20}, 1)
	v := d.integer(0x20000007)
	if offset := int(v & offsetMask); offset%4 != 0 {
		t.Errorf("a number of 32 bits is at offset %d", offset)
	}
	if r := (&reader{data: d.data}); r.integer(uint32(v)) != 0x20000007 || r.err != nil {
		t.Errorf("got %#x, %v", r.integer(uint32(v)), r.err)
	}
}
