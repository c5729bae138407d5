package main

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// opkgFeed is a feed for opkg.
type opkgFeed struct {
	arch string
	date time.Time
	key  *usignKey // nil: the index is not signed

	paragraphs []string // of the index
}

func (f *opkgFeed) add(p *recipe, tree []entry) (file, error) {
	pkg, err := makeIPK(p, f.arch, tree, f.date)
	if err != nil {
		return file{}, err
	}
	// The fields that tell opkg where the package is, in front of the description.
	fields, description, _ := strings.Cut(pkg.control, "\nDescription:")
	f.paragraphs = append(f.paragraphs, fmt.Sprintf("%s\nFilename: %s\nSize: %d\nSHA256sum: %x\nDescription:%s\n",
		fields, pkg.file.name, len(pkg.file.body), sha256.Sum256(pkg.file.body), description))
	return pkg.file, nil
}

// index returns the list of packages, plain and compressed, and its signature.
// opkg fetches the compressed list, and checks the plain one. Without a key, a
// signature that is still there is one of another list.
func (f *opkgFeed) index() ([]file, error) {
	list := []byte(strings.Join(f.paragraphs, ""))
	packed, err := compress(list)
	if err != nil {
		return nil, err
	}
	signature := file{name: "Packages.sig"}
	if f.key != nil {
		signature.body = f.key.sign(list)
	}
	return []file{{"Packages", list}, {"Packages.gz", packed}, signature}, nil
}
