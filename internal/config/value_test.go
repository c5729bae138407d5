package config

import (
	"testing"
	"time"
)

func TestQuote(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{`wan1`, `'wan1'`},
		{``, `''`},
		{`it's`, `'it's'`},
		{`say "hi"`, `'say "hi"'`},
		{`back\slash`, `'back\\slash'`},
		{`\"`, `'\\"'`},
		{"a\nb\x00\x1b[2J", `'a\nb\x00\x1b[2J'`},
		{"gr\u00fcn \u202e", "'gr\u00fcn \\u202e'"},
		{"\xff\xfe", `'\xff\xfe'`},
	} {
		if got := quote(c.value); got != c.want {
			t.Errorf("quote(%q) = %s, want %s", c.value, got, c.want)
		}
	}
}

func TestNearestName(t *testing.T) {
	known := []string{"weight", "up", "log", "metric", "mark_mask"}
	for _, c := range []struct{ name, want string }{
		{"wieght", "weight"},
		{"weigth", "weight"},
		{"wiehgt", "weight"},
		{"heavy", ""},
		{"u", "up"},
		{"lop", "log"},
		{"xy", ""},
		{"metric", ""},
		{"markmask", "mark_mask"},
		{"", ""},
	} {
		if got := nearestName(c.name, known); got != c.want {
			t.Errorf("nearestName(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"5", 5 * time.Second, true},
		{"0.5", 500 * time.Millisecond, true},
		{"800ms", 800 * time.Millisecond, true},
		{"1.5s", 1500 * time.Millisecond, true},
		{"2m", 2 * time.Minute, true},
		{"10m", 10 * time.Minute, true},
		{"2h", 2 * time.Hour, true},
		{"0.5h", 30 * time.Minute, true},
		{"9999999999999999999999h", longestTime, true},
		{"9999999999999999999999", longestTime, true},
		{"", 0, false},
		{"s", 0, false},
		{"1sm", 0, false},
		{"1hm", 0, false},
		{"h", 0, false},
		{"1d", 0, false},
		{"1e3", 0, false},
		{"-1", 0, false},
		{"1.2.3", 0, false},
		{".", 0, false},
		{"1 s", 0, false},
	} {
		got, err := durationWithin(time.Second, 0, longestTime)(c.text)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q is %v, %v", c.text, got, err)
		}
	}
}

func TestBoolean(t *testing.T) {
	for text, want := range map[string]bool{
		"1": true, "on": true, "true": true, "yes": true, "enabled": true,
		"0": false, "off": false, "false": false, "no": false, "disabled": false,
	} {
		if got, err := ParseBoolean(text); got != want || err != nil {
			t.Errorf("ParseBoolean(%q) = %v, %v", text, got, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"12345678901", 12345678901, true},
		{"50GB", 50e9, true},
		{"50 GB", 50e9, true},
		{"1.5tb", 1.5e12, true},
		{"1500kB", 1.5e6, true},
		{"7000000B", 7e6, true},
		{"0.1GB", 1e8, true},
		{"7B", 0, false},
		{"1000TB", 1e15, true},
		{"1001TB", 0, false},
		{"GB", 0, false},
		{"", 0, false},
		{".", 0, false},
		{"1.2.3GB", 0, false},
		{"-1GB", 0, false},
		{"1e3GB", 0, false},
		{"infGB", 0, false},
		{"50GiB", 0, false},
		{"50G", 0, false},
		{"50GB/month", 0, false},
	} {
		got, err := ParseBytes(c.text)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseBytes(%q) = %d, %v", c.text, got, err)
		}
	}
}
