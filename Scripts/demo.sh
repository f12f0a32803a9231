#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Shows the whole thing: a disk whose blocks are files of a local directory (STORE=dir) or objects on an S3 server (STORE=s3, a
# throw-away Ceph RADOS Gateway), a file system on it, a real tree of files in that, and all of it again after a new mount.
# Leaves nothing behind, also when it fails.
#
# STORE            dir or s3   [dir]
# DEMO_BUILD       release or debug   [release]
# S3BACKER_BINARY  use this binary, build none

set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
store=${STORE:-dir}
tree=/usr/include

say() { printf '\n==> %s\n' "$*"; }
run() {
    printf '  $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/    /'
}
die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

case $store in
dir) groups=(demo) ;;
s3) groups=(demo s3) ;;
*) die "STORE is \"$store\"; it may be dir or s3" ;;
esac

if [ -z "${S3BACKER_BINARY:-}" ]; then
    Scripts/deps.sh build "${groups[@]}"
    say "building"
    case ${DEMO_BUILD:-release} in
    release) make --no-print-directory release ;;
    debug) make --no-print-directory build ;;
    *) die "DEMO_BUILD is \"$DEMO_BUILD\"; it may be release or debug" ;;
    esac
    export S3BACKER_BINARY=$top/.build/${DEMO_BUILD:-release}/s3backer
fi
[ -x "$S3BACKER_BINARY" ] || die "no binary $S3BACKER_BINARY"

# Only now: what was built belongs to whoever called.
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "mounting a file system on a loop device needs root, and there is no sudo here: run it as root"
    say "the rest needs root, for the loop device: asking sudo"
    exec sudo STORE="$store" S3BACKER_BINARY="$S3BACKER_BINARY" "$top/Scripts/demo.sh"
fi
[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
[ -e /dev/fuse ] || die "no /dev/fuse here: the kernel needs FUSE"
[ -e /dev/loop-control ] || modprobe loop 2>/dev/null || true
[ -e /dev/loop-control ] || die "no /dev/loop-control here: the kernel needs loop devices"

work=$(mktemp -d /tmp/s3backer-demo.XXXXXX)
disk=$work/disk
files=$work/files
daemon=''
mkdir "$disk" "$files" "$work/store"

wait_for_daemon() {
    [ -n "$daemon" ] || return 0
    timeout "$1" tail --pid="$daemon" -f /dev/null || return 1
    daemon=''
}

cleanup() {
    local status=$?
    trap - EXIT
    if mountpoint -q "$files"; then umount "$files" || umount -l "$files"; fi
    if mountpoint -q "$disk"; then umount "$disk" || umount -l "$disk"; fi
    if ! wait_for_daemon 30; then kill -KILL "$daemon" 2>/dev/null || true; fi
    if [ "$store" = s3 ]; then "$top/Scripts/rgw.sh" stop --dir "$work/gateway"; fi
    rm -rf "$work"
    if [ "$status" = 0 ]; then
        say "done; $work is removed"
    else
        printf '\ndemo: FAILED (status %s); everything is unmounted and removed\n' "$status" >&2
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# What to mount, and how to reach it.
case $store in
dir)
    options=(--test)
    volume=$work/store
    ;;
s3)
    say "starting an S3 server: Ceph RADOS Gateway on loopback, data in memory"
    "$top/Scripts/rgw.sh" start --dir "$work/gateway" --bucket demo >"$work/gateway.env"
    # shellcheck source=/dev/null
    . "$work/gateway.env"
    export S3_ACCESS_KEY
    options=("--baseURL=$S3_ENDPOINT/" "--accessId=$S3_ACCESS_ID" --accessKeyEnv=S3_ACCESS_KEY)
    volume=demo/disk1
    echo "    it listens on $S3_ENDPOINT"
    ;;
esac

mount_disk() {
    run "$S3BACKER_BINARY" "${options[@]}" "$@" "$volume" "$disk"
    mountpoint -q "$disk" || die "s3backer said that it serves $disk, but nothing is mounted there"
    # The newest process with our directory in its command line: the daemon.
    daemon=$(pgrep -n -f -- "$disk") || die "no s3backer process serves $disk"
}

unmount_disk() {
    run umount "$disk"
    wait_for_daemon 60 || die "s3backer did not end within 60 s of umount"
}

checksums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

# How much work it was for the store.
effort() {
    case $store in
    dir) echo "objects in the store: $(find "$work/store" -type f -name '[0-9a-f]*' | wc -l)" ;;
    s3) awk '$1 == "http_normal_blocks_written" { print "uploads: " $2 }' "$disk/stats" ;;
    esac
}

say "a disk of 256 MiB in blocks of 64 KiB"
mount_disk --size=256m --blockSize=64k
run ls -l "$disk"

say "an ext4 file system on it, mounted through a loop device"
# On a disk this small it would take blocks of 1 KiB, and send half as many requests again.
run mkfs.ext4 -q -F -b 4096 "$disk/file"
run mount -o loop "$disk/file" "$files"

say "copying $tree ($(find "$tree" -type f | wc -l) files, $(du -sh "$tree" | cut -f 1)) into it"
started=$SECONDS
run cp -a "$tree" "$files/tree"
run sync -f "$files"
echo "    took $((SECONDS - started)) s"
checksums "$tree" >"$work/expected"

say "unmounting both: what was written is in the store"
run umount "$files"
echo "    $(effort)"
unmount_disk

say "mounting again, without saying any size: the volume knows"
mount_disk
run mount -o loop,ro "$disk/file" "$files"

say "comparing checksums"
checksums "$files/tree" >"$work/found"
cmp "$work/expected" "$work/found" || die "the files differ from what was copied"
echo "    all $(wc -l <"$work/found") files are the same"

say "the statistics file, $disk/stats"
sed 's/^/    /' "$disk/stats"

run umount "$files"
unmount_disk
