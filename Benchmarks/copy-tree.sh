#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Copies a tree into ext4 on a loop device on a disk of 256 MiB (--test, blocks of 64 KiB), and counts the WRITE requests that the
# kernel sends: with ext4's blocks as mkfs.ext4 chooses them for that size (1 KiB) and of 4 KiB, with a buffered loop device and
# with one that uses direct I/O.
#
# S3BACKER_BINARY (.build/release/s3backer), ROUNDS (5), TREE (/usr/include) may be set. Needs root, /dev/fuse, loop devices, and a
# kernel with the trace point fuse_request_send (Linux 6.11).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=measure.bash
. "$here/measure.bash"
binary=${S3BACKER_BINARY:-$here/../.build/release/s3backer}
tree=${TREE:-/usr/include}
trace=$work/tracing loop=''
mkdir "$trace" "$work/store" "$work/files"

undo() {
    umount "$work/files" 2>/dev/null || true
    if [ -n "$loop" ]; then losetup -d "$loop" 2>/dev/null || true; fi
    if [ -d "$trace/instances/s3backer-bench" ]; then rmdir "$trace/instances/s3backer-bench"; fi
    umount "$trace" 2>/dev/null || true
}

mount -t tracefs tracefs "$trace"
mkdir "$trace/instances/s3backer-bench"
buffer=$trace/instances/s3backer-bench
echo 16384 >"$buffer/buffer_size_kb"

# copy_once MKFS_OPTIONS LOSETUP_OPTIONS: prints seconds, WRITE requests, and the KiB in them.
copy_once() {
    rm -rf "$work/store" && mkdir "$work/store"
    start disk "$binary" -f --test --size=256m --blockSize=64k "$work/store" "$work/disk"
    # shellcheck disable=SC2086
    mkfs.ext4 -q -F $1 "$work/disk/file"
    # shellcheck disable=SC2086
    loop=$(losetup -f --show $2 "$work/disk/file")
    mount "$loop" "$work/files"
    echo "connection == $(stat -c %d "$work/disk/file") && opcode == 16" >"$buffer/events/fuse/fuse_request_send/filter"
    echo >"$buffer/trace"
    echo 1 >"$buffer/events/fuse/fuse_request_send/enable"
    local before after
    before=$(date +%s%N)
    cp -a "$tree" "$work/files/tree"
    sync -f "$work/files"
    after=$(date +%s%N)
    echo 0 >"$buffer/events/fuse/fuse_request_send/enable"
    # Each has a header of 80 bytes.
    awk -v t=$((after - before)) '/FUSE_WRITE/ { n++; k += ($NF - 80) / 1024 } END { printf "%.1f %d %d\n", t / 1e9, n, k }' \
        "$buffer/trace"
    umount "$work/files"
    losetup -d "$loop"
    loop=''
    stop disk
}

# Read once, so that the first round is like the others.
tar -cf - "$tree" 2>/dev/null | cat >/dev/null
for round in $(seq "$rounds"); do
    copy_once "" "" >>"$work/1k.buffered"
    copy_once "" "--direct-io=on" >>"$work/1k.direct"
    copy_once "-b 4096" "" >>"$work/4k.buffered"
    copy_once "-b 4096" "--direct-io=on" >>"$work/4k.direct"
done

echo "| copy of $tree, $(find "$tree" -type f | wc -l) files | seconds | WRITE requests | KiB each |"
echo "|---|---|---|---|"
for kind in 1k.buffered 1k.direct 4k.buffered 4k.direct; do
    seconds=$(cut -d' ' -f1 "$work/$kind" | median)
    writes=$(cut -d' ' -f2 "$work/$kind" | median)
    kib=$(awk '{ print $3 / $2 }' "$work/$kind" | median)
    printf '| ext4 blocks of %s KiB, loop device %s | %s | %s | %.0f |\n' "${kind%%k*}" "${kind#*.}" "$seconds" "$writes" "$kib"
    figure "copy.$kind.seconds" "$seconds"
    figure "copy.$kind.writes" "$writes"
done
