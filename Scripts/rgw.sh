#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# A throw-away Ceph RADOS Gateway on loopback: a real S3 server that enforces signatures, for tests and the demo.
# One ceph-mon, one ceph-osd with its data in memory (memstore), one radosgw; no systemd, no cephx, no root.
# Debian packages: ceph-mon ceph-osd ceph-common radosgw curl. It is up in two or three seconds.

set -euo pipefail

usage() {
    cat <<'TEXT'
usage: Scripts/rgw.sh COMMAND [--dir DIR] [OPTION ...]

  start     start a gateway in DIR; prints lines for the shell to source. Finds one that runs already.
  status    print the same lines when the gateway answers; otherwise exit with 1
  stop      end everything that was started in DIR and remove DIR
  down      end the gateway alone: connections are refused, the objects stay
  up        start the gateway again after "down", on the same port, with the same objects
  bucket    make one more bucket: bucket --dir DIR NAME [CANNED_ACL]

  --dir DIR               where everything lives; one gateway a directory   [/tmp/s3backer-rgw.UID]
  --port PORT             the port of the gateway; PORT+1 and PORT+2 are used too   [three free ones]
  --bucket NAME[=ACL]     start: make this bucket, with a canned ACL such as public-read; may be repeated
  --user ID:SECRET        start: one more user with these keys; may be repeated
  --classes "A B"         start: more storage classes than STANDARD (half a second each)
  --size BYTES            start: room in memory   [8589934592]
  --owner PID             start: stop by itself when the process PID ends
  --timeout SECONDS       how long start may take   [60]
TEXT
}

die() {
    printf 'rgw.sh: %s\n' "$*" >&2
    exit 1
}

command=${1:-}
[ $# -gt 0 ] && shift
dir=/tmp/s3backer-rgw.$(id -u)
port=0 size=8589934592 owner='' timeout=60 classes=''
access=s3backer secret=throw-away-secret
buckets=() users=() words=()
while [ $# -gt 0 ]; do
    case $1 in
    --dir) dir=$2 ;;
    --port) port=$2 ;;
    --bucket) buckets+=("$2") ;;
    --user) users+=("$2") ;;
    --classes) classes=$2 ;;
    --size) size=$2 ;;
    --owner) owner=$2 ;;
    --timeout) timeout=$2 ;;
    --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) words+=("$1") && shift && continue ;;
    esac
    shift 2
done
self=$(realpath "$0")

remaining() {
    local seconds=$((timeout - SECONDS))
    echo $((seconds > 1 ? seconds : 1))
}

# Whether the process recorded as $1 runs, and is ours: its command line names our configuration. A pid may have been reused.
alive() {
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$dir/ceph.conf"
}

end_process() {
    local name=$1 signal=$2 tries
    if alive "$name"; then
        kill "-$signal" "$(cat "$dir/$name.pid")" 2>/dev/null || true
        for ((tries = 0; tries < 50; tries++)); do
            alive "$name" || break
            sleep 0.1
        done
        if alive "$name"; then kill -KILL "$(cat "$dir/$name.pid")" 2>/dev/null || true; fi
    fi
    rm -f "$dir/$name.pid"
}

# The data is in memory and nobody will ask for it again: there is nothing to end orderly.
end_everything() {
    end_process rgw KILL
    end_process osd KILL
    end_process mon KILL
    # Only a directory that this script made has this file.
    if [ -f "$dir/throw-away-gateway" ]; then rm -rf "$dir"; fi
}

# Runs "$@" in a session of its own and records its pid as $1. Our lock (descriptor 9) is not inherited.
spawn() {
    local name=$1
    shift
    setsid "$@" </dev/null >"$dir/log/$name.out" 2>&1 9>&- &
    echo $! >"$dir/$name.pid"
    disown $!
}

# Runs "$@" quietly; says what it printed only if it fails.
step() {
    local output=$dir/log/step.out
    if ! timeout "$(remaining)" "$@" >"$output" 2>&1 9>&-; then
        printf 'rgw.sh: failed: %s\n' "$*" >&2
        tail -n 20 "$output" >&2
        return 1
    fi
}

answers() { [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$1/" || true)" = 200 ]; }

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Three ports in a row that nobody listens on, below the range from which the kernel takes ports for outgoing connections.
choose_port() {
    local tries candidate
    for ((tries = 0; tries < 100; tries++)); do
        candidate=$((20000 + (RANDOM % 3000) * 4))
        if is_free $candidate && is_free $((candidate + 1)) && is_free $((candidate + 2)); then
            echo $candidate
            return
        fi
    done
    return 1
}

write_configuration() {
    local fsid=$1 http=$2
    cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$((http + 1)),v1:127.0.0.1:$((http + 2))]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind ipv4 = true
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
# The gateway's default is a "secure" connection to the monitor, which cannot be had without authentication.
ms mon client mode = crc secure
ms mon service mode = crc secure
ms mon cluster mode = crc secure
ms crc data = false
run dir = $dir/run
admin socket =
log file = $dir/log/\$name.log
log to stderr = false
err to stderr = true
crash dir = $dir/log
debug ms = 0/0
debug mon = 0/0
debug paxos = 0/0
debug osd = 0/0
debug rgw = 0/0
debug monc = 0/0
debug objecter = 0/0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
[mon]
mon data = $dir/mon
mon initial members = a
mon data avail warn = 1
mon data avail crit = 1
mon osd full ratio = 0.97
mon osd backfillfull ratio = 0.96
mon osd nearfull ratio = 0.95
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = $size
osd op num shards = 2
osd op num threads per shard = 2
osd class load list = *
osd class default list = *
osd heartbeat grace = 60
osd max markdown count = 1000
[client]
rgw frontends = beast endpoint=127.0.0.1:$http tcp_nodelay=1
rgw dns name = localhost
rgw data = $dir/run
rgw enable usage log = false
rgw enable ops log = false
rgw override bucket index max shards = 1
rgw dynamic resharding = false
rgw thread pool size = 128
rgw run sync thread = false
rgw relaxed s3 bucket names = true
rgw crypt require ssl = false
rgw gc obj min wait = 60
rgw gc processor period = 60
rgw init timeout = 30
# The default is 5 s: what is sent before the OSD serves would wait for the next tick.
objecter tick interval = 0.3
CONF
}

start_cluster() {
    local http=$1 fsid uuid tries
    fsid=$(cat /proc/sys/kernel/random/uuid)
    uuid=$(cat /proc/sys/kernel/random/uuid)
    mkdir -p "$dir"/{mon,osd,log,run}
    write_configuration "$fsid" "$http"
    local ceph=(-c "$dir/ceph.conf")

    step monmaptool --create --clobber --fsid "$fsid" \
        --addv a "[v2:127.0.0.1:$((http + 1)),v1:127.0.0.1:$((http + 2))]" "$dir/monmap" || return 1
    step ceph-mon "${ceph[@]}" -i a --mkfs --monmap "$dir/monmap" || return 1
    spawn mon ceph-mon "${ceph[@]}" -i a -f
    for ((tries = 0; tries < 200; tries++)); do
        is_free $((http + 1)) || break
        alive mon || return 1
        sleep 0.05
    done
    step ceph "${ceph[@]}" --connect-timeout "$(remaining)" osd new "$uuid" || return 1
    step ceph-osd "${ceph[@]}" -i 0 --mkfs --osd-uuid "$uuid" || return 1
    spawn osd ceph-osd "${ceph[@]}" -i 0 -f

    # It waits until the OSD serves.
    local number=0 user
    for user in "$access:$secret" ${users[@]+"${users[@]}"}; do
        step radosgw-admin "${ceph[@]}" user create --uid="user$number" --display-name="user$number" \
            --access-key="${user%%:*}" --secret-key="${user#*:}" || return 1
        number=$((number + 1))
    done
    local class
    for class in $classes; do
        step radosgw-admin "${ceph[@]}" zonegroup placement add --rgw-zonegroup default \
            --placement-id default-placement --storage-class "$class" || return 1
        step radosgw-admin "${ceph[@]}" zone placement add --rgw-zone default --placement-id default-placement \
            --storage-class "$class" --data-pool default.rgw.buckets.data || return 1
    done
    start_gateway "$http"
}

start_gateway() {
    spawn rgw radosgw -c "$dir/ceph.conf" -n client.rgw -f
    until answers "$1"; do
        alive rgw && alive osd && alive mon || return 1
        [ "$SECONDS" -lt "$timeout" ] || return 1
        sleep 0.05
    done
}

make_bucket() {
    local endpoint=$1 name=$2 acl=${3:-private} answer=$dir/log/bucket.xml status
    local empty_sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    # The secret goes through standard input: a command line can be read by everybody.
    # curl 7.88 neither hashes an empty body nor sends its hash by itself.
    status=$(printf 'user = "%s:%s"\n' "$access" "$secret" | curl -s -K - --aws-sigv4 aws:amz:us-east-1:s3 \
        -m 20 -X PUT -H "x-amz-acl: $acl" -H "x-amz-content-sha256: $empty_sha256" \
        -o "$answer" -w '%{http_code}' "$endpoint/$name") || true
    [ "$status" = 200 ] || { cat "$answer" >&2; die "cannot make bucket \"$name\": HTTP status $status"; }
}

require_programs() {
    local program
    for program in ceph-mon ceph-osd ceph monmaptool radosgw radosgw-admin curl flock; do
        command -v "$program" >/dev/null || die "no program \"$program\" here; use \"make deps\""
    done
}

start() {
    require_programs
    mkdir -p "$dir"
    dir=$(realpath "$dir")
    [ -f "$dir/throw-away-gateway" ] || [ -z "$(ls -A "$dir")" ] || die "$dir is not empty and not ours"
    touch "$dir/throw-away-gateway"
    exec 9>"$dir/lock"
    flock -w "$timeout" 9 || die "another start holds $dir/lock"
    if status_is_up; then
        cat "$dir/environment"
        return
    fi
    # What a run that was killed has left.
    end_process rgw KILL
    end_process osd KILL
    end_process mon KILL
    rm -rf "${dir:?}"/{mon,osd,log,run,monmap,environment}

    trap 'end_everything' EXIT
    trap 'exit 130' INT TERM HUP
    local attempt http
    for attempt in 1 2 3; do
        http=$port
        [ "$http" != 0 ] || http=$(choose_port) || die "no free ports found"
        is_free "$http" || die "port $http is in use"
        if start_cluster "$http"; then break; fi
        [ "$port" = 0 ] && [ "$attempt" -lt 3 ] && [ "$SECONDS" -lt "$timeout" ] || fail_start
        # Somebody else took one of the ports between the check and the start.
        end_process rgw KILL
        end_process osd KILL
        end_process mon KILL
        rm -rf "${dir:?}"/{mon,osd}
    done
    local bucket
    for bucket in ${buckets[@]+"${buckets[@]}"}; do
        case $bucket in
        *=*) make_bucket "http://127.0.0.1:$http" "${bucket%%=*}" "${bucket#*=}" ;;
        *) make_bucket "http://127.0.0.1:$http" "$bucket" ;;
        esac
    done
    cat >"$dir/environment" <<LINES
S3_ENDPOINT=http://127.0.0.1:$http
S3_PORT=$http
S3_ACCESS_ID=$access
S3_ACCESS_KEY=$secret
S3_REGION=us-east-1
AWS_ACCESS_KEY_ID=$access
AWS_SECRET_ACCESS_KEY=$secret
RGW_DIR=$dir
LINES
    trap - EXIT
    if [ -n "$owner" ]; then
        setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" stop --dir "$3"' - "$owner" "$self" "$dir" \
            </dev/null >/dev/null 2>&1 9>&- &
        disown $!
    fi
    cat "$dir/environment"
}

fail_start() {
    local log
    for log in "$dir"/log/{mon,osd,rgw}.out; do
        [ -s "$log" ] && tail -n 5 "$log" >&2
    done
    die "the gateway did not start"
}

status_is_up() {
    [ -f "$dir/environment" ] && alive mon && alive osd && alive rgw &&
        answers "$(sed -n 's/^S3_PORT=//p' "$dir/environment")"
}

enter() {
    [ -f "$dir/environment" ] || die "no gateway in $dir"
    dir=$(realpath "$dir")
}

case $command in
start) start ;;
status)
    status_is_up || { echo "rgw.sh: no gateway runs in $dir" >&2 && exit 1; }
    cat "$dir/environment"
    ;;
stop)
    if [ -d "$dir" ]; then
        dir=$(realpath "$dir")
        end_everything
    fi
    ;;
down)
    enter
    end_process rgw TERM
    ;;
up)
    enter
    alive rgw || start_gateway "$(sed -n 's/^S3_PORT=//p' "$dir/environment")" || die "the gateway did not start"
    ;;
bucket)
    enter
    [ ${#words[@]} -ge 1 ] || { usage >&2 && exit 2; }
    make_bucket "$(sed -n 's/^S3_ENDPOINT=//p' "$dir/environment")" "${words[0]}" "${words[1]:-private}"
    ;;
help | --help | -h) usage ;;
*) usage >&2 && exit 2 ;;
esac
