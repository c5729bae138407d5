package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"loadbalance/internal/config"
)

// rpcMethods are the methods of the object on ubus with the names of their
// arguments, which are flags of the command that answers. Only "config" is none:
// a text that is checked in place of the file.
var rpcMethods = map[string]struct {
	command   func(*invocation) int
	arguments []string
}{
	"status":  {statusCommand, nil},
	"check":   {checkCommand, []string{"config"}},
	"explain": {explainCommand, []string{"src", "dst", "proto", "sport", "dport", "in", "mac", "dscp", "without"}},
	"plan":    {planCommand, nil},
	"import":  {importMWAN3Command, nil},
}

// rpcNumbers are arguments that may also be numbers.
var rpcNumbers = []string{"sport", "dport"}

// maxArguments is how many bytes of arguments are read: more than a message on
// ubus holds (UBUS_MAX_MSGLEN, 1 MB).
const maxArguments = 1 << 20

// rpcSession is what uhttpd adds to the arguments of every call.
const rpcSession = "ubus_rpc_session"

// rpcCommand is what rpcd's plugin calls. A call is answered by one JSON object,
// also where it fails: rpcd does not look at exit codes.
func rpcCommand(in *invocation) int {
	var reply any
	switch {
	case len(in.words) == 1 && in.words[0] == "list":
		reply = in.signatures()
	case len(in.words) == 2 && in.words[0] == "call":
		var err error
		if reply, err = in.call(in.words[1], os.Stdin); err != nil {
			reply = map[string]string{"error": err.Error()}
		}
	default:
		return in.fail(fmt.Errorf("%w: rpc takes 'list' or 'call METHOD'", errUsage))
	}
	if err := json.NewEncoder(in.out).Encode(reply); err != nil {
		return in.fail(err)
	}
	return exitDone
}

// signatures are the methods as rpcd wants them: each argument with a value of
// its type.
func (in *invocation) signatures() map[string]map[string]any {
	flags := in.flags()
	signatures := map[string]map[string]any{}
	for name, method := range rpcMethods {
		signatures[name] = map[string]any{}
		for _, argument := range method.arguments {
			signatures[name][argument] = ""
			switch {
			case slices.Contains(rpcNumbers, argument):
				signatures[name][argument] = 32 // bits
			case isBoolean(flags.Lookup(argument)):
				signatures[name][argument] = true
			}
		}
	}
	return signatures
}

func isBoolean(f *flag.Flag) bool {
	if f == nil {
		return false
	}
	boolean, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && boolean.IsBoolFlag()
}

// call has a method's command run with the arguments that input has, and returns
// the reply.
func (in *invocation) call(name string, input io.Reader) (any, error) {
	method, known := rpcMethods[name]
	if !known {
		return nil, fmt.Errorf("there is no method %q", name)
	}
	arguments, err := readArguments(input)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	messages := []message{}
	run := &invocation{options: in.options, out: &out, log: &logger{level: in.log.level, messages: &messages}}
	run.words, run.json = nil, true
	if err := run.setArguments(method.arguments, arguments); err != nil {
		return nil, err
	}
	code := method.command(run)
	reply := map[string]any{"messages": messages}
	switch {
	case name == "check":
		return map[string]any{"ok": code == exitDone, "messages": messages}, nil
	case run.failure != nil:
		return nil, run.failure
	case name == "plan" || name == "import":
		reply["text"] = out.String()
		return reply, nil
	case out.Len() == 0: // the section globals has errors
		return nil, errors.New(messages[0].Text)
	case len(messages) == 0:
		return json.RawMessage(out.Bytes()), nil
	}
	return reply, json.Unmarshal(out.Bytes(), &reply)
}

// readArguments reads a JSON object, or nothing, which is an empty one.
func readArguments(input io.Reader) (arguments map[string]json.RawMessage, err error) {
	text, err := io.ReadAll(io.LimitReader(input, maxArguments+1))
	text = bytes.TrimSpace(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("arguments: %w", err)
	case len(text) > maxArguments:
		return nil, fmt.Errorf("arguments: more than %d bytes", maxArguments)
	case len(text) == 0:
		return nil, nil
	case text[0] != '{':
		return nil, errors.New("arguments: no JSON object")
	}
	if err := json.Unmarshal(text, &arguments); err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	delete(arguments, rpcSession)
	return arguments, nil
}

// setArguments sets the options that arguments stand for. Only those that are
// known are taken.
func (in *invocation) setArguments(known []string, arguments map[string]json.RawMessage) error {
	flags := in.flags()
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("argument %q is unknown (there are: %s)", name, strings.Join(known, ", "))
		}
		f := flags.Lookup(name)
		text, err := readArgument(arguments[name], isBoolean(f), slices.Contains(rpcNumbers, name))
		switch {
		case err != nil:
		case f == nil:
			in.given, in.configOnly = []byte(text), true
		default:
			err = f.Value.Set(text)
		}
		if err != nil {
			return fmt.Errorf("argument %q %w", name, err)
		}
	}
	return nil
}

// readArgument reads a value: true or false, a text, or a number if it may be
// one.
func readArgument(raw json.RawMessage, boolean, number bool) (text string, err error) {
	var truth *bool
	var value *string
	switch {
	case boolean:
		if json.Unmarshal(raw, &truth) != nil || truth == nil {
			return "", errors.New("must be true or false")
		}
		return strconv.FormatBool(*truth), nil
	case json.Unmarshal(raw, &value) == nil && value != nil:
		if strings.ContainsRune(*value, 0) {
			return "", errors.New("has a character NUL")
		}
		return *value, nil
	case !number:
		return "", errors.New("must be a text")
	}
	n, err := strconv.ParseUint(string(raw), 10, 32)
	if err != nil {
		return "", errors.New("must be a whole number, also as a text")
	}
	return strconv.FormatUint(n, 10), nil
}

// message is what a command says beside its result.
type message struct {
	Level string `json:"level"`
	Text  string `json:"text"`
	// The place in the configuration, if it is about one.
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Section string `json:"section,omitempty"`
}

// about is the message of a problem.
func about(p config.Problem) message {
	return message{p.Severity.String(), p.String(), p.Pos.File, p.Pos.Line, p.Section}
}
