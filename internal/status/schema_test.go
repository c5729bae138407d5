package status

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/uplink"
)

// TestSchema compares the table of the JSON in commands.md with what a status
// has, in names and types.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile("../../openwrt/docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## `status --json`\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (the object|`([a-z0-9._]+)`)[^|]* \\| (.*) \\|$").FindAllStringSubmatch(table, -1) {
		for _, key := range regexp.MustCompile("`([a-z0-9_]+)` (text|number|boolean|time|object)(s?)\\b").FindAllStringSubmatch(row[3], -1) {
			documented[row[2]] = append(documented[row[2]], key[1]+" "+key[2]+key[3])
		}
	}
	printed := map[string][]string{}
	collect(printed, "", reflect.TypeFor[Status]())
	for where, keys := range printed {
		slices.Sort(keys)
		slices.Sort(documented[where])
		if !slices.Equal(keys, documented[where]) {
			t.Errorf("%q has the keys\n%v, but commands.md says\n%v", where, keys, documented[where])
		}
	}
	if len(printed) != len(documented) || len(printed) < 15 {
		t.Errorf("%d objects are printed, %d documented", len(printed), len(documented))
	}
}

// collect adds the keys of an object, with their types, and those of all below.
func collect(keys map[string][]string, where string, object reflect.Type) {
	for i := range object.NumField() {
		field := object.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			collect(keys, where, field.Type)
		case name != "" && name != "-":
			path := strings.TrimPrefix(where+"."+name, ".")
			// The families have the same type.
			kind := typeName(field.Type)
			keys[where] = append(keys[where], name+" "+kind)
			if strings.HasPrefix(kind, "object") && field.Type != reflect.TypeFor[uplink.State]() && name != "ipv6" {
				collect(keys, path, element(field.Type))
			}
		}
	}
}

// element is the type behind pointers and lists.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		return typeName(t.Elem()) + "s"
	}
	t = element(t)
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Struct:
		return "object"
	}
	return "number"
}
