package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
)

// The hook, and the call in it. The laboratory's program has folders of its own
// and must not write to this machine's log.
const (
	hookFile = "files/etc/hotplug.d/iface/25-loadbalance"
	hookCall = "/usr/sbin/loadbalance --log syslog "
)

// ifdown measures how long an uplink that went down goes on being dealt new
// connections: from the start of the hook until chains, sets and rules of both
// families are without it. The recipe, which has IPv4 only, has to remove
// everything and load it again for the others.
func (b *bench) ifdown() error {
	const rounds, uplinks = 7, 5
	t := newTable(b.out, "back end", "recipe", "ours, from the hook's start", "recipe/ours", "the hook returns after")
	for _, backend := range backends {
		r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: uplinks, IPv6: true, Backend: backend})
		if err != nil {
			return err
		}
		var samples ifdownSamples
		for range rounds {
			if err = r.ifdownRound(&samples); err != nil {
				break
			}
		}
		r.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", backend, err)
		}
		recipe, ours := median(samples.recipe), median(samples.ours)
		t.row(backend, milliseconds(recipe), milliseconds(ours), times(recipe, ours), milliseconds(median(samples.hook)))
	}
	return t.Flush()
}

// ifdownSamples has one value per round.
type ifdownSamples struct{ recipe, ours, hook []time.Duration }

// ifdownRound takes the last uplink down once under the recipe and once under
// the program.
func (r *rig) ifdownRound(samples *ifdownSamples) error {
	recipe, err := r.recipeIfDown()
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	ours, hook, err := r.hookIfDown()
	if err != nil {
		return err
	}
	samples.recipe = append(samples.recipe, recipe)
	samples.ours = append(samples.ours, ours)
	samples.hook = append(samples.hook, hook)
	return nil
}

func (r *rig) recipeIfDown() (time.Duration, error) {
	script := filepath.Join(r.dir, "others.sh")
	others := recipeClear(r.Lab, r.backend) + recipeLoad(r.Lab, r.backend, r.Uplinks()-1)
	if err := os.WriteFile(script, []byte(others), 0o644); err != nil {
		return 0, err
	}
	if _, err := r.Router.Run("sh", r.recipe.load); err != nil {
		return 0, err
	}
	if err := r.IfDown(r.Uplinks()); err != nil {
		return 0, err
	}
	elapsed, err := r.timed([]string{"sh", script})
	if err != nil {
		return 0, err
	}
	if err := r.IfUp(r.Uplinks()); err != nil {
		return 0, err
	}
	if _, err := r.Router.Run("sh", r.recipe.again); err != nil {
		return 0, err
	}
	return elapsed, r.removeRecipe()
}

// hookIfDown returns the time to the state in the kernel, and the part of it
// after which the hook has returned and netifd goes on.
func (r *rig) hookIfDown() (state, returned time.Duration, err error) {
	if _, err := r.program.Run("apply"); err != nil {
		return 0, 0, err
	}
	hook, err := r.installHook()
	if err != nil {
		return 0, 0, err
	}
	if err := r.IfDown(r.Uplinks()); err != nil {
		return 0, 0, err
	}
	left, err := r.rulesLeft()
	if err != nil {
		return 0, 0, err
	}
	if left != len(family.All) {
		return 0, 0, fmt.Errorf("%d ip rules for the uplink's addresses before the hook, want one of each family", left)
	}
	start := time.Now()
	// As hotplug-call does: the variables of the event, and the script read in.
	event := fmt.Sprintf("export ACTION=ifdown INTERFACE=%s; . %s", r.UplinkDevice(r.Uplinks()), hook)
	if returned, err = r.timed([]string{"sh", "-c", event}); err != nil {
		return 0, 0, err
	}
	if err := r.awaitRulesGone(); err != nil {
		return 0, 0, err
	}
	state = time.Since(start)
	if err := r.checkCascade(); err != nil {
		return 0, 0, err
	}
	if err := r.IfUp(r.Uplinks()); err != nil {
		return 0, 0, err
	}
	// It waits for the run in the background.
	_, err = r.program.Run("stop")
	return state, returned, err
}

// installHook writes a copy of the hook that calls the rig's program, and returns
// its path.
func (r *rig) installHook() (string, error) {
	text, err := os.ReadFile(hookFile)
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), hookCall) != 1 {
		return "", fmt.Errorf("%s does not call %q once", hookFile, hookCall)
	}
	call := "'" + strings.Join(r.program.Command(), "' '") + "' "
	file := filepath.Join(r.dir, "hook")
	return file, os.WriteFile(file, []byte(strings.Replace(string(text), hookCall, call, 1)), 0o644)
}

// awaitRulesGone waits until no ip rule has an address of the last uplink. An
// apply writes chains and sets before it deletes rules, so they are done as well.
func (r *rig) awaitRulesGone() error {
	const tooLong = 20 * time.Second // a hundred times as long as it takes
	for end := time.Now().Add(tooLong); time.Now().Before(end); time.Sleep(500 * time.Microsecond) {
		if left, err := r.rulesLeft(); left == 0 || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s after the hook the ip rules for the uplink's addresses are still there", tooLong)
}

// rulesLeft counts the ip rules of ours for the last uplink's addresses. It
// starts no process, which would take time away from what is measured.
func (r *rig) rulesLeft() (int, error) {
	uplink, left := r.Uplink(r.Uplinks()), 0
	err := r.Router.Do(func() error {
		handle, err := kernel.Open()
		if err != nil {
			return err
		}
		defer handle.Close()
		for _, f := range family.All {
			rules, err := routing.Netlink{Handle: handle}.Rules(f)
			if err != nil {
				return err
			}
			for _, rule := range rules {
				if from := rule.From.Addr(); from == uplink.Address.Addr() || from == uplink.Address6.Addr() {
					left++
				}
			}
		}
		return nil
	})
	return left, err
}

// checkCascade fails if new connections are still dealt to the last uplink.
func (r *rig) checkCascade() error {
	dealt, err := r.isDealt(r.Uplinks())
	if err == nil && dealt {
		err = fmt.Errorf("connections are still dealt to '%s'", r.UplinkDevice(r.Uplinks()))
	}
	return err
}

// isDealt reports whether new connections of any family are dealt to an uplink.
func (r *rig) isDealt(i int) (bool, error) {
	for _, program := range []string{"iptables-" + r.backend, "ip6tables-" + r.backend} {
		rules, err := r.Router.Run(program, "-w", "-t", "mangle", "-S")
		if err != nil {
			return false, err
		}
		for _, rule := range strings.Split(rules, "\n") {
			if strings.HasPrefix(rule, "-A "+drawnPolicy) && strings.HasSuffix(rule, " -g lb_member_"+r.UplinkDevice(i)) {
				return true, nil
			}
		}
	}
	return false, nil
}
