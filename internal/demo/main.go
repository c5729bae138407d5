// Command demo shows in half a minute what loadbalance does. It builds a campus
// network with five leases of 20 Mbit/s in network namespaces, balances them
// with the real program, lets one die, and takes everything back. It fails if
// anything that it claims at the end did not hold.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"loadbalance/internal/netlab"
)

const uplinks = 5

func main() {
	program := flag.String("program", "bin/loadbalance", "the program to show")
	flag.Parse()
	os.Exit(run(*program))
}

func run(program string) int {
	dir, err := os.MkdirTemp("", "loadbalance-demo-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	// The namespaces end with this process; the folder does not.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		fmt.Println("\ninterrupted")
		os.RemoveAll(dir)
		os.Exit(130) // as a shell reports it: 128 and the signal
	}()

	start := time.Now()
	lab, err := netlab.New(netlab.Options{Topology: netlab.Campus, Uplinks: uplinks, Rate: "20mbit"})
	if err != nil {
		return fail(err)
	}
	defer lab.Close()
	installed, err := lab.Install(program, dir)
	if err != nil {
		return fail(err)
	}
	d := &demo{screen: newScreen(os.Stdout), lab: lab, program: installed}
	if err := d.run(); err != nil {
		return fail(err)
	}
	if !d.summary(time.Since(start)) {
		return 1
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "\ndemo:", err)
	return 1
}
