package kernel

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// EachAttribute calls visit with the kind, without the flags in its upper two bits,
// and value of each netlink attribute in b. A damaged one ends the walk. The
// library's parsers make slices (ParseRouteAttr) or a goroutine for each list
// (ParseAttributes): with tens of thousands of entries that costs more than
// everything else.
func EachAttribute(b []byte, visit func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		visit(binary.NativeEndian.Uint16(b[2:])&nl.NLA_TYPE_MASK, b[unix.SizeofRtAttr:length])
		padded := (length + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
		b = b[min(padded, len(b)):]
	}
}

// BigEndian reads a number of up to four bytes in network byte order, as
// netfilter's attributes have it.
func BigEndian(value []byte) (n uint32) {
	for _, b := range value {
		n = n<<8 | uint32(b)
	}
	return n
}
