# On a Debian machine with Go, as root, two commands do everything:
#
#   make demo    shows what loadbalance does, in a laboratory on this machine
#   make test    checks all of it
#
# Both install the Debian packages that they lack. Everything happens in network
# namespaces of their own; the machine's own network is not touched.

GO ?= go
# The version that `loadbalance version` prints: the tag, if there is one.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo 0.0.0-dev)
# Which parts `make bench` runs, such as a,e; empty: all.
PARTS ?=

# OpenWrt 24.10, the oldest release that the package is built for, has Go 1.23.
OLDEST_GO = go1.23.12
# Staticcheck 2026.1, the first that knows Go 1.26. Not in go.mod, where its own
# dependencies would become ours.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
# The architectures of most routers, the MIPS ones without a floating-point unit.
ARCHITECTURES = arm64 mips mipsle
# All shell files: what begins with such a line as `#!/bin/sh` ("." stands for
# the number sign, which means something else to make).
SHELL_FILES = $(shell find . -name .git -prune -o -path ./bin -prune -o -path ./dist -prune -o -type f -print | \
	xargs awk 'FNR == 1 && /^.!\/bin\/(ba)?sh/ { print FILENAME }')

# The pages of LuCI, and what npm has for their tests: in a folder whose name keeps
# Go from looking for packages of its own in there.
LUCI_TESTS = openwrt/luci-app-loadbalance/test
NODE = $(CURDIR)/bin/_npm/node_modules

# What is run, and the Debian package that has it, as PROGRAM:PACKAGE.
PROGRAMS = ip:iproute2 tc:iproute2 iptables-nft:iptables iptables-legacy:iptables \
	ipset:ipset nsenter:util-linux
LINTERS = shellcheck:shellcheck shfmt:shfmt node:nodejs npm:npm
TRACERS = strace:strace

# Debian keeps these out of the PATH of ordinary users.
export PATH := $(PATH):/usr/sbin:/sbin
export CGO_ENABLED = 0

test lint quicklint: PROGRAMS += $(LINTERS)
# The scripts are tested in the router's shell, with the firewall's nft.
# LuCI's pages run in a browser.
test: PROGRAMS += nft:nftables flock:util-linux dnsmasq:dnsmasq-base \
	unbound:unbound chromium:chromium busybox:busybox curl:curl wget:wget \
	dig:bind9-dnsutils
bench: PROGRAMS += $(TRACERS)

.PHONY: build test cases beside builds demo bench lint quicklint staticcheck eslint deps go root clean

build: go
	$(GO) build -trimpath -ldflags '-X loadbalance/internal/cli.Version=$(VERSION)' -o bin/loadbalance ./cmd/loadbalance

# What needs no laboratory is done beside those that wait, with the lowest
# priority. Before, go vet compiles everything once.
test: root deps quicklint $(NODE)
	@$(MAKE) --no-print-directory -j2 cases beside

cases:
	@echo "== tests"
	$(GO) run ./internal/testreport -count=1 -timeout=60m ./...

beside:
	@nice -n 19 $(MAKE) --no-print-directory staticcheck eslint builds

builds: go
	@echo "== build for $(ARCHITECTURES), and with $(OLDEST_GO)"
	@for arch in $(ARCHITECTURES); do \
		GOARCH=$$arch GOMIPS=softfloat $(GO) build -o /dev/null ./cmd/loadbalance || exit 1; \
	done
	GOTOOLCHAIN=$(OLDEST_GO) $(GO) build ./...
	GOTOOLCHAIN=$(OLDEST_GO) $(GO) vet ./...

demo: root deps build
	@$(GO) build -o bin/demo ./internal/demo
	@bin/demo -program bin/loadbalance

bench: root deps build
	@$(GO) build -o bin/bench ./internal/bench
	@bin/bench -program bin/loadbalance -parts '$(PARTS)'

lint: deps quicklint staticcheck eslint

quicklint: deps go
	@echo "== lint"
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "not formatted by gofmt: $$unformatted"; exit 1; }
	shellcheck $(SHELL_FILES)
	@# -sr: blanks after redirections, as the OpenWrt feeds have it.
	shfmt -d -s -sr $(SHELL_FILES)
	$(GO) vet ./...

staticcheck: go
	GOTOOLCHAIN=auto $(GO) run $(STATICCHECK) ./...

eslint: $(NODE)
	@echo "== eslint"
	@NODE_PATH=$(NODE) $(NODE)/.bin/eslint -c $(LUCI_TESTS)/eslint.config.js openwrt/luci-app-loadbalance

# The packages of npm that lint and test LuCI's pages, outside of the sources.
$(NODE): $(LUCI_TESTS)/package-lock.json
	@mkdir -p $(@D)
	@cp $(LUCI_TESTS)/package.json $(LUCI_TESTS)/package-lock.json $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund
	@touch $@

# Installs the Debian packages of the programs that are missing.
deps:
	@missing=; for pair in $(PROGRAMS); do \
		command -v $${pair%:*} >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	test -n "$$missing" || exit 0; \
	missing=$$(printf '%s\n' $$missing | sort -u | tr '\n' ' '); \
	command -v apt-get >/dev/null || { echo "missing, please install: $$missing" >&2; exit 1; }; \
	test "$$(id -u)" = 0 || { echo "missing, please run as root: apt-get install $$missing" >&2; exit 1; }; \
	echo "installing: $$missing"; \
	apt-get -qq -o Acquire::Retries=5 update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=5 --no-install-recommends install $$missing >/dev/null

go:
	@command -v $(GO) >/dev/null || { echo "Go 1.23 or newer is needed, and '$(GO)' was not found" >&2; exit 1; }

root:
	@test "$$(id -u)" = 0 || { echo "root is needed, to create network namespaces: nothing outside them is changed" >&2; exit 1; }

clean:
	rm -rf bin

include openwrt/package.mk
