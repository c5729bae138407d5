package lifecycle

// ifdown lets an uplink go as netifd does: first the state, then the hook.
func (d *device) ifdown(i int) error {
	if err := d.lab.IfDown(i); err != nil {
		return err
	}
	d.report(i, false)
	d.event("ifdown", i)
	return nil
}

// ifup takes ifdown back.
func (d *device) ifup(i int) error {
	if err := d.lab.IfUp(i); err != nil {
		return err
	}
	d.report(i, true)
	d.event("ifup", i)
	return nil
}

func (d *device) report(i int, up bool) {
	d.mu.Lock()
	d.up[i] = up
	d.mu.Unlock()
	d.netifd()
}

// event calls the hooks as netifd does: the device's name is known for ifup and
// ifupdate only. What is to have changed stands in the last argument.
func (d *device) event(action string, i int, changed ...string) {
	d.hook(action, name(i), d.lab.UplinkDevice(i), changed...)
}

func (d *device) hook(action, netInterface, device string, changed ...string) {
	env := []string{"ACTION=" + action, "INTERFACE=" + netInterface}
	if action != "ifdown" {
		env = append(env, "DEVICE="+device)
	}
	for _, what := range changed {
		env = append(env, "IFUPDATE_"+what+"=1")
	}
	if output, code := d.call("hotplug-call iface", env...); output != "" || code != 0 {
		d.t.Errorf("hook for %s %s: exit code %d\n%s", action, netInterface, code, output)
	}
}

// settle waits until no program of the package runs any more, except the monitor.
func (d *device) settle() {
	d.t.Helper()
	if !holds(func() bool { return len(d.running()) == 0 }) {
		d.t.Fatalf("still running: %v", d.running())
	}
}
