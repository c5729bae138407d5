package main

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// withBackup has uplink 2 as a backup of uplink 1, and a rule that sends port
// 443 over uplink 2 at any time.
func withBackup(failback string) string {
	return "config member 'wan1'\n\toption device 'wan1'\n\toption failback '" + failback + "'\n" +
		"config member 'wan2'\n\toption device 'wan2'\n\toption metric '2'\n" +
		"config policy 'second'\n\tlist use_member 'wan2'\n" +
		"config rule 'voice'\n\toption proto 'tcp'\n\toption dest_port '443'\n\toption use_policy 'second'\n"
}

// failOver applies a configuration and lets uplink 1 die.
func failOver(t *testing.T, backend, config string) *router {
	t.Helper()
	r := newRouter(t, backend, netlab.Options{Uplinks: 2}, config)
	r.must("apply")
	expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 1)
	check(t, r.lab.CutCable(1))
	r.must("apply")
	expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 2)
	return r
}

// comeBack brings uplink 1 back and lets the program notice.
func (r *router) comeBack() {
	r.t.Helper()
	check(r.t, r.lab.RestoreCable(1))
	r.must("apply")
}

// TestFailbackNew: connections over the backup stay, new ones return.
func TestFailbackNew(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := failOver(t, backend, withBackup("new"))
		all := transfers(t, r, firstHost(r), netlab.Server(1), 2)
		r.comeBack()
		expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 1)
		for _, x := range all {
			x.expectAlive(t)
		}
	})
}

// TestFailbackAll: connections over the backup return, but for those that a
// rule sends there anyway and those that came in by it.
func TestFailbackAll(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := failOver(t, backend, withBackup("all"))
		all := transfers(t, r, firstHost(r), netlab.Server(1), 2)
		voice, err := r.lab.Dial(netlab.Traffic{Server: server(netlab.Server(1), netlab.HTTPSPort)})
		check(t, err)
		defer voice.Close()
		in, err := r.lab.Dial(netlab.Traffic{From: r.lab.World, Server: server(r.lab.Uplink(2).Public, netlab.ForwardedPort)})
		check(t, err)
		defer in.Close()
		since := time.Now()
		r.comeBack()
		for _, x := range all {
			x.expectReset(t, since)
		}
		expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 1)
		expectCheck(t, netlab.Flows{voice, in})
	})
}

// TestFailbackNever: who is back waits until the backup dies.
func TestFailbackNever(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := failOver(t, backend, withBackup("never"))
		r.comeBack()
		expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 2)
		if out := r.must("status"); !strings.Contains(out, "waits for the backup to end") {
			t.Errorf("status does not say why the uplink is not used:\n%s", out)
		}
		if out := r.must("plan"); out != "" {
			t.Errorf("plan finds work:\n%s", out)
		}
		out := r.must("explain", "--src", r.lab.LANHosts()[0].String(), "--dst", "203.0.113.1", "--proto", "tcp", "--dport", "80")
		if !strings.Contains(out, "wan2") || strings.Contains(out, "lb_member_wan1") {
			t.Errorf("explain does not know that the uplink waits:\n%s", out)
		}
		check(t, r.lab.CutCable(2))
		r.must("apply")
		expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 1)
		check(t, r.lab.RestoreCable(2))
		r.must("apply")
		expectOver(t, r.lab.Connect(netlab.Traffic{Count: 3}), 1)
	})
}
