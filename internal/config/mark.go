package config

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// minMaskBits leaves room for four members, see fwmark.reserved.
const minMaskBits = 3

func parseMarkMask(text string) (uint32, error) {
	mask, err := ParseMark(text)
	if err == nil && bits.OnesCount32(mask) < minMaskBits {
		err = fmt.Errorf("%s has fewer than %d bits", quote(text), minMaskBits)
	}
	return mask, err
}

// ParseMark reads a packet mark, decimal or with 0x.
func ParseMark(text string) (uint32, error) {
	digits, base := text, 10
	if strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X") {
		digits, base = text[2:], 16
	}
	mark, err := strconv.ParseUint(digits, base, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 0, invalid(text, "has more than 32 bits")
	}
	if err != nil {
		return 0, invalid(text, "is not a number, such as 0x3f000000")
	}
	return uint32(mark), nil
}

// parseForeignMark reads bits of a mark and their mask. None may be ours.
func parseForeignMark(text string, ours uint32) (mark, mask uint32, err error) {
	value, rest, masked := strings.Cut(text, "/")
	if !masked {
		return 0, 0, invalid(text, "needs a mask of the bits that the other program sets, such as 0x1/0xff")
	}
	if mark, err = ParseMark(value); err == nil {
		mask, err = ParseMark(rest)
	}
	switch {
	case err != nil:
	case mask&ours != 0:
		err = invalid(text, fmt.Sprintf("overlaps mark_mask %#x, the bits of this program: leave these out of its mask, or choose another mark_mask", ours))
	case mark&^mask != 0 || mask == 0:
		err = invalid(text, "matches nothing or everything: the mask must have all bits of the mark, and not be 0")
	}
	return mark, mask, err
}

// parsePinnedMark reads option mark of a member.
func parsePinnedMark(text string) (uint32, error) {
	mark, err := ParseMark(text)
	if err == nil && mark == 0 {
		err = invalid(text, "is the mark of unmarked packets")
	}
	return mark, err
}
