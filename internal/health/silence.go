package health

import "loadbalance/internal/family"

// Silence is a set of families that are silent, 0 for none; see Paths.Silent.
type Silence uint8

func silence(f family.Family) Silence { return 1 << f }

// In is " in ipv4" or " in ipv6" where there is just one of them, otherwise "".
func (s Silence) In() string { return [...]string{"", " in ipv4", " in ipv6", ""}[s&3] }
