#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Measures the block cache on the stand-in for S3: an answer begins after 20 ms, and a connection carries 90 MB/s. The same is done
# with the C program, Debian's s3backer 1.5.4 with --blockCacheThreads=64, where that is installed.
#
#   Benchmarks/measure-cache.sh PART ...
#       ceiling       what the stand-in can do with nothing else
#       sequential    write a disk in order until all is in the store, and read it after a new mount; processor time
#       random-read   one 4 KiB sector of each of many blocks, queue depth 32, nothing cached
#       hits          4 KiB random reads of cached blocks against known zeros
#       random-write  4 KiB random writes to a full volume, queue depth 32, and the requests they cost
#       tree          copy /usr/include to ext4 on a loop device, until all is in the store
#       flush-local   4 KiB writes with fsync on a cache file, against its file system
#       flush-remote  the requests that an fsync costs without one
#       memory        what a cached block and a block of the volume take
#
# S3BACKER_BINARY (.build/release/s3backer), SIZE (1g: what is written and read), ROUNDS (5; tree: 2), CACHE_DIRECTORY (/tmp: where
# the cache file is), C_BINARY (/usr/bin/s3backer), OURS_OPTIONS (for all mounts of ours), TREE (/usr/include) may be set. Needs root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=measure.bash
. "$here/measure.bash"
# shellcheck source=store.bash
. "$here/store.bash"
size=$(numfmt --from=iec "$(tr '[:lower:]' '[:upper:]' <<<"${SIZE:-1g}")")
blocks=$((size / block))
tree=${TREE:-/usr/include}
cache_directory=${CACHE_DIRECTORY:-/tmp}
loop='' cache_files=$(mktemp -d "$cache_directory/s3backer-bench-cache.XXXXXX")
bound=$(calculate "$lanes * $block / ($latency_ms / 1000 + $block / $bandwidth) / 1e6")
bound_iops=$(calculate "32 / ($latency_ms / 1000 + $block / $bandwidth)")
declare -A is_full=()

undo() {
    umount "$work/files" 2>/dev/null || true
    if [ -n "$loop" ]; then losetup -d "$loop" 2>/dev/null || true; fi
    stop_store
    rm -rf "$cache_files"
}

# The loop device holds the disk, so it goes first.
finish_with_loop() {
    umount "$work/files" 2>/dev/null || true
    if [ -n "$loop" ]; then losetup -d "$loop" 2>/dev/null || true; fi
    finish
}
trap finish_with_loop EXIT

# fill SIDE PREFIX SIZE: writes a whole volume, as fast as can be, unless that has been done.
fill() {
    if [ -n "${is_full[$2]:-}" ]; then return; fi
    close_by
    mount_volume disk "$1" "$2" "$3"
    forget_counters
    disk_io disk seconds write "$3" >/dev/null
    drained $(($3 / block))
    stop disk
    far_away
    is_full[$2]=yes
}

measure_ceiling() {
    table "the stand-in alone, $lanes connections, 128 KiB"
    close_by
    local verb time count=$blocks before after
    for verb in put get; do
        take_counters && before=$(counter cpu_us)
        time=$("$tools/load" "$port" $verb $lanes $count $block)
        take_counters && after=$(counter cpu_us)
        row "ceiling.$verb" "$verb" "$(calculate "$count * $block / $time / 1e6")" MB/s "what it is asked for" "$bound" least 1
        row "ceiling.$verb.cpu" "$verb, its processor time" "$(calculate "($after - $before) / 1e6 * 2^30 / ($count * $block)")" s/GiB - - most -
    done
    ask wipe
    far_away
}

measure_sequential() {
    local side name time before after puts rate
    table "$((size >> 20)) MiB in order, 1 MiB each"
    for side in "${sides[@]}"; do
        name=$(side_name "$side")
        mount_volume disk "$side" "$side-" "$size"
        forget_counters
        before=$(cpu_seconds disk) time=$(seconds)
        disk_io disk seconds write "$size" >/dev/null
        drained "$blocks"
        time=$(calculate "$(seconds) - $time" 6) after=$(cpu_seconds disk)
        take_counters && puts=$(counter PUT.requests)
        stop disk
        is_full[$side-]=yes
        rate=$(calculate "$size / $time / 1e6")
        row "write.$side" "$name: write until drained" "$rate" MB/s "64 lanes" "$bound" least "$([ "$side" = ours ] && echo 0.75 || echo -)"
        row "write.cpu.$side" "$name: processor time of writing" "$(calculate "($after - $before) * 2^30 / $size")" s/GiB - - \
            most "$([ "$side" = ours ] && echo 3.5 || echo -)"
        row "write.puts.$side" "$name: PUT" "$puts" requests blocks "$blocks" most -

        drop_caches
        mount_volume disk "$side" "$side-" "$size"
        before=$(cpu_seconds disk)
        time=$(disk_io disk seconds read "$size")
        after=$(cpu_seconds disk)
        stop disk
        rate=$(calculate "$size / $time / 1e6")
        row "read.$side" "$name: cold read" "$rate" MB/s "64 lanes" "$bound" least "$([ "$side" = ours ] && echo 0.75 || echo -)"
        row "read.cpu.$side" "$name: processor time of reading" "$(calculate "($after - $before) * 2^30 / $size")" s/GiB - - most -
    done
}

measure_random_read() {
    local side iops count
    for side in "${sides[@]}"; do fill "$side" "$side-" "$size"; done
    table "4 KiB of each of many blocks, nothing cached, O_DIRECT, queue depth 32"
    for side in "${sides[@]}"; do
        drop_caches
        mount_volume disk "$side" "$side-" "$size"
        # At what the C program does, more would take minutes.
        if [ "$side" = ours ]; then count=$((blocks / 2)); else count=$((blocks / 16)); fi
        iops=$(disk_io disk iops random-read "$size" $block 32 $count)
        stop disk
        row "random-read.$side" "$(side_name "$side"), $count blocks" "$iops" IOPS "32 lanes" "$bound_iops" least "$([ "$side" = ours ] && echo 0.9 || echo -)"
    done
}

# The known zeros are those of compare-reads.sh, in a mount of their own.
measure_hits() {
    local side depth region=64m bytes=$((64 << 20)) others=("${sides[@]}") rate
    close_by
    mkdir "$work/empty"
    start zeros "$binary" -f --test --size=$region --blockSize=4k "$work/empty" "$work/zeros"
    fio_on zeros 8 --rw=read --bs=1m --iodepth=1 --size=$region >/dev/null
    for side in "${others[@]}"; do
        mount_volume "hits-$side" "$side" "hits-$side-" $region
        disk_io "hits-$side" seconds write $bytes >/dev/null
        disk_io "hits-$side" seconds read $bytes >/dev/null
    done
    # Else the kernel would compare each read with pages of its own, which it does not have of the zeros.
    drop_caches
    for _ in $(seq "$rounds"); do
        for depth in 1 32; do
            for side in zeros "${others[@]/#/hits-}"; do
                fio_on "$side" 8 --rw=randread --bs=4k --iodepth=$depth --size=$region --norandommap --time_based --runtime=1 \
                    >>"$work/$side.$depth"
            done
        done
    done
    table "4 KiB random reads of cached blocks, direct=1, io_uring, median of $rounds rounds"
    for depth in 1 32; do
        for side in "${others[@]}"; do
            rate=$(median <"$work/hits-$side.$depth")
            row "hits.$depth.$side" "$(side_name "$side"), queue depth $depth" "$rate" IOPS "known zeros" \
                "$(median <"$work/zeros.$depth")" least "$([ "$side" = ours ] && echo 0.8 || echo -)"
        done
    done
    for side in "${others[@]}"; do stop "hits-$side"; done
    stop zeros
    far_away
}

measure_random_write() {
    local side name region=$((256 << 20)) iops touched pairs gets puts limits
    if [ $region -gt "$size" ]; then region=$size; fi
    for side in "${sides[@]}"; do fill "$side" "$side-" "$size"; done
    table "4 KiB random writes for 5 s to $((region >> 20)) MiB of a full volume, O_DIRECT, queue depth 32, a cache of 4096 blocks"
    for side in "${sides[@]}"; do
        name=$(side_name "$side")
        mount_volume disk "$side" "$side-" "$size" --blockCacheSize=4096 --blockCacheWriteDelay=250
        forget_counters
        iops=$(disk_io disk iops random-write $region $block 32 5 250)
        stop disk
        take_counters
        touched=$(io_figure blocks) pairs=$(io_figure pairs) gets=$(counter GET.requests) puts=$(counter PUT.requests)
        if [ "$side" = ours ]; then limits=(20000 1 1); else limits=(- - -); fi
        row "random-write.$side" "$name: acknowledged" "$iops" IOPS - - least "${limits[0]}"
        row "random-write.gets.$side" "$name: GET" "$gets" requests "blocks touched" "$touched" most "${limits[1]}"
        row "random-write.puts.$side" "$name: PUT" "$puts" requests "(block, 250 ms) pairs" "$pairs" most "${limits[2]}"
    done
}

# copy_tree SIDE ROUND: prints seconds.
copy_tree() {
    local time
    mount_volume disk "$1" "tree-$1-$2-" 1g
    mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk/file"
    loop=$(losetup -f --show "$work/disk/file")
    mount "$loop" "$work/files"
    time=$(seconds)
    cp -a "$tree" "$work/files/tree"
    sync -f "$work/files"
    umount "$work/files"
    losetup -d "$loop"
    loop=''
    stop disk
    elapsed=$(calculate "$(seconds) - $time")
}

measure_tree() {
    local side round elapsed times=${ROUNDS:-2} of_c=- order=("${sides[@]}")
    mkdir -p "$work/files"
    tar -cf - "$tree" 2>/dev/null | cat >/dev/null
    for round in $(seq "$times"); do
        for side in "${order[@]}"; do
            copy_tree "$side" "$round"
            echo "$elapsed" >>"$work/tree.$side"
        done
        # Who goes first changes each time.
        if [ ${#sides[@]} = 2 ]; then order=("${order[1]}" "${order[0]}"); fi
    done
    table "copy of $tree to ext4 on a loop device, sync, unmount, drain; median of $times"
    if [ ${#sides[@]} = 2 ]; then
        of_c=$(median <"$work/tree.c")
        row tree.ours s3backer "$(median <"$work/tree.ours")" s "C program" "$of_c" most 1
    else
        row tree.ours s3backer "$(median <"$work/tree.ours")" s - - most -
    fi
}

# resident_with CACHE_BLOCKS: mounts, writes as many blocks of 4 KiB as the cache holds, sets `resident`.
resident_with() {
    mount_volume disk ours "memory-$1-" 2g --blockSize=4096 "--blockCacheSize=$1"
    forget_counters
    disk_io disk seconds write $(($1 * 4096)) >/dev/null
    drained "$1"
    in_memory=$(resident disk)
    stop disk
}

# Two caches full of small blocks, so that what a block takes stands out.
measure_memory() {
    local few=16384 many=278528 in_memory first base payload=$((256 << 20)) huge=$((8 << 40))
    close_by
    table memory
    resident_with $few
    first=$in_memory
    resident_with $many
    row memory.block "per cached block, besides the payload, its sectors and their bits in the volume" \
        "$(calculate "($in_memory - $first) / ($many - $few) - 4096 - 0.5")" bytes - - most 64
    mount_volume disk ours memory-small- 1g
    base=$(resident disk)
    row memory.base "after the mount of 1 GiB" "$(calculate "$base / 2^20")" MiB - - most -
    disk_io disk seconds write $((512 << 20)) >/dev/null
    row memory.full "with the cache full (defaults, 256 MiB), and buffers, besides the payload" \
        "$(calculate "($(resident disk) - $payload) / 2^20")" MiB - - most -
    stop disk
    mount_volume disk ours memory-huge- $huge
    row memory.volume "per block of the volume, from the mount of 8 TiB" \
        "$(calculate "($(resident disk) - $base) * 8 / ($huge / $block)")" bits - - most 2
    stop disk
    far_away
}

# write_and_flush NAME [OPTION...]: fio, writes per second.
write_and_flush() {
    local name=$1
    shift
    fio_on "$name" 49 --rw=randwrite --bs=4k --ioengine=psync --direct=0 --iodepth=1 --fsync=1 --size=64m --time_based --runtime=2 "$@"
}

# milliseconds FILE: of the median of many "per second".
milliseconds() { calculate "1e3 / $(median <"$1")"; }

measure_flush_local() {
    local round pid processor filesystem
    table "4 KiB writes with fsync, queue depth 1, on a cache file, median of $rounds rounds"
    mkdir -p "$cache_files/peer"
    ln -sfn "$cache_files/peer" "$work/peer"
    # Written once, so that its blocks are there: otherwise each fsync would have to commit where they are.
    dd if=/dev/zero bs=1M count=64 status=none | tr '\0' x >"$cache_files/peer/file"
    sync "$cache_files/peer/file"
    mount_volume disk ours local- 64m --flush=local "--blockCacheFile=$cache_files/cache"
    disk_io disk seconds write $((64 << 20)) >/dev/null
    for round in $(seq "$rounds"); do
        write_and_flush peer >>"$work/flush.peer"
        write_and_flush disk >>"$work/flush.ours"
    done
    # Again with both sides on one processor, so that none has to be woken up for another.
    pid=${servers[disk]} processor=$(($(nproc --all) - 1))
    taskset -apc "$processor" "$pid" >/dev/null
    for round in $(seq "$rounds"); do
        write_and_flush peer "--cpus_allowed=$processor" >>"$work/flush-pinned.peer"
        write_and_flush disk "--cpus_allowed=$processor" >>"$work/flush-pinned.ours"
    done
    stop disk
    filesystem=$(findmnt -no FSTYPE -T "$cache_files")
    row flush.local "s3backer, --flush=local: a write with fsync" \
        "$(milliseconds "$work/flush.ours")" ms "the same on $filesystem" "$(milliseconds "$work/flush.peer")" most 1.5
    row flush.pinned "the same with all on one processor" \
        "$(milliseconds "$work/flush-pinned.ours")" ms "the same on $filesystem" "$(milliseconds "$work/flush-pinned.peer")" - -
}

# One sector in each of 64 blocks, then fsync; then fsync again, with nothing written.
measure_flush_remote() {
    local side count=64 volume=$((64 << 20)) time once limits
    for side in "${sides[@]}"; do fill "$side" "flush-$side-" "$volume"; done
    table "4 KiB into each of $count blocks of a full volume, then fsync"
    once=$(calculate "2 * ($latency_ms / 1000 + $block / $bandwidth)")
    for side in "${sides[@]}"; do
        mount_volume disk "$side" "flush-$side-" "$volume"
        forget_counters
        time=$(seconds)
        fio_on disk 49 --rw=write:124k --bs=4k --ioengine=psync --direct=0 --iodepth=1 --size=$((count * block)) \
            --io_size=$((count * 4096)) --end_fsync=1 >/dev/null
        take_counters
        time=$(calculate "$(seconds) - $time")
        # Its fsync does nothing, so it is asked again after the drain.
        if [ "$side" = c ]; then drained $count && take_counters; fi
        if [ "$side" = ours ]; then limits=(1 1 0.5 0); else limits=(- - - -); fi
        row "flush.puts.$side" "$(side_name "$side"): PUT for $count blocks" "$(counter PUT.requests)" requests blocks $count exactly "${limits[0]}"
        row "flush.gets.$side" "$(side_name "$side"): GET for $count blocks" "$(counter GET.requests)" requests blocks $count most "${limits[1]}"
        row "flush.parallel.$side" "$(side_name "$side"): most PUT in flight" "$(counter PUT.in_flight_max)" requests blocks $count least "${limits[2]}"
        row "flush.seconds.$side" "$(side_name "$side"): fio with that, its start included" "$time" s "a GET and a PUT" "$once" most -
        forget_counters
        sync "$work/disk/file"
        take_counters
        row "flush.idle.$side" "$(side_name "$side"): requests of an fsync without writes" \
            "$(($(counter PUT.requests) + $(counter GET.requests) + $(counter HEAD.requests)))" requests - - most "${limits[3]}"
        stop disk
    done
}

[ $# -gt 0 ] || { sed -n '/^#   Bench/,/^# S3/p' "$0" >&2 && exit 2; }
for part in "$@"; do
    case $part in
    ceiling | sequential | random-read | hits | random-write | tree | memory | flush-local | flush-remote) ;;
    *) echo "measure-cache: no part \"$part\"" >&2 && exit 2 ;;
    esac
done
build_tools
start_store $((size >> 19))
for part in "$@"; do "measure_${part//-/_}"; done
