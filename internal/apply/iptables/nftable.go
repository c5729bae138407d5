package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// iptables-nft keeps the mangle table in an nftables table of that name, which
// it creates when first needed and never deletes. To leave no trace we delete
// the ones that our first transaction created. There is no option for this in
// iptables, and the nft program may be missing, so it is asked of the kernel.

// NFTables looks after the nftables tables behind iptables-nft.
type NFTables struct{}

// The numbers are those of linux/netfilter/nfnetlink.h and nf_tables.h.
const (
	nfnlBatchBegin = unix.NFNL_MSG_BATCH_BEGIN
	nfnlBatchEnd   = unix.NFNL_MSG_BATCH_END
	nftGetTable    = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE
	nftDelTable    = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE
	nftGetGen      = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
	nftaTableName  = unix.NFTA_TABLE_NAME
)

func nfFamily(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// Exists says whether the family has an nftables table "mangle". A kernel
// without nftables has none.
func (NFTables) Exists(f family.Family) (bool, error) {
	req := nl.NewNetlinkRequest(nftGetTable, unix.NLM_F_ACK)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: nfFamily(f), Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nftaTableName, nl.ZeroTerminated("mangle")))
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL),
		errors.Is(err, unix.EPROTONOSUPPORT):
		return false, nil
	}
	return false, fmt.Errorf("nftables table mangle (%s): %w", f, err)
}

// Delete deletes the family's nftables table "mangle" with its base chains.
// The caller has seen that it holds nothing else. A table that is already gone
// is no error.
func (NFTables) Delete(f family.Family) error {
	err := sendBatch(nftDelTable, nfFamily(f), nl.NewRtAttr(nftaTableName, nl.ZeroTerminated("mangle")).Serialize())
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete nftables table mangle (%s): %w", f, err)
	}
	return nil
}

// generations asks the kernel for the generation of nftables, which every
// transaction of anybody counts up.
type generations struct{ socket *nl.SocketHandle }

// openGenerations opens the socket on the calling thread, and so in its network
// namespace. Without one, the generation is always the same.
func openGenerations() generations {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return generations{}
	}
	return generations{&nl.SocketHandle{Socket: s}}
}

// current returns the generation; 0, which is none, where it cannot be told.
func (g generations) current() uint32 {
	if g.socket == nil {
		return 0
	}
	req := nl.NewNetlinkRequest(nftGetGen, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: g.socket}
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil || len(answers) == 0 || len(answers[0]) < nl.SizeofNfgenmsg {
		return 0
	}
	attributes, _ := nl.ParseRouteAttr(answers[0][nl.SizeofNfgenmsg:])
	for _, a := range attributes {
		if a.Attr.Type == unix.NFTA_GEN_ID && len(a.Value) == 4 {
			return binary.BigEndian.Uint32(a.Value)
		}
	}
	return 0
}

// close closes the socket. Soon after a transaction the kernel takes its time
// for that, see BeginWrite.
func (g generations) close() {
	if g.socket != nil {
		g.socket.Close()
	}
}

// sendBatch sends one message in a batch, the only form in which nftables
// takes changes, and returns the kernel's answer to it.
func sendBatch(message uint16, nfgenFamily uint8, attributes []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	// The kernel answers at once; the limit only keeps a bug from hanging us.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	const sequence = 2
	batch := netlinkMessage(nfnlBatchBegin, 0, 1, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	batch = append(batch, netlinkMessage(message, unix.NLM_F_ACK, sequence, nfgenFamily, 0, attributes)...)
	batch = append(batch, netlinkMessage(nfnlBatchEnd, 0, 3, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)...)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	const errorCode = unix.NLMSG_HDRLEN + 4
	if n < errorCode || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("unexpected answer")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// netlinkMessage writes a netlink header, a netfilter header and attributes.
func netlinkMessage(kind, flags uint16, sequence uint32, nfgenFamily uint8, resource uint16, attributes []byte) []byte {
	const headers = unix.NLMSG_HDRLEN + 4
	m := make([]byte, headers, headers+len(attributes))
	binary.NativeEndian.PutUint32(m[0:], uint32(headers+len(attributes)))
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(m[8:], sequence)
	m[unix.NLMSG_HDRLEN] = nfgenFamily
	m[unix.NLMSG_HDRLEN+1] = nl.NFNETLINK_V0
	binary.BigEndian.PutUint16(m[unix.NLMSG_HDRLEN+2:], resource)
	return append(m, attributes...)
}
