package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The keys of a builder, in one folder by the names that OpenWrt's own build
// gives them, so that a build tree's keys can be used as they are.
const (
	usignSecretFile = "key-build"
	usignPublicFile = "key-build.pub"
	apkSecretFile   = "private-key.pem"
	apkPublicFile   = "public-key.pem"
)

// keys sign what package managers check before they install: opkg by a key of
// usign, apk by an EC key. One that is nil signs nothing.
type keys struct {
	usign *usignKey
	apk   *apkKey
}

// readKeys reads the secret keys in a folder; without a folder there are none.
func readKeys(dir string) (keys, error) {
	if dir == "" {
		return keys{}, nil
	}
	var k keys
	text, err := os.ReadFile(filepath.Join(dir, usignSecretFile))
	if err != nil {
		return keys{}, err
	}
	if k.usign, err = parseUsignKey(text); err != nil {
		return keys{}, fmt.Errorf("%s: %w", filepath.Join(dir, usignSecretFile), err)
	}
	if text, err = os.ReadFile(filepath.Join(dir, apkSecretFile)); err != nil {
		return keys{}, err
	}
	if k.apk, err = parseAPKKey(text); err != nil {
		return keys{}, fmt.Errorf("%s: %w", filepath.Join(dir, apkSecretFile), err)
	}
	return k, nil
}

// makeKeys writes a new pair of keys of each kind. It never replaces a key:
// routers would have to be told about the new one.
func makeKeys(dir string, out io.Writer) error {
	usign, err := newUsignKey()
	if err != nil {
		return err
	}
	apk, err := newAPKKey()
	if err != nil {
		return err
	}
	apkPublic, err := apk.publicPEM()
	if err != nil {
		return err
	}
	apkSecret, err := apk.secretPEM()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		mode os.FileMode
		body []byte
	}{
		{usignSecretFile, 0o600, usign.secretText()},
		{usignPublicFile, 0o644, usign.publicText()},
		{apkSecretFile, 0o600, apkSecret},
		{apkPublicFile, 0o644, apkPublic},
	} {
		name := filepath.Join(dir, f.name)
		if err := writeNew(name, f.body, f.mode); err != nil {
			return err
		}
		fmt.Fprintln(out, name)
	}
	return nil
}

func writeNew(name string, body []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}
