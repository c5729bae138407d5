package netlab

import (
	"fmt"
	"strings"
)

// Dump returns everything that a load balancer can change on the router, as
// text: rules of all iptables tables, ip rules, routes of all tables and
// ipsets. Two dumps are equal if the router is the same but for comments,
// counters and empty built-in tables.
func (l *Lab) Dump() (string, error) {
	var dump strings.Builder
	backend := l.options.Backend
	for _, command := range []string{
		"iptables-" + backend + "-save", "ip6tables-" + backend + "-save",
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "ipset list",
	} {
		words := strings.Fields(command)
		out, err := l.Router.Run(words[0], words[1:]...)
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(command, "-save") {
			out = withoutEmptyTables(out)
		}
		fmt.Fprintf(&dump, "# %s\n%s", command, out)
	}
	return dump.String(), nil
}

// withoutEmptyTables removes comments, counters and the tables that hold
// nothing but built-in chains with the policy ACCEPT from what iptables-save
// printed.
func withoutEmptyTables(saved string) string {
	var kept, table strings.Builder
	empty := true
	for _, line := range strings.Split(saved, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "*") {
			table.Reset()
			empty = true
		}
		if strings.HasPrefix(line, ":") {
			line, _, _ = strings.Cut(line, " [")
			empty = empty && strings.HasSuffix(line, " ACCEPT")
		}
		if strings.HasPrefix(line, "-") {
			empty = false
		}
		table.WriteString(line + "\n")
		if line == "COMMIT" && !empty {
			kept.WriteString(table.String())
		}
	}
	return kept.String()
}
