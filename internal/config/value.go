package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseBoolean reads a boolean as config_get_bool of /lib/functions.sh does.
func ParseBoolean(text string) (bool, error) {
	switch text {
	case "1", "on", "true", "yes", "enabled":
		return true, nil
	case "0", "off", "false", "no", "disabled":
		return false, nil
	}
	return false, invalid(text, "is neither 1 (on, true, yes, enabled) nor 0 (off, false, no, disabled)")
}

func integerWithin(lowest, highest int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, invalid(text, "is not a whole number")
		}
		if err != nil || n < int64(lowest) || n > int64(highest) {
			return 0, fmt.Errorf("%s is out of range (%d to %d)", quote(text), lowest, highest)
		}
		return int(n), nil
	}
}

func oneOf[T ~string](choices ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		names := make([]string, len(choices))
		for i, choice := range choices {
			if string(choice) == text {
				return choice, nil
			}
			names[i] = string(choice)
		}
		return "", fmt.Errorf("%s is not one of %s%s", quote(text), strings.Join(names, ", "), didYouMean(text, names))
	}
}

// durationWithin returns a parser for times in a range: a number, which may have
// a fraction, with ms, s, m or h, or in units.
func durationWithin(unit, shortest, longest time.Duration) func(string) (time.Duration, error) {
	units := map[string]float64{"": float64(unit), "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
	return func(text string) (time.Duration, error) {
		n, ok := parseQuantity(text, units)
		// More than longestTime may be more than a Duration can hold.
		d := time.Duration(math.Round(min(n, float64(longestTime))))
		if !ok {
			return 0, invalid(text, "is not a time, such as 500ms, 2s or 1m")
		}
		if d < shortest || d > longest {
			return 0, fmt.Errorf("%s is out of range (%s to %s)", quote(text), shortDuration(shortest), shortDuration(longest))
		}
		return d, nil
	}
}

// byteUnits are the decimal units of amounts: providers count in these.
var byteUnits = map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}

// ParseBytes reads an amount of bytes, such as 50GB. Less than 1MB was probably
// written without its unit; 1000TB are what 100 Gbit/s carry in a day.
func ParseBytes(text string) (int64, error) {
	n, ok := parseQuantity(strings.ReplaceAll(strings.ToLower(text), " ", ""), byteUnits)
	if !ok || n > 0 && n < 1e6 || n > 1e15 {
		return 0, invalid(text, "is neither 0 nor an amount of bytes from 1MB to 1000TB, such as 50GB")
	}
	return int64(math.Round(n)), nil
}

// rateUnits are tc's (tc(8), UNITS): bits by default, and bytes where it says bps.
var rateUnits = map[string]float64{"": 1, "bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
	"kibit": 1 << 10, "mibit": 1 << 20, "gibit": 1 << 30, "tibit": 1 << 40,
	"bps": 8, "kbps": 8e3, "mbps": 8e6, "gbps": 8e9, "tbps": 8e12,
	"kibps": 8 << 10, "mibps": 8 << 20, "gibps": 8 << 30, "tibps": 8 << 40}

// parseRate reads a rate, in bit/s. Below 8kbit the unit is probably missing.
func parseRate(text string) (float64, error) {
	n, ok := parseQuantity(strings.ReplaceAll(strings.ToLower(text), " ", ""), rateUnits)
	if !ok || n > 0 && n < 8e3 || n > 1e13 {
		return 0, invalid(text, "is neither 0 nor a rate from 8kbit to 10tbit, such as 20mbit (mbps would be megabytes)")
	}
	return n, nil
}

// parseQuantity reads a number, which may have a fraction, with its unit.
func parseQuantity(text string, units map[string]float64) (n float64, ok bool) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	unit, known := units[text[len(number):]]
	n, err := strconv.ParseFloat(number, 64) // infinite with ErrRange
	if !known || err != nil && !errors.Is(err, strconv.ErrRange) || strings.Trim(number, "0123456789.") != "" {
		return 0, false
	}
	return n * unit, true
}

// longestTime stands for every time that is too long for any option: ten times
// the longest one, the timeout of an ipset.
const longestTime = 10 * maxSetTimeout

// shortDuration formats a time as the file would have it: 50ms, 2s, 1m, 1h.
func shortDuration(d time.Duration) string {
	unit, suffix := time.Hour, "h"
	switch {
	case d%time.Second != 0:
		unit, suffix = time.Millisecond, "ms"
	case d == 0 || d%time.Minute != 0:
		unit, suffix = time.Second, "s"
	case d%time.Hour != 0:
		unit, suffix = time.Minute, "m"
	}
	return strconv.FormatInt(int64(d/unit), 10) + suffix
}
