package config

import (
	"slices"
	"testing"
)

// TestDomainForm: all ways to write a name are the same name. The encoded ones
// are from RFC 3492, section 7.1, or registered.
func TestDomainForm(t *testing.T) {
	for text, want := range map[string]string{
		"Example.ORG":        "example.org",
		".example.org":       "example.org",
		"example.org.":       "example.org",
		".Example.org.":      "example.org",
		"XN--Mnchen-3ya.de":  "xn--mnchen-3ya.de",
		"münchen.de":         "xn--mnchen-3ya.de",
		"MÜNCHEN.de":         "xn--mnchen-3ya.de",
		"www.straße.example": "www.xn--strae-oqa.example",
		"bücher.example":     "xn--bcher-kva.example",
		"例え.テスト":             "xn--r8jz45g.xn--zckzah",
		"例え。テスト":             "xn--r8jz45g.xn--zckzah",
		"пример.испытание":   "xn--e1afmkfd.xn--80akhbyknj4f",
		// RFC 3492: (A) Arabic, (B) Chinese, (I) Russian, (L) Japanese with
		// basic characters.
		"ليهمابتكلموشعربي؟.example":            "",
		"他们为什么不说中文.example":                    "xn--ihqwcrb4cv8a8dqg056pqjye.example",
		"почемужеонинеговорятпорусски.example": "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l.example",
		"3年b組金八先生.example":                     "xn--3b-ww4c5e180e575a65lsy2b.example",
		"hello-another-way-それぞれの場所.example":    "xn--hello-another-way--fc4qua05auwb3674vfr0b.example",
		"क्षेत्र.example":                      "xn--11b4axb0a4f8ad.example",
	} {
		got, err := ParseDomain(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestDomainsOnce: the same name, written twice, is one.
func TestDomainsOnce(t *testing.T) {
	c := read(t, "config ipset s\n\tlist domain 'b.org .A.org'\n\tlist domain 'a.org. B.ORG'\n")
	if got := c.IPSets[0].Domains; !slices.Equal(got, []string{"a.org", "b.org"}) {
		t.Errorf("got %q", got)
	}
}
