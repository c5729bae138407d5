// Package rundir owns the run directory (/var/run/loadbalance): what has to
// outlive one run of the program but not a reboot. None of it is needed to
// recognise what is ours in the kernel, so nothing that fails here keeps anybody
// from changing the kernel. Only root can open a file, lock one, or ask the
// monitor.
package rundir

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/quota"
)

// Dir is the run directory.
type Dir string

const (
	stateFile   = "state.json"
	configFile  = "accepted"
	stoppedFile = "stopped"
	overdueFile = "overdue"
	netifdFile  = "netifd.json"
	usageFile   = "usage.json"
)

// State is what one run tells the next.
type State struct {
	plan.State
	Families map[family.Family]Family `json:"families,omitempty"`
	// Sysctls are the settings that we changed, by path; nil if that is not known.
	Sysctls map[string]Sysctl `json:"sysctls"`
}

// Sysctl is a setting that we changed: from what we found to what we wrote.
type Sysctl struct {
	Original string `json:"original"`
	Ours     string `json:"ours"`
}

// Family is what we remember of one family's mangle table.
type Family struct {
	// Starts are the slots at which the cascades began, by chain.
	Starts map[string]uint64 `json:"starts,omitempty"`
	// Policies are what the policies have dealt, by name.
	Policies map[string]Policy `json:"policies,omitempty"`
	// Dealing are the chains whose counters count on, with their policy.
	Dealing map[string]string `json:"dealing,omitempty"`
	// Legacy says which back end holds our chains.
	Legacy bool `json:"legacy,omitempty"`
	// CreatedTable says that the nftables table did not exist before us.
	CreatedTable bool `json:"created_table,omitempty"`
}

// Policy is what a policy has dealt in a family since the start, by member chain.
type Policy struct {
	// Ended are the connections that went through chains which were written
	// anew since, so that their counters are gone.
	Ended map[string]uint64 `json:"ended,omitempty"`
	// Total is how many connections the policy had dealt when the shares were
	// planned, Expected how many of them each member should have been dealt.
	Total    uint64             `json:"total,omitempty"`
	Expected map[string]float64 `json:"expected,omitempty"`
	// Shares are the parts of further connections, from 0 to 1.
	Shares map[string]float64 `json:"shares,omitempty"`
}

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Exists reports whether the kernel may have been changed since boot.
func (d Dir) Exists() bool {
	_, err := os.Lstat(string(d))
	return err == nil
}

// State reads what the last run left. found is false when there is nothing,
// or nothing that can be read: that is as good as a directory that was lost.
func (d Dir) State() (state State, found bool, err error) {
	err = d.readJSON(stateFile, &state)
	return state, err == nil && state.Indices.Members != nil, err
}

// SaveState keeps state for the next run.
func (d Dir) SaveState(state State) error { return d.writeJSON(stateFile, state) }

// Accepted returns the text of the last configuration without errors that was
// applied; an error that matches fs.ErrNotExist means that there is none.
func (d Dir) Accepted() ([]byte, error) { return d.read(configFile) }

// Accept keeps the text of a configuration that was applied.
func (d Dir) Accept(text []byte) error { return d.write(configFile, text) }

// SaveNetifd keeps what netifd has just said, for a run to which it says nothing.
func (d Dir) SaveNetifd(answer []byte) error { return d.write(netifdFile, answer) }

// Netifd returns what was saved last, and when.
func (d Dir) Netifd() (answer []byte, saved time.Time) {
	if info, err := os.Stat(d.path(netifdFile)); err == nil {
		saved = info.ModTime()
	}
	answer, _ = d.read(netifdFile) // without it, as if it were lost
	return answer, saved
}

// Load returns what another package keeps under a name; an error that matches
// fs.ErrNotExist means that it keeps nothing.
func (d Dir) Load(name string) ([]byte, error) { return d.read(name) }

// Save keeps a text under a name; nil removes it.
func (d Dir) Save(name string, text []byte) error {
	if text == nil {
		return d.remove(name)
	}
	return d.write(name, text)
}

// Stopped reports whether the service was stopped: events then do nothing.
func (d Dir) Stopped() bool { return d.exists(stoppedFile) }

// SetStopped leaves or removes the mark that the service is stopped. Then it has
// no accepted configuration, and no verdicts, since nobody keeps them true.
func (d Dir) SetStopped(stopped bool) error {
	if !stopped {
		return d.remove(stoppedFile)
	}
	return errors.Join(d.touch(stoppedFile), d.remove(configFile), d.ForgetVerdicts())
}

// Overdue reports whether a reload is to be made up for: one was asked for
// while the new configuration was not committed yet.
func (d Dir) Overdue() bool { return d.exists(overdueFile) }

// SetOverdue leaves or removes the mark of that.
func (d Dir) SetOverdue(overdue bool) error {
	if overdue {
		return d.touch(overdueFile)
	}
	return d.remove(overdueFile)
}

// SaveUsage keeps, in a folder on the flash, what members have used of their
// quotas. One that is full keeps what it has.
func (d Dir) SaveUsage(book quota.Book) error {
	text, err := json.Marshal(book)
	if err == nil {
		err = os.MkdirAll(string(d), 0o755)
	}
	if err == nil {
		err = WriteFile(d.path(usageFile), append(seal(text), text...), 0o600, unix.O_DSYNC)
	}
	return d.trouble(err)
}

// Usage returns what was kept; nothing if nothing was.
func (d Dir) Usage() (book quota.Book, err error) {
	err = d.readJSON(usageFile, &book)
	return book, err
}
