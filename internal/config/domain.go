package config

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"loadbalance/internal/uci"
)

// Limits of a name: RFC 1035, section 2.3.4 (255 octets are 253 characters).
const (
	maxDomain = 253
	maxLabel  = 63
)

// otherDots are dots of Chinese and Japanese keyboards (RFC 3490, section 3.1).
var otherDots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// ParseDomain returns a domain name as DNS has it: in lower case, in ASCII,
// without a dot at either end. (A leading dot is dnsmasq's "and all names below",
// which every name means here.) Names of services have underscores.
func ParseDomain(text string) (string, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(otherDots.Replace(text), "."), ".")
	labels := strings.Split(name, ".")
	for i, label := range labels {
		labels[i] = asciiLabel(strings.Map(unicode.ToLower, label))
	}
	name = strings.Join(labels, ".")
	if validDomain(name) {
		return name, nil
	}
	if above, found := strings.CutPrefix(name, "*."); found && validDomain(above) {
		return "", invalid(text, "is not a domain name; write "+above+", which includes all names below it")
	}
	return "", invalid(text, "is not a domain name")
}

func validDomain(text string) bool {
	if len(text) > maxDomain {
		return false
	}
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxLabel || !uci.ConsistsOf(label, "-_") ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	// A last label of digits only makes an address, not a name.
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// asciiLabel is a label as DNS has it. What is no letter or digit of any script
// stays, and is then refused. What people type is composed already, and
// golang.org/x/net/idna, which would do that, adds 200 KB to the package.
func asciiLabel(label string) string {
	foreign := func(c rune) bool { return c >= utf8.RuneSelf }
	refused := func(c rune) bool { return foreign(c) && !unicode.In(c, unicode.L, unicode.M, unicode.N) }
	if !strings.ContainsFunc(label, foreign) || strings.ContainsFunc(label, refused) || len(label) > maxDomain {
		return label
	}
	return "xn--" + punycode([]rune(label)) // RFC 5890, section 2.3.2.1
}

// Parameters of Punycode: RFC 3492, section 5.
const (
	punyBase    = 36
	punyMin     = 1
	punyMax     = 26
	punySkew    = 38
	punyDamp    = 700
	punyBias    = 72
	punyInitial = 0x80
)

const punyDigits = "abcdefghijklmnopqrstuvwxyz0123456789"

// punycode is RFC 3492, section 6.3; golang.org/x/net does not export its encoder.
func punycode(label []rune) string {
	var out []byte
	for _, c := range label {
		if c < punyInitial {
			out = append(out, byte(c))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	current, delta, bias := rune(punyInitial), 0, punyBias
	for done := basic; done < len(label); current++ {
		next := rune(unicode.MaxRune)
		for _, c := range label {
			if c >= current {
				next = min(next, c)
			}
		}
		delta += int(next-current) * (done + 1)
		current = next
		for _, c := range label {
			if c < current {
				delta++
			}
			if c == current {
				out = appendPunyNumber(out, delta, bias)
				done++
				bias = adaptPunyBias(delta, done, done == basic+1)
				delta = 0
			}
		}
		delta++
	}
	return string(out)
}

// appendPunyNumber appends a number in digits whose base varies.
func appendPunyNumber(out []byte, number, bias int) []byte {
	for k := punyBase; ; k += punyBase {
		threshold := min(max(k-bias, punyMin), punyMax)
		if number < threshold {
			return append(out, punyDigits[number])
		}
		number -= threshold
		out = append(out, punyDigits[threshold+number%(punyBase-threshold)])
		number /= punyBase - threshold
	}
}

// adaptPunyBias returns the next bias: RFC 3492, section 6.1.
func adaptPunyBias(delta, points int, first bool) int {
	if first {
		delta /= punyDamp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > (punyBase-punyMin)*punyMax/2; k += punyBase {
		delta /= punyBase - punyMin
	}
	return k + (punyBase-punyMin+1)*delta/(delta+punySkew)
}
