package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/program"
)

// DefaultDir is the folder where users put their scripts.
const DefaultDir = "/etc/hotplug.d/loadbalance"

// source has the shell read a script as hotplug-call does (openwrt,
// base-files/files/sbin/hotplug-call), with the functions for UCI.
const source = `[ ! -f /lib/functions.sh ] || . /lib/functions.sh; . "$0"`

// environment is that of hotplug-call, and the rest of what a login sets.
var environment = []string{
	"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
	"LOGNAME=root",
	"USER=root",
	"HOME=/root",
	"SHELL=/bin/sh",
	"HOTPLUG_TYPE=loadbalance",
}

// leftOvers are ends of names of what editors leave beside a file, and opkg and
// apk, whose version of a changed file it is.
var leftOvers = []string{"~", ".bak", ".orig", "-opkg", ".apk-new"}

// outputLimit is how many bytes of output are kept for the log, as much as a
// line of syslog takes (RFC 3164, section 4.1).
const outputLimit = 1024

func (r *Runner) run(e Event) {
	names, err := scripts(r.dir)
	if err != nil {
		r.log("error", "hook scripts: "+err.Error())
		return
	}
	for _, name := range names {
		if r.isClosed() {
			return
		}
		if problem := r.runScript(name, e); problem != "" {
			r.log("warning", "hook script "+name+" ("+e.Action+" "+e.Member+"): "+problem)
		}
	}
}

// scripts returns the names of the scripts in a folder in the order of their
// bytes; a folder that is not there has none.
func scripts(dir string) ([]string, error) {
	folder, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1) // os.ReadDir's sorting costs 6 KB
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name)) // a link counts as what it points to
		return err != nil || !info.Mode().IsRegular() || strings.HasPrefix(name, ".") ||
			slices.ContainsFunc(leftOvers, func(end string) bool { return strings.HasSuffix(name, end) })
	}), err
}

// runScript runs one script to its end or to its time limit. It returns what
// went wrong, in words for the log; empty if nothing did.
func (r *Runner) runScript(name string, e Event) (problem string) {
	limit, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	output := program.Head{Most: outputLimit}

	inJSON, _ := json.Marshal(e) // texts alone always succeed
	cmd := exec.CommandContext(limit, "/bin/sh", "-c", source, filepath.Join(r.dir, name))
	cmd.Dir = "/"
	cmd.Env = append(slices.Clip(environment),
		"ACTION="+e.Action, "MEMBER="+e.Member, "INTERFACE="+e.Interface,
		"DEVICE="+e.Device, "FAMILY="+e.Family, "REASON="+e.Reason,
		"ADDRESS="+e.Address, "PORTAL_URL="+e.PortalURL, "EVENT="+string(inJSON))
	if e.Repeat {
		cmd.Env = append(cmd.Env, "REPEAT=1")
	}
	cmd.Stdout, cmd.Stderr = &output, &output
	// A group of its own, so that the limit also ends what the script started.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = r.grace
	end := time.Now().Add(r.limit + r.grace)
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	// The normal priority, not the monitor's. It fails if the script has ended already.
	_ = unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, 0)
	err := cmd.Wait()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return "" // what it left in the background keeps the output open
	}
	problem = err.Error()
	if limit.Err() != nil {
		// The shell is gone; the rest of its group may have ignored SIGTERM.
		endGroup(cmd.Process.Pid, end)
		problem = "not done after " + r.limit.String() + ", killed"
	}
	if line := firstLine(output.Text); line != "" {
		problem += ": " + line
	}
	return problem
}

// endGroup waits for the processes of a script's group to end, and then kills them.
// While one of them lives, the kernel gives the group's number to nobody else.
func endGroup(leader int, end time.Time) {
	for unix.Kill(-leader, 0) == nil {
		if time.Now().After(end) {
			// An error means that they have just ended by themselves.
			_ = unix.Kill(-leader, unix.SIGKILL)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// firstLine returns the first line, with blanks in place of control characters.
func firstLine(output []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(output), []byte("\n"))
	return strings.Map(func(c rune) rune {
		if !strconv.IsPrint(c) {
			return ' '
		}
		return c
	}, string(line))
}
