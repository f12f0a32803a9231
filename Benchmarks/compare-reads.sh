#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Compares 4 KiB random reads of zeros through FUSE: a do-nothing C program (A) against a command (B).
#
#   Benchmarks/compare-reads.sh                              B is fuse-zero, the project's FUSE library over a disk of zeros
#   Benchmarks/compare-reads.sh COMMAND ... MOUNTPOINT ...   B is this command, MOUNTPOINT standing for the directory; it must
#                                                            stay in the foreground and show its disk, at least 256 MiB, as `file`
#
# Needs root, /dev/fuse, fio, cc, pkg-config, libfuse3-dev. ROUNDS (5) and SECONDS_EACH (2) may be set.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-2}
work=$(mktemp -d)
mkdir "$work/a" "$work/b"
pids=()

finish() {
    umount -l "$work/a" "$work/b" 2>/dev/null || true
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

cc -O2 -o "$work/fuse-null" "$here/C/fuse-null.c" $(pkg-config --cflags --libs fuse3)
cc -O2 -shared -fPIC -o "$work/count-mallocs.so" "$here/C/count-mallocs.c"
if [ $# -eq 0 ]; then
    (cd "$here" && swift build -c release >&2)
    set -- "$here/.build/release/fuse-zero" MOUNTPOINT
fi
command_a=("$work/fuse-null" "$work/a")
command_b=("${@//MOUNTPOINT/$work/b}")

# start a|b COMMAND...: serves $work/a or $work/b.
start() {
    local mount=$work/$1
    shift
    "$@" &
    pids+=($!)
    for _ in $(seq 500); do
        if timeout 5 stat "$mount/file" >/dev/null 2>&1; then return; fi
        sleep 0.02
    done
    echo "not mounted within ten seconds: $*" >&2
    exit 1
}

# stop a|b: unmounts and waits for the last process that was started.
stop() {
    umount "$work/$1"
    wait "${pids[-1]}" || true
    unset "pids[-1]"
}

# fio_on a|b QUEUE_DEPTH OPTION...: prints requests per second.
fio_on() {
    local file=$work/$1/file depth=$2
    shift 2
    timeout -k 1 120 fio --name=read --filename="$file" --rw=randread --bs=4k --direct=1 --ioengine=io_uring \
        --iodepth="$depth" --size=256m --norandommap --output-format=terse --terse-version=3 "$@" | cut -d';' -f8
}

# Reads every block once, so that a store knows that it is zero.
warm_up() { timeout -k 1 300 fio --name=warm --filename="$work/$1/file" --rw=read --bs=1m --direct=1 --size=256m >/dev/null; }

# cpu_milliseconds PID: what the process has used so far, in user mode and in the kernel.
cpu_milliseconds() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$1/stat"; }

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

start a "${command_a[@]}"
start b "${command_b[@]}"
warm_up a
warm_up b
server_a=${pids[0]} server_b=${pids[1]}
for round in $(seq "$rounds"); do
    for depth in 1 32; do
        for side in a b; do
            server=server_$side
            before=$(cpu_milliseconds "${!server}")
            rate=$(fio_on $side $depth --time_based --runtime="$seconds")
            after=$(cpu_milliseconds "${!server}")
            echo "$rate" >>"$work/$side.$depth"
            awk -v ms=$((after - before)) -v n="$rate" -v s="$seconds" 'BEGIN { printf "%.2f\n", ms * 1000 / (n * s) }' \
                >>"$work/$side.$depth.cpu"
        done
    done
done
stop b
umount "$work/a"
wait "${pids[0]}" || true
pids=()

echo "| 4 KiB random reads, direct=1, io_uring | C, IOPS | B, IOPS | B/C | each round, B/C | C, CPU us | B, CPU us |"
echo "|---|---|---|---|---|---|---|"
for depth in 1 32; do
    a=$(median <"$work/a.$depth")
    b=$(median <"$work/b.$depth")
    each=$(paste "$work/a.$depth" "$work/b.$depth" | awk '{ printf "%s%.2f", (NR > 1 ? " " : ""), $2 / $1 }')
    awk -v d=$depth -v a="$a" -v b="$b" -v e="$each" -v x="$(median <"$work/a.$depth.cpu")" -v y="$(median <"$work/b.$depth.cpu")" \
        'BEGIN { printf "| queue depth %d | %d | %d | %.2f | %s | %.2f | %.2f |\n", d, a, b, b / a, e, x, y }'
done

# mallocs_of a|b COMMAND...: allocations per request, from the difference of two run lengths.
mallocs_of() {
    local side=$1 few=10000 many=60000
    shift
    for requests in $few $many; do
        start "$side" env LD_PRELOAD="$work/count-mallocs.so" COUNT_MALLOCS_FILE="$work/mallocs.$requests" "$@"
        warm_up "$side"
        fio_on "$side" 32 --number_ios=$requests >/dev/null
        stop "$side"
    done
    awk -v x="$(cat "$work/mallocs.$few")" -v y="$(cat "$work/mallocs.$many")" -v n=$((many - few)) \
        'BEGIN { printf "%.2f", (y - x) / n }'
}

echo
echo "| allocations per request | C | B |"
echo "|---|---|---|"
a=$(mallocs_of a "${command_a[@]}")
b=$(mallocs_of b "${command_b[@]}")
echo "| malloc, calloc, aligned_alloc, posix_memalign | $a | $b |"
