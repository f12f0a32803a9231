#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Writes and reads a whole disk in order. On S3 also with the C program, Debian's s3backer 1.5.4, where that is installed. (Its
# --test waits a tenth of a second for each block, so there is nothing to compare with on a local directory.)
#
#   Benchmarks/compare-throughput.sh directory    --test on a local directory, blocks of 128 KiB
#   Benchmarks/compare-throughput.sh s3           a throw-away Ceph RADOS Gateway on loopback, blocks of 64 KiB
#
# S3BACKER_BINARY (.build/release/s3backer), ROUNDS (5), SIZE (64m; 32m on S3), and STORE_DIRECTORY (/tmp: where the local
# directory is) may be set. Needs root, /dev/fuse, fio; the gateway needs the packages of "Scripts/deps.sh s3".
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=measure.bash
. "$here/measure.bash"
binary=${S3BACKER_BINARY:-$here/../.build/release/s3backer}
old=/usr/bin/s3backer
store=${1:-}

sides=(ours)

case $store in
directory)
    block=128k size=${SIZE:-64m}
    directory=$(mktemp -d "${STORE_DIRECTORY:-/tmp}/s3backer-bench-store.XXXXXX")
    undo() { rm -rf "$directory"; }
    options=(--test)
    place=$directory
    ;;
s3)
    block=64k size=${SIZE:-32m}
    undo() { "$here/../Scripts/rgw.sh" stop --dir "$work/gateway"; }
    "$here/../Scripts/rgw.sh" start --dir "$work/gateway" --bucket bench >"$work/gateway.env"
    # shellcheck source=/dev/null
    . "$work/gateway.env"
    (umask 077 && echo "$S3_ACCESS_ID:$S3_ACCESS_KEY" >"$work/keys")
    options=("--baseURL=$S3_ENDPOINT/" "--accessFile=$work/keys")
    place=bench
    # Our own may be installed under that name.
    version=$($old --version 2>&1 || true)
    case $version in *"version 1."*) sides+=(c) ;; esac
    ;;
*)
    echo "usage: Benchmarks/compare-throughput.sh directory|s3" >&2
    exit 2
    ;;
esac
options+=(-f --blockCacheSize=0 "--size=$size" "--blockSize=$block")

start ours "$binary" "${options[@]}" --prefix=ours- "$place" "$work/ours"
if [ ${#sides[@]} = 2 ]; then start c $old "${options[@]}" --authVersion=aws4 --prefix=c- "$place" "$work/c"; fi

declare -A fields=([write]=48 [read]=7)
for round in $(seq "$rounds"); do
    for depth in 1 32; do
        for verb in write read; do
            for side in "${sides[@]}"; do
                fio_on "$side" "${fields[$verb]}" --rw=$verb --bs=$block --size="$size" --iodepth=$depth --refill_buffers \
                    >>"$work/$side.$verb.$depth"
            done
        done
    done
done
for side in "${sides[@]}"; do stop "$side"; done

mebibytes() { awk -v k="$1" 'BEGIN { printf "%.1f", k / 1024 }'; }

if [ "$store" = s3 ]; then where="on the gateway"; else where="on a local directory"; fi
echo "| ${size%m} MiB in order, blocks and requests of ${block%k} KiB, $where | C program, MiB/s | s3backer, MiB/s | ratio | each round |"
echo "|---|---|---|---|---|"
for verb in write read; do
    for depth in 1 32; do
        ours=$(median <"$work/ours.$verb.$depth")
        figure "$store.$verb.$depth.ours" "$(mebibytes "$ours")"
        theirs=- ratio=- each=-
        if [ ${#sides[@]} = 2 ]; then
            c=$(median <"$work/c.$verb.$depth")
            theirs=$(mebibytes "$c") ratio=$(quotient "$ours" "$c")
            each=$(ratio_each "$work/c.$verb.$depth" "$work/ours.$verb.$depth")
            figure "$store.$verb.$depth.c" "$theirs"
            figure "$store.$verb.$depth.ratio" "$ratio"
        fi
        echo "| $verb, queue depth $depth | $theirs | $(mebibytes "$ours") | $ratio | $each |"
    done
done
