package cli

import (
	"bytes"
	"os"
	"slices"
	"time"
)

// setTimeZone makes local time that of OpenWrt, whose /etc/TZ has the zone as POSIX writes it
// (CET-1CEST,M3.5.0,M10.5.0/3). Go reads that only at the end of a file of zoneinfo: here the
// least one (RFC 8536), two headers of which the second counts one zone with a name of four bytes.
func setTimeZone(file string) {
	zone, err := os.ReadFile(file)
	if err != nil || os.Getenv("TZ") != "" {
		return
	}
	data := make([]byte, 98)
	copy(data, "TZif2")
	copy(data[44:], "TZif2")
	data[83], data[87] = 1, 4
	copy(data[94:], "UTC")
	data = slices.Concat(data, []byte("\n"), bytes.TrimSpace(zone), []byte("\n"))
	if local, err := time.LoadLocationFromTZData("Local", data); err == nil {
		time.Local = local
	}
}
