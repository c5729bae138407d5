package advice

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"reflect"
	"strings"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/plan"
)

// ReadNFT returns the chains of nftables, but for ours and the mangle tables of
// iptables-nft, that look at marks. Where there is no nft program, there is
// nothing to read.
func ReadNFT() ([]iptables.Marker, error) {
	output, err := exec.Command("nft", "--json", "--terse", "list", "ruleset").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("nft list ruleset: %w", err)
	}
	return parseNFT(output)
}

func parseNFT(output []byte) ([]iptables.Marker, error) {
	var ruleset struct {
		NFTables []struct {
			Rule struct {
				Family, Table, Chain string
				Expr                 []map[string]any
			}
		}
	}
	if err := json.Unmarshal(output, &ruleset); err != nil {
		return nil, fmt.Errorf("nft list ruleset: %w", err)
	}
	var found []iptables.Marker
	for _, object := range ruleset.NFTables {
		r := object.Rule
		if strings.HasPrefix(r.Chain, plan.ChainPrefix) || strings.HasPrefix(r.Family, "ip") && r.Table == "mangle" {
			continue
		}
		for _, statement := range r.Expr {
			for kind, body := range statement {
				m := nftMarker(kind, body)
				m.Chain = r.Family + " " + r.Table + " " + r.Chain
				found = iptables.AddMarker(found, m)
			}
		}
	}
	return found, nil
}

// nftMarker reads a statement in the form of libnftables-json(5).
func nftMarker(kind string, body any) iptables.Marker {
	part := func(name string) any { object, _ := body.(map[string]any); return object[name] }
	switch kind {
	case "mangle":
		if key := part("key"); isMark(key) {
			value, _ := part("value").(float64)
			return iptables.Marker{Bits: nftWritten(key, part("value")), Value: uint32(value)}
		}
	case "match":
		mask, inner := uint32(math.MaxUint32), part("left")
		if x, bits, masked := operands(inner, "&"); masked {
			mask, inner = bits, x
		}
		if isMark(inner) {
			value, _ := part("right").(float64)
			return iptables.Marker{Compared: mask, Value: uint32(value)}
		}
	case "vmap":
		if isMark(part("key")) {
			return iptables.Marker{Compared: math.MaxUint32}
		}
	}
	return iptables.Marker{}
}

// nftWritten returns the bits of a mark that change when it is set to a value.
// What a whole mark is restored from is what we saved.
func nftWritten(key, value any) uint32 {
	for _, operator := range []string{"|", "^"} {
		if inner, bits, ok := operands(value, operator); ok {
			return nftWritten(key, inner) | bits
		}
	}
	inner, bits, masked := operands(value, "&")
	switch {
	case masked && reflect.DeepEqual(inner, key):
		return ^bits
	case isMark(value) && (reflect.DeepEqual(value, key) || reflect.DeepEqual(value, map[string]any{"ct": map[string]any{"key": "mark"}})):
		return 0
	}
	return math.MaxUint32
}

func isMark(v any) bool {
	object, _ := v.(map[string]any)
	for kind, body := range object {
		of, _ := body.(map[string]any)
		return (kind == "meta" || kind == "ct") && of["key"] == "mark"
	}
	return false
}

// operands returns those of a binary expression with a number on the right.
func operands(v any, operator string) (left any, right uint32, ok bool) {
	object, _ := v.(map[string]any)
	pair, _ := object[operator].([]any)
	if len(pair) != 2 {
		return nil, 0, false
	}
	number, ok := pair[1].(float64)
	return pair[0], uint32(number), ok
}
