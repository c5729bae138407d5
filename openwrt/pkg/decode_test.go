package main

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// This reads apk's format on its own, from apk-v3(5): it shares nothing with what
// writes it, and believes nothing that it reads.

// decodedFile is a file of apk's format taken apart.
type decodedFile struct {
	schema    string
	database  []byte
	signature []byte // nil: not signed
	data      [][]byte
}

func decodeFile(file []byte) (*decodedFile, error) {
	plain, err := inflateFile(file)
	if err != nil {
		return nil, err
	}
	return decodePlain(plain)
}

// decodePlain takes apart what is compressed in a file.
func decodePlain(plain []byte) (*decodedFile, error) {
	if len(plain) < 8 || string(plain[:4]) != "ADB." {
		return nil, errors.New("no ADB. in front")
	}
	f := &decodedFile{schema: string(plain[4:8])}
	return f, f.blocks(plain[8:])
}

// inflateFile returns what is compressed in a file.
func inflateFile(file []byte) ([]byte, error) {
	stream, ok := bytes.CutPrefix(file, []byte("ADBd"))
	if !ok {
		return nil, errors.New("not a deflated database")
	}
	rest := bytes.NewReader(stream)
	plain, err := io.ReadAll(flate.NewReader(rest))
	if err == nil && rest.Len() > 0 {
		err = fmt.Errorf("%d bytes behind the stream", rest.Len())
	}
	return plain, err
}

// blocks takes the blocks apart: one database, signatures, data, in this order.
func (f *decodedFile) blocks(b []byte) error {
	allowed := uint32(0)
	for first := true; len(b) > 0; first = false {
		if len(b) < 4 {
			return errors.New("a block is cut off")
		}
		word := binary.LittleEndian.Uint32(b)
		kind, size := word>>30, int(word&(1<<30-1))
		padded := (size + 7) / 8 * 8
		if size < 4 || padded > len(b) {
			return fmt.Errorf("a block of %d bytes in the last %d", size, len(b))
		}
		if strings.Trim(string(b[size:padded]), "\x00") != "" {
			return errors.New("something between two blocks")
		}
		content := b[4:size]
		b = b[padded:]
		if kind < allowed || first != (kind == 0) || kind > 2 {
			return fmt.Errorf("a block of type %d where none may be", kind)
		}
		allowed = kind
		switch kind {
		case 0:
			f.database = content
		case 1:
			if f.signature != nil {
				return errors.New("two signatures")
			}
			f.signature = content
		case 2:
			f.data = append(f.data, content)
		}
	}
	return nil
}

// verify checks the signature by a public key in PEM form.
func (f *decodedFile) verify(public []byte) error {
	block, _ := pem.Decode(public)
	if block == nil {
		return errors.New("no PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	key := parsed.(*ecdsa.PublicKey)
	if len(f.signature) < 18 {
		return errors.New("not signed")
	}
	point, err := key.ECDH()
	if err != nil {
		return err
	}
	id := sha512.Sum512(point.Bytes())
	if f.signature[0] != 0 || f.signature[1] != 4 || !bytes.Equal(f.signature[2:18], id[:16]) || key.Curve != elliptic.P256() {
		return errors.New("signed in another way, or by another key")
	}
	database := sha512.Sum512(f.database)
	signed := sha512.Sum512(bytes.Join([][]byte{[]byte(f.schema), f.signature[:18], database[:]}, nil))
	if !ecdsa.VerifyASN1(key, signed[:], f.signature[18:]) {
		return errors.New("wrong signature")
	}
	return nil
}

// reader reads values of a database, up to the first error.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// at returns size bytes at an offset, or zeros.
func (r *reader) at(offset uint32, size, align int) []byte {
	if int(offset)%align != 0 || int(offset)+size > len(r.data) {
		r.fail("offset %d: %d bytes, aligned to %d, of %d", offset, size, align, len(r.data))
		return make([]byte, size)
	}
	return r.data[offset:][:size]
}

func (r *reader) root() uint32 {
	if head := r.at(0, 8, 1); !bytes.Equal(head[:4], []byte{0, 0, 0, 0}) {
		r.fail("version: % x", head[:4])
	}
	return binary.LittleEndian.Uint32(r.at(4, 4, 1))
}

func (r *reader) integer(v uint32) uint32 {
	switch v >> 28 {
	case 0:
		return 0
	case 1:
		return v & (1<<28 - 1)
	case 2:
		return binary.LittleEndian.Uint32(r.at(v&(1<<28-1), 4, 4))
	}
	r.fail("value %#x is no number", v)
	return 0
}

func (r *reader) text(v uint32) string {
	offset := v & (1<<28 - 1)
	switch v >> 28 {
	case 0:
		return ""
	case 8:
		n := int(r.at(offset, 1, 1)[0])
		return string(r.at(offset+1, n, 1))
	case 9:
		n := int(binary.LittleEndian.Uint16(r.at(offset, 2, 2)))
		return string(r.at(offset+2, n, 1))
	case 10:
		n := int(binary.LittleEndian.Uint32(r.at(offset, 4, 4)))
		return string(r.at(offset+4, n, 1))
	}
	r.fail("value %#x is no text", v)
	return ""
}

// words reads an array (kind 13) or an object (14). Slots count from 1, as in the
// specification; the first one here is not used.
func (r *reader) words(v, kind uint32) []uint32 {
	if v == 0 {
		return []uint32{0}
	}
	if v>>28 != kind {
		r.fail("value %#x is not of kind %d", v, kind)
		return []uint32{0}
	}
	offset := v & (1<<28 - 1)
	n := int(binary.LittleEndian.Uint32(r.at(offset, 4, 4)))
	if n < 2 || n > len(r.data)/4 {
		r.fail("offset %d: %d words", offset, n)
		return []uint32{0}
	}
	words := make([]uint32, n)
	for i := 1; i < n; i++ {
		words[i] = binary.LittleEndian.Uint32(r.at(offset+uint32(4*i), 4, 4))
	}
	if words[n-1] == 0 {
		r.fail("offset %d: ends with nothing", offset)
	}
	return words
}

// object reads an object, filled up to the slots that its schema has.
func (r *reader) object(v uint32, slots int) []uint32 {
	words := r.words(v, 14)
	if len(words) > slots+1 {
		r.fail("object with %d slots, its schema has %d", len(words)-1, slots)
	}
	return append(words, make([]uint32, max(0, slots+1-len(words)))...)
}

func (r *reader) array(v uint32) []uint32 { return r.words(v, 13)[1:] }

// decodedInfo is what a package or an index says about a package.
type decodedInfo struct {
	name, version, hash, description, arch string
	license, origin, maintainer, url       string
	installedSize, fileSize                uint32
	depends, provides                      []string
}

func (r *reader) info(v uint32) decodedInfo {
	o := r.object(v, 21)
	for _, slot := range []int{10, 11, 14, 17, 18, 19, 20, 21} {
		if o[slot] != 0 {
			r.fail("package info has slot %d", slot)
		}
	}
	return decodedInfo{
		name: r.text(o[1]), version: r.text(o[2]), hash: r.text(o[3]), description: r.text(o[4]), arch: r.text(o[5]),
		license: r.text(o[6]), origin: r.text(o[7]), maintainer: r.text(o[8]), url: r.text(o[9]),
		installedSize: r.integer(o[12]), fileSize: r.integer(o[13]),
		depends: r.dependencies(o[15]), provides: r.dependencies(o[16]),
	}
}

func (r *reader) dependencies(v uint32) []string {
	var list []string
	last := ""
	for _, item := range r.array(v) {
		o := r.object(item, 3)
		name, version := r.text(o[1]), r.text(o[2])
		if name <= last {
			r.fail("dependency %s behind %s", name, last)
		}
		last = name
		if version != "" {
			name += "=" + version
		}
		if o[3] != 0 {
			r.fail("dependency %s has an operator", name)
		}
		list = append(list, name)
	}
	return list
}

// decodedPackage is a package taken apart, with every hash checked.
type decodedPackage struct {
	*decodedFile
	info    decodedInfo
	dirs    []string          // MODE PATH
	files   []string          // MODE USER/GROUP SECONDS PATH
	content map[string]string // by path
	scripts map[string]string // by apk's event
}

func decodePackage(file []byte) (*decodedPackage, error) {
	f, err := decodeFile(file)
	if err != nil {
		return nil, err
	}
	return checkPackage(f)
}

// checkPackage reads a package's database and checks it against the data.
func checkPackage(f *decodedFile) (*decodedPackage, error) {
	if f.schema != "pckg" {
		return nil, fmt.Errorf("schema '%s'", f.schema)
	}
	r := &reader{data: f.database}
	root := r.object(r.root(), 5)
	p := &decodedPackage{decodedFile: f, info: r.info(root[1]), content: map[string]string{}, scripts: map[string]string{}}
	p.paths(r, root[2])
	for slot, event := range []string{"", "trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"} {
		if text := r.text(r.object(root[3], 7)[slot]); text != "" {
			p.scripts[event] = text
		}
	}
	if root[4] != 0 || root[5] != 0 {
		r.fail("triggers or a priority")
	}
	p.checkID(r)
	return p, r.err
}

// paths reads folders and files, and takes their content off the data blocks.
func (p *decodedPackage) paths(r *reader, v uint32) {
	blocks := p.data
	lastDir := ""
	for i, d := range r.array(v) {
		dir := r.object(d, 3)
		name := r.text(dir[1])
		if i > 0 && name <= lastDir {
			r.fail("folder %s behind %s", name, lastDir)
		}
		lastDir = name
		p.dirs = append(p.dirs, fmt.Sprintf("%s %s", r.owner(dir[2]), name))
		lastFile := ""
		for j, f := range r.array(dir[3]) {
			file := r.object(f, 6)
			base := r.text(file[1])
			if base <= lastFile || file[6] != 0 {
				r.fail("file %s behind %s, or with a target", base, lastFile)
			}
			lastFile = base
			full := path.Join("/", name, base)
			p.files = append(p.files, fmt.Sprintf("%s %d %s", r.owner(file[2]), r.integer(file[4]), full))
			size := r.integer(file[3])
			if size > 0 {
				where := fmt.Sprintf("%d %d %d", i+1, j+1, size)
				if len(blocks) == 0 || len(blocks[0]) < 8 || blockPlace(blocks[0]) != where {
					r.fail("%s: its content is not the next block", full)
					return
				}
				p.content[full] = string(blocks[0][8:])
				blocks = blocks[1:]
			}
			if sum := sha256.Sum256([]byte(p.content[full])); r.text(file[5]) != string(sum[:]) {
				r.fail("%s: wrong hash", full)
			}
		}
	}
	if len(blocks) > 0 {
		r.fail("%d blocks too many", len(blocks))
	}
}

// blockPlace returns which folder and file a block is of, and its size.
func blockPlace(block []byte) string {
	return fmt.Sprintf("%d %d %d", binary.LittleEndian.Uint32(block), binary.LittleEndian.Uint32(block[4:]), len(block)-8)
}

func (r *reader) owner(v uint32) string {
	acl := r.object(v, 4)
	if acl[4] != 0 {
		r.fail("extended attributes")
	}
	return fmt.Sprintf("%04o %s/%s", r.integer(acl[1]), r.text(acl[2]), r.text(acl[3]))
}

// checkID checks that the package's name for itself is the beginning of the sum
// of the database with zeros in its place.
func (p *decodedPackage) checkID(r *reader) {
	if len(p.info.hash) != 20 || bytes.Count(p.database, []byte(p.info.hash)) != 1 {
		r.fail("hashes: % x", p.info.hash)
		return
	}
	zeroed := bytes.Replace(p.database, []byte(p.info.hash), make([]byte, 20), 1)
	if sum := sha256.Sum256(zeroed); string(sum[:20]) != p.info.hash {
		r.fail("hashes: % x is not the sum", p.info.hash)
	}
}

// decodeIndex reads an index.
func decodeIndex(file []byte) (*decodedFile, []decodedInfo, error) {
	f, err := decodeFile(file)
	if err != nil {
		return nil, nil, err
	}
	if f.schema != "indx" || len(f.data) > 0 {
		return nil, nil, fmt.Errorf("schema '%s', %d blocks of data", f.schema, len(f.data))
	}
	r := &reader{data: f.database}
	root := r.object(r.root(), 3)
	var packages []decodedInfo
	for _, v := range r.array(root[2]) {
		packages = append(packages, r.info(v))
	}
	return f, packages, r.err
}
