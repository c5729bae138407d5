package kernel

import (
	"errors"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Netfilter returns a request for a subsystem of nfnetlink (NFNL_SUBSYS_…).
func (h *Handle) Netfilter(subsystem, operation, flags int, f family.Family) *nl.NetlinkRequest {
	req := h.Request(subsystem<<8|operation, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: Number(f), Version: nl.NFNETLINK_V0})
	return req
}

// IsMissing reports whether nfnetlink knows no such subsystem, or is not there.
func IsMissing(err error) bool {
	return isAny(err, unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT)
}

// Ignore returns an error, but nil for one that is no failure.
func Ignore(err error, harmless ...unix.Errno) error {
	if isAny(err, harmless...) {
		return nil
	}
	return err
}

func isAny(err error, known ...unix.Errno) bool {
	return slices.ContainsFunc(known, func(k unix.Errno) bool { return errors.Is(err, k) })
}
