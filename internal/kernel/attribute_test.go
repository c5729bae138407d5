package kernel

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestEachAttribute(t *testing.T) {
	whole := slices.Concat(
		nl.NewRtAttr(7, []byte{1, 2, 3, 4, 5}).Serialize(),
		nl.NewRtAttr(8|unix.NLA_F_NESTED, nil).Serialize(),
		nl.NewRtAttr(9, []byte{6}).Serialize(),
	)
	damaged := slices.Clone(whole)
	damaged[12] = 3 // the length of the second, less than that of its header
	for _, tt := range []struct {
		name string
		b    []byte
		want []string
	}{
		{"none", nil, nil},
		{"three, two of them padded", whole, []string{"7 [1 2 3 4 5]", "8 []", "9 [6]"}},
		{"without the last one's padding", whole[:len(whole)-3], []string{"7 [1 2 3 4 5]", "8 []", "9 [6]"}},
		{"the last one cut off", whole[:len(whole)-4], []string{"7 [1 2 3 4 5]", "8 []"}},
		{"the second one damaged", damaged, []string{"7 [1 2 3 4 5]"}},
		{"less than a header", whole[:3], nil},
	} {
		var got []string
		EachAttribute(tt.b, func(kind uint16, value []byte) { got = append(got, fmt.Sprint(kind, " ", value)) })
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
