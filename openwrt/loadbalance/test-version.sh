#!/bin/sh
# How the packages feed's CI checks the version of what it has installed.

case "$PKG_NAME" in
loadbalance)
	loadbalance --version | grep -F "loadbalance $PKG_VERSION"
	;;
*)
	echo "Untested package: $PKG_NAME" >&2
	exit 1
	;;
esac
