# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# What the measurements on the stand-in for S3 have in common; sourced, by bash, after measure.bash, with $here set.
#
# Sides are "ours" (S3BACKER_BINARY) and "c" (Debian's s3backer 1.5.4, where it is installed).

latency_ms=20 bandwidth=90000000 block=131072 lanes=64
binary=$(realpath "${S3BACKER_BINARY:-$here/../.build/release/s3backer}")
c_binary=${C_BINARY:-/usr/bin/s3backer}
# What every mount gets, besides the place, the size and the size of blocks: for ours nothing, the defaults are what is measured.
ours_options=() c_options=(--authVersion=aws4 --blockCacheThreads=64)
if [ -n "${OURS_OPTIONS:-}" ]; then read -ra ours_options <<<"$OURS_OPTIONS"; fi
sides=(ours)
case $("$c_binary" --version 2>&1 || true) in *"version 1."*) sides+=(c) ;; esac
tools=$here/.build/tools
stand_in='' port='' control=''

# build_tool NAME COMPILER... -- SOURCE...: unless it is newer than all of its sources.
build_tool() {
    local target=$tools/$1 command=() source
    shift
    while [ "$1" != -- ]; do
        command+=("$1")
        shift
    done
    shift
    for source in "$@" "$here"/StandIn/*.hpp; do
        if [ ! -e "$target" ] || [ "$source" -nt "$target" ]; then
            "${command[@]}" -o "$target" "$@" "${libraries[@]}"
            return
        fi
    done
}

build_tools() {
    local cc cxx libraries=()
    cc=$(command -v cc || command -v clang)
    cxx=$(command -v c++ || command -v clang++) # Swift brings clang
    mkdir -p "$tools"
    build_tool disk-io "$cc" -O2 -- "$here/C/disk-io.c"
    libraries=(-lcrypto -pthread)
    cd "$here/StandIn"
    build_tool stand-in "$cxx" -O2 -march=native -std=c++17 -Wno-deprecated-declarations -- \
        Bytes.cpp Control.cpp Digests.cpp Objects.cpp Server.cpp Signature.cpp main.cpp
    build_tool load "$cxx" -O2 -std=c++17 -Wno-deprecated-declarations -- load.cpp Bytes.cpp
    cd - >/dev/null
}

# start_store MIB: with the delays of a store far away; MIB is about what it will hold.
start_store() {
    "$tools/stand-in" "--reserve=$1" "latency_ms=$latency_ms" "bandwidth=$bandwidth" hash_every=16 >"$work/stand-in" &
    stand_in=$!
    # Memory that the host has not given to this machine yet takes long.
    for _ in $(seq 1200); do
        if [ -s "$work/stand-in" ]; then break; fi
        kill -0 "$stand_in"
        sleep 0.1
    done
    local STAND_IN='' STAND_IN_CONTROL=''
    eval "$(tr ' ' ';' <"$work/stand-in")"
    store=$STAND_IN control=$STAND_IN_CONTROL
    port=${store##*:} port=${port%/}
    (umask 077 && echo access:secret >"$work/keys")
}

stop_store() {
    if [ -z "$stand_in" ]; then return; fi
    kill "$stand_in" 2>/dev/null || true
    wait "$stand_in" 2>/dev/null || true
    stand_in=''
}

# ask REQUEST: of the control port.
ask() { curl -sS --fail --max-time 300 "$control$1" >"$work/answer"; }

# forget_counters sets them to zero, take_counters asks for them, and counter NAME is one of those taken last.
forget_counters() { ask "stats?reset"; }
take_counters() { ask stats && cp "$work/answer" "$work/counters"; }
counter() { awk -F'[": ,]+' -v name="$1" '$2 == name { v = $3 } END { print v + 0 }' "$work/counters"; }

far_away() { ask "set?latency_ms=$latency_ms&bandwidth=$bandwidth"; }
close_by() { ask "set?latency_ms=0&bandwidth=0"; }

# mount_volume NAME SIDE PREFIX SIZE OPTION...: as $work/NAME; without --blockSize=, blocks of 128 KiB.
mount_volume() {
    local name=$1 side=$2 prefix=$3 size=$4 options=(-f "--baseURL=$store" "--accessFile=$work/keys")
    shift 4
    case " $*" in *" --blockSize="*) ;; *) options+=("--blockSize=$block") ;; esac
    if [ "$side" = ours ]; then
        start "$name" "$binary" "${options[@]}" "--prefix=$prefix" "--size=$size" "${ours_options[@]}" "$@" bench "$work/$name"
    else
        start "$name" "$c_binary" "${options[@]}" "--prefix=$prefix" "--size=$size" "${c_options[@]}" "$@" bench "$work/$name"
    fi
}

# drained PUTS: waits until so many blocks have been put since forget_counters, and none is under way.
drained() { ask "drained?puts=$1"; }

drop_caches() { echo 1 >/proc/sys/vm/drop_caches; }

# disk_io NAME FIELD VERB ARGUMENT...: on $work/NAME/file; prints one of the figures; more with io_figure.
disk_io() {
    local name=$1 field=$2 verb=$3
    shift 3
    timeout -k 1 600 "$tools/disk-io" "$verb" "$work/$name/file" "$@" >"$work/disk-io.out"
    io_figure "$field"
}
io_figure() { awk -v key="$1" '$1 == key { print $2 }' "$work/disk-io.out"; }

# cpu_seconds NAME; resident NAME: of the server of a mount; seconds in user mode and the kernel, bytes.
cpu_seconds() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/${servers[$1]}/stat"; }
resident() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/${servers[$1]}/status"; }

# seconds: of the wall clock, with fractions. calculate EXPRESSION: with awk.
seconds() { date +%s.%N; }
calculate() { awk "BEGIN { printf \"%.${2:-4}g\", $1 }"; }

table() {
    echo
    echo "| $1 | value | compared with | that | ratio | wanted | |"
    echo "|---|---|---|---|---|---|---|"
}

# row KEY TEXT VALUE UNIT PEER_TEXT PEER least|most|exactly REQUIRED: a line of the table, judged by VALUE / PEER. A row with REQUIRED "-" is
# not judged; PEER "-" stands for 1.
row() {
    local key=$1 text=$2 value=$3 unit=$4 peer_text=$5 peer=$6 sense=$7 required=$8 ratio verdict='' wanted=-
    if [ "$peer" = - ]; then ratio=$value; else ratio=$(calculate "($peer) == 0 ? 0 : ($value) / ($peer)"); fi
    figure "$key.value" "$value"
    if [ "$peer" != - ]; then figure "$key.peer" "$peer" && figure "$key.ratio" "$ratio"; fi
    if [ "$required" != - ]; then
        verdict=0
        case $sense in
        least) wanted=">= $required" ;;
        most) wanted="<= $required" ;;
        exactly) wanted=$required ;;
        esac
        if awk -v r="$ratio" -v m="$required" -v s="$sense" \
            'BEGIN { exit !(s == "least" ? r >= m : s == "most" ? r <= m : r == m) }'; then verdict=1; fi
        figure "$key.required" "$required"
        figure "$key.pass" $verdict
        if [ $verdict = 1 ]; then verdict=pass; else verdict='**fail**'; fi
    fi
    if [ "$peer" = - ]; then ratio=-; fi
    echo "| $text | $value $unit | $peer_text | $peer | $ratio | $wanted | $verdict |"
}

# side_name SIDE
side_name() { if [ "$1" = ours ]; then echo s3backer; else echo "C program"; fi; }
