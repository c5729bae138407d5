package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

func (o *options) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("loadbalance", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors and the usage are written by Run
	p := &o.packet
	for name, value := range map[string]*string{
		"config-dir": &o.configDir, "run-dir": &o.runDir, "rt-tables": &o.rtTables,
		"iptables": &o.iptables, "log": &o.log, "uplinks": &o.uplinks, "events-dir": &o.eventsDir,
		"src": &p.src, "dst": &p.dst, "proto": &p.proto, "sport": &p.sport, "dport": &p.dport,
		"icmp-type": &p.icmpType, "in": &p.in, "mac": &p.mac, "dscp": &p.dscp, "mark": &p.mark, "without": &p.without,
	} {
		flags.StringVar(value, name, *value, "")
	}
	for name, value := range map[string]*bool{
		"wanted": &o.wantedOnly, "config-only": &o.configOnly, "json": &o.json, "watch": &o.watch, "history": &o.history, "version": &o.version,
	} {
		flags.BoolVar(value, name, *value, "")
	}
	return flags
}

// parseFlags takes in the flags before, between and behind the words of a
// command line, and returns the words. Behind a word "--" there are no flags, nor
// behind the member of `use`: what follows is another program's.
func (o *options) parseFlags(args []string) (words []string, err error) {
	flags := o.flags()
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return words, err
			}
			return words, fmt.Errorf("%w: %w", errUsage, err)
		}
		rest := flags.Args()
		if read := len(args) - len(rest); read > 0 && args[read-1] == "--" {
			return append(words, rest...), nil
		}
		if len(rest) == 0 {
			return words, nil
		}
		words, args = append(words, rest[0]), rest[1:]
		if len(words) == 2 && words[0] == "use" {
			if len(args) > 0 && args[0] == "--" {
				args = args[1:]
			}
			return append(words, args...), nil
		}
	}
}
