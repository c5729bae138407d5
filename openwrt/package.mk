# Packages for OpenWrt, without its SDK; part of the top-level Makefile.
#
#   make ipk ARCH=mipsel_24kc   the package for opkg (OpenWrt up to 24.10)
#   make ipk-all                the same for every architecture that Go builds for
#   make apk ARCH=mipsel_24kc   the package for apk (OpenWrt from 25.12); needs apk-tools 3
#
# They come into dist/ARCH, ipk together with the index that makes it a feed.
# `opkg print-architecture` on the router tells its ARCH; several may be given.
# The same sources give the same bytes: the Go for ipk is fixed (that of OpenWrt
# 24.10), and files bear the time of the last commit, or SOURCE_DATE_EPOCH.

ARCH ?= mipsel_24kc

# The programs for other processors are tested in emulators, scripts in the
# router's shell.
test: PROGRAMS += qemu-arm-static:qemu-user-static busybox:busybox

.PHONY: ipk ipk-all apk clean-dist

ipk: go
	@$(GO) run ./openwrt/pkg -go '$(GO)' $(ARCH)

ipk-all: go
	@$(GO) run ./openwrt/pkg -go '$(GO)' all

apk: go
	@$(GO) run ./openwrt/pkg -format apk -go '$(GO)' $(ARCH)

clean: clean-dist
clean-dist:
	rm -rf dist
