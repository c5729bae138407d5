package health

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/kernel"
)

// TestLoad: rates of a line, a second each, and when it is full.
func TestLoad(t *testing.T) {
	const full, free = "full", "free"
	for name, test := range map[string]struct {
		download, upload []float64 // Mbit/s of 20 and 5
		want             map[int]string
	}{
		"three seconds above 90 %":          {download: []float64{19, 19, 19, 19}, want: map[int]string{3: full}},
		"at 90 %":                           {download: []float64{18, 18, 18, 18, 18}},
		"upload alone":                      {upload: []float64{4.9, 4.9, 4.9}, want: map[int]string{3: full}},
		"one second less":                   {download: []float64{19, 19, 15, 19, 19, 15}},
		"free below 75 % in both":           {download: []float64{19, 19, 19, 1, 1, 1, 1}, want: map[int]string{3: full, 6: free}},
		"between the limits it stays":       {download: []float64{19, 19, 19, 16, 16, 16, 16, 16, 1}, want: map[int]string{3: full, 9: free}},
		"a dip does not set it free":        {download: []float64{19, 19, 19, 19, 19, 19, 8, 19, 19, 19}, want: map[int]string{3: full}},
		"upload keeps it full":              {download: []float64{19, 19, 19, 1, 1, 1, 1, 1, 1}, upload: []float64{0, 0, 0, 4, 4, 4, 4, 1, 1}, want: map[int]string{3: full, 8: free}},
		"nobody gets more than every 3 s":   {download: []float64{19, 19, 19, 0, 0, 0, 20, 20, 20, 0}, want: map[int]string{3: full, 6: free, 9: full}},
		"free a second after its end":       {download: []float64{19, 19, 19, 19, 19, 19, 0, 0}, want: map[int]string{3: full, 7: free}},
		"a line that carries nothing":       {download: []float64{0, 0, 0, 0, 0}},
		"faster than stated":                {download: []float64{900, 900, 900}, want: map[int]string{3: full}},
		"full, then nothing is known of it": {download: []float64{19, 19, 19, -1, 1, 1, 1}, want: map[int]string{3: full, 7: free}},
	} {
		t.Run(name, func(t *testing.T) {
			var l Load
			now, counters := time.Unix(1e9, 0), kernel.Traffic{Name: "eth1", Index: 7, Received: 1e9, Sent: 1e9}
			stated := map[string]Rates{"wan": {20e6, 5e6, [2]string{"eth1", "ppp1"}}}
			l.Read(now, []kernel.Traffic{counters}, stated)
			for i := range max(len(test.download), len(test.upload)) {
				now = now.Add(time.Second)
				if i < len(test.download) {
					counters.Received += uint64(max(test.download[i], 0) * 1e6 / 8)
					if test.download[i] < 0 { // made anew
						counters = kernel.Traffic{Name: "eth1", Index: counters.Index + 1}
					}
				}
				if i < len(test.upload) {
					counters.Sent += uint64(test.upload[i] * 1e6 / 8)
				}
				was := l.Full("wan")
				changed := l.Read(now, []kernel.Traffic{counters, {Name: "lo", Index: 1, Received: 1 << 50}}, stated)
				is := l.Full("wan")
				got := ""
				switch {
				case was == "" && is != "":
					got = full
				case was != "" && is == "":
					got = free
				}
				if got != test.want[i+1] || changed != (got != "") {
					t.Errorf("second %d: %q (changed: %t), want %q", i+1, got, changed, test.want[i+1])
				}
			}
		})
	}
}

// TestLoadOfSeveral: lines change together, and one that is not stated any more is
// forgotten.
func TestLoadOfSeveral(t *testing.T) {
	var l Load
	stated := map[string]Rates{"a": {Download: 8e6, Devices: [2]string{"a"}}, "b": {Download: 8e6, Devices: [2]string{"b"}}}
	a, b := kernel.Traffic{Name: "a", Index: 1}, kernel.Traffic{Name: "b", Index: 2}
	changes := 0
	for second := range 7 {
		a.Received += 1e6
		if second > 1 { // b is busy a second later
			b.Received += 1e6
		}
		if l.Read(time.Unix(int64(second), 0), []kernel.Traffic{a, b}, stated) {
			changes++
			if second == 3 && (l.Full("a") == "" || l.Full("b") != "") {
				t.Error("after three seconds a alone is full")
			}
		}
	}
	if changes != 2 || !strings.Contains(l.Full("b"), "8.0 Mbit/s down") {
		t.Errorf("%d changes, b: %q", changes, l.Full("b"))
	}
	l.Keep(map[string]Rates{"b": {}})
	if l.Full("a") != "" || l.Full("b") == "" {
		t.Error("a is forgotten, b is not")
	}
}
