package luciapp

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"loadbalance/internal/uci"
)

// store is rpcd's object uci: files, and changes to them that wait until they are
// applied.
type store struct {
	dir      string
	staged   map[string]*config // changed, by name
	changed  func(names []string) error
	previous map[string][]byte // files before an apply that nobody has confirmed
	rollback *time.Timer
	added    int
}

type config struct{ sections []*section }

type section struct {
	kind, name string
	anonymous  bool
	options    []option
}

type option struct {
	name   string
	values []string
	list   bool
}

// confirmWithin is for how long an apply waits for its confirmation.
const confirmWithin = 4 * time.Second

func (s *store) load(name string) (*config, error) {
	if c := s.staged[name]; c != nil {
		return c, nil
	}
	file, err := uci.Load(s.dir, name)
	if err != nil {
		return nil, err
	}
	c := &config{}
	for i, f := range file.Sections {
		sec := &section{kind: f.Type, name: f.Name}
		if f.Name == "" {
			sec.name, sec.anonymous = fmt.Sprintf("cfg%02x0000", i), true
		}
		for _, o := range f.Options {
			values := make([]string, 0, len(o.Values))
			for _, v := range o.Values {
				values = append(values, v.Text)
			}
			sec.set(o.Name, values, o.List)
		}
		c.sections = append(c.sections, sec)
	}
	return c, nil
}

// change loads a file and marks it as changed.
func (s *store) change(name string) (*config, error) {
	c, err := s.load(name)
	if err == nil {
		s.staged[name] = c
	}
	return c, err
}

func (c *config) find(name string) *section {
	if i := slices.IndexFunc(c.sections, func(s *section) bool { return s.name == name }); i >= 0 {
		return c.sections[i]
	}
	return nil
}

func (s *section) set(name string, values []string, list bool) {
	s.options = slices.DeleteFunc(s.options, func(o option) bool { return o.name == name })
	if len(values) > 0 {
		s.options = append(s.options, option{name, values, list})
	}
}

func (s *section) setAll(values map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch v := values[name].(type) {
		case string:
			s.set(name, []string{v}, false)
		case []any:
			var texts []string
			for _, one := range v {
				texts = append(texts, fmt.Sprint(one))
			}
			s.set(name, texts, true)
		default:
			return fmt.Errorf("option %s: %v is neither a text nor a list", name, v)
		}
	}
	return nil
}

// values is the file as `uci get` has it.
func (c *config) values() map[string]any {
	all := map[string]any{}
	for i, s := range c.sections {
		values := map[string]any{".type": s.kind, ".name": s.name, ".anonymous": s.anonymous, ".index": i}
		for _, o := range s.options {
			if o.list {
				values[o.name] = o.values
			} else {
				values[o.name] = o.values[0]
			}
		}
		all[s.name] = values
	}
	return all
}

// text is the file as `uci commit` writes it.
func (c *config) text() string {
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	var b strings.Builder
	for _, s := range c.sections {
		b.WriteString("\nconfig " + s.kind)
		if !s.anonymous {
			b.WriteString(" " + quote(s.name))
		}
		b.WriteString("\n")
		for _, o := range s.options {
			word := "option"
			if o.list {
				word = "list"
			}
			for _, v := range o.values {
				fmt.Fprintf(&b, "\t%s %s %s\n", word, o.name, quote(v))
			}
		}
	}
	return b.String()
}

// uciArguments are those of all methods.
type uciArguments struct {
	Config, Section, Type, Name string
	Values                      map[string]any
	Options                     []string
	Sections                    []string
}

// call answers a method.
func (s *store) call(method string, raw json.RawMessage) (any, error) {
	var a uciArguments
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	switch method {
	case "get":
		c, err := s.load(a.Config)
		if err != nil {
			return nil, err
		}
		return map[string]any{"values": c.values()}, nil
	case "changes":
		changes := map[string]any{}
		for name := range s.staged {
			changes[name] = [][]string{{"set", "x", "y", "z"}}
		}
		return map[string]any{"changes": changes}, nil
	}
	c, err := s.change(a.Config)
	if err != nil {
		return nil, err
	}
	return s.edit(c, method, a)
}

func (s *store) edit(c *config, method string, a uciArguments) (any, error) {
	sec := c.find(a.Section)
	switch {
	case method == "add":
		return s.add(c, a)
	case method == "order":
		slices.SortStableFunc(c.sections, func(x, y *section) int {
			return slices.Index(a.Sections, x.name) - slices.Index(a.Sections, y.name)
		})
		return map[string]any{}, nil
	case sec == nil:
		return nil, fmt.Errorf("no section %s.%s", a.Config, a.Section)
	case method == "set":
		return map[string]any{}, sec.setAll(a.Values)
	case method == "delete" && a.Options == nil:
		c.sections = slices.DeleteFunc(c.sections, func(s *section) bool { return s == sec })
		return map[string]any{}, nil
	case method == "delete":
		for _, name := range a.Options {
			sec.set(name, nil, false)
		}
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("no method uci %s", method)
}

// add makes a section. As libuci does, it changes the type of one that is there.
func (s *store) add(c *config, a uciArguments) (any, error) {
	sec := c.find(a.Name)
	if a.Name == "" || sec == nil {
		s.added++
		sec = &section{name: a.Name, anonymous: a.Name == ""}
		if sec.anonymous {
			sec.name = fmt.Sprintf("cfgnew%04x", s.added)
		}
		c.sections = append(c.sections, sec)
	}
	sec.kind = a.Type
	return map[string]any{"section": sec.name}, sec.setAll(a.Values)
}

// apply writes what has changed. With rollback it is taken back unless somebody
// confirms it in time.
func (s *store) apply(rollback bool) error {
	s.previous = map[string][]byte{}
	names := slices.Sorted(maps.Keys(s.staged))
	for _, name := range names {
		old, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		s.previous[name] = old
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(s.staged[name].text()), 0o644); err != nil {
			return err
		}
	}
	s.staged = map[string]*config{}
	if rollback {
		s.rollback = time.AfterFunc(confirmWithin, func() { _ = s.restore(names) })
	}
	return s.changed(names)
}

// restore takes an apply back.
func (s *store) restore(names []string) error {
	for name, old := range s.previous {
		if err := os.WriteFile(filepath.Join(s.dir, name), old, 0o644); err != nil {
			return err
		}
	}
	return s.changed(names)
}

func (s *store) confirm() bool { return s.rollback != nil && s.rollback.Stop() }
