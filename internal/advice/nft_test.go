package advice

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/netlab"
)

// TestReadNFT asks the real program for one rule after the other.
func TestReadNFT(t *testing.T) {
	const all = 0xffffffff
	netlab.FreshNamespace(t)
	for rule, want := range map[string]iptables.Marker{
		"meta mark 6666 return":                                 {Compared: all},
		"meta mark & 0xff0000 == 0x10000 return":                {Compared: 0xff0000},
		"ct mark != 0 return":                                   {Compared: all},
		"meta mark { 5, 6 } return":                             {Compared: all},
		"meta mark vmap { 1 : accept }":                         {Compared: all},
		"meta mark set 0x1":                                     {Bits: all},
		"meta mark set meta mark & 0xff00ffff | 0x10000":        {Bits: 0xff0000},
		"meta mark set mark or 0x20":                            {Bits: 0x20},
		"meta mark set mark ^ 0x8":                              {Bits: 0x8},
		"meta mark set mark & 0xff":                             {Bits: 0xffffff00},
		"ct mark set meta mark":                                 {Bits: all},
		"meta mark set ct mark":                                 {},
		"meta mark set ct mark & 0xff0000":                      {Bits: all},
		"meta mark & 0x3 == 0x1 ct mark set ct mark | 0x4":      {Bits: 0x4, Compared: 0x3},
		"tcp dport 80 ip daddr 192.0.2.1 counter redirect":      {},
		"meta skuid 5 meta l4proto tcp tcp dport { 1, 2 } drop": {},
	} {
		input := "flush ruleset\ntable inet x {\nchain c {\ntype nat hook output priority 0\n" + rule + "\n}\n}\n" +
			"table ip mangle {\nchain c {\nmeta mark set 7\n}\n}\ntable inet y {\nchain lb_out {\nmeta mark set 7\n}\n}\n"
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", rule, err, out)
		}
		got, err := ReadNFT()
		if err != nil {
			t.Fatal(err)
		}
		want.Chain = "inet x c"
		if known := want.Bits|want.Compared != 0; known != (len(got) > 0) || known && !reflect.DeepEqual(got, []iptables.Marker{want}) {
			t.Errorf("%s: %+v, want %+v", rule, got, want)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if found, err := ReadNFT(); err != nil || len(found) > 0 {
		t.Errorf("without the program: %v, %v", found, err)
	}
}
