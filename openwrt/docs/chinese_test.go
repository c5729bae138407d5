package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	headingLevel = regexp.MustCompile(`(?m)^#+`)
	remark       = regexp.MustCompile(`(?m)\s+# .*$|^# .*$`)
)

// onlyChinese are what README.zh.md says besides: targets that answer in China, the
// package with the Chinese pages, and a login by hand.
var onlyChinese = []string{"`1.1.1.1`", "`9.9.9.9`", "`119.29.29.29`", "`223.5.5.5`", "`luci-i18n-loadbalance-zh-cn`", "`loadbalance use lease3 curl …`", "`eth1`", "`metric`"}

// TestChineseReadme holds README.zh.md in step with README.md: the same sections in
// the same order, the same commands and outputs, and the same options, commands and
// other terms of code.
func TestChineseReadme(t *testing.T) {
	english, chinese := readDocument(t, "README.md"), readDocument(t, "README.zh.md")
	if e, c := headingLevel.FindAllString(english.text, -1), headingLevel.FindAllString(chinese.text, -1); !slices.Equal(e, c) {
		t.Errorf("headings: %v in English, %v in Chinese", e, c)
	}
	if len(english.blocks) != len(chinese.blocks) {
		t.Fatalf("code blocks: %d in English, %d in Chinese", len(english.blocks), len(chinese.blocks))
	}
	for i, e := range english.blocks {
		c := chinese.blocks[i]
		if want, got := remark.ReplaceAllString(e.text, ""), remark.ReplaceAllString(c.text, ""); want != got {
			t.Errorf("%s differs from %s:\n%s", chinese.where(c), english.where(e), got)
		}
	}
	for _, term := range terms(english) {
		if !slices.Contains(terms(chinese), term) {
			t.Errorf("README.zh.md does not have %s", term)
		}
	}
	for _, term := range terms(chinese) {
		if !slices.Contains(terms(english), term) && !slices.Contains(onlyChinese, term) {
			t.Errorf("README.md does not have %s", term)
		}
	}
	for _, m := range link.FindAllStringSubmatch(english.text, -1) {
		if m[1] != "README.zh.md" && !strings.Contains(chinese.text, "]("+m[1]+")") {
			t.Errorf("README.zh.md has no link to %s", m[1])
		}
	}
}

// terms are what a document sets as code.
func terms(d document) []string {
	all := inCode.FindAllString(d.text, -1)
	slices.Sort(all)
	return slices.Compact(all)
}
