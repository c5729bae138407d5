// Command pkg builds OpenWrt packages of loadbalance without OpenWrt's SDK.
//
// It owns no knowledge about a package: its Makefile in a folder of openwrt/,
// read with the few stand-ins for OpenWrt's include files in openwrt/pkg/sdk,
// says what the package is called, needs and contains, and its own instructions
// install the files. Every such folder is built; the next package is added by
// adding its folder. What is written here is the part of OpenWrt's build system
// behind that: settings of the Go compiler for each architecture, control files,
// scripts, archives, indices and signatures, in the form of OpenWrt's
// include/package-pack.mk and scripts/ipkg-build, and of apk-tools' manual page
// apk-v3(5).
//
// Usage, in the top folder of a checkout or of an unpacked source tarball:
//
//	pkg [-go PROGRAM] [-keys DIR] [-out DIR] ipk|apk|release all|ARCHITECTURE...
//	pkg keys DIR
//
// ARCHITECTURE is OpenWrt's name, as in mipsel_24kc. The packages of each come
// into a folder of its name below DIR, with the index that makes it a feed. A
// release is all of that in the folder release, with the source tarball, the
// public keys and the sums of all files. The keys, which `pkg keys` makes, sign
// indices and apk packages; without them nothing is signed.
//
// The same sources and keys give the same bytes: the Go that builds the program
// is fixed, and every time is SOURCE_DATE_EPOCH, or the last commit's, or where
// there is no repository the newest file's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
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
	goProgram := flags.String("go", "go", "the go command to build with")
	keyDir := flags.String("keys", "", "folder of the keys to sign with")
	outDir := flags.String("out", "dist", "folder for the packages")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("what to make, and for which architecture? ipk, apk or release, then names as OpenWrt has them, such as mipsel_24kc, or 'all'")
	}
	command, names := flags.Arg(0), flags.Args()[1:]
	switch command {
	case "keys":
		return makeKeys(names[0], out)
	case "ipk", "apk", "release":
	default:
		return fmt.Errorf("unknown command '%s': ipk, apk, release and keys are known", command)
	}
	targets, err := parseTargets(names)
	if err != nil {
		return err
	}
	keys, err := readKeys(*keyDir)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "loadbalance-pkg-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := builder{root: ".", goProgram: *goProgram, work: work, keys: keys, out: out}
	if err := b.prepare(); err != nil {
		return err
	}
	if command == "release" {
		return b.release(targets, filepath.Join(*outDir, "release"))
	}
	return b.makeFeeds(targets, *outDir, command)
}
