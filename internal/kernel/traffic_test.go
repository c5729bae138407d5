package kernel

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTraffic compares with what the kernel tells in /proc, before and after a
// device has gone and come back.
func TestTraffic(t *testing.T) {
	h := open(t)
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	index := 0
	for range 2 {
		h.Forget()
		traffic, err := h.Traffic()
		if err != nil || len(traffic) != 3 {
			t.Fatalf("%+v, %v", traffic, err)
		}
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range traffic {
			_, line, _ := strings.Cut(string(text), got.Name+":")
			fields := strings.Fields(line)
			if len(fields) < 9 {
				t.Fatalf("no '%s' in\n%s", got.Name, text)
			}
			// IPv6 may add something meanwhile.
			for number, value := range map[string]uint64{fields[0]: got.Received, fields[8]: got.Sent} {
				if n, err := strconv.ParseUint(number, 10, 64); err != nil || value > n || value+2000 < n {
					t.Errorf("%+v, in /proc %s received, %s sent", got, fields[0], fields[8])
				}
			}
			switch {
			case got.Name == "lo" && (got.Received == 0 || got.Sent == 0 || got.Index != 1):
				t.Errorf("lo: %+v", got)
			case got.Name == "wan1" && (got.Index == index || got.Index == 0):
				t.Errorf("wan1 has the index %d again", index)
			case got.Name == "wan1":
				index = got.Index
			}
		}
		run(t, "ip link del wan1")
		run(t, "ip link add wan1 type veth peer name wan2")
	}
}
