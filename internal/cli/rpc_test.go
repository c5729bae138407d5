package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// calledWith calls a method as the program does whose files are in dir, and
// returns the reply as JSON.
func calledWith(t *testing.T, dir, method, arguments string) string {
	t.Helper()
	var out bytes.Buffer
	in := &invocation{out: &out, log: openLog(logStderr, &bytes.Buffer{}), options: options{configDir: dir, runDir: filepath.Join(dir, "run"),
		iptables: "auto", uplinks: "../../openwrt/docs/testdata/uplinks.json"}}
	in.call(method, strings.NewReader(arguments))
	var compact bytes.Buffer
	if err := json.Compact(&compact, out.Bytes()); err != nil {
		t.Fatalf("%s %s: %v: %s", method, arguments, err, out.String())
	}
	text := compact.Bytes()
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatalf("%s %s: no object: %s", method, arguments, text)
	}
	return strings.TrimSpace(string(text))
}

const rpcConfig = "config member 'wan'\n\nconfig member 'wanb'\n"

func rpcDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"loadbalance": rpcConfig, "mwan3": mwan3Config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCalls has good, missing, mistyped and hostile arguments.
func TestCalls(t *testing.T) {
	dir := rpcDir(t)
	deep := func(n int) string { return strings.Repeat(`{"dst":`, n) + "1" + strings.Repeat("}", n) }
	tests := []struct{ method, arguments, want string }{
		{"explain", `{"dst":"9.9.9.9"}`, `{"messages":[],"packet":{"family":"ipv4"`},
		{"explain", `{"dst":"9.9.9.9","src":"192.168.1.7","proto":"tcp","sport":1000,"dport":"443","in":"br-lan","mac":"02:00:00:00:00:01","dscp":"EF","without":"wan"}`, `"without":{`},
		{"explain", ` {"dst":"9.9.9.9","ubus_rpc_session":"00000000000000000000000000000000"} `, `"outcomes":[`},
		{"explain", "", `{"error":"usage: explain needs --dst`},
		{"explain", `{}`, `{"error":"usage: explain needs --dst`},
		{"explain", `{"dst":""}`, `{"error":"usage: explain needs --dst`},
		{"explain", `{"dst":"9.9.9.9","colour":"red"}`, `{"error":"argument \"colour\" is unknown`},
		{"explain", `{"Dst":"9.9.9.9"}`, `argument \"Dst\" is unknown`},
		{"explain", `{"dst":"9.9.9.9","uplinks":"/etc/shadow"}`, `argument \"uplinks\" is unknown`},
		{"explain", `{"dst":"9.9.9.9","config-dir":"/tmp"}`, `argument \"config-dir\" is unknown`},
		{"explain", `{"dst":"9.9.9.9","config":""}`, `argument \"config\" is unknown`},
		{"explain", `{"dst":9}`, `argument \"dst\" must be a text`},
		{"explain", `{"dst":null}`, `argument \"dst\" must be a text`},
		{"explain", `{"dst":["9.9.9.9"]}`, `argument \"dst\" must be a text`},
		{"explain", `{"dst":{"a":"9.9.9.9"}}`, `argument \"dst\" must be a text`},
		{"explain", `{"dst":true}`, `argument \"dst\" must be a text`},
		{"explain", `{"dst":"9.9.9.9\u0000"}`, `argument \"dst\" has a character NUL`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":"ssh"}`, `--proto: 'ssh' is no port`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":0}`, `'0' is no port`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":65536}`, `'65536' is no port`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":-1}`, `'-1' is no port`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":443.5}`, `'443.5' is no port`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":1e400}`, `{"error":"arguments: `},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":null}`, `argument \"dport\" must be a number`},
		{"explain", `{"dst":"9.9.9.9","proto":"tcp","dport":true}`, `argument \"dport\" must be a number`},
		{"explain", `{"dst":"9.9.9.9","proto":6}`, `argument \"proto\" must be a text`},
		{"explain", `{"dst":"9.9.9.9","without":"nobody"}`, `{"error":"usage: --without: `},
		{"explain", `{"dst":"9.9.9.9","mac":"<img src=x>"}`, `{"error":"usage: --mac: `},
		{"explain", `{"dst":"9.9.9.9","src":"2001:db8::1"}`, `not of the same family`},
		{"explain", deep(100_000), `{"error":"arguments: `},
		{"explain", `{"dst":` + deep(5_000) + `}`, `argument \"dst\" must be a text`},
		{"explain", `{"dst":"` + strings.Repeat("9", maxArguments) + `"}`, `{"error":"too many arguments`},
		{"explain", `{"dst":"` + strings.Repeat("9", 100_000) + `"}`, `{"error":"usage: `},
		{"explain", `{"dst":"9.9.9.9"}{}`, `{"error":"arguments: `},
		{"explain", `{"dst":"9.9.9.9"} garbage`, `{"error":"arguments: `},
		{"explain", `{"dst":"9.9.9.9"`, `{"error":"arguments: `},
		{"explain", "{\"dst\":\"9.9.9.9\"\x00}", `{"error":"arguments: `},
		{"explain", `["9.9.9.9"]`, `{"error":"the arguments are no JSON object"`},
		{"explain", `null`, `{"error":"the arguments are no JSON object"`},
		{"explain", `"dst"`, `{"error":"the arguments are no JSON object"`},
		{"plan", "", `"text":"# sysctls\nsysctl -w net`},
		{"plan", `{"json":true}`, `argument \"json\" is unknown`},
		{"usage", "", `{"error":"`}, // no monitor
		{"usage", `{"member":"wan"}`, `argument \"member\" is unknown`},
		{"import", "", `config member 'wan'`},
		{"import", `{"file":"/etc/shadow"}`, `argument \"file\" is unknown`},
		{"check", `{"config":""}`, `"ok":true`},
		{"check", `{"config":"config member 'wan'\n"}`, `{"messages":[],"ok":true}`},
		{"check", `{"config":"config member 'wan'\n\toption weight 'abc'\n"}`, `"level":"error","text":"loadbalance:2: member 'wan': option 'weight': 'abc' is not a whole number"}],"ok":false`},
		{"check", `{"config":"config member 'wan\n"}`, `loadbalance:1: syntax error`},
		{"check", `{"config":"config\u0000"}`, `argument \"config\" has a character NUL`},
		{"check", `{"config":7}`, `argument \"config\" must be a text`},
		{"check", `{"config":"` + strings.Repeat(`config member\n`, 20_000) + `"}`, `more problems here or elsewhere`},
		{"status", `{"watch":true}`, `argument \"watch\" is unknown`},
		{"stop", "", `there is no method \"stop\"`},
		{"", "", `there is no method \"\"`},
	}
	for i, tt := range tests {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			if got := calledWith(t, dir, tt.method, tt.arguments); !strings.Contains(got, tt.want) {
				t.Errorf("%s %.200s: %.500s, want %s", tt.method, tt.arguments, got, tt.want)
			}
		})
	}
}

// TestCheckedTextReadsNoFile has somebody who may have a text checked try to read
// a file by it.
func TestCheckedTextReadsNoFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("root:password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{"config": "config ipset 'films'\n\toption loadfile '" + secret + "'\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := calledWith(t, rpcDir(t), "check", string(text)); got != `{"messages":[],"ok":true}` {
		t.Errorf("%s", got)
	}
}

func TestArgumentsThatCannotBeRead(t *testing.T) {
	err := (&invocation{}).setArguments("plan", iotest.ErrReader(errors.New("gone")))
	if err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("%v", err)
	}
}

func TestRPCWords(t *testing.T) {
	for _, line := range []string{"rpc", "rpc frob", "rpc call", "rpc list plan", "rpc call plan now"} {
		if _, messages, code := runProgram(strings.Fields(line)...); code != exitUsage || messages == "" {
			t.Errorf("%q: exit code %d, messages %q", line, code, messages)
		}
	}
	out, messages, code := runProgram("rpc", "list")
	if code != exitDone || messages != "" || !strings.Contains(out, `"check":{"config":""}`) || !strings.Contains(out, `"dport":32`) {
		t.Errorf("exit code %d, messages %q, output %s", code, messages, out)
	}
}

// FuzzCall has explain, which takes most arguments, answer anything by an object.
func FuzzCall(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"dst":"9.9.9.9","dport":443}`, `{"dst":"2001:db8::1","proto":"tcp"}`, `[]`, `{"dst":"9.9.9.9"} x`, `{"dst":{"a":[1,null]}}`} {
		f.Add(seed)
	}
	dir := rpcDir(f)
	f.Fuzz(func(t *testing.T, arguments string) {
		if strings.Contains(strings.ToLower(arguments), `"dst"`) && !strings.Contains(arguments, "9.9.9.9") {
			return // a name would be looked up
		}
		calledWith(t, dir, "explain", arguments)
	})
}
