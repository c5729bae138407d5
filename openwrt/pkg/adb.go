package main

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"slices"
)

// The format of apk-tools 3 for packages and indices, as apk-v3(5) describes it.
// Numbers are little-endian. A file is the letters "ADB.", four more for its
// schema, and blocks; all of that may be compressed, which other letters in front
// say. The first block is the database: a head and data, in which values refer to
// each other by their offsets.
const (
	plainMagic   = "ADB."
	deflateMagic = "ADBd"

	schemaPackage = "pckg"
	schemaIndex   = "indx"
)

// A block starts with a word of its type in the upper two bits and its size, this
// word included, in the others. It ends at a multiple of blockAlign.
const (
	blockDatabase  = 0 << 30
	blockSignature = 1 << 30
	blockData      = 2 << 30

	blockAlign = 8
)

// value is a word in a database: the kind of what it says in the upper four bits,
// and in the others a number, or the offset of something else. An absent value
// is 0.
type value uint32

const (
	kindInt    value = 0x1 << 28
	kindInt32  value = 0x2 << 28
	kindBlob8  value = 0x8 << 28 // its length in one byte, then its bytes
	kindBlob16 value = 0x9 << 28
	kindBlob32 value = 0xa << 28
	kindArray  value = 0xd << 28 // the number of words, this one included, then values
	kindObject value = 0xe << 28 // the same

	offsetMask value = 1<<28 - 1
)

// headSize is that of the head of a database: its version and the root value.
const headSize = 8

// database is one under construction: parts first, the root last.
type database struct {
	data []byte
	seen map[string]value // offsets of what is there: equal data is stored once
}

func newDatabase() *database {
	return &database{data: make([]byte, headSize), seen: map[string]value{}}
}

// put stores data at a multiple of align, if it is not there already, and returns
// its offset.
func (d *database) put(data []byte, align int) value {
	if offset, ok := d.seen[string(data)]; ok && int(offset)%align == 0 {
		return offset
	}
	d.data = pad(d.data, align)
	offset := value(len(d.data))
	d.seen[string(data)] = offset
	d.data = append(d.data, data...)
	return offset
}

// pad appends zeros up to a multiple of align.
func pad(data []byte, align int) []byte {
	for len(data)%align != 0 {
		data = append(data, 0)
	}
	return data
}

func (d *database) integer(n uint32) value {
	if value(n) <= offsetMask {
		return kindInt | value(n)
	}
	return kindInt32 | d.put(binary.LittleEndian.AppendUint32(nil, n), 4)
}

// blob stores bytes; none are an absent value.
func (d *database) blob(b []byte) value {
	switch n := len(b); {
	case n == 0:
		return 0
	case n <= 0xff:
		return kindBlob8 | d.put(append([]byte{byte(n)}, b...), 1)
	case n <= 0xffff:
		return kindBlob16 | d.put(append(binary.LittleEndian.AppendUint16(nil, uint16(n)), b...), 2)
	default:
		return kindBlob32 | d.put(append(binary.LittleEndian.AppendUint32(nil, uint32(n)), b...), 4)
	}
}

func (d *database) text(s string) value { return d.blob([]byte(s)) }

// object stores the values of an object's fields, in the order of the schema.
func (d *database) object(fields ...value) value { return d.words(kindObject, fields) }

func (d *database) array(items ...value) value { return d.words(kindArray, items) }

func (d *database) words(kind value, values []value) value {
	for len(values) > 0 && values[len(values)-1] == 0 {
		values = values[:len(values)-1]
	}
	if len(values) == 0 {
		return 0
	}
	data := binary.LittleEndian.AppendUint32(nil, uint32(1+len(values)))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, uint32(v))
	}
	return kind | d.put(data, 4)
}

// finish sets the root.
func (d *database) finish(root value) { binary.LittleEndian.PutUint32(d.data[4:], uint32(root)) }

// encode returns a file with the database, its signature if there is a key, and
// blocks of data.
func (d *database) encode(schema string, key *apkKey, data [][]byte) ([]byte, error) {
	b := []byte(plainMagic + schema)
	b = appendBlock(b, blockDatabase, d.data)
	if key != nil {
		signature, err := signDatabase(key, schema, d.data)
		if err != nil {
			return nil, err
		}
		b = appendBlock(b, blockSignature, signature)
	}
	for _, content := range data {
		b = appendBlock(b, blockData, content)
	}
	stream, err := deflate(b)
	if err != nil {
		return nil, err
	}
	return append([]byte(deflateMagic), stream...), nil
}

// appendBlock appends a block of less than 1 GiB.
func appendBlock(b []byte, kind uint32, content []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, kind|uint32(4+len(content)))
	return pad(append(b, content...), blockAlign)
}

// What a signature says of itself: the version of its format, and that it is
// about the SHA-512 of the database.
const (
	signatureVersion = 0
	signatureSHA512  = 4
)

// signDatabase returns the content of a signature block. Signed are the schema,
// what the block says before the signature itself, and the database's sum.
func signDatabase(key *apkKey, schema string, data []byte) ([]byte, error) {
	head := slices.Concat([]byte{signatureVersion, signatureSHA512}, key.id())
	sum := sha512.Sum512(data)
	signature, err := key.sign(bytes.Join([][]byte{[]byte(schema), head, sum[:]}, nil))
	return append(head, signature...), err
}
