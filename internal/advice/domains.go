package advice

import "strings"

// learning tells of sets with domains: that they learn nothing without the
// monitor, which alone sees the answers, and what they cannot know with it.
func (f *finder) learning() {
	var names []string
	for _, s := range f.Config.IPSets {
		if len(s.Domains) > 0 {
			names = append(names, "'"+s.Name+"'")
		}
	}
	sets := "ipset " + strings.Join(names, ", ")
	switch {
	case len(names) == 0:
	case !f.Config.Globals.Monitor:
		f.warn("%s: 'domain' has no effect with monitor '0': the monitor learns the addresses", sets)
	default:
		f.Limits = append(f.Limits, sets+": addresses are learnt from the DNS answers of this router alone: what hosts ask others, "+
			"also by DNS over TLS or HTTPS, is not seen, nor is what they know already")
	}
}
