# Packages for OpenWrt, without its SDK; part of the top-level Makefile.
#
#   make ipk ARCH=mipsel_24kc   the packages for opkg (OpenWrt up to 24.10)
#   make ipk-all                the same for every architecture that Go builds for
#   make apk ARCH=mipsel_24kc   the packages for apk (OpenWrt from 25.12)
#   make release                both for every architecture, with the source
#                               tarball and the sums of all files
#   make keys KEYS=FOLDER       new keys to sign with
#
# Packages come into dist/ARCH, with the index that makes this folder a feed; a
# release into dist/release. ARCH may be several, or `all`; the router tells its
# own by `opkg print-architecture` or `cat /etc/apk/arch`. With KEYS=FOLDER, the
# one that `make keys` made or that of an OpenWrt build, the indices are signed,
# and the packages for apk.
#
# The same sources and keys give the same bytes: the Go that builds is fixed (that
# of OpenWrt 24.10), and files bear the time of the last commit, or
# SOURCE_DATE_EPOCH. The source tarball is enough for all of this.

KEYS ?=
PKG = $(GO) run ./openwrt/pkg -go '$(GO)' -keys '$(KEYS)'

# The programs for other processors are tested in emulators, scripts in the
# router's shell.
test: PROGRAMS += qemu-arm-static:qemu-user-static busybox:busybox

.PHONY: ipk ipk-all apk release keys clean-dist

ipk: go
	@$(PKG) ipk $(or $(ARCH),mipsel_24kc)

ipk-all: go
	@$(PKG) ipk all

apk: go
	@$(PKG) apk $(or $(ARCH),mipsel_24kc)

release: go
	@$(PKG) release $(or $(ARCH),all)

keys: go
	@test -n '$(KEYS)' || { echo 'which folder? make keys KEYS=FOLDER' >&2; exit 1; }
	@$(GO) run ./openwrt/pkg keys '$(KEYS)'

clean: clean-dist
clean-dist:
	rm -rf dist
