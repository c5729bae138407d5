#!/bin/sh
# Stand-in for procd: it serialises the calls of one init script with a lock, as
# the real one does. What it knows of a running service lies in
# /var/run/procd/SERVICE: the file "triggers" with lines "config.change PACKAGE
# COMMAND", and one folder for each instance, which procd-instance takes care of.
# As in procd, an instance that is declared as before goes on, one that is
# declared otherwise is replaced, and one that is not declared is ended.

# shellcheck disable=SC2154,SC3023 # name is set by rc.common; ash has more than ten
exec 1000> "/var/lock/procd_$name.lock"
flock 1000

procd_open_service() {
	procd_service=/var/run/procd/$1
	procd_script=$2
	procd_triggers=
	mkdir -p "$procd_service"
}

procd_open_instance() {
	procd_instance=$procd_service/$1
	mkdir -p "$procd_instance"
	: > "$procd_instance/declared"
}

# procd_set_param TYPE VALUE...: a line for each value, and for a file its content.
procd_set_param() {
	procd_type=$1
	shift
	case "$procd_type" in
	command | respawn | stderr | term_timeout) printf "$procd_type %s\n" "$@" ;;
	file) md5sum "$@" ;;
	*)
		echo "stand-in: unknown parameter '$procd_type'" >&2
		exit 1
		;;
	esac >> "$procd_instance/declared"
}

procd_close_instance() {
	:
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
	printf '%s' "$procd_triggers" > "$procd_service/triggers"
	for instance in "$procd_service"/*/; do
		[ ! -d "$instance" ] || procd_update_instance "${instance%/}"
	done
}

procd_update_instance() {
	if [ ! -f "$1/declared" ]; then
		procd_end_instance "$1"
	elif [ -f "$1/keeper" ] && [ ! -f "$1/crashed" ] && cmp -s "$1/declared" "$1/definition"; then
		rm "$1/declared"
	else
		procd_end_instance "$1"
		mv "$1/declared" "$1/definition"
		procd-instance "$1" < /dev/null > /dev/null 2>&1 1000>&- &
		echo $! > "$1/keeper"
	fi
}

# As in procd, nobody waits for the end, but for the next start of the instance.
procd_end_instance() {
	[ ! -f "$1/keeper" ] || kill "$(cat "$1/keeper")" 2> /dev/null
	rm -f "$1/keeper"
}

procd_kill() {
	for instance in "/var/run/procd/$1"/*/; do
		[ ! -d "$instance" ] || procd_end_instance "${instance%/}"
	done
	rm -f "/var/run/procd/$1/triggers"
}
