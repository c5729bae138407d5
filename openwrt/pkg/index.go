package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// writeIndex writes the index of all packages in a folder, which makes it a
// feed for opkg: Packages and Packages.gz. It is not signed.
func writeIndex(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ipk"))
	if err != nil {
		return err
	}
	var index strings.Builder
	for _, file := range files {
		paragraph, err := indexParagraph(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		index.WriteString(paragraph + "\n")
	}
	packed, err := compress([]byte(index.String()))
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"Packages": []byte(index.String()), "Packages.gz": packed} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// indexParagraph returns a package's control file with the fields that tell
// opkg where the package is, in front of the description.
func indexParagraph(file string) (string, error) {
	ipk, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	archive, err := memberOf(ipk, "./control.tar.gz")
	if err != nil {
		return "", err
	}
	control, err := memberOf(archive, "./control")
	if err != nil {
		return "", err
	}
	fields, description, found := strings.Cut(string(control), "\nDescription:")
	if !found {
		return "", errors.New("its control file has no Description")
	}
	return fmt.Sprintf("%s\nFilename: %s\nSize: %d\nSHA256sum: %x\nDescription:%s",
		fields, filepath.Base(file), len(ipk), sha256.Sum256(ipk), description), nil
}

// memberOf returns one file of a compressed archive.
func memberOf(archive []byte, name string) ([]byte, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	r := tar.NewReader(unpacked)
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("no %s in the archive", name)
		}
		if err != nil {
			return nil, err
		}
		if header.Name == name {
			return io.ReadAll(r)
		}
	}
}
