package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTimeZone: what OpenWrt's other programs call local time.
func TestTimeZone(t *testing.T) {
	was, given := os.LookupEnv("TZ")
	os.Unsetenv("TZ")
	local := time.Local
	t.Cleanup(func() {
		time.Local = local
		if given {
			os.Setenv("TZ", was)
		}
	})
	for _, c := range []struct{ zone, winter, summer string }{
		{"CST-8\n", "2026-12-01 08:00 CST", "2026-06-01 08:00 CST"},
		{"CET-1CEST,M3.5.0,M10.5.0/3\n", "2026-12-01 01:00 CET", "2026-06-01 02:00 CEST"},
		{"<+0530>-5:30", "2026-12-01 05:30 +0530", "2026-06-01 05:30 +0530"},
		{"EST5EDT,M3.2.0,M11.1.0", "2026-11-30 19:00 EST", "2026-05-31 20:00 EDT"},
		{"UTC", "2026-12-01 00:00 UTC", "2026-06-01 00:00 UTC"},
		{"nonsense", "2026-12-01 00:00 UTC", "2026-06-01 00:00 UTC"},
		{"", "2026-12-01 00:00 UTC", "2026-06-01 00:00 UTC"},
	} {
		file := filepath.Join(t.TempDir(), "TZ")
		if err := os.WriteFile(file, []byte(c.zone), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Local = time.FixedZone("unset", 0)
		setTimeZone(file)
		for month, want := range map[time.Month]string{time.December: c.winter, time.June: c.summer} {
			if got := time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC).Local().Format("2006-01-02 15:04 MST"); got != want {
				t.Errorf("%q: %s, want %s", c.zone, got, want)
			}
		}
	}
	t.Setenv("TZ", "UTC") // who calls the program knows better
	time.Local = time.FixedZone("unset", 0)
	file := filepath.Join(t.TempDir(), "TZ")
	if err := os.WriteFile(file, []byte("CST-8"), 0o644); err != nil {
		t.Fatal(err)
	}
	setTimeZone(file)
	if time.Local.String() != "unset" {
		t.Errorf("with TZ: %s", time.Local)
	}
}
