package drift

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"testing"

	"golang.org/x/sys/unix"
)

// encoded returns a message as the kernel would send it.
func encoded(kind, flags uint16, body []byte) []byte {
	s := socket{sequence: 7}
	s.encode(kind, flags, body)
	return s.request
}

func linkBody(family uint8, index, flags uint32, name string) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], index)
	binary.NativeEndian.PutUint32(b[8:], flags)
	return appendAttribute(b, unix.IFLA_IFNAME, append([]byte(name), 0))
}

func addressBody(last byte, validSeconds byte) []byte {
	b := []byte{unix.AF_INET, 24, 0, 0, 3, 0, 0, 0}
	b = appendAttribute(b, unix.IFA_LOCAL, []byte{10, 0, 0, last})
	return appendAttribute(b, unix.IFA_CACHEINFO, []byte{validSeconds, 0, 0, 0})
}

func routeBody(table, protocol uint8, gateway byte) []byte {
	b := []byte{unix.AF_INET, 0, 0, 0, table, protocol, 0, 1, 0, 0, 0, 0}
	return appendAttribute(b, unix.RTA_GATEWAY, []byte{10, 0, 0, gateway})
}

func ruleBody(protocol byte) []byte {
	b := make([]byte, sizeofRule)
	b[0] = unix.AF_INET
	return appendAttribute(b, unix.FRA_PROTOCOL, []byte{protocol})
}

func TestDigestIsFNV(t *testing.T) {
	for _, text := range []string{"", "a", "foobar"} {
		want := fnv.New64a()
		want.Write([]byte(text))
		if got := fnvOffset.bytes([]byte(text)); uint64(got) != want.Sum64() {
			t.Errorf("%q: %x, want %x", text, got, want.Sum64())
		}
	}
}

// Two objects that exchange a value are not what they were.
func TestSumTellsExchangedValues(t *testing.T) {
	sum := func(first, second byte) uint64 {
		a := newDigest(ofRoute).bytes([]byte{1}).bytes([]byte{first})
		b := newDigest(ofRoute).bytes([]byte{2}).bytes([]byte{second})
		return a.addend() + b.addend()
	}
	for first := range byte(64) {
		for second := range first {
			if sum(first, second) == sum(second, first) {
				t.Fatalf("%d and %d may be exchanged", first, second)
			}
		}
	}
}

func TestFieldsDoNotRunTogether(t *testing.T) {
	if newDigest(ofSet).field(1, []byte("ab")).field(2, []byte("c")) ==
		newDigest(ofSet).field(1, []byte("a")).field(2, []byte("bc")) {
		t.Error("the border between two fields does not count")
	}
}

// What the laboratory cannot provoke, or not at will.
func TestNews(t *testing.T) {
	const up = unix.IFF_UP | unix.IFF_RUNNING
	tests := []struct {
		name    string
		message []byte
		want    bool
	}{
		{"a new device", encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, up, "wan")), true},
		{"the same again", encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, up, "wan")), false},
		{"a flag that does not matter", encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, up|unix.IFF_PROMISC, "wan")), false},
		{"without carrier", encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, unix.IFF_UP, "wan")), true},
		{"another name", encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, unix.IFF_UP, "lan")), true},
		{"a bridge's port is gone", encoded(unix.RTM_DELLINK, 0, linkBody(unix.AF_BRIDGE, 3, up, "lan")), false},
		{"the device is gone", encoded(unix.RTM_DELLINK, 0, linkBody(unix.AF_UNSPEC, 3, 0, "lan")), true},
		{"it is back as it was", encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, unix.IFF_UP, "lan")), true},
		{"an address", encoded(unix.RTM_NEWADDR, 0, addressBody(1, 60)), true},
		{"a life time", encoded(unix.RTM_NEWADDR, 0, addressBody(1, 90)), false},
		{"another address", encoded(unix.RTM_NEWADDR, 0, addressBody(2, 90)), true},
		{"the first is gone", encoded(unix.RTM_DELADDR, 0, addressBody(1, 0)), true},
		{"the first is back", encoded(unix.RTM_NEWADDR, 0, addressBody(1, 90)), true},
		{"a route in main", encoded(unix.RTM_NEWROUTE, 0, routeBody(254, 4, 1)), true},
		{"the table in the attribute", encoded(unix.RTM_NEWROUTE, 0, appendAttribute(routeBody(0, 4, 1), unix.RTA_TABLE, binary.NativeEndian.AppendUint32(nil, 254))), true},
		{"our new route", encoded(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeBody(200, 108, 1)), false},
		{"our route is gone", encoded(unix.RTM_DELROUTE, 0, routeBody(200, 108, 1)), true},
		{"a foreign route is gone", encoded(unix.RTM_DELROUTE, 0, routeBody(200, 4, 1)), false},
		{"a foreign route in another's place", encoded(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeBody(200, 4, 1)), true},
		{"a foreign route beside another", encoded(unix.RTM_NEWROUTE, unix.NLM_F_APPEND, routeBody(200, 4, 1)), true},
		{"a local route", encoded(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeBody(255, 2, 1)), false},
		{"our new rule", encoded(unix.RTM_NEWRULE, 0, ruleBody(108)), false},
		{"our rule is gone", encoded(unix.RTM_DELRULE, 0, ruleBody(108)), true},
		{"a foreign rule is gone", encoded(unix.RTM_DELRULE, 0, ruleBody(4)), false},
		{"a neighbour", encoded(unix.RTM_NEWNEIGH, 0, make([]byte, 12)), false},
		{"half a header", []byte{1, 2, 3}, true},
		{"a length of nothing", make([]byte, unix.NLMSG_HDRLEN), true},
		{"a device without a header", encoded(unix.RTM_NEWLINK, 0, nil), true},
		{"an attribute that is too long", encoded(unix.RTM_NEWROUTE, 0, append(routeBody(200, 4, 1), 255, 255, 0, 0)), true},
		{"two messages, the first is news", append(encoded(unix.RTM_DELRULE, 0, ruleBody(108)),
			encoded(unix.RTM_NEWRULE, 0, ruleBody(108))...), true},
	}
	n := emptyNews()
	for _, test := range tests {
		if got := n.in(test.message); got != test.want {
			t.Errorf("%s: news %v, want %v", test.name, got, test.want)
		}
	}
}

func TestClonedRouteIsNoEntry(t *testing.T) {
	body := routeBody(254, 4, 1)
	binary.NativeEndian.PutUint32(body[8:], unix.RTM_F_CLONED)
	r, err := readRoute(body)
	if err != nil || r.inMain() || r.isOurs() || emptyNews().in(encoded(unix.RTM_NEWROUTE, 0, body)) {
		t.Errorf("a clone is taken for an entry: %+v, %v", r, err)
	}
}

func TestAnswer(t *testing.T) {
	errEach := errors.New("each")
	number := func(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
	item := encoded(unix.RTM_NEWLINK, unix.NLM_F_MULTI, nil)
	done := encoded(unix.NLMSG_DONE, unix.NLM_F_MULTI, number(0))
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	older := append([]byte(nil), item...)
	older[8]++
	tests := []struct {
		name     string
		bytes    []byte
		each     error
		complete bool
		calls    int
		want     error
	}{
		{"a dump", join(item, item, done), nil, true, 2, nil},
		{"more to come", item, nil, false, 1, nil},
		{"done without a number", encoded(unix.NLMSG_DONE, 0, nil), nil, true, 0, nil},
		{"one message", encoded(unix.RTM_NEWLINK, 0, nil), nil, true, 1, nil},
		{"an older answer", join(older, item, done), nil, true, 1, nil},
		{"refused", encoded(unix.NLMSG_ERROR, 0, number(-int32(unix.EPERM))), nil, true, 0, unix.EPERM},
		{"failed at the end", join(item, encoded(unix.NLMSG_DONE, 0, number(-int32(unix.ENOENT)))), nil, true, 1, unix.ENOENT},
		{"unreadable item", join(item, item, done), errEach, true, 1, errEach},
		{"interrupted", join(encoded(unix.RTM_NEWLINK, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR, nil), done), nil, true, 1, errInterrupted},
		{"an error without a number", encoded(unix.NLMSG_ERROR, 0, nil), nil, true, 0, errUnreadable},
		{"cut off", item[:len(item)-1], nil, false, 0, errUnreadable},
	}
	for _, test := range tests {
		calls := 0
		a := answer{sequence: 7, each: func(message) error { calls++; return test.each }}
		complete, err := a.take(test.bytes)
		if complete != test.complete || calls != test.calls || !errors.Is(err, test.want) {
			t.Errorf("%s: complete %v, %d calls, %v", test.name, complete, calls, err)
		}
	}
}

// FuzzMessages: nothing that arrives may panic, and the same list twice must
// give the same digests.
func FuzzMessages(f *testing.F) {
	f.Add(encoded(unix.RTM_NEWLINK, 0, linkBody(unix.AF_UNSPEC, 3, unix.IFF_UP, "wan")))
	f.Add(encoded(unix.RTM_NEWADDR, 0, addressBody(1, 60)))
	f.Add(encoded(unix.RTM_DELROUTE, 0, routeBody(254, 4, 1)))
	f.Add(encoded(unix.RTM_DELRULE, 0, ruleBody(108)))
	f.Add(encoded(unix.NLMSG_ERROR, 0, []byte{1, 0, 0, 0}))
	f.Add(encoded(0, unix.NLM_F_MULTI, appendAttribute(netfilterRequest(2), 7, appendAttribute(nil, 4, []byte{1}))))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := emptyNews()
		n.in(b)
		first, err := digests(b)
		if second, again := digests(b); first != second || (err == nil) != (again == nil) {
			t.Errorf("%v, %v and then %v, %v", first, err, second, again)
		}
	})
}

// digests sums up a buffer as every kind of object.
func digests(b []byte) (total uint64, err error) {
	a := answer{sequence: 7, each: func(m message) error {
		l, _, linkErr := readLink(m.body)
		addr, addressErr := readAddress(m.body)
		r, routeErr := readRoute(m.body)
		u, ruleErr := readRule(m.body)
		x, _, nftErr := readNFTRule(m.body)
		s, setErr := newDigest(ofSet).set(m.body)
		for _, d := range []digest{l.digest, addr.digest, addr.identity, r.digest, u.digest, x, s} {
			total += d.addend()
		}
		return errors.Join(linkErr, addressErr, routeErr, ruleErr, nftErr, setErr)
	}}
	_, err = a.take(b)
	return total, err
}
