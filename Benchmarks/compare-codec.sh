#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Compares the codecs of a written block with the bare calls of zlib, zstd and OpenSSL. Needs no root and no mount.
#
#   Benchmarks/compare-codec.sh
set -euo pipefail

cd "$(dirname "$0")"
# The codecs are no public interface; testing may reach them, in an optimised build too.
flags=(-c release --product codec --scratch-path .build/codec -Xswiftc -enable-testing)
swift build "${flags[@]}" >&2
"$(swift build "${flags[@]}" --show-bin-path)/codec"
