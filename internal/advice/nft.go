package advice

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"reflect"
	"strings"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/plan"
	"loadbalance/internal/program"
)

// nftLimit is for nft: ban lists of 100,000 entries take seconds, although they are not printed.
const nftLimit = 30 * time.Second

// ReadNFT returns the chains of nftables that look at marks, but for ours and the mangle tables
// of iptables-nft; none where there is no nft program.
func ReadNFT() ([]iptables.Marker, error) {
	output, err := program.Run(nftLimit, "", "nft", "--json", "--terse", "list", "ruleset")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	// The form is that of libnftables-json(5).
	var ruleset struct {
		NFTables []struct {
			Rule struct {
				Family, Table, Chain string
				Expr                 []map[string]any
			}
		}
	}
	if err == nil {
		err = json.Unmarshal(output, &ruleset)
	}
	if err != nil {
		return nil, fmt.Errorf("nft list ruleset: %w", err)
	}
	var found []iptables.Marker
	for _, object := range ruleset.NFTables {
		r := object.Rule
		if strings.HasPrefix(r.Chain, plan.ChainPrefix) || strings.HasPrefix(r.Family, "ip") && r.Table == "mangle" {
			continue
		}
		for _, statement := range r.Expr {
			m := iptables.Marker{Chain: r.Family + " " + r.Table + " " + r.Chain}
			if change, _ := statement["mangle"].(map[string]any); change != nil && isMark(change["key"]) {
				m.Bits = writtenBits(change["key"], change["value"])
			} else {
				m.Compared = comparedBits(statement)
			}
			found = iptables.AddMarker(found, m)
		}
	}
	return found, nil
}

var (
	metaMark any = map[string]any{"meta": map[string]any{"key": "mark"}}
	ctMark   any = map[string]any{"ct": map[string]any{"key": "mark"}}
)

func isMark(v any) bool { return reflect.DeepEqual(v, metaMark) || reflect.DeepEqual(v, ctMark) }

// comparedBits returns the bits of marks that an expression looks at.
func comparedBits(v any) (bits uint32) {
	if inner, mask, ok := operands(v, "&"); ok && isMark(inner) {
		return mask
	}
	if isMark(v) {
		return math.MaxUint32
	}
	switch v := v.(type) {
	case map[string]any:
		for _, part := range v {
			bits |= comparedBits(part)
		}
	case []any:
		for _, part := range v {
			bits |= comparedBits(part)
		}
	}
	return bits
}

// writtenBits returns the bits of a mark that change when it is set; a mark that is restored is one that we saved.
func writtenBits(key, value any) uint32 {
	for _, operator := range []string{"|", "^"} {
		if inner, bits, ok := operands(value, operator); ok {
			return writtenBits(key, inner) | bits
		}
	}
	if inner, bits, ok := operands(value, "&"); ok && reflect.DeepEqual(inner, key) {
		return ^bits
	}
	if reflect.DeepEqual(value, key) || reflect.DeepEqual(value, ctMark) {
		return 0
	}
	return math.MaxUint32
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
