#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Runs the tests on real parts: an S3 server, /dev/fuse, loop devices, the C program. Takes the binary from S3BACKER_BINARY.
#
# usage: Scripts/integration.sh [FILTER]      the regular expression that `swift test --filter` takes

set -euo pipefail
cd "$(dirname "$0")/.."

filter=${1:-IntegrationTests|FUSETests|RealStoreTests|CacheFileCrash}
export S3BACKER_INTEGRATION=1
export S3BACKER_BINARY=${S3BACKER_BINARY:-$PWD/.build/release/s3backer}
# How long the random tests are: kills of the daemon for each mode, images of a cache file after a power loss.
export S3BACKER_KILLS=${S3BACKER_KILLS:-20}
export S3BACKER_CRASH_IMAGES=${S3BACKER_CRASH_IMAGES:-500}
[ -x "$S3BACKER_BINARY" ] || { echo "integration: no binary $S3BACKER_BINARY; \"make release\" builds it" >&2 && exit 1; }

# For the tests of the S3 client; those of the whole program start gateways of their own.
gateway=$(mktemp -d /tmp/s3backer-gateway.XXXXXX)
trap 'Scripts/rgw.sh stop --dir "$gateway"; rm -rf "$gateway"' EXIT
trap 'exit 130' INT TERM HUP
if lines=$(Scripts/rgw.sh start --dir "$gateway" --owner $$); then
    set -a
    eval "$lines"
    set +a
elif [ "${CI:-}" = true ]; then
    exit 1
else
    echo "integration: without an S3 server, the tests that need one are skipped" >&2
fi

# One after the other: the tests share loop devices, processors and the clock.
swift test --disable-xctest --no-parallel --filter "$filter"
