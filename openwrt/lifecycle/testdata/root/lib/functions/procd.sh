#!/bin/sh
# Stand-in for procd: it serialises the calls of one init script with a lock, as
# the real one does, and keeps the triggers of a running service as lines of
# /var/run/procd/SERVICE: "config.change PACKAGE COMMAND". Instances are not there.

# shellcheck disable=SC2154,SC3023 # name is set by rc.common; ash has more than ten
exec 1000> "/var/lock/procd_$name.lock"
flock 1000

procd_open_service() {
	procd_service=$1
	procd_script=$2
	procd_triggers=
}

procd_add_reload_trigger() {
	for package in "$@"; do
		procd_triggers="${procd_triggers}config.change $package $procd_script reload
"
	done
}

# All triggers of the service are replaced, not added to.
procd_close_service() {
	service_triggers
	printf '%s' "$procd_triggers" > "/var/run/procd/$procd_service"
}

procd_kill() {
	rm -f "/var/run/procd/$1"
}
