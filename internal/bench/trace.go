package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// started runs a command on the router and returns the command lines of the
// processes that it and its children start.
func (r *rig) started(command []string) ([][]string, error) {
	file := filepath.Join(r.dir, "trace")
	tracer := []string{"-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-s", "4096", "-o", file, "--"}
	if _, err := r.Router.Run("strace", append(tracer, command...)...); err != nil {
		return nil, err
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all, err := executed(string(trace))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("strace saw no process of %s", command[0])
	}
	return all[1:], nil
}

// executed lists the command lines of all successful calls of execve. A call
// can be split in two lines when another process comes in between:
//
//	12 execve("/sbin/ip", ["ip", "rule"], 0x7f /* 9 vars */ <unfinished ...>
//	12 <... execve resumed>) = 0
func executed(trace string) ([][]string, error) {
	unfinished := map[string][]string{}
	var all [][]string
	for _, line := range strings.Split(trace, "\n") {
		pid, call, _ := strings.Cut(line, " ")
		call = strings.TrimSpace(call)
		if strings.HasPrefix(call, "execve(") {
			args, err := arguments(call)
			if err != nil {
				return nil, err
			}
			unfinished[pid] = args
		}
		if strings.Contains(call, "execve") && strings.HasSuffix(call, " = 0") {
			all = append(all, unfinished[pid])
		}
	}
	return all, nil
}

// arguments reads the list of arguments, which strace quotes as C does.
func arguments(call string) ([]string, error) {
	start, end := strings.Index(call, "["), strings.LastIndex(call, "], 0x")
	if start < 0 || end < start {
		return nil, fmt.Errorf("strace printed a call without arguments: %q", call)
	}
	var args []string
	if err := json.Unmarshal([]byte(call[start:end+1]), &args); err != nil {
		return nil, fmt.Errorf("arguments of %q: %w", call, err)
	}
	return args, nil
}
