package luciapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// The paths of LuCI's pages and of their files.
const (
	luciPath   = "/cgi-bin/luci/"
	staticPath = "/luci-static/"
)

// server is uhttpd with LuCI and rpcd.
type server struct {
	*httptest.Server
	router *router
	access map[string]grants
	menu   map[string]menuEntry
	uci    store

	mu sync.Mutex // of all but calls of the program
	// hostile is what the program's status is replaced by, if anything.
	hostile json.RawMessage
	// silent has no call of the program answered.
	silent bool
	// deaf has no confirmation of an apply arrive.
	deaf bool
	// denied are calls that the access list does not allow.
	denied []string
	// asked counts calls of the program, by method.
	asked map[string]int
}

// newServer serves the pages for a router; the end of the test ends it.
func newServer(t *testing.T, r *router) *server {
	t.Helper()
	s := &server{router: r, access: readAccess(t), menu: readMenu(t), asked: map[string]int{}}
	s.uci = store{dir: r.configDir(), staged: map[string]*config{}, changed: func([]string) error {
		return r.initScript("loadbalance", "reload")
	}}
	mux := http.NewServeMux()
	mux.HandleFunc(luciPath, s.page)
	mux.HandleFunc(luciPath+"admin/ubus", s.ubus)
	mux.HandleFunc("/ubus/", s.ubus)
	mux.HandleFunc(luciPath+"admin/uci/", s.apply)
	mux.HandleFunc(staticPath, s.static)
	mux.HandleFunc("/laboratory/", s.laboratory)
	// LuCI's own runtime asks by which interface the browser comes.
	mux.HandleFunc("/cgi-bin/cgi-exec", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// sources is a checkout of LuCI whose runtime is used in place of the stand-in.
func sources() string { return os.Getenv("LUCI_SOURCES") }

// static serves the application's own files, and the runtime's.
func (s *server) static(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	folders := []string{filepath.Join(appDir, "htdocs"), "standin"}
	if sources() != "" {
		folders = []string{folders[0], filepath.Join(sources(), "modules/luci-base/htdocs"),
			filepath.Join(sources(), "themes/luci-theme-bootstrap/htdocs"), "standin"}
	}
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
			http.ServeFile(w, r, filepath.Join(folder, name))
			return
		}
	}
	http.NotFound(w, r)
}

// page serves the frame of a page: /cgi-bin/luci/ and the path of its menu entry.
// In the query are the user (owner, reader or a group), the language and dark=1.
func (s *server) page(w http.ResponseWriter, r *http.Request) {
	view := s.menu[strings.TrimPrefix(r.URL.Path, luciPath)].Action.Path
	if r.URL.Path == luciPath+"admin/status/overview" {
		view = "startpage"
	}
	if view == "" {
		http.NotFound(w, r)
		return
	}
	user := r.URL.Query().Get("user")
	if user == "" {
		user = "owner"
	}
	if !s.mayOpen(user, strings.TrimPrefix(r.URL.Path, luciPath)) {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	env, _ := json.Marshal(map[string]any{
		"resource": staticPath + "resources", "media": staticPath + "bootstrap", "scriptname": luciPath[:len(luciPath)-1],
		"pathinfo": "/", "documentroot": "/www", "sessionid": user, "token": user, "ubuspath": "/ubus/", "pollinterval": 5,
		"requestpath":  strings.Split(strings.TrimPrefix(r.URL.Path, luciPath), "/"),
		"dispatchpath": []string{}, "nodespec": map[string]any{"satisfied": true, "readonly": user == "reader"},
		"apply_rollback": 90, "apply_holdoff": 1, "apply_timeout": 5, "apply_display": 1,
	})
	translation, _ := json.Marshal(translations(r.URL.Query().Get("lang")))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en" data-darkmode="%v"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/luci-static/bootstrap/cascade.css">
<link rel="stylesheet" media="only screen and (max-device-width: 854px)" href="/luci-static/bootstrap/mobile.css"><link rel="icon" href="data:,">
<script src="/luci-static/resources/cbi.js"></script><script>window.TRANSLATIONS = %s;
// LuCI's own runtime looks texts up by their hash.
if (window.sfh) window.TR = Object.fromEntries(Object.entries(TRANSLATIONS || {}).map(([ k, v ]) => [ sfh(k), v ]))</script>
<script src="/luci-static/resources/luci.js"></script><script>L = new LuCI(%s)</script></head>
<body><header><ul id="topmenu"></ul><div id="indicators"></div></header><div id="maincontent" class="container"><div id="view">
<script>L.require('ui').then(function(ui) { ui.instantiateView('%s'); });</script></div></div></body></html>`,
		r.URL.Query().Get("dark") != "", translation, env, view)
}

// mayOpen reports whether a user has the groups that a page's menu entry and those
// above it name: LuCI wants all of them.
func (s *server) mayOpen(user, name string) bool {
	if _, known := s.access[user]; !known {
		return true // the owner and the reader are in all groups
	}
	for ; name != "."; name = path.Dir(name) {
		for _, group := range s.menu[name].Depends.ACL {
			if group != user {
				return false
			}
		}
	}
	return true
}

// apply answers what ui.changes asks for.
func (s *server) apply(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch path.Base(r.URL.Path) {
	case "apply_rollback":
		err = s.uci.apply(true)
	case "apply_unchecked":
		err = s.uci.apply(false)
	case "confirm":
		if s.deaf || !s.uci.confirm() {
			w.WriteHeader(http.StatusGatewayTimeout)
		}
	case "revert":
		s.uci.staged = map[string]*config{}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// laboratory lets a browser's test change the world, and look into the kernel.
func (s *server) laboratory(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var number int
	fmt.Sscan(query.Get("number"), &number)
	var reply any = map[string]any{}
	var err error
	switch path.Base(r.URL.Path) {
	case "blackhole":
		err = s.router.lab.Blackhole(number)
	case "restore":
		err = s.router.lab.Restore(number)
	case "fill": // line number, for some seconds
		_, err = s.router.lab.Throughput(netlab.Bulk{From: s.router.lab.Router, Device: s.router.lab.UplinkDevice(number), Duration: 10 * time.Second})
	case "portal":
		var portal *netlab.Portal
		if portal, err = s.router.lab.StartPortal("user", "password", time.Hour); err == nil {
			reply = portal.URL("generate_204")
		}
	case "connect":
		reply = s.router.shares(number, query.Get("server"))
	case "run":
		reply, err = s.router.run(query.Get("command"))
	case "file":
		var text []byte
		text, err = os.ReadFile(filepath.Join(s.router.configDir(), path.Base(query.Get("name"))))
		reply = string(text)
	case "write":
		err = os.WriteFile(filepath.Join(s.router.configDir(), path.Base(query.Get("name"))), []byte(query.Get("text")), 0o644)
	case "forget": // what an earlier poll has read of iptables
		for _, f := range family.All {
			err = errors.Join(err, os.Remove(filepath.Join(s.router.dir, "run", "mangle-"+f.String()+".json")))
		}
	case "calls":
		reply = s.router.calls
	case "asked":
		s.mu.Lock()
		defer s.mu.Unlock()
		reply = s.asked
	case "denied":
		s.mu.Lock()
		defer s.mu.Unlock()
		reply, s.denied = append([]string{}, s.denied...), nil
	case "set":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.router.broken = query.Get("broken") != ""
		s.silent, s.deaf, s.hostile = query.Get("silent") != "", query.Get("deaf") != "", nil
		if text := query.Get("hostile"); text != "" {
			s.hostile = json.RawMessage(text)
		}
	default:
		err = fmt.Errorf("the laboratory has no %s", r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// node runs a script of the tests in Node.js, with the packages of package.json
// that `make node` installs outside of this folder.
func node(t *testing.T, script string, args ...string) {
	t.Helper()
	modules, err := filepath.Abs("../../../bin/_npm/node_modules")
	check(t, err)
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("node %s: %v", script, err)
	}
}
