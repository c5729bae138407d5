#!/bin/sh
# What the packages feed's CI runs after it has installed the package, without
# rights over the network, besides its check of the version.

[ "$PKG_NAME" = "loadbalance" ] || exit 0

set -e

dir="$(mktemp -d)"
trap 'rm -r "$dir"' EXIT

cat > "$dir/loadbalance" << 'EOF'
config member 'wan1'
	option weight '2'

config member 'wan2'
EOF

cat > "$dir/uplinks.json" << 'EOF'
{
  "members": [
    { "name": "wan1", "ipv4": { "device": "eth1", "up": true, "gateway": "198.51.100.1", "addresses": ["198.51.100.20"] } },
    { "name": "wan2", "ipv4": { "device": "eth2", "up": true, "gateway": "203.0.113.1", "addresses": ["203.0.113.20"] } }
  ],
  "ipv4": { "enabled": true },
  "ipv6": { "enabled": false }
}
EOF

# contains FILE TEXT
contains() {
	grep -F -e "$2" "$1" && return 0
	echo "$1 does not contain: $2" >&2
	cat "$1" >&2
	return 1
}

loadbalance --config-dir "$dir" check --config-only

loadbalance --config-dir "$dir" --uplinks "$dir/uplinks.json" plan > "$dir/plan"
contains "$dir/plan" "ip -4 route add default via 198.51.100.1 dev eth1 table 301"
contains "$dir/plan" "ip -4 route add default via 203.0.113.1 dev eth2 table 302"
grep 'ip -4 rule add fwmark .* lookup 301' "$dir/plan"
contains "$dir/plan" "-A lb_policy_balanced "

# A mistake is refused, and named with its place in the file.
printf '\toption weight 0\n' >> "$dir/loadbalance"
if loadbalance --config-dir "$dir" check --config-only 2> "$dir/errors"; then
	echo "check accepted a weight of 0" >&2
	exit 1
fi
contains "$dir/errors" "loadbalance:5: member 'wan2': option 'weight'"
