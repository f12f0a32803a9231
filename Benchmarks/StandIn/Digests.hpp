// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// MD5 (RFC 1321) of many texts side by side, one in each lane of the processor's vectors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// So many texts cost about three times as much as one alone costs OpenSSL.
inline constexpr size_t digest_lanes = 16;

/// The digests, 16 bytes each, of up to `digest_lanes` texts, in their order.
std::vector<std::string> md5_of_each(const std::vector<std::string_view> &texts);
