package order

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSort(t *testing.T) {
	type pair struct {
		key  int
		name string
	}
	for _, c := range []struct {
		name     string
		in, want []pair
	}{
		{"nothing", nil, nil},
		{"one", []pair{{1, "a"}}, []pair{{1, "a"}}},
		{"turned round", []pair{{3, "a"}, {2, "b"}, {1, "c"}}, []pair{{1, "c"}, {2, "b"}, {3, "a"}}},
		{"negative", []pair{{0, "a"}, {-1, "b"}}, []pair{{-1, "b"}, {0, "a"}}},
		{"equal ones keep their order", []pair{{2, "a"}, {1, "b"}, {2, "c"}, {1, "d"}}, []pair{{1, "b"}, {1, "d"}, {2, "a"}, {2, "c"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.Clone(c.in)
			Sort(got, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// So many elements that the sort merges blocks.
func TestSortMany(t *testing.T) {
	const many = 1000
	type pair struct{ key, place int }
	var pairs []pair
	for i := range many {
		pairs = append(pairs, pair{key: i * 7919 % 10, place: i})
	}
	Sort(pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	for i, p := range pairs[1:] {
		before := pairs[i]
		if before.key > p.key || before.key == p.key && before.place > p.place {
			t.Fatalf("%v stands before %v", before, p)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		in   map[string]int
		want []string
	}{
		{nil, []string{}},
		{map[string]int{"wan2": 1, "wan10": 2, "LAN": 3, "": 4}, []string{"", "LAN", "wan10", "wan2"}},
	} {
		got := Keys(c.in)
		if got == nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: got %#v, want %#v", c.in, got, c.want)
		}
	}
}

func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"S19mwan3", "S10boot", ".hidden", "K50off"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FileNames(dir)
	if want := []string{".hidden", "K50off", "S10boot", "S19mwan3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := FileNames(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}
