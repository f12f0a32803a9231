# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Every target brings what it needs: packages (deps), the binary, servers. "make help" lists them.

PREFIX ?= /usr/local
DESTDIR ?=
STORE ?= dir
FUZZ_SECONDS ?= 600
PARTS ?=

SWIFT ?= swift
# A fixed product name and one linker that does not warn: the runtime linked in, symbols stripped.
RELEASE_FLAGS = -c release --product s3backer --static-swift-stdlib -Xswiftc -use-ld=lld -Xlinker -s
# SwiftPM also writes to a link of this name; the architecture would be in the way.
RELEASE_BINARY = .build/release/s3backer
SWIFT_TEST = $(SWIFT) test --disable-xctest
MANUAL = s3backer.1
SOURCES = Package.swift Sources Tests

# A crashed test must end, not wait in the backtracer.
export SWIFT_BACKTRACE = enable=no

.PHONY: help deps build release test check lint integration soak fuzz check-mutants demo bench install uninstall format clean dist
.DEFAULT_GOAL := help

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24
	@echo "  PREFIX=$(PREFIX)  DESTDIR=$(DESTDIR)  STORE=dir|s3 (demo)"

deps: ## install the Debian packages that are missing (needs root only then)
	@Scripts/deps.sh

build: ## build for debugging
	@Scripts/deps.sh build
	$(SWIFT) build

release: ## build the one binary that is installed: static Swift runtime, stripped
	@Scripts/deps.sh build
	$(SWIFT) build $(RELEASE_FLAGS)

test: check integration ## everything: check and integration

check: lint ## fast: format, warnings as errors, unit, contract, simulation; no network, no root
	$(SWIFT_TEST) --skip IntegrationTests

lint:
	@Scripts/deps.sh build
	$(SWIFT) format lint --strict --recursive $(SOURCES)

integration: release ## real parts: S3 server, /dev/fuse, loop devices, the C program
	@Scripts/deps.sh
	S3BACKER_BINARY="$(CURDIR)/$(RELEASE_BINARY)" Scripts/integration.sh

soak: release ## kill -9 and power loss, ten times as often as in integration; prints a table
	@Scripts/deps.sh
	S3BACKER_BINARY="$(CURDIR)/$(RELEASE_BINARY)" Scripts/soak.sh

fuzz: ## mutated objects into the decoders, for FUZZ_SECONDS (600)
	S3BACKER_FUZZ_SECONDS=$(FUZZ_SECONDS) $(SWIFT_TEST) --filter CodecFuzzTests

check-mutants: ## plant bugs, one by one, and see that the tests catch each
	@Scripts/deps.sh build
	Scripts/check-mutants.sh

demo: ## a file system on a disk on a local directory; STORE=s3 on an S3 server
	@STORE=$(STORE) Scripts/demo.sh

bench: release ## measure, the parts PARTS or all; the tables stand in Benchmarks/README.md
	@Scripts/deps.sh
	S3BACKER_BINARY="$(CURDIR)/$(RELEASE_BINARY)" Benchmarks/run $(PARTS)

# Not a prerequisite, so that "sudo make install" after "make release" needs no compiler.
install: ## binary, manual page and mount.fuse.s3backer under PREFIX
	@test -x $(RELEASE_BINARY) || $(MAKE) release
	install -D -m 755 $(RELEASE_BINARY) "$(DESTDIR)$(PREFIX)/bin/s3backer"
	install -D -m 644 $(MANUAL) "$(DESTDIR)$(PREFIX)/share/man/man1/s3backer.1"
	install -d "$(DESTDIR)/sbin"
	ln -sfn "$(PREFIX)/bin/s3backer" "$(DESTDIR)/sbin/mount.fuse.s3backer"

uninstall: ## remove what install has put there
	rm -f "$(DESTDIR)$(PREFIX)/bin/s3backer" "$(DESTDIR)$(PREFIX)/share/man/man1/s3backer.1"
	@if [ "$$(readlink "$(DESTDIR)/sbin/mount.fuse.s3backer")" = "$(PREFIX)/bin/s3backer" ]; then \
		rm -fv "$(DESTDIR)/sbin/mount.fuse.s3backer"; fi

format: ## format the source
	$(SWIFT) format --in-place --recursive $(SOURCES)

clean: ## remove what was built
	rm -rf .build Benchmarks/.build s3backer-*.tar.gz

dist: ## an archive of the last commit
	@version=$$(git describe --tags --always) && \
	git archive --prefix="s3backer-$$version/" -o "s3backer-$$version.tar.gz" HEAD && echo "s3backer-$$version.tar.gz"
