package luciapp

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the template of translations anew")

// scripts are the application's scripts by their names below htdocs.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	root := filepath.Join(appDir, "htdocs")
	check(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".js" {
			return err
		}
		text, err := os.ReadFile(name)
		relative, _ := filepath.Rel(root, name)
		found[relative] = string(text)
		return err
	}))
	if len(found) < 10 {
		t.Fatalf("only %d scripts", len(found))
	}
	return found
}

// all finds a pattern in all scripts and returns its groups, sorted.
func all(t *testing.T, pattern string) [][]string {
	t.Helper()
	var found [][]string
	for _, text := range scripts(t) {
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			found = append(found, match[1:])
		}
	}
	if len(found) == 0 {
		t.Fatalf("nothing is like %s", pattern)
	}
	return found
}

// TestAccess: every call that the pages make is allowed by the access list, and
// the list allows no call of ours that nobody makes. Methods of the program are
// among those that it has, with the same arguments.
func TestAccess(t *testing.T) {
	s := server{access: readAccess(t)}
	out, err := exec.Command(binary, "rpc", "list").Output()
	check(t, err)
	methods := map[string]map[string]any{}
	check(t, json.Unmarshal(out, &methods))

	var called []string
	for _, call := range all(t, `rpc\.declare\(\{\s*object: '(.*)',\s*method: '(.*)',(?:\s*params: \[(.*)\])?`) {
		object, method := call[0], call[1]
		called = append(called, object+" "+method)
		if !s.allowed("owner", func(g grant) bool { return slices.Contains(g.Ubus[object], method) }) {
			t.Errorf("no access to %s %s", object, method)
		}
		if object != "loadbalance" {
			continue
		}
		for _, argument := range regexp.MustCompile(`'(\w+)'`).FindAllStringSubmatch(call[2], -1) {
			if _, known := methods[method][argument[1]]; !known {
				t.Errorf("the program's %s has no argument %s: %v", method, argument[1], methods[method])
			}
		}
		if methods[method] == nil {
			t.Errorf("the program has no method %s", method)
		}
	}
	for _, call := range all(t, `initScript\('(\w+)', '(\w+)'\)`) {
		command := "/etc/init.d/" + call[0] + " " + call[1]
		called = append(called, command)
		if !s.allowed("owner", func(g grant) bool { return slices.Contains(g.File[command], "exec") }) {
			t.Errorf("no access to %s", command)
		}
	}
	for name, g := range s.access {
		for object, list := range g.Read.Ubus {
			for _, method := range list {
				if !slices.Contains(called, object+" "+method) {
					t.Errorf("%s allows %s %s, which nobody calls", name, object, method)
				}
			}
		}
		for command, rights := range g.Write.File {
			if slices.Contains(rights, "exec") && !slices.Contains(called, command) {
				t.Errorf("%s allows %s, which nobody calls", name, command)
			}
		}
	}
}

// TestReadingChangesNothing: who may read can run no program and write no file.
func TestReadingChangesNothing(t *testing.T) {
	harmless := map[string][]string{
		"loadbalance":       {"check", "explain", "import", "status"},
		"luci-rpc":          {"getHostHints"},
		"network.interface": {"dump"},
	}
	for name, g := range readAccess(t) {
		if len(g.Read.File) > 0 {
			t.Errorf("%s reads files: %v", name, g.Read.File)
		}
		for object, list := range g.Read.Ubus {
			for _, method := range list {
				if !slices.Contains(harmless[object], method) {
					t.Errorf("%s lets a reader call %s %s", name, object, method)
				}
			}
		}
	}
}

// TestMenu: every entry has its view and its group of the access list, and every
// view has an entry.
func TestMenu(t *testing.T) {
	found, access := scripts(t), readAccess(t)
	shown := map[string]bool{}
	for path, entry := range readMenu(t) {
		for _, group := range entry.Depends.ACL {
			if _, known := access[group]; !known {
				t.Errorf("%s: the access list has no group %s", path, group)
			}
		}
		if entry.Action.Type != "view" {
			continue
		}
		name := "luci-static/resources/view/" + entry.Action.Path + ".js"
		shown[name] = true
		if found[name] == "" {
			t.Errorf("%s: there is no view %s", path, name)
		}
	}
	for name := range found {
		if strings.Contains(name, "/view/loadbalance/") && !shown[name] {
			t.Errorf("%s is in no menu", name)
		}
	}
}

// texts are all that users see and translators translate, each with its files:
// of scripts, and titles and descriptions of the menu and the access list.
func texts(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	add := func(text, file string) {
		text = strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(text)
		if !slices.Contains(found[text], file) {
			found[text] = append(found[text], file)
		}
	}
	literal := regexp.MustCompile(`\b_\('((?:[^'\\]|\\.)*)'\)`)
	for name, script := range scripts(t) {
		matches := literal.FindAllStringSubmatch(script, -1)
		if calls := len(regexp.MustCompile(`\b_\(`).FindAllString(script, -1)); calls != len(matches) {
			t.Errorf("%s: of %d calls of _() %d have a plain text", name, calls, len(matches))
		}
		for _, match := range matches {
			add(match[1], "htdocs/"+name)
		}
	}
	for path, entry := range readMenu(t) {
		if entry.Title == "" {
			t.Errorf("%s has no title", path)
		}
		add(entry.Title, "root/usr/share/luci/menu.d/luci-app-loadbalance.json")
	}
	for _, g := range readAccess(t) {
		add(g.Description, "root/usr/share/rpcd/acl.d/luci-app-loadbalance.json")
	}
	return found
}

// TestTemplate: the template of translations has all texts, and no others.
func TestTemplate(t *testing.T) {
	found := texts(t)
	if *update {
		var b strings.Builder
		b.WriteString("msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\"\n")
		for _, text := range keys(found) {
			b.WriteString("\n")
			sort.Strings(found[text])
			for _, file := range found[text] {
				fmt.Fprintf(&b, "#: applications/luci-app-loadbalance/%s\n", file)
			}
			fmt.Fprintf(&b, "msgid \"%s\"\nmsgstr \"\"\n", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text))
		}
		check(t, os.WriteFile(filepath.Join(appDir, "po/templates/loadbalance.pot"), []byte(b.String()), 0o644))
	}
	template, err := readPO("templates/loadbalance.pot")
	check(t, err)
	if got, want := keys(template), keys(found); !slices.Equal(got, want) {
		t.Errorf("the template is not that of the scripts (run with -update):\n%s", difference(got, want))
	}
}

func keys[V any](m map[string]V) []string {
	var list []string
	for key := range m {
		list = append(list, key)
	}
	sort.Strings(list)
	return list
}

// difference names what only one of two lists has.
func difference(got, want []string) string {
	var lines []string
	for _, text := range got {
		if !slices.Contains(want, text) {
			lines = append(lines, "too much: "+text)
		}
	}
	for _, text := range want {
		if !slices.Contains(got, text) {
			lines = append(lines, "missing: "+text)
		}
	}
	return strings.Join(lines, "\n")
}

// TestTranslation: every text is translated, with the same conversions in the
// same order, and nothing else is.
func TestTranslation(t *testing.T) {
	template, err := readPO("templates/loadbalance.pot")
	check(t, err)
	messages, err := readPO("zh_Hans/loadbalance.po")
	check(t, err)
	if got, want := keys(messages), keys(template); !slices.Equal(got, want) {
		t.Errorf("zh_Hans has other texts than the template:\n%s", difference(got, want))
	}
	conversions := regexp.MustCompile(`%[\d.]*[a-z%]`)
	for text, translation := range messages {
		if translation == "" {
			t.Errorf("not translated: %s", text)
		}
		if got, want := conversions.FindAllString(translation, -1), conversions.FindAllString(text, -1); !slices.Equal(got, want) {
			t.Errorf("%s: the translation has %q, want %q", text, got, want)
		}
	}
}
