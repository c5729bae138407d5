package advice

import "strings"

// learning are the sections of the sets that learn.
func (f Facts) learning() string {
	var names []string
	for _, s := range f.Config.IPSets {
		if len(s.Domains) > 0 {
			names = append(names, "'"+s.Name+"'")
		}
	}
	return strings.Join(names, ", ")
}

// nobodyLearns finds sets with domains where no monitor runs, which alone sees
// the answers.
func (f Facts) nobodyLearns() []string {
	names := f.learning()
	if names == "" || f.Config.Globals.Monitor {
		return nil
	}
	return []string{"ipset " + names + ": 'domain' has no effect with monitor '0': the monitor learns the addresses"}
}

// unseenAnswers says what sets with domains cannot know.
func (f Facts) unseenAnswers() []string {
	names := f.learning()
	if names == "" || !f.Config.Globals.Monitor {
		return nil
	}
	return []string{"ipset " + names + ": addresses are learnt from the DNS answers of this router alone: what hosts ask others, " +
		"also by DNS over TLS or HTTPS, is not seen, nor is what they know already"}
}
