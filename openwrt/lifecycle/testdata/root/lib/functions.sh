#!/bin/sh
# shellcheck source=/dev/null disable=SC2013
# Stand-in for the parts of /lib/functions.sh that packages are installed and
# removed with. The files of a package are listed in /usr/lib/opkg/info/NAME.list.

default_postinst() {
	pkgname=$(basename "${1%.*}")
	filelist=/usr/lib/opkg/info/$pkgname.list
	for file in $(grep '^/etc/uci-defaults/' "$filelist"); do
		(cd "$(dirname "$file")" && . "$file") && rm -f "$file"
	done
	uci commit
	for file in $(grep '^/etc/init.d/' "$filelist"); do
		[ "$PKG_UPGRADE" = 1 ] || "$file" enable
		"$file" start
	done
}

default_prerm() {
	pkgname=$(basename "${1%.*}")
	filelist=/usr/lib/opkg/info/$pkgname.list
	[ ! -f "/usr/lib/opkg/info/$pkgname.prerm-pkg" ] || (. "/usr/lib/opkg/info/$pkgname.prerm-pkg")
	for file in $(grep '^/etc/init.d/' "$filelist"); do
		[ "$PKG_UPGRADE" = 1 ] || "$file" disable
		"$file" stop
	done
}
