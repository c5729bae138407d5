package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/status"
)

// rpcMethods are the methods of the object on ubus. Their arguments are flags of
// the command that answers, but for "config", a text that is checked in place of
// the file. Each has a value of its type, as rpcd wants it; a number may also be
// given as a text.
var rpcMethods = map[string]struct {
	command   func(*invocation) int
	arguments map[string]any
}{
	"status": {pollCommand, map[string]any{"history": true}},
	"check":  {checkCommand, map[string]any{"config": ""}},
	"explain": {explainCommand, map[string]any{"src": "", "dst": "", "proto": "", "sport": 32, "dport": 32,
		"in": "", "mac": "", "dscp": "", "without": ""}},
	"plan":   {planCommand, map[string]any{}},
	"import": {importMWAN3Command, map[string]any{}},
}

// maxArguments is how many bytes of arguments are read: more than a message on
// ubus holds (UBUS_MAX_MSGLEN, 1 MB).
const maxArguments = 1 << 20

// maxAge is how old the chains and counters may be that a poll shows: pages ask
// every few seconds.
const maxAge = 30 * time.Second

// rpcSession is what uhttpd adds to the arguments of every call.
const rpcSession = "ubus_rpc_session"

// rpcCommand is what rpcd's plugin calls. A call is answered by one JSON object,
// also where it fails: rpcd does not look at exit codes.
func rpcCommand(in *invocation) int {
	var reply any
	switch {
	case len(in.words) == 1 && in.words[0] == "list":
		signatures := map[string]any{}
		for name, method := range rpcMethods {
			signatures[name] = method.arguments
		}
		reply = signatures
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

// pollCommand shows the status to whoever asks for it again and again.
func pollCommand(in *invocation) int {
	in.maxAge = maxAge
	return in.printStatus(status.Status.WriteJSONLine)
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
func (in *invocation) setArguments(known map[string]any, arguments map[string]json.RawMessage) error {
	flags := in.flags()
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		kind, isKnown := known[name]
		if !isKnown {
			return fmt.Errorf("there is no argument %q (but %q)", name, slices.Sorted(maps.Keys(known)))
		}
		text, err := readArgument(arguments[name], kind)
		switch {
		case err != nil:
		case name == "config":
			in.given, in.configOnly = []byte(text), true
		default:
			err = flags.Set(name, text)
		}
		if err != nil {
			return fmt.Errorf("argument %q %w", name, err)
		}
	}
	return nil
}

// readArgument reads a value of the same type as kind.
func readArgument(raw json.RawMessage, kind any) (text string, err error) {
	isText := raw[0] == '"'
	if text = string(raw); isText {
		err = json.Unmarshal(raw, &text)
	}
	fits, wanted := isText, "a text"
	switch kind.(type) {
	case bool:
		fits, wanted = raw[0] == 't' || raw[0] == 'f', "true or false"
	case int:
		fits, wanted = isText || strings.IndexByte("-0123456789", raw[0]) >= 0, "a number"
	}
	switch {
	case !fits:
		err = errors.New("must be " + wanted)
	case strings.ContainsRune(text, 0):
		err = errors.New("has a character NUL")
	}
	return text, err
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
