package health

import "loadbalance/internal/family"

// Silence is a set of families that are silent; see Paths.Silent. 0 is none.
type Silence uint8

// silence returns the set with one family.
func silence(f family.Family) Silence { return 1 << f }

// In returns " in ipv4" or " in ipv6" for a single family, otherwise "": words
// for a message.
func (s Silence) In() string { return [...]string{"", " in ipv4", " in ipv6", ""}[s&3] }
