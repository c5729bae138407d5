package config

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"loadbalance/internal/uci"
)

// maxSectionName is the longest name of a section in characters. Where the kernel
// takes less (28 for a chain, 31 for a set), the planner shortens the name.
const maxSectionName = 32

// reservedNames mean something else in use_policy or as the name of a table.
var reservedNames = []string{"default", "unreachable", "blackhole", "main", "local", "local6"}

func validSectionName(name string) bool {
	return name != "" && len(name) <= maxSectionName && uci.ConsistsOf(name, "_")
}

// maxDeviceName is the kernel's IFNAMSIZ (16) without the final NUL.
const maxDeviceName = 15

// ValidDevice reports whether name can be the name of a network device. It takes
// less than the kernel (dev_valid_name): nothing that iptables would take for an
// option ('-', '!'), a wildcard ('+' at the end) or a quotation, and not the
// directories of /proc/sys/net/ipv4/conf that are no devices.
func ValidDevice(name string) bool {
	switch name {
	case "", ".", "..", "all", "default":
		return false
	}
	if len(name) > maxDeviceName || name[0] == '-' || name[0] == '!' || strings.HasSuffix(name, "+") {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune("/:\"'`\\", c)
	})
}

// maxInterfaceName is that of our sections; netifd itself has no limit.
const maxInterfaceName = 32

// ValidInterface reports whether name can be the name of a netifd interface.
func ValidInterface(name string) bool {
	return name != "" && len(name) <= maxInterfaceName && uci.ConsistsOf(name, "_-.") &&
		name[0] != '-' && name[0] != '.'
}

// maxSetName is the kernel's IPSET_MAXNAMELEN (32) without the final NUL.
const maxSetName = 31

// validSetName is about an ipset, which may be another program's.
func validSetName(name string) bool {
	return validSectionName(name) ||
		name != "" && len(name) <= maxSetName && uci.ConsistsOf(name, "_-.:") && name[0] != '-'
}

// maxPath is the kernel's PATH_MAX (4096) without the final NUL.
const maxPath = 4095

// validPath is about the absolute path of a file.
func validPath(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && len(path) <= maxPath &&
		utf8.ValidString(path) && !strings.ContainsFunc(path, unicode.IsControl)
}

var (
	parseDevice = checked(ValidDevice, "is not a device name "+
		"(1 to 15 characters, no spaces, quotes, slashes or wildcards)")
	parseInterface = checked(ValidInterface, "is not an interface name (1 to 32 letters, digits, '_', '-' or '.')")
	parseSetName   = checked(validSetName, "is not the name of a set (1 to 31 letters, digits, '_', '-', '.' or ':')")
	parsePath      = checked(validPath, "is not the absolute path of a file")
)

// checked returns a parser for texts that stay as they are, if they are valid.
func checked(valid func(string) bool, otherwise string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !valid(text) {
			return "", invalid(text, otherwise)
		}
		return text, nil
	}
}
