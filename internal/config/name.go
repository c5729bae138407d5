package config

import (
	"fmt"
	"strings"
)

// maxSectionName is the longest name of a member, policy, rule or set in
// characters. Where the kernel takes less (28 for a chain, 31 for a set), the
// planner shortens the name.
const maxSectionName = 32

// reservedNames mean something else in option use_policy or as the name of a
// routing table.
var reservedNames = []string{"default", "unreachable", "blackhole", "main", "local", "local6"}

// validSectionName reports whether a name is libuci's: letters, digits and
// underscores.
func validSectionName(name string) bool {
	return name != "" && len(name) <= maxSectionName && consistsOf(name, "_")
}

// consistsOf reports whether a text has only ASCII letters and digits and the
// given further characters.
func consistsOf(text, further string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"+further) == ""
}

// maxDeviceName is the kernel's IFNAMSIZ (16) without the final NUL.
const maxDeviceName = 15

// parseDevice reads the name of a network device. It takes less than the kernel
// does (dev_valid_name refuses '/', ':' and blanks): nothing that iptables
// would take for an option ('-', '!'), a wildcard ('+' at the end) or a
// quotation, and not the directories of /proc/sys/net/ipv4/conf that are no
// devices.
func parseDevice(text string) (string, error) {
	if ValidDevice(text) {
		return text, nil
	}
	return "", fmt.Errorf("%s is not a device name (1 to %d characters, no spaces, quotes, slashes or wildcards)",
		quote(text), maxDeviceName)
}

// ValidDevice reports whether name can be the name of a network device, within
// the limits of parseDevice. Names from other programs (ubus) are checked by
// it, too.
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

// maxInterfaceName is generous: netifd itself has no limit, but an interface is
// a section of /etc/config/network, and ours end at 32 as well.
const maxInterfaceName = 32

// parseInterface reads the name of a netifd interface.
func parseInterface(text string) (string, error) {
	if ValidInterface(text) {
		return text, nil
	}
	return "", fmt.Errorf("%s is not an interface name (1 to %d letters, digits, '_', '-' or '.')",
		quote(text), maxInterfaceName)
}

// ValidInterface reports whether name can be the name of a netifd interface.
func ValidInterface(name string) bool {
	return name != "" && len(name) <= maxInterfaceName && consistsOf(name, "_-.") &&
		name[0] != '-' && name[0] != '.'
}

// maxSetName is the kernel's IPSET_MAXNAMELEN (32) without the final NUL.
const maxSetName = 31

// parseSetName reads the name of an ipset, which may be another program's and
// so need not be a section's name.
func parseSetName(text string) (string, error) {
	ours := validSectionName(text)
	foreign := text != "" && len(text) <= maxSetName && consistsOf(text, "_-.:") && text[0] != '-'
	if !ours && !foreign {
		return "", fmt.Errorf("%s is not the name of a set (1 to %d letters, digits, '_', '-', '.' or ':')",
			quote(text), maxSetName)
	}
	return text, nil
}
