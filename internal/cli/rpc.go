package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"loadbalance/internal/status"
)

// signatures are the methods on ubus as rpcd wants them: each argument with a value of its
// type. Arguments are flags of the command that answers, but for config, a text that is
// checked in place of the file. A number may also be given as a text.
const signatures = `{"status":{"history":true},"check":{"config":""},"plan":{},"usage":{},"import":{},
"explain":{"src":"","dst":"","proto":"","sport":32,"dport":32,"in":"","mac":"","dscp":"","mark":"","without":""}}`

// maxArguments is how many bytes of arguments are read: a message on ubus (UBUS_MAX_MSGLEN).
const maxArguments = 1 << 20

// maxAge is how old the chains and counters of a poll may be: pages ask every few seconds.
const maxAge = 30 * time.Second

// rpcCommand is what rpcd's plugin calls. A failed call is answered too: rpcd ignores exit codes.
func rpcCommand(in *invocation) int {
	switch {
	case len(in.words) == 1 && in.words[0] == "list":
		fmt.Fprintln(in.out, signatures)
	case len(in.words) == 2 && in.words[0] == "call":
		in.call(in.words[1], os.Stdin)
	default:
		return in.fail(fmt.Errorf("%w: rpc takes 'list' or 'call METHOD'", errUsage))
	}
	return exitDone
}

// call prints the reply to a method with the arguments that input has.
func (in *invocation) call(name string, input io.Reader) {
	var out bytes.Buffer
	log := &logger{level: in.log.level, messages: []message{}}
	run := &invocation{options: in.options, out: &out, log: log}
	run.words, run.json = nil, true
	err := run.setArguments(name, input)
	if err == nil {
		code := run.answer(name)
		err = run.failure
		switch name {
		case "check":
			err = nil // messages tell all
			fmt.Fprintf(&out, `{"ok":%t}`, code == exitDone)
		case "plan", "import":
			text := inJSON(out.String())
			out.Reset()
			fmt.Fprintf(&out, `{"text":%s}`, text)
		}
		if err == nil && out.Len() == 0 { // the section globals has errors
			err = errors.New(log.messages[0].Text)
		}
	}
	reply := out.String()
	switch {
	case err != nil:
		reply = `{"error":` + inJSON(err.Error()) + "}"
	case name != "status": // which is quiet
		reply = `{"messages":` + inJSON(log.messages) + "," + reply[1:]
	}
	fmt.Fprintln(in.out, reply)
}

func inJSON(value any) string {
	text, _ := json.Marshal(value) // texts and numbers always succeed
	return string(text)
}

func (in *invocation) answer(method string) int {
	switch method {
	case "status":
		in.maxAge = maxAge
		return in.printStatus(status.Status.WriteJSONLine)
	case "check":
		return checkCommand(in)
	case "explain":
		return explainCommand(in)
	case "plan":
		return planCommand(in)
	case "usage":
		return usageCommand(in)
	}
	return importMWAN3Command(in)
}

// setArguments sets the options that a method's arguments stand for: known ones, of the right type.
func (in *invocation) setArguments(method string, input io.Reader) error {
	var methods map[string]map[string]any
	err := json.Unmarshal([]byte(signatures), &methods)
	known, isMethod := methods[method]
	if err != nil || !isMethod {
		return fmt.Errorf("there is no method %q", method)
	}
	text, err := io.ReadAll(io.LimitReader(input, maxArguments+1))
	var arguments map[string]any
	switch text = bytes.TrimSpace(text); {
	case err != nil || len(text) == 0:
		return err
	case len(text) > maxArguments:
		return errors.New("too many arguments")
	case text[0] != '{':
		return errors.New("the arguments are no JSON object")
	}
	if err := json.Unmarshal(text, &arguments); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	delete(arguments, "ubus_rpc_session") // uhttpd adds it to each call
	for name, value := range arguments {
		if err := in.setArgument(name, known[name], value); err != nil {
			return fmt.Errorf("argument %q %w", name, err)
		}
	}
	return nil
}

// kinds are the types of signatures in words.
var kinds = map[string]string{"string": "a text", "float64": "a number", "bool": "true or false"}

// setArgument sets an option to a value that must be of the type of example.
func (in *invocation) setArgument(name string, example, value any) error {
	wanted, is := fmt.Sprintf("%T", example), fmt.Sprintf("%T", value)
	text := fmt.Sprint(value)
	switch {
	case example == nil:
		return errors.New("is unknown")
	case is != wanted && (is != "string" || wanted != "float64"):
		return errors.New("must be " + kinds[wanted])
	case strings.ContainsRune(text, 0):
		return errors.New("has a character NUL")
	case name == "config":
		in.given, in.configOnly = []byte(text), true
		return nil
	}
	return in.flags().Lookup(name).Value.Set(text)
}

// message is what a command says beside its result.
type message struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}
