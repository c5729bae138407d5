package drift

import (
	"encoding/binary"
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// errUnreadable says that a message is shorter than what it claims to hold.
var errUnreadable = errors.New("unreadable message of the kernel")

// message is one netlink message.
type message struct {
	kind     uint16
	flags    uint16
	sequence uint32
	body     []byte
}

// cutMessage cuts the first message off b, which may hold several.
func cutMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return message{}, nil, errUnreadable
	}
	length := uint64(binary.NativeEndian.Uint32(b))
	if length < unix.NLMSG_HDRLEN || length > uint64(len(b)) {
		return message{}, nil, errUnreadable
	}
	m = message{
		kind:     binary.NativeEndian.Uint16(b[4:]),
		flags:    binary.NativeEndian.Uint16(b[6:]),
		sequence: binary.NativeEndian.Uint32(b[8:]),
		body:     b[unix.NLMSG_HDRLEN:length],
	}
	return m, b[min(aligned(int(length)), len(b)):], nil
}

// errno returns what a message of type NLMSG_ERROR or NLMSG_DONE says: nil, or
// the error's number.
func (m message) errno() error {
	if len(m.body) < 4 {
		if m.kind == unix.NLMSG_DONE {
			return nil // a dump that went well need not say so
		}
		return errUnreadable
	}
	if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// eachAttribute calls each with the type, without the flags in its upper bits,
// and the value of every attribute. The values lie in b.
func eachAttribute(b []byte, each func(kind uint16, value []byte)) error {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return errUnreadable
		}
		each(binary.NativeEndian.Uint16(b[2:])&nl.NLA_TYPE_MASK, b[unix.SizeofRtAttr:length])
		b = b[min(aligned(length), len(b)):]
	}
	return nil
}

// aligned rounds up to 4 bytes, as messages and attributes lie in a buffer
// (NLMSG_ALIGNTO in linux/netlink.h).
func aligned(length int) int { return (length + 3) &^ 3 }

// appendAttribute appends an attribute to a request.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// number32 reads an attribute of four bytes in the machine's order; a shorter
// one is 0.
func number32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}
