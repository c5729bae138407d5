package luciapp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// grants are what one group of the access list lets a user read and write.
type grants struct {
	Description string
	Read, Write grant
}

type grant struct {
	Ubus map[string][]string
	File map[string][]string
	UCI  []string
}

type menuEntry struct {
	Title  string
	Action struct{ Type, Path string }
	// Depends names the groups whose grants a page needs.
	Depends struct{ ACL []string }
}

// base are LuCI's own grants that every user has (luci-base).
var base = grants{
	Read:  grant{Ubus: map[string][]string{"luci": {"getFeatures"}, "session": {"access"}, "file": {"list"}, "uci": {"changes", "get"}}, UCI: []string{"luci"}},
	Write: grant{Ubus: map[string][]string{"uci": {"add", "delete", "order", "set"}}},
}

func readJSON(t *testing.T, name string, value any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(appDir, name))
	check(t, err, json.Unmarshal(text, value))
}

func readAccess(t *testing.T) map[string]grants {
	t.Helper()
	access := map[string]grants{}
	readJSON(t, "root/usr/share/rpcd/acl.d/luci-app-loadbalance.json", &access)
	return access
}

func readMenu(t *testing.T) map[string]menuEntry {
	t.Helper()
	menu := map[string]menuEntry{}
	readJSON(t, "root/usr/share/luci/menu.d/luci-app-loadbalance.json", &menu)
	return menu
}

// allowed reports whether any grant that a user has fulfils a condition: the
// owner has all, the reader those for reading, and a user with the name of a group
// has that group.
func (s *server) allowed(user string, condition func(grant) bool) bool {
	may := func(g grants) bool { return condition(g.Read) || user != "reader" && condition(g.Write) }
	if group, known := s.access[user]; known {
		return may(base) || may(group)
	}
	for _, g := range s.access {
		if may(g) {
			return true
		}
	}
	return may(base)
}

// mayWrite reports whether a user may change a configuration file.
func (s *server) mayWrite(user, config string) bool {
	may := func(g grants) bool { return slices.Contains(g.Write.UCI, config) }
	if group, known := s.access[user]; known {
		return may(group)
	}
	for _, g := range s.access {
		if user != "reader" && may(g) {
			return true
		}
	}
	return false
}

// request is a call of JSON-RPC: session, object, method and arguments.
type request struct {
	ID     any               `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// Codes of ubus.
const (
	ubusOK            = 0
	ubusNotFound      = 4
	ubusDenied        = 6
	ubusUnknown       = 9
	accessDenied      = -32002 // JSON-RPC, as uhttpd has it
	programTimeout    = 1500 * time.Millisecond
	hostHintName      = `<img src=x onerror="window.hacked=1">`
	hostHintEthernet  = "02:00:00:00:00:07"
	hostHintAddress   = "192.168.1.17"
	initScriptsFolder = "/etc/init.d/"
)

// ubus answers calls as uhttpd and rpcd do, one or several at once.
func (s *server) ubus(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	var several []request
	var reply any
	if json.Unmarshal(body.Bytes(), &several) == nil {
		replies := make([]any, 0, len(several))
		for _, one := range several {
			replies = append(replies, s.answer(one))
		}
		reply = replies
	} else {
		var one request
		if err := json.Unmarshal(body.Bytes(), &one); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply = s.answer(one)
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func (s *server) answer(r request) any {
	reply := map[string]any{"jsonrpc": "2.0", "id": r.ID}
	if r.Method != "call" || len(r.Params) < 3 {
		reply["result"] = map[string]any{}
		return reply
	}
	var user, object, method string
	for i, word := range []*string{&user, &object, &method} {
		if err := json.Unmarshal(r.Params[i], word); err != nil {
			reply["error"] = map[string]any{"code": -32600, "message": err.Error()}
			return reply
		}
	}
	arguments := json.RawMessage("{}")
	if len(r.Params) > 3 {
		arguments = r.Params[3]
	}
	if !s.allowed(user, func(g grant) bool { return slices.Contains(g.Ubus[object], method) }) {
		s.mu.Lock()
		s.denied = append(s.denied, user+": "+object+" "+method)
		s.mu.Unlock()
		reply["error"] = map[string]any{"code": accessDenied, "message": "Access denied"}
		return reply
	}
	result, code := s.call(user, object, method, arguments)
	reply["result"] = []any{code}
	if result != nil {
		reply["result"] = []any{code, result}
	}
	return reply
}

// call carries out a call that is allowed.
func (s *server) call(user, object, method string, raw json.RawMessage) (any, int) {
	var a struct {
		Interface, Config, Path, Command, Data, Scope, Object, Function string
		Params                                                          []string
	}
	if object != "loadbalance" && object != "uci" {
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, ubusUnknown
		}
	}
	switch object {
	case "loadbalance":
		return s.program(method, raw)
	case "uci":
		return s.callUCI(user, method, raw)
	case "session":
		return map[string]any{"access": a.Scope != "uci" || a.Function != "write" || s.mayWrite(user, a.Object)}, ubusOK
	case "luci":
		return map[string]any{}, ubusOK
	case "luci-rpc":
		return map[string]any{hostHintEthernet: map[string]any{"name": hostHintName, "ipaddrs": []string{hostHintAddress}}}, ubusOK
	case "network.interface":
		return s.interfaceCall(method, a.Interface)
	case "file":
		return s.file(user, method, a.Path, a.Command, a.Params, a.Data)
	}
	return nil, ubusNotFound
}

// program has the program answer, as rpcd's plugin does.
func (s *server) program(method string, raw json.RawMessage) (any, int) {
	s.mu.Lock()
	s.asked[method]++
	hostile, silent := s.hostile, s.silent
	s.mu.Unlock()
	if silent {
		time.Sleep(programTimeout)
		return nil, ubusNotFound
	}
	if hostile != nil && method == "status" {
		return hostile, ubusOK
	}
	out, messages, err := s.router.call(bytes.NewReader(raw), "rpc", "call", method)
	if err != nil || !json.Valid([]byte(out)) {
		fmt.Fprintf(os.Stderr, "rpc call %s %s: %v\n%s%s", method, raw, err, out, messages)
		return nil, ubusUnknown
	}
	return json.RawMessage(out), ubusOK
}

func (s *server) callUCI(user, method string, raw json.RawMessage) (any, int) {
	var a uciArguments
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, ubusUnknown
	}
	reads := method == "get" && s.allowed(user, func(g grant) bool { return slices.Contains(g.UCI, a.Config) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reads && method != "changes" && !s.mayWrite(user, a.Config) {
		s.denied = append(s.denied, user+": uci "+method+" "+a.Config)
		return nil, ubusDenied
	}
	reply, err := s.uci.call(method, raw)
	if err != nil {
		return nil, ubusNotFound
	}
	return reply, ubusOK
}

// interfaceCall is netifd. Interface wan3 is on uplink 3.
func (s *server) interfaceCall(method, name string) (any, int) {
	var number int
	fmt.Sscanf(name, "wan%d", &number)
	var err error
	switch {
	case method == "dump":
		return s.router.interfaces(), ubusOK
	case number == 0:
		return nil, ubusNotFound
	case method == "up":
		err = s.router.lab.IfUp(number)
	case method == "down":
		err = s.router.lab.IfDown(number)
	}
	if err != nil {
		return nil, ubusUnknown
	}
	return map[string]any{}, ubusOK
}

// file is rpcd's object file: programs and files by the access list.
func (s *server) file(user, method, name, command string, params []string, data string) (any, int) {
	what, right := name, method
	if method == "exec" {
		what = strings.Join(append([]string{command}, params...), " ")
	}
	if method != "list" && !s.allowed(user, func(g grant) bool { return slices.Contains(g.File[what], right) }) {
		return nil, ubusDenied
	}
	inConfig := filepath.Join(s.router.configDir(), filepath.Base(name))
	switch method {
	case "list":
		return map[string]any{"entries": []any{}}, ubusOK
	case "read":
		text, err := os.ReadFile(inConfig)
		if err != nil {
			return nil, ubusNotFound
		}
		return map[string]any{"data": string(text)}, ubusOK
	case "write":
		if err := os.WriteFile(inConfig, []byte(data), 0o644); err != nil {
			return nil, ubusUnknown
		}
		return nil, ubusOK
	}
	script, found := strings.CutPrefix(command, initScriptsFolder)
	if !found || len(params) != 1 {
		return nil, ubusNotFound
	}
	if err := s.router.initScript(script, params[0]); err != nil {
		return map[string]any{"code": 1, "stderr": err.Error()}, ubusOK
	}
	return map[string]any{"code": 0}, ubusOK
}
