package apply

import (
	"fmt"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/shell"
)

// Commands writes the changes as the commands that a person would type, in
// the order in which they are made; nothing when there is nothing to change.
func (c *Changes) Commands() string {
	var text strings.Builder
	section(&text, "sysctls", lines(c.Sysctls.Set))
	for _, f := range family.All {
		routing := c.Families[f].Routing
		section(&text, fmt.Sprintf("routes (%s)", f), lines(routing.AddRoutes))
		section(&text, fmt.Sprintf("ip rules (%s)", f), lines(routing.AddRules))
	}
	section(&text, "sets", lines(c.Sets.Update))
	for _, f := range family.All {
		if mangle := c.Families[f].Mangle; !mangle.Empty() {
			program := family.Pick(f, "iptables-restore", "ip6tables-restore")
			section(&text, fmt.Sprintf("mangle table (%s)", f), []string{shell.Input(program+" --noflush", mangle.Input())})
		}
	}
	section(&text, "sets no longer wanted", lines(c.Sets.Destroy))
	for _, f := range family.All {
		routing := c.Families[f].Routing
		section(&text, fmt.Sprintf("no longer wanted (%s)", f),
			append(lines(routing.DeleteRules), lines(routing.DeleteRoutes)...))
	}
	section(&text, "sysctls restored", lines(c.Sysctls.Restore))
	return text.String()
}

func section(text *strings.Builder, title string, commands []string) {
	if len(commands) == 0 {
		return
	}
	if text.Len() > 0 {
		text.WriteByte('\n')
	}
	fmt.Fprintf(text, "# %s\n", title)
	for _, command := range commands {
		fmt.Fprintln(text, command)
	}
}

func lines[Op fmt.Stringer](ops []Op) (commands []string) {
	for _, op := range ops {
		commands = append(commands, op.String())
	}
	return commands
}
