package advice

import (
	"errors"
	"io/fs"
	"path/filepath"

	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/uci"
)

// ReadFiles reads the configuration of other programs in a folder such as /etc/config, and the boot
// links in rc.d beside it. Files need not exist; what cannot be read is named in the error.
func ReadFiles(configDir string) (Files, error) {
	var errs []error
	read := func(name string) *uci.File {
		file, err := uci.Load(configDir, name)
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		return file
	}
	files := Files{Firewall: read("firewall"), Network: read("network")}
	links, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(configDir)), "rc.d", "S[0-9][0-9]mwan3"))
	if len(links) > 0 {
		files.MWAN3Link = links[0]
	}
	return files, errors.Join(append(errs, err)...)
}

// ReadTCPLoose returns net.netfilter.nf_conntrack_tcp_loose; "" if conntrack is not loaded.
func ReadTCPLoose() (string, error) {
	value, err := sysctl.Proc{}.Read("net/netfilter/nf_conntrack_tcp_loose")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return value, err
}
