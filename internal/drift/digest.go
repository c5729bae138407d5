package drift

import "encoding/binary"

// digest is a running FNV-1a hash of 64 bits. The standard library's would
// have to be allocated for every object.
type digest uint64

// The two numbers that define FNV-1a (RFC 9923, section 5).
const (
	fnvOffset digest = 14695981039346656037
	fnvPrime  digest = 1099511628211
)

// Every object's digest begins with what kind of object it is, so that objects
// of different kinds never stand for each other.
const (
	ofLink byte = iota
	ofAddress
	ofRoute
	ofRule
	ofSet
	ofChains
)

func newDigest(object byte) digest { return fnvOffset.bytes([]byte{object}) }

func (d digest) bytes(b []byte) digest {
	for _, c := range b {
		d = (d ^ digest(c)) * fnvPrime
	}
	return d
}

func (d digest) number(n uint64) digest {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return d.bytes(b[:])
}

// field adds an attribute. Its length keeps what follows apart.
func (d digest) field(kind uint16, value []byte) digest {
	return d.number(uint64(kind)<<32 | uint64(len(value))).bytes(value)
}

// addend returns the digest as something that may be summed up, since the
// kernel lists objects in no certain order. FNV changes too little where only
// the last bytes differ: two objects that exchange these would leave the sum as
// it was. The steps are the finalizer of MurmurHash3, which spreads every bit
// over all others.
func (d digest) addend() uint64 {
	h := uint64(d)
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
