package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// i18nDir is where LuCI looks for translations.
const i18nDir = "./usr/lib/lua/luci/i18n/"

// translate turns the translations in a tree, .po files as translators write
// them, into the .lmo files that LuCI reads.
func translate(tree []entry) error {
	for i, e := range tree {
		name, ok := strings.CutSuffix(e.name, ".po")
		if !ok || !strings.HasPrefix(name, i18nDir) {
			continue
		}
		messages, err := parsePO(e.body)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if len(messages) == 0 {
			return fmt.Errorf("%s: translates nothing", e.name)
		}
		tree[i] = entry{name: name + ".lmo", mode: e.mode, body: makeLMO(messages)}
	}
	return nil
}

// message is a translation: of one text, or with plurals of several forms of it.
type message struct {
	context, id, plural string
	forms               []string
}

// parsePO reads the translations of a .po file.
func parsePO(text []byte) ([]message, error) {
	var messages []message
	var m message
	var field *string // which continues on the next line
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimSpace(scanner.Text())
		keyword, quoted, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '"':
			quoted = line
		case keyword == "msgctxt", keyword == "msgid":
			if m.forms != nil {
				messages, m = append(messages, m), message{}
			}
			field = &m.id
			if keyword == "msgctxt" {
				field = &m.context
			}
		case keyword == "msgid_plural":
			field = &m.plural
		case strings.HasPrefix(keyword, "msgstr"):
			m.forms = append(m.forms, "")
			field = &m.forms[len(m.forms)-1]
		default:
			return nil, fmt.Errorf("line %d: unknown word '%s'", number, keyword)
		}
		part, err := unquote(quoted)
		if err != nil || field == nil {
			return nil, fmt.Errorf("line %d: no text in quotation marks where one must be", number)
		}
		*field += part
	}
	if m.forms != nil {
		messages = append(messages, m)
	}
	return messages, scanner.Err()
}

// unquote returns the text between quotation marks. Of the escapes it resolves
// those of the backslash and the quotation mark: the others, such as \n, are
// part of what LuCI looks up.
func unquote(quoted string) (string, error) {
	if len(quoted) < 2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
		return "", errors.New("no quotation marks")
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[1 : len(quoted)-1]), nil
}

// lmoEntry is a line in the index of an .lmo file.
type lmoEntry struct {
	key    uint32 // hash of the text that is translated
	forms  uint32 // how many the message has
	offset uint32
	length uint32
}

// makeLMO packs translations: the texts, each filled up to a multiple of four
// bytes, then the index in the order of keys, then where it begins. Numbers are
// big-endian. Under the key 0 is which plural form is for which number.
func makeLMO(messages []message) []byte {
	var data []byte
	var index []lmoEntry
	add := func(key, forms uint32, text string) {
		index = append(index, lmoEntry{key, forms, uint32(len(data)), uint32(len(text))})
		data = pad(append(data, text...), 4)
	}
	for _, m := range messages {
		if m.id == "" {
			if rule, ok := pluralRule(m.forms[0]); ok {
				add(0, 0, rule)
			}
			continue
		}
		for i, text := range m.forms {
			key := hashLMO(m.key(i))
			// What is left as it was need not be there; nor is an empty text a translation.
			if text != "" && key != hashLMO(text) {
				add(key, uint32(len(m.forms)), text)
			}
		}
	}
	slices.SortStableFunc(index, func(a, b lmoEntry) int { return cmp.Compare(a.key, b.key) })
	begin := uint32(len(data))
	for _, e := range index {
		for _, n := range []uint32{e.key, e.forms, e.offset, e.length} {
			data = binary.BigEndian.AppendUint32(data, n)
		}
	}
	return binary.BigEndian.AppendUint32(data, begin)
}

// key returns what LuCI looks up for a form of the message.
func (m message) key(form int) string {
	key := m.id
	if m.context != "" {
		key = m.context + "\x01" + key
	}
	if m.plural != "" {
		key += "\x02" + strconv.Itoa(form)
	}
	return key
}

// pluralRule returns the rule for plural forms in a .po file's header, whose
// lines end in an escaped newline.
func pluralRule(header string) (string, bool) {
	for _, line := range strings.Split(header, `\n`) {
		if rule, ok := strings.CutPrefix(line, "Plural-Forms: "); ok {
			return rule, true
		}
	}
	return "", false
}

// hashLMO is Paul Hsieh's SuperFastHash, which starts from the length.
func hashLMO(s string) uint32 {
	hash := uint32(len(s))
	word := func(i int) uint32 { return uint32(binary.LittleEndian.Uint16([]byte(s[i : i+2]))) }
	last := func(i int) uint32 { return uint32(int32(int8(s[i]))) } // signed
	i := 0
	for ; len(s)-i >= 4; i += 4 {
		hash += word(i)
		hash = hash<<16 ^ word(i+2)<<11 ^ hash
		hash += hash >> 11
	}
	switch len(s) - i {
	case 3:
		hash += word(i)
		hash ^= hash << 16
		hash ^= last(i+2) << 18
		hash += hash >> 11
	case 2:
		hash += word(i)
		hash ^= hash << 11
		hash += hash >> 17
	case 1:
		hash += last(i)
		hash ^= hash << 10
		hash += hash >> 1
	}
	hash ^= hash << 3
	hash += hash >> 5
	hash ^= hash << 4
	hash += hash >> 17
	hash ^= hash << 25
	hash += hash >> 6
	return hash
}
