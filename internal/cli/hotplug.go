package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// netifdEvent is what the hotplug hook or the firewall's include reports. It only
// says where to look: the state is read from netifd and the kernel each time,
// since events come late, merged and out of order.
type netifdEvent struct {
	action string
	// netInterface is netifd's name; empty for an event that concerns all
	// members.
	netInterface string
	// device is known for ifup and ifupdate only.
	device string
}

func (e netifdEvent) String() string { return strings.TrimSpace(e.action + " " + e.netInterface) }

// hotplugCommand follows an event, unless the service is not running, the
// event concerns no member, or another run waits that will see it anyway.
func hotplugCommand(in *invocation) int {
	if len(in.words) == 0 {
		in.log.Error("hotplug: no action given")
		return exitUsage
	}
	words := append(slices.Clone(in.words), "", "")
	e := netifdEvent{words[0], words[1], words[2]}
	wanted, err := in.wanted(e)
	if err != nil {
		return in.fail(err)
	}
	if !wanted {
		return exitDone
	}
	turn, err := in.run().TryWait()
	if err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	if turn == nil {
		return exitDone
	}
	code := in.follow(e.String())
	if err := turn.End("hotplug", code, in.log.kept.String()); err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	in.remind()
	return code
}

// wanted says whether the service runs and the event concerns it.
func (in *invocation) wanted(e netifdEvent) (bool, error) {
	if in.run().Stopped() {
		return false, nil
	}
	started, err := in.started()
	if !started || err != nil {
		return false, err
	}
	cfg, err := in.current()
	if err != nil || cfg.problems.Fatal() {
		return true, nil // follow reports it
	}
	return e.concerns(cfg.Config, ruleDevices)
}

// started says whether the service was started since boot: a service that is
// disabled must not come up with the first interface.
func (in *invocation) started() (bool, error) {
	if in.run().Exists() {
		return true, nil
	}
	devices, err := ruleDevices()
	return len(devices) > 0, err
}

// current is the configuration that events go by: the last accepted one. Only
// where there is none yet it is the file, of which faulty sections are left
// out.
func (in *invocation) current() (*configuration, error) {
	cfg, err := in.acceptedConfig()
	if errors.Is(err, fs.ErrNotExist) {
		return in.readConfig()
	}
	return cfg, err
}

// isOf says whether the event is about an interface, or one that its protocol
// made for it (wwan_4 brings wwan's addresses).
func (e netifdEvent) isOf(name string) bool {
	return e.netInterface == name || strings.HasPrefix(e.netInterface, name+"_")
}

// concerns says whether an event can concern a member or a rule. upDevices returns the
// devices of the members that are up.
func (e netifdEvent) concerns(cfg *config.Config, upDevices func() ([]string, error)) (bool, error) {
	members := cfg.EnabledMembers()
	if e.netInterface == "" {
		return len(members) > 0, nil
	}
	if slices.ContainsFunc(cfg.RuleInterfaces(), e.isOf) {
		return true, nil
	}
	sharing := 0 // members whose IPv6 interface is whichever shares their device
	for _, m := range members {
		// A member that is only a device may belong to any interface.
		if m.Device != "" || e.isOf(m.Interface) || m.Interface6 == e.netInterface {
			return true, nil
		}
		if m.Interface6 == "" {
			sharing++
		}
	}
	if sharing == 0 || e.device == "" {
		return sharing > 0, nil
	}
	devices, err := upDevices()
	// With fewer devices than members, some member is down and its device
	// not known.
	return len(devices) < len(members) || slices.Contains(devices, e.device), err
}

// ruleDevices are the devices of the members that are up, as our ip rules name
// them. Reading these costs no process.
func ruleDevices() ([]string, error) {
	kernel, err := routing.Open()
	if err != nil {
		return nil, err
	}
	defer kernel.Close()
	var devices []string
	for _, f := range family.All {
		state, err := kernel.Read(f)
		if err != nil {
			return nil, err
		}
		for _, rule := range state.Rules {
			if rule.OIF != "" && !slices.Contains(devices, rule.OIF) {
				devices = append(devices, rule.OIF)
			}
		}
	}
	return devices, nil
}

// run is what one apply of the current configuration found and did.
type run struct {
	// cfg and changes are nil where there was nothing to apply: the service is
	// stopped or disabled. After an error changes are those that it was to make,
	// nil if it did not get that far.
	cfg     *configuration
	changes *apply.Changes
	legacy  bool // the back end that holds our chains
	code    int
	err     error
}

// follow brings the kernel to the current configuration and logs what changed,
// if anything, with the reason. It is called with the lock held.
func (in *invocation) follow(reason string) int {
	done := in.followed(reason, nil)
	if done.err != nil {
		in.log.Error(fmt.Sprintf("%s: %v", reason, done.err))
	}
	return done.code
}

// followed is follow without a message of what failed. ahead is what the kernel
// holds, nil if that is to be read.
func (in *invocation) followed(reason string, ahead *apply.Actual) *run {
	if in.run().Stopped() { // meanwhile, by the run that we waited for
		return &run{}
	}
	cfg, err := in.current()
	if err != nil {
		return &run{code: exitUsage, err: err}
	}
	in.log.SetLevel(cfg.Globals.LogLevel)
	if cfg.problems.Fatal() {
		return &run{code: exitUsage, err: errors.New("nothing was applied: the section 'globals' has errors")}
	}
	if !cfg.Globals.Enabled {
		return &run{}
	}
	s, err := in.openSystem()
	if err != nil {
		return &run{code: exitFailed, err: err}
	}
	defer s.Close()
	actual := ahead
	if actual == nil {
		if actual, err = s.Read(); err != nil {
			return &run{code: exitFailed, err: err}
		}
	}
	changes, err := in.change(s, cfg, actual)
	if err != nil {
		in.logRefused(err)
		return &run{cfg: cfg, changes: changes, legacy: actual.Legacy(), code: exitFailed, err: err}
	}
	in.logChanges(reason, changes)
	done := &run{cfg: cfg, changes: changes, legacy: actual.Legacy()}
	if cfg.problems.HasErrors() {
		done.code = exitUsage // told in full by the apply that found them
	}
	return done
}
