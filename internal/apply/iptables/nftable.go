package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// NFTables looks after the nftables tables "mangle" that iptables-nft creates and
// never deletes: we delete those that our first transaction created. iptables has no
// option for this, the netlink library no nftables, and the nft program may be
// missing.
type NFTables struct{ Kernel *kernel.Handle }

// Exists reports whether the family has an nftables table "mangle". A kernel
// without nftables has none.
func (n NFTables) Exists(f family.Family) (bool, error) {
	_, err := n.request(unix.NFT_MSG_GETTABLE, f).Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.ENOENT) || kernel.IsMissing(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("nftables table mangle (%s): %w", f, err)
	}
	return true, nil
}

// Delete deletes the family's nftables table "mangle" with its base chains; the
// caller has seen that it holds nothing else. A table that is gone is no error.
func (n NFTables) Delete(f family.Family) error {
	if err := kernel.Ignore(executeBatch(n.request(unix.NFT_MSG_DELTABLE, f)), unix.ENOENT); err != nil {
		return fmt.Errorf("delete nftables table mangle (%s): %w", f, err)
	}
	return nil
}

// request is for the family's table "mangle" (NFPROTO_IPV4 and NFPROTO_IPV6 are
// the numbers of the families).
func (n NFTables) request(operation int, f family.Family) *nl.NetlinkRequest {
	req := n.Kernel.Netfilter(unix.NFNL_SUBSYS_NFTABLES, operation, unix.NLM_F_ACK, f)
	req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated("mangle")))
	return req
}

// executeBatch sends a request as a batch in one datagram, which the library cannot
// and nftables wants of changes, and returns the kernel's answer.
func executeBatch(req *nl.NetlinkRequest) error {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER) // to no group: a socket
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer socket.Close()
	// The kernel answers at once; the limit only keeps a bug from hanging us.
	if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	batch := slices.Concat(batchMark(unix.NFNL_MSG_BATCH_BEGIN), req.Serialize(), batchMark(unix.NFNL_MSG_BATCH_END))
	if err := unix.Sendto(socket.GetFd(), batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink send: %w", err)
	}
	answers, _, err := socket.Receive()
	if err != nil {
		return fmt.Errorf("netlink receive: %w", err)
	}
	if len(answers) == 0 || answers[0].Header.Type != unix.NLMSG_ERROR || len(answers[0].Data) < 4 {
		return errors.New("unexpected answer")
	}
	if code := int32(binary.NativeEndian.Uint32(answers[0].Data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// batchMark is the message with which a batch for nftables begins or ends.
func batchMark(kind int) []byte {
	req := nl.NewNetlinkRequest(kind, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0, ResId: nl.Swap16(unix.NFNL_SUBSYS_NFTABLES)})
	return req.Serialize()
}
