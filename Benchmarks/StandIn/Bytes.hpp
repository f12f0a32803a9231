// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// Text, codings and digests that the other files need.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct FreeBytes {
    void operator()(char *bytes) const { free(bytes); }
};

/// Bytes that are not set to zero before they are received into.
struct Body {
    std::unique_ptr<char, FreeBytes> bytes;
    size_t size = 0;

    explicit Body(size_t size = 0) : bytes(size > 0 ? static_cast<char *>(malloc(size)) : nullptr), size(size) {}
    std::string_view view() const { return {bytes.get(), size}; }
};

/// Seconds of the monotonic clock.
double now();

std::string hex(std::string_view bytes);
std::string to_base64(std::string_view bytes);
/// The bytes of base64 text; what is no base64 ends it.
std::string from_base64(std::string_view text);
std::string sha256(std::string_view bytes);
std::string md5(std::string_view bytes);
std::string hmac_sha256(std::string_view key, std::string_view message);

/// Percent-encodes all but the unreserved characters, and "/" where that is kept.
std::string percent_encoded(std::string_view text, bool keeps_slash);
std::string percent_decoded(std::string_view text, bool plus_is_blank = false);
/// The decoded parameters of a query.
std::map<std::string, std::string> parameters(std::string_view query);

std::string xml_escaped(std::string_view text);
std::string xml_unescaped(std::string_view text);
/// A time of the wall clock, as HTTP headers have it ("%a, %d %b %Y %H:%M:%S GMT") or in any other form of strftime, in UTC.
std::string date_text(time_t time, const char *form);

/// The parts between separators, without blanks around them.
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trimmed(std::string_view text);
std::string lower_case(std::string_view text);
