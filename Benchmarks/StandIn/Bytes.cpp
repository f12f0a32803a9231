// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
#include "Bytes.hpp"

#include <cctype>
#include <cstring>
#include <ctime>
#include <openssl/md5.h>
#include <openssl/sha.h>

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::string hex(std::string_view bytes) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (unsigned char byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

static const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(std::string_view bytes) {
    std::string text;
    unsigned bits = 0, count = 0;
    for (unsigned char byte : bytes) {
        bits = bits << 8 | byte;
        for (count += 8; count >= 6; count -= 6) text += alphabet[bits >> (count - 6) & 63];
    }
    if (count > 0) text += alphabet[bits << (6 - count) & 63];
    text.resize((text.size() + 3) / 4 * 4, '=');
    return text;
}

std::string from_base64(std::string_view text) {
    std::string bytes;
    unsigned bits = 0, count = 0;
    for (char character : text) {
        size_t value = alphabet.find(character);
        if (value == std::string_view::npos) break;
        bits = bits << 6 | static_cast<unsigned>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes += static_cast<char>(bits >> count & 255);
        }
    }
    return bytes;
}

// The calls of OpenSSL 3 that are not deprecated look the algorithm up by its name each time, which takes longer than a short
// digest.
std::string sha256(std::string_view bytes) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, bytes.data(), bytes.size());
    SHA256_Final(digest, &context);
    return {reinterpret_cast<char *>(digest), sizeof digest};
}

std::string md5(std::string_view bytes) {
    unsigned char digest[MD5_DIGEST_LENGTH];
    MD5_CTX context;
    MD5_Init(&context);
    MD5_Update(&context, bytes.data(), bytes.size());
    MD5_Final(digest, &context);
    return {reinterpret_cast<char *>(digest), sizeof digest};
}

std::string hmac_sha256(std::string_view key, std::string_view message) {
    std::string block = key.size() > 64 ? sha256(key) : std::string(key);
    block.resize(64, 0);
    std::string inner = block, outer = block;
    for (char &byte : inner) byte ^= 0x36;
    for (char &byte : outer) byte ^= 0x5c;
    return sha256(outer + sha256(inner.append(message)));
}

std::string percent_encoded(std::string_view text, bool keeps_slash) {
    static const char digits[] = "0123456789ABCDEF";
    std::string encoded;
    encoded.reserve(text.size() + 8);
    for (unsigned char byte : text) {
        if (isalnum(byte) || strchr("-_.~", byte) || (keeps_slash && byte == '/')) {
            encoded += static_cast<char>(byte);
        } else {
            encoded += {'%', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return encoded;
}

std::string percent_decoded(std::string_view text, bool plus_is_blank) {
    std::string decoded;
    decoded.reserve(text.size());
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '%' && i + 2 < text.size() && isxdigit(static_cast<unsigned char>(text[i + 1]))) {
            decoded += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        } else {
            decoded += plus_is_blank && text[i] == '+' ? ' ' : text[i];
        }
    }
    return decoded;
}

std::map<std::string, std::string> parameters(std::string_view query) {
    std::map<std::string, std::string> values;
    if (query.empty()) return values;
    for (const std::string &part : split(query, '&')) {
        size_t equals = part.find('=');
        std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
        values[percent_decoded(part.substr(0, equals), true)] = percent_decoded(value, true);
    }
    return values;
}

static const std::pair<std::string_view, char> entities[] = {
    {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

std::string xml_escaped(std::string_view text) {
    std::string escaped;
    for (char character : text) {
        std::string_view entity;
        for (const auto &[name, meaning] : entities)
            if (character == meaning) entity = name;
        if (entity.empty()) escaped += character;
        else escaped += entity;
    }
    return escaped;
}

std::string xml_unescaped(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size();) {
        size_t length = 1;
        char character = text[i];
        for (const auto &[name, meaning] : entities) {
            if (text.substr(i, name.size()) == name) {
                character = meaning;
                length = name.size();
            }
        }
        plain += character;
        i += length;
    }
    return plain;
}

std::string date_text(time_t time, const char *form) {
    tm parts;
    gmtime_r(&time, &parts);
    char text[64];
    return {text, strftime(text, sizeof text, form, &parts)};
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
    while (!text.empty() && isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
    return text;
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    for (;;) {
        size_t end = text.find(separator);
        parts.emplace_back(trimmed(text.substr(0, end)));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char &character : lower) character = static_cast<char>(tolower(static_cast<unsigned char>(character)));
    return lower;
}
