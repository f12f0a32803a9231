#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Installs the Debian packages that are missing. Where nothing is missing it needs neither root nor the network.
#
# usage: Scripts/deps.sh [GROUP ...]      groups: build demo s3 test; without one, all

set -euo pipefail

declare -A groups=(
    [build]="git make pkg-config binutils libc6-dev libstdc++-12-dev libfuse3-dev libcurl4-openssl-dev libexpat1-dev
        libssl-dev zlib1g-dev libzstd-dev"
    [demo]="fuse3 e2fsprogs mount util-linux procps linux-libc-dev"
    [s3]="ceph-mon ceph-osd ceph-common radosgw curl"
    [test]="xfsprogs btrfs-progs fio haproxy patch s3backer"
)

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

install() {
    echo "deps: installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get -q update && apt-get -q install -y \
        --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"' - "$@"
}

check_swift() {
    local version
    version=$(swift --version 2>/dev/null | sed -nE 's/.*Swift version ([0-9]+\.[0-9]+).*/\1/p' | head -n 1 || true)
    if [ -z "$version" ] || [ "$(printf '%s\n' 6.2 "$version" | sort -V | head -n 1)" != 6.2 ]; then
        echo "deps: Swift 6.2 or newer is needed${version:+, this is $version}; get it from https://www.swift.org/install/linux" >&2
        return 1
    fi
}

[ $# -gt 0 ] || set -- build demo s3 test
required=() optional=()
for group in "$@"; do
    [ -n "${groups[$group]:-}" ] || { echo "deps: no group \"$group\"; there are: ${!groups[*]}" >&2 && exit 2; }
    for package in ${groups[$group]}; do
        is_installed "$package" && continue
        # Without the parts of the last group, the tests that need them say so and are skipped.
        if [ "$group" = test ]; then optional+=("$package"); else required+=("$package"); fi
    done
done

if [ ${#required[@]} -gt 0 ] || [ ${#optional[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "deps: this is no Debian; install what corresponds to: ${required[*]} ${optional[*]}" >&2
        exit 1
    fi
    if ! install "${required[@]}" "${optional[@]}"; then
        echo "deps: cannot install ${required[*]} ${optional[*]}: run \"make deps\" as root" >&2
        if [ ${#required[@]} -gt 0 ] || [ "${CI:-}" = true ]; then exit 1; fi
    fi
fi
check_swift
