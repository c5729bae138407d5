// Package pipeline is the one way from the configuration to the kernel, which
// every command and the monitor go:
//
//	Observe  everything that counts, read once: Observed
//	Plan     the kernel state that is wanted (package plan)
//	Changes  the difference from what is there (package apply)
//	Apply    the changes are made, and reported
//
// Commands that only show something go part of the way. The package owns the
// handles to the kernel for as long as a run lasts, and nothing else.
package pipeline

import (
	"errors"
	"fmt"
	"time"

	"loadbalance/internal/advice"
	"loadbalance/internal/apply"
	"loadbalance/internal/apply/challenge"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/kernel"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// Options say where things lie.
type Options struct {
	RunDir rundir.Dir
	// NamesDir is where table names are written.
	NamesDir string
	Backend  iptables.Backend
	// MaxAge is how old what iptables says may be; 0: it is asked anew.
	MaxAge time.Duration
	// Netifd is what this process knows of netifd.
	Netifd *uplink.Netifd
	// Notice tells the user something that keeps nothing from being done.
	Notice func(string)
}

// Pipeline is one run's access to the kernel.
type Pipeline struct {
	Sets        *ipset.Netlink
	Connections *conntrack.Netlink

	run    rundir.Dir
	kernel *kernel.Handle
	engine *apply.Engine
	netifd *uplink.Netifd
}

// Open opens the kernel of the calling thread's network namespace.
func Open(o Options) (*Pipeline, error) {
	k, err := kernel.Open()
	if err != nil {
		return nil, err
	}
	p := &Pipeline{run: o.RunDir, kernel: k, Sets: ipset.New(k), Connections: conntrack.New(k), netifd: o.Netifd}
	p.engine = &apply.Engine{
		Mangle:      &remembered{tool: iptables.Tool{Backend: o.Backend}, run: o.RunDir, maxAge: o.MaxAge},
		Other:       otherBackend,
		NFTables:    iptables.NFTables{Kernel: p.kernel},
		Routing:     routing.Netlink{Handle: p.kernel},
		Sets:        p.Sets,
		Sysctls:     sysctl.Proc{},
		Connections: p.Connections,
		Resets:      challenge.Sender{Kernel: k},
		Run:         o.RunDir,
		NamesDir:    o.NamesDir,
		Notice:      o.Notice,
	}
	return p, nil
}

// Traffic returns what devices had carried when they were observed.
func (p *Pipeline) Traffic() ([]kernel.Traffic, error) { return p.kernel.Traffic() }

// Close closes the handles. A nil Pipeline has none.
func (p *Pipeline) Close() {
	if p != nil {
		p.kernel.Close()
	}
}

func otherBackend(legacy bool) apply.OtherBackend {
	if legacy {
		return iptables.Tool{Backend: iptables.NFT}
	}
	return iptables.Tool{Backend: iptables.Legacy}
}

// Apply makes the kernel hold what an observation asks for. A report beside an error
// means that parts of it may be in the kernel.
func (p *Pipeline) Apply(o *Observed) (*apply.Report, error) {
	if advice.Active(o.Config) && advice.MWAN3Runs(o.Kernel.Tables, o.Uplinks) { // it deals out connections with marks, too
		return nil, errors.New(advice.MWAN3Running + " (nothing was changed)")
	}
	err := p.run.SetStopped(false)
	if !o.Config.Globals.Monitor {
		// Nobody would notice that a line works again.
		err = errors.Join(err, p.run.ForgetVerdicts())
	}
	if err != nil {
		p.engine.Notice(fmt.Sprintf("run directory: %v", err))
	}
	report, err := p.engine.Apply(o.Changes())
	if p.netifd.Answer != nil {
		_ = p.run.SaveNetifd(p.netifd.Answer) // a run directory that takes nothing is reported with its state
	}
	return report, err
}

// Stop removes everything that is ours, and leaves the mark that keeps events
// from bringing it back. The error may be that there is no room for the mark.
func (p *Pipeline) Stop() error {
	kernel, err := p.engine.Read()
	if err != nil {
		return err
	}
	if err = p.run.SetStopped(true); err != nil {
		err = fmt.Errorf("run directory: %w", err)
	}
	return errors.Join(err, p.engine.Stop(kernel, p.state()))
}

// Rehearse loads sets and chains of a plan into the network namespace, which
// should be one in which nothing else is.
func (p *Pipeline) Rehearse(o *Observed) error {
	return p.engine.Rehearse(apply.Diff(o.Plan(), apply.EmptyKernel(), nil))
}
