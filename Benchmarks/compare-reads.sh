#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Compares 4 KiB random reads of zeros through FUSE: a do-nothing C program (A) against a command (B).
#
#   Benchmarks/compare-reads.sh                              B is fuse-zero, the project's FUSE library over a disk of zeros
#   Benchmarks/compare-reads.sh COMMAND ... MOUNTPOINT ...   B is this command, MOUNTPOINT standing for the directory; it must
#                                                            stay in the foreground and show its disk, at least SIZE, as `file`
#
# Needs root, /dev/fuse, fio, cc or clang, pkg-config, libfuse3-dev. SIZE (64m), ROUNDS (5) and SECONDS_EACH (2) may be set.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=measure.bash
. "$here/measure.bash"
seconds=${SECONDS_EACH:-2}
size=${SIZE:-64m}

# shellcheck disable=SC2046
cc=$(command -v cc || command -v clang) # Swift brings clang
"$cc" -O2 -o "$work/fuse-null" "$here/C/fuse-null.c" $(pkg-config --cflags --libs fuse3)
"$cc" -O2 -shared -fPIC -o "$work/count-mallocs.so" "$here/C/count-mallocs.c"
if [ $# -eq 0 ]; then
    (cd "$here" && swift build -c release >&2)
    set -- "$here/.build/release/fuse-zero" MOUNTPOINT
fi
command_a=("$work/fuse-null" "$work/a" "$(numfmt --from=iec "${size^^}")")
command_b=("${@//MOUNTPOINT/$work/b}")

# read_randomly a|b QUEUE_DEPTH OPTION...: prints requests per second.
read_randomly() {
    local side=$1 depth=$2
    shift 2
    fio_on "$side" 8 --rw=randread --bs=4k --iodepth="$depth" --size="$size" --norandommap "$@"
}

# Reads every block once, so that a store knows that it is zero.
warm_up() { fio_on "$1" 8 --rw=read --bs=1m --iodepth=1 --size="$size" >/dev/null; }

# cpu_milliseconds PID: what the process has used so far, in user mode and in the kernel.
cpu_milliseconds() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$1/stat"; }

start a "${command_a[@]}"
start b "${command_b[@]}"
warm_up a
warm_up b
for round in $(seq "$rounds"); do
    for depth in 1 32; do
        for side in a b; do
            before=$(cpu_milliseconds "${servers[$side]}")
            rate=$(read_randomly $side $depth --time_based --runtime="$seconds")
            after=$(cpu_milliseconds "${servers[$side]}")
            echo "$rate" >>"$work/$side.$depth"
            awk -v ms=$((after - before)) -v n="$rate" -v s="$seconds" 'BEGIN { printf "%.2f\n", ms * 1000 / (n * s) }' \
                >>"$work/$side.$depth.cpu"
        done
    done
done
stop b
stop a

echo "| 4 KiB random reads, direct=1, io_uring | C, IOPS | B, IOPS | B/C | each round, B/C | C, CPU us | B, CPU us |"
echo "|---|---|---|---|---|---|---|"
for depth in 1 32; do
    a=$(median <"$work/a.$depth")
    b=$(median <"$work/b.$depth")
    printf '| queue depth %d | %.0f | %.0f | %s | %s | %s | %s |\n' $depth "$a" "$b" "$(quotient "$b" "$a")" \
        "$(ratio_each "$work/a.$depth" "$work/b.$depth")" "$(median <"$work/a.$depth.cpu")" "$(median <"$work/b.$depth.cpu")"
    figure "reads.$depth.c" "$a"
    figure "reads.$depth.b" "$b"
    figure "reads.$depth.ratio" "$(quotient "$b" "$a")"
done

# mallocs_of a|b COMMAND...: allocations per request, from the difference of two run lengths.
mallocs_of() {
    local side=$1 few=10000 many=60000 requests
    shift
    for requests in $few $many; do
        start "$side" env LD_PRELOAD="$work/count-mallocs.so" COUNT_MALLOCS_FILE="$work/mallocs.$requests" "$@"
        warm_up "$side"
        # Of the size of the disk at most, and as often as it takes: fio ends at the size otherwise.
        read_randomly "$side" 32 --number_ios=$requests --io_size=1t >/dev/null
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
figure mallocs.c "$a"
figure mallocs.b "$b"
