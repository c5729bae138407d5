package cli

import (
	"errors"
	"fmt"
	"strings"
)

// flagSet finds flags among the words of a command line. Package flag does
// more than that (usage texts, typed values), and is 25 KB of the program on a
// router.
type flagSet struct {
	values   map[string]*string // flags with a value, by name
	switches map[string]*bool   // flags without
}

// errHelp says that the usage text is asked for.
var errHelp = errors.New("help")

// parse takes in the flags and returns the other words. A flag has one dash or
// two; its value is the next word, or stands behind '='. Behind a word "--"
// there are no flags.
func (f flagSet) parse(args []string) (words []string, err error) {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "--" {
			return append(words, args...), nil
		}
		name := strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
		if name == word || name == "" {
			words = append(words, word)
			continue
		}
		if args, err = f.take(name, args); err != nil {
			return words, err
		}
	}
	return words, nil
}

// take takes in one flag, which may need the first of the words behind it, and
// returns those that are left.
func (f flagSet) take(flag string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(flag, "=")
	if on := f.switches[name]; on != nil {
		if hasValue {
			return nil, fmt.Errorf("%w: --%s takes no value", errUsage, name)
		}
		*on = true
		return rest, nil
	}
	text := f.values[name]
	switch {
	case text == nil && (flag == "h" || flag == "help"):
		return nil, errHelp
	case text == nil:
		return nil, fmt.Errorf("%w: unknown flag --%s", errUsage, name)
	case hasValue:
		*text = value
		return rest, nil
	case len(rest) == 0:
		return nil, fmt.Errorf("%w: a value is missing behind --%s", errUsage, name)
	}
	*text = rest[0]
	return rest[1:], nil
}
