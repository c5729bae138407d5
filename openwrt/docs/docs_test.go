// Package docs_test holds the project's documents and the program together:
// links, configurations, commands and outputs that they show are true. The
// options of the configuration are compared in internal/config, which knows
// them.
package docs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/cli"
	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

const (
	top = "../.." // of the project
	// maxReadme is how many bytes people read before they give up.
	maxReadme = 20_000
)

// document is a file for people, without what stands in code blocks.
type document struct {
	path   string // from the project's top
	text   string // prose and tables
	blocks []block
}

// block is a code block.
type block struct {
	line int    // of its first line
	info string // what stands behind the fence
	text string
}

// documents reads all Markdown files of the project.
func documents(t *testing.T) []document {
	t.Helper()
	var found []document
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		built := path == filepath.Join(top, "bin") || path == filepath.Join(top, "dist")
		if entry.IsDir() && (built || strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".md") {
			return nil
		}
		path, err = filepath.Rel(top, path)
		found = append(found, readDocument(t, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 9 {
		t.Fatalf("only %d documents were found", len(found))
	}
	return found
}

// readDocument reads a file by its path from the project's top.
func readDocument(t *testing.T, path string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, path))
	if err != nil {
		t.Fatal(err)
	}
	d := document{path: path}
	inBlock := false
	for i, line := range strings.SplitAfter(string(text), "\n") {
		info, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inBlock:
			d.blocks = append(d.blocks, block{line: i + 2, info: strings.TrimSpace(info)})
			inBlock = true
		case isFence:
			inBlock = false
		case inBlock:
			d.blocks[len(d.blocks)-1].text += line
		default:
			d.text += line
		}
	}
	if inBlock {
		t.Errorf("%s: a code block has no end", path)
	}
	return d
}

// where names a block for people.
func (d document) where(b block) string { return fmt.Sprintf("%s:%d", d.path, b.line) }

var (
	heading   = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	link      = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	inCode    = regexp.MustCompile("`[^`]*`")
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns what links may name behind '#', as GitHub and others derive
// it from the headings.
func (d document) anchors() []string {
	var anchors []string
	for _, m := range heading.FindAllStringSubmatch(d.text, -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		slug = strings.ReplaceAll(slug, " ", "-")
		unique := slug
		for n := 1; slices.Contains(anchors, unique); n++ {
			unique = fmt.Sprintf("%s-%d", slug, n)
		}
		anchors = append(anchors, unique)
	}
	return anchors
}

// TestLinks follows all links that stay within the project.
func TestLinks(t *testing.T) {
	all := documents(t)
	anchors := map[string][]string{}
	for _, d := range all {
		anchors[d.path] = d.anchors()
	}
	followed := 0
	for _, d := range all {
		for _, m := range link.FindAllStringSubmatch(inCode.ReplaceAllString(d.text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			file, anchor, hasAnchor := strings.Cut(m[1], "#")
			target := d.path
			if file != "" {
				target = filepath.Join(filepath.Dir(d.path), file)
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s: link to %s: %v", d.path, m[1], err)
				continue
			}
			if hasAnchor && !slices.Contains(anchors[target], anchor) {
				t.Errorf("%s: link to %s: there is no such heading, but %s", d.path, m[1], strings.Join(anchors[target], ", "))
			}
		}
	}
	if followed < 50 {
		t.Errorf("only %d links were found", followed)
	}
}

func TestReadmeIsShort(t *testing.T) {
	info, err := os.Stat(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxReadme {
		t.Errorf("README.md has %d bytes, more than %d: what not everybody needs belongs into openwrt/docs", info.Size(), maxReadme)
	}
}

// checkConfiguration reads a text as the program reads its file.
func checkConfiguration(t *testing.T, where, text string) {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	_, problems := config.Read(file)
	for _, p := range problems {
		t.Errorf("%s: %s", where, p)
	}
}

// TestConfigurations reads every configuration that the documents show. Blocks
// with UCI sections say by 'uci' whether they are one.
func TestConfigurations(t *testing.T) {
	hasSection := regexp.MustCompile(`(?m)^config `)
	read := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			switch {
			case b.info == "uci":
				read++
				checkConfiguration(t, d.where(b), b.text)
			case hasSection.MatchString(b.text):
				t.Errorf("%s: the block has sections, but does not begin with ```uci", d.where(b))
			}
		}
	}
	if read < 20 {
		t.Errorf("only %d configurations were found", read)
	}
}

// TestShippedConfiguration reads the file that the package installs, as it is and
// with all of its examples in force.
func TestShippedConfiguration(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "files/etc/config/loadbalance"))
	if err != nil {
		t.Fatal(err)
	}
	checkConfiguration(t, "as it is", string(text))
	examples := regexp.MustCompile(`(?m)^#(config|\t(option|list)) `).ReplaceAllString(string(text), "$1 ")
	if examples == string(text) {
		t.Error("there are no examples in it")
	}
	checkConfiguration(t, "with its examples", examples)
}

// TestCommandsConfigure runs the shell commands that configure members, with a
// uci that only says what it is asked to do, and reads the file that they make.
func TestCommandsConfigure(t *testing.T) {
	const uciStandIn = `uci() { printf '%s\t%s\n' "$1" "$2"; }` + "\n"
	ran := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if !strings.Contains(b.text, "uci set loadbalance.") {
				continue
			}
			ran++
			output, err := exec.Command("sh", "-euc", uciStandIn+onlyUCI(b.text)).Output()
			if err != nil {
				t.Errorf("%s: %v", d.where(b), err)
				continue
			}
			text := fileOf(string(output))
			if !strings.Contains(text, "config member") {
				t.Errorf("%s: the commands make no member:\n%s", d.where(b), text)
			}
			checkConfiguration(t, d.where(b), text)
		}
	}
	if ran < 3 {
		t.Errorf("only %d blocks were found", ran)
	}
}

// onlyUCI leaves out the commands that would change or ask this machine.
func onlyUCI(commands string) string {
	var kept strings.Builder
	for _, line := range strings.SplitAfter(commands, "\n") {
		command := strings.TrimLeft(line, "\t")
		for _, start := range []string{"uci set ", "uci add_list ", "for ", "done"} {
			if strings.HasPrefix(command, start) {
				kept.WriteString(line)
			}
		}
	}
	return "mac=00:00:00:00\n" + kept.String()
}

// fileOf makes a file of what uci was asked to do for the package loadbalance,
// beside the section that the package installs.
func fileOf(asked string) string {
	sections := []string{"globals"}
	texts := map[string]string{"globals": "config globals 'globals'\n"}
	for _, line := range strings.Split(asked, "\n") {
		command, assignment, _ := strings.Cut(line, "\t")
		key, value, _ := strings.Cut(assignment, "=")
		parts := strings.Split(key, ".")
		switch {
		case parts[0] != "loadbalance":
		case len(parts) == 2:
			sections = append(sections, parts[1])
			texts[parts[1]] = "config " + value + " '" + parts[1] + "'\n"
		case len(parts) == 3:
			kind := map[string]string{"set": "option", "add_list": "list"}[command]
			texts[parts[1]] += "\t" + kind + " " + parts[2] + " '" + value + "'\n"
		}
	}
	var file strings.Builder
	for _, name := range sections {
		file.WriteString(texts[name])
	}
	return file.String()
}

// TestExplanations runs each `loadbalance explain` that the documents show below
// the configuration that stands before it. A line with nothing but "…" stands for
// any number of lines.
func TestExplanations(t *testing.T) {
	const prompt = "# loadbalance explain "
	ran := 0
	for _, d := range documents(t) {
		var configuration string
		for _, b := range d.blocks {
			if b.info == "uci" {
				configuration = b.text
			}
			command, shown, _ := strings.Cut(b.text, "\n")
			if !strings.HasPrefix(command, prompt) {
				continue
			}
			ran++
			got := explain(t, d.where(b), configuration, strings.Fields(strings.TrimPrefix(command, prompt)))
			if !pattern(shown).MatchString(got) {
				t.Errorf("%s: the program prints something else:\n%s", d.where(b), got)
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d were found", ran)
	}
}

func explain(t *testing.T, where, configuration string, args []string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "loadbalance"), []byte(configuration), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, messages bytes.Buffer
	args = append([]string{"explain", "--config-dir", dir, "--uplinks", "testdata/uplinks.json"}, args...)
	if code := cli.Run(args, &out, &messages); code != 0 || messages.Len() > 0 {
		t.Errorf("%s: exit code %d, %s", where, code, messages.String())
	}
	return out.String()
}

// pattern matches a text in which some lines are left out.
func pattern(shown string) *regexp.Regexp {
	var expression strings.Builder
	for _, line := range strings.SplitAfter(shown, "\n") {
		if strings.TrimSpace(line) == "…" {
			expression.WriteString(`(.*\n)*`)
			continue
		}
		expression.WriteString(regexp.QuoteMeta(line))
	}
	return regexp.MustCompile("^" + expression.String() + "$")
}

// usage returns what the program prints about itself.
func usage(t *testing.T) string {
	t.Helper()
	var out, messages bytes.Buffer
	if code := cli.Run([]string{"help"}, &out, &messages); code != 0 {
		t.Fatalf("exit code %d, %s", code, messages.String())
	}
	return out.String()
}

// names returns what a pattern captures in a text, each once, sorted.
func names(text, pattern string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestCommandsAndFlags compares the tables of commands.md with the program's
// own usage text, which its tests compare with what it takes.
func TestCommandsAndFlags(t *testing.T) {
	text := readDocument(t, "openwrt/docs/commands.md").text
	commands, _, _ := strings.Cut(usage(t), "\nflags")
	for _, c := range []struct {
		what               string
		program, documents []string
	}{
		{"command", names(commands, `(?m)^  ([a-z][a-z0-9-]*)`), names(text, "(?m)^\\| `loadbalance ([a-z0-9-]+)")},
		{"flag", append(names(usage(t), `--([a-z][a-z0-9-]*)`), "version"), names(text, "(?m)^\\| `--([a-z][a-z0-9-]*)")},
	} {
		if len(c.program) < 10 {
			t.Errorf("only %d names were found in the usage text: %v", len(c.program), c.program)
		}
		for _, name := range c.program {
			if !slices.Contains(c.documents, name) {
				t.Errorf("commands.md: %s '%s' is missing", c.what, name)
			}
		}
		for _, name := range c.documents {
			if !slices.Contains(c.program, name) {
				t.Errorf("commands.md: the program has no %s '%s'", c.what, name)
			}
		}
	}
}

// TestPackageList compares the list in internal/README.md with the folders.
func TestPackageList(t *testing.T) {
	_, list, _ := strings.Cut(readDocument(t, "internal/README.md").text, "\n## Packages\n")
	list, _, _ = strings.Cut(list, "\n## ")
	listed := names(list, "(?m)^\\| `([a-z0-9/]+)` \\|")
	var packages []string
	for _, pattern := range []string{"internal/*/*.go", "internal/*/*/*.go"} {
		sources, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range sources {
			packages = append(packages, strings.TrimPrefix(filepath.Dir(path), top+"/internal/"))
		}
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	if !slices.Equal(listed, packages) {
		t.Errorf("internal/README.md lists\n%v, but there are\n%v", listed, packages)
	}
}
