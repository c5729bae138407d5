package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseBoolean reads a boolean as OpenWrt's shell library does (config_get_bool
// in /lib/functions.sh).
func parseBoolean(text string) (bool, error) {
	switch text {
	case "1", "on", "true", "yes", "enabled":
		return true, nil
	case "0", "off", "false", "no", "disabled":
		return false, nil
	}
	return false, invalid(text, "is neither 1 (on, true, yes, enabled) nor 0 (off, false, no, disabled)")
}

// integerWithin returns a parser for decimal numbers in a range.
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

// oneOf returns a parser for one of a few words.
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

// durationWithin returns a parser for times in a range: a number, which may
// have a fraction, with the suffix ms, s, m or h. A plain number counts in
// units.
func durationWithin(unit, shortest, longest time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, ok := parseDuration(text, unit)
		if !ok {
			return 0, invalid(text, "is not a time, such as 500ms, 2s or 1m")
		}
		if d < shortest || d > longest {
			return 0, fmt.Errorf("%s is out of range (%s to %s)", quote(text), shortDuration(shortest), shortDuration(longest))
		}
		return d, nil
	}
}

func parseDuration(text string, unit time.Duration) (time.Duration, bool) {
	number := strings.TrimRight(text, "hms")
	units := map[string]time.Duration{"": unit, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour}
	unit, known := units[text[len(number):]]
	if !known || number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	// With ErrRange, n is infinite, which a Duration cannot hold.
	if n > float64(longestTime/unit) {
		return longestTime, true
	}
	return time.Duration(math.Round(n * float64(unit))), true
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
