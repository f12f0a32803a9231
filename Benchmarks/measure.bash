# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# What the benchmarks have in common; sourced, by bash. Mounts live in $work/NAME; whatever was started ends with the shell.
#
# FIGURES, if set, names a file to which "key value" lines are added, for programs.

rounds=${ROUNDS:-5}
work=$(mktemp -d /tmp/s3backer-bench.XXXXXX)
declare -A servers=()

# What a benchmark has to undo itself; it redefines this.
undo() { :; }

finish() {
    local name
    for name in "${!servers[@]}"; do
        umount -l "$work/$name" 2>/dev/null || true
        timeout 30 tail --pid="${servers[$name]}" -f /dev/null || kill -KILL "${servers[$name]}" 2>/dev/null || true
    done
    undo
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# start NAME COMMAND...: serves $work/NAME.
start() {
    local name=$1
    shift
    mkdir -p "$work/$name"
    "$@" >"$work/$name.log" 2>&1 &
    servers[$name]=$!
    for _ in $(seq 500); do
        if timeout 5 stat "$work/$name/file" >/dev/null 2>&1; then return; fi
        kill -0 "${servers[$name]}" 2>/dev/null || break
        sleep 0.02
    done
    cat "$work/$name.log" >&2
    echo "not mounted within ten seconds: $*" >&2
    exit 1
}

# stop NAME: unmounts and waits for the server.
stop() {
    umount "$work/$1"
    wait "${servers[$1]}" || true
    unset "servers[$1]"
}

# fio_on NAME FIELD OPTION...: prints one field of fio's terse output, version 3; 7 and 8 are the bytes (KiB/s) and requests per
# second of reading, 48 and 49 those of writing.
fio_on() {
    local file=$work/$1/file field=$2
    shift 2
    timeout -k 1 300 fio --name=bench --filename="$file" --direct=1 --ioengine=io_uring --output-format=terse \
        --terse-version=3 "$@" >"$work/fio.out" || { cat "$work/fio.out" >&2 && return 1; }
    cut -d';' -f"$field" "$work/fio.out"
}

# median: of the numbers on standard input.
median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# ratio_each FILE FILE: the second by the first, line by line.
ratio_each() { paste "$1" "$2" | awk '{ printf "%s%.2f", (NR > 1 ? " " : ""), $2 / $1 }'; }

# figure KEY VALUE
figure() { if [ -n "${FIGURES:-}" ]; then printf '%s %s\n' "$1" "$2" >>"$FIGURES"; fi; }

# quotient A B
quotient() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
