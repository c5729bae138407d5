package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/monitor"
)

// netifdEvent is what the hook or the firewall's include reports, or what else led to a run.
// It only says where to look, since events come late, merged and out of order.
type netifdEvent struct {
	action string
	// netInterface is netifd's name; empty for an event that concerns all members.
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
	// A monitor that lives makes the apply.
	_, err = monitor.Ask(in.runDir, monitor.Question{Event: e.String()})
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, monitor.ErrNone) {
		in.log.Warning(fmt.Sprintf("%s: %v: applying without it", e, err))
	}
	lock, err := in.rundir().TryWait()
	if err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	if lock == nil {
		return exitDone
	}
	in.note(lock.Notes...)
	code := in.follow(e)
	in.end(lock, "hotplug", code)
	return code
}

// wanted reports whether the service runs and the event concerns it. One that was
// not started since boot must not come up with the first interface.
func (in *invocation) wanted(e netifdEvent) (bool, error) {
	if in.rundir().Stopped() {
		return false, nil
	}
	if !in.rundir().Exists() { // or it was removed: then our rules are there
		if devices, err := ruleDevices(); len(devices) == 0 || err != nil {
			return false, err
		}
	}
	cfg, err := in.currentConfig()
	if err != nil || cfg.Problems.Fatal() {
		return true, nil // follow reports it
	}
	return e.concerns(cfg.Config, ruleDevices)
}

// isOf reports whether the event is about an interface, or one that its protocol
// made for it (wwan_4 brings wwan's addresses).
func (e netifdEvent) isOf(name string) bool {
	return e.netInterface == name || strings.HasPrefix(e.netInterface, name+"_")
}

// isAbout reports whether the event can be about a member; a mere device may be any interface's.
func (e netifdEvent) isAbout(m *config.Member) bool {
	return e.netInterface == "" || m.Device != "" || e.isOf(m.Interface) || m.Interface6 == e.netInterface
}

// concerns reports whether an event can concern a member or a rule.
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
		if e.isAbout(&m) {
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
	// With fewer devices than members, that of some member is not known.
	return len(devices) < len(members) || slices.Contains(devices, e.device), err
}

// ruleDevices are the devices of members that are up, by our ip rules: that costs no process.
func ruleDevices() ([]string, error) {
	handle, err := kernel.Open()
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	var devices []string
	for _, f := range family.All {
		rules, err := routing.Netlink{Handle: handle}.Rules(f)
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			if rule.Out != "" && !slices.Contains(devices, rule.Out) {
				devices = append(devices, rule.Out)
			}
		}
	}
	return devices, nil
}
