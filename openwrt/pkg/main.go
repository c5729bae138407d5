// Command pkg builds OpenWrt packages of loadbalance without OpenWrt's SDK.
//
// It owns no knowledge about the package: the feed package's Makefile in
// openwrt/loadbalance, read with the few stand-ins for OpenWrt's include files
// in openwrt/pkg/sdk, says what the package is called, needs and contains, and
// its own instructions install the files. What is written here is the part of
// OpenWrt's build system behind that: settings of the Go compiler for each
// architecture, control file, scripts, archives and the feed's index, in the
// form of OpenWrt's include/package-pack.mk and scripts/ipkg-build.
//
// Usage, in the top folder of a checkout:
//
//	pkg [-format ipk|apk] [-go PROGRAM] [-out DIR] all|ARCHITECTURE...
//
// ARCHITECTURE is OpenWrt's name, as in mipsel_24kc; the packages of each, and
// for ipk the index, come into a folder of its name below DIR. The same sources
// give the same bytes: the Go for ipk is fixed, and every time is
// SOURCE_DATE_EPOCH, or the last commit's where that is not set.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	// Folders that `install -d` makes on the way get what the umask leaves.
	syscall.Umask(0o022)
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pkg:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("pkg", flag.ContinueOnError)
	format := flags.String("format", "ipk", "ipk (OpenWrt up to 24.10) or apk (from 25.12)")
	goProgram := flags.String("go", "go", "the go command to build with")
	outDir := flags.String("out", "dist", "folder for the packages")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no architecture given: name one as OpenWrt does, such as mipsel_24kc, or 'all'")
	}
	targets, err := parseTargets(flags.Args())
	if err != nil {
		return err
	}
	pack, err := packer(*format)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "loadbalance-pkg-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := builder{root: ".", goProgram: *goProgram, work: work}
	if *format == "ipk" {
		b.toolchain = opkgToolchain
	}
	if b.date, err = sourceDate(b.root); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	for _, t := range targets {
		file, err := b.makePackage(t, pack, filepath.Join(*outDir, t.arch))
		if err != nil {
			return fmt.Errorf("%s: %w", t.arch, err)
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d bytes\n", file, info.Size())
	}
	return nil
}

// packFunc writes a package of the installed tree into the folder dir and
// returns its file name. It may use the folder work.
type packFunc func(p *recipe, t target, tree, dir, work string, date time.Time) (string, error)

func packer(format string) (packFunc, error) {
	switch format {
	case "ipk":
		return packIPK, nil
	case "apk":
		return packAPK, findAPK()
	}
	return nil, fmt.Errorf("unknown format '%s': ipk and apk are known", format)
}

// sourceDate returns SOURCE_DATE_EPOCH, or the time of the last commit.
func sourceDate(root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		commit, err := exec.Command("git", "-C", root, "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("no date for the files: git knows no last commit (%w); set SOURCE_DATE_EPOCH", err)
		}
		text = strings.TrimSpace(string(commit))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: '%s' is not a number of seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
