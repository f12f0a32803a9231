#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Runs the tests that find more the longer they run, and prints their results as the table of Docs/Testing.md.
# Takes the binary from S3BACKER_BINARY; S3BACKER_KILLS (200), S3BACKER_CRASH_IMAGES (5000) and S3BACKER_KILL_SEED may be set.

set -euo pipefail
cd "$(dirname "$0")/.."

export S3BACKER_KILLS=${S3BACKER_KILLS:-200}
export S3BACKER_CRASH_IMAGES=${S3BACKER_CRASH_IMAGES:-5000}
scratch=$(mktemp -d /tmp/s3backer-soak.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
export S3BACKER_SOAK_REPORT=$scratch/rows
touch "$S3BACKER_SOAK_REPORT"
when=$(date -u +%Y-%m-%d)
commit=$(git describe --always --dirty --exclude '*')

# run FILTER LOG: whether all tests passed, and there were any
run() {
    local status=0
    Scripts/integration.sh "$1" 2>&1 | tee "$2" || status=$?
    grep -aqE 'Test run with [1-9][0-9]* test' "$2" || status=1
    return "$status"
}

outcome=0
run 'KillTests|StampTests' "$scratch/kills" || outcome=1
images='nothing lost'
run CacheFileCrash "$scratch/images" || images=FAILED outcome=1
seeds=$(grep -aoiE 'seeds? [0-9][0-9. -]*' "$scratch/images" | sed -E 's/^seeds? //I; s/[ .]+$//' | sort -un | head -3 | paste -sd, -) || true
echo "| power loss | $S3BACKER_CRASH_IMAGES images | ${seeds:-as built} | the cache file's writes, torn and out of order | $images |" \
    >>"$S3BACKER_SOAK_REPORT"

echo
echo "| date | commit | what happens | how often | seed | under which load | outcome |"
echo "|---|---|---|---|---|---|---|"
sed "s/^/| $when | $commit /" "$S3BACKER_SOAK_REPORT"
[ "$outcome" = 0 ] || echo "soak: FAILED, see above" >&2
exit "$outcome"
