// Package cli is the command line: one file per command. It finds flags and the command,
// wires the packages together, and turns what they return into output and exit codes.
// Results go to standard output, messages to standard error or to syslog.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/hooks"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// Version is set when a release is built.
var Version = "0.0.0-dev"

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // usage or configuration
)

const usage = `usage: loadbalance [FLAGS] COMMAND

commands:
  apply     bring the kernel to what the configuration asks for
  plan      print what apply would change, as commands
  check     report all problems of the configuration and of the system
  stop      remove everything of ours from the kernel
  status    show members, shares, connections and health
  metrics   print the same for Prometheus
  explain   tell which way a packet takes, and why
  import-mwan3 [FILE]
            print mwan3's configuration (/etc/config/mwan3) as one of ours
  hotplug ACTION [INTERFACE [DEVICE]]
            follow an event, such as ifup wan1; without INTERFACE one that
            concerns all members, such as a new start of the firewall
  monitor   probe the members' targets and keep the kernel true; runs until
            it is told to end
  rpc list, rpc call METHOD
            what rpcd calls for the object on ubus; arguments are a JSON object
            on standard input
  use MEMBER PROGRAM [ARGUMENT...]
            run a program whose connections all take this member's line, also
            while the member is offline or waits
  usage [MEMBER [AMOUNT]]
            show what members have used of their quotas; AMOUNT corrects it
  version   print the version

flags, before or after the command (of 'use', before the member):
  --config-dir DIR   where the file 'loadbalance' lies (/etc/config)
  --run-dir DIR      state between two runs (/var/run/loadbalance)
  --rt-tables DIR    where table names are written (/etc/iproute2/rt_tables.d)
  --iptables NAME    back end: auto, nft or legacy (auto)
  --log WHERE        messages: stderr or syslog (stderr)
  --events-dir DIR   monitor: scripts that it runs when a member goes or comes
                     (/etc/hotplug.d/loadbalance)
  --wanted           monitor: only tell by the exit code whether it is to run
  --uplinks FILE     plan, explain: where the uplinks stand, as in 'status --json';
                     from an empty kernel and without root
  --config-only      check: look only at the configuration
  --json             status, explain, usage: as JSON
  --history          status: as JSON, with the last day
  --watch            status: again every second, with rates, until Ctrl-C

explain describes a packet by:
  --src A --dst B    addresses; without --src it is one of the router's own;
                     B may be a name, which the router's resolver is asked for
  --proto P          protocol, by name or number
  --sport N --dport N --icmp-type T
  --in NAME          the device, interface or member that it comes in by, or
                     'router': one of the router's own
  --mac M --dscp D   source MAC address, DSCP
  --mark N           its mark, as another program or its socket has set it
  --without MEMBER   also tell what would change if this member were down
`

type options struct {
	configDir  string
	runDir     string
	rtTables   string
	iptables   string
	log        string
	uplinks    string
	eventsDir  string
	wantedOnly bool
	configOnly bool
	json       bool
	watch      bool
	history    bool
	packet     packetFlags
	version    bool
	words      []string // what stands behind the command
}

type invocation struct {
	options
	out io.Writer
	log *logger
	// netifd is what all runs of this process know of netifd, wasSilent whether the
	// last one was told nothing.
	netifd    *uplink.Netifd
	wasSilent bool
	// refused is the input that iptables-restore refused last.
	refused string
	// notes are what went wrong in this run beside the kernel, noted those of the
	// run before. Whoever prints them is quiet.
	notes, noted []string
	quiet        bool
	// failure is why the command failed, as it was logged.
	failure error
	// maxAge is how old what iptables says may be.
	maxAge time.Duration
	// given is a configuration in place of the file.
	given []byte
	// told are the notices of the last plan: the run directory may be lost.
	told []string
	// accepted is the configuration that this process has accepted last.
	accepted *pipeline.Configuration
}

// commands return the exit code.
var commands = map[string]func(*invocation) int{
	"apply":        applyCommand,
	"plan":         planCommand,
	"check":        checkCommand,
	"stop":         stopCommand,
	"status":       statusCommand,
	"metrics":      metricsCommand,
	"explain":      explainCommand,
	"hotplug":      hotplugCommand,
	"import-mwan3": importMWAN3Command,
	"monitor":      monitorCommand,
	"rpc":          rpcCommand,
	"usage":        usageCommand,
	"use":          useCommand,
	"version":      versionCommand,
}

// maxWords is how many words may stand behind a command, if any.
var maxWords = map[string]int{"hotplug": 3, "import-mwan3": 1, "rpc": 2, "usage": 2, "use": math.MaxInt}

// errUsage says that the command line was wrong; its text tells how.
var errUsage = errors.New("usage")

// Run runs the program and returns its exit code.
func Run(args []string, out, errOut io.Writer) int {
	setTimeZone("/etc/TZ")
	opts, name, err := parse(args)
	if errors.Is(err, flag.ErrHelp) || name == "help" {
		fmt.Fprint(out, usage)
		return exitDone
	}
	if opts.version {
		name = "version"
	}
	run := commands[name]
	if err == nil && run == nil {
		err = fmt.Errorf("%w: unknown command '%s'", errUsage, name)
		if name == "" {
			err = fmt.Errorf("%w: no command given", errUsage)
		}
	}
	if err != nil {
		fmt.Fprintf(errOut, "loadbalance: %v\n\n%s", err, usage)
		return exitUsage
	}
	return run(&invocation{options: opts, out: out, log: openLog(opts.log, errOut)})
}

// parse reads flags before and after the command.
func parse(args []string) (o options, name string, err error) {
	o = options{configDir: "/etc/config", runDir: "/var/run/loadbalance", rtTables: "/etc/iproute2/rt_tables.d",
		iptables: string(iptables.Auto), log: logStderr, eventsDir: hooks.DefaultDir}
	words, err := o.parseFlags(args)
	if err == nil {
		err = o.check()
	}
	if err != nil || len(words) == 0 {
		return o, "", err
	}
	name, o.words = words[0], words[1:]
	if most := maxWords[name]; len(o.words) > most {
		err = fmt.Errorf("%w: unexpected argument '%s'", errUsage, o.words[most])
	}
	return o, name, err
}

func (o options) check() error {
	backends := []iptables.Backend{iptables.Auto, iptables.NFT, iptables.Legacy}
	if !slices.Contains(backends, iptables.Backend(o.iptables)) {
		return fmt.Errorf("%w: --iptables takes auto, nft or legacy, not '%s'", errUsage, o.iptables)
	}
	if o.log != logStderr && o.log != logSyslog {
		return fmt.Errorf("%w: --log takes stderr or syslog, not '%s'", errUsage, o.log)
	}
	return nil
}

func (o options) rundir() rundir.Dir { return rundir.Dir(o.runDir) }

func versionCommand(in *invocation) int {
	fmt.Fprintf(in.out, "loadbalance %s\n", Version)
	return exitDone
}

// configError says that a configuration cannot be used at all.
type configError struct{ error }

// fail reports an error and returns the exit code for it.
func (in *invocation) fail(err error) int {
	in.failure = err
	in.log.Error(err.Error())
	in.logRefused(err)
	var unusable configError
	if errors.Is(err, errUsage) || errors.As(err, &unusable) {
		return exitUsage
	}
	return exitFailed
}
