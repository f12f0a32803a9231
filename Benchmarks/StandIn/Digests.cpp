// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
#include "Digests.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are taken from memory as they are");

typedef uint32_t Lanes __attribute__((vector_size(digest_lanes * sizeof(uint32_t))));
static const size_t block = 64;

/// RFC 1321, section 3.4: the table T.
static std::array<uint32_t, 64> sines() {
    std::array<uint32_t, 64> table{};
    for (size_t i = 0; i < 64; i++) table[i] = static_cast<uint32_t>(std::floor(std::fabs(std::sin(i + 1.0)) * 4294967296.0));
    return table;
}

/// One text: its whole blocks where they are, and the rest with the padding (section 3.1 and 3.2).
struct Lane {
    const char *text = nullptr;
    size_t whole_blocks = 0, blocks = 0;
    char tail[2 * block] = {};

    void take(std::string_view bytes) {
        text = bytes.data();
        whole_blocks = bytes.size() / block;
        size_t rest = bytes.size() % block;
        blocks = whole_blocks + (rest + 9 > block ? 2 : 1);
        if (rest > 0) memcpy(tail, text + whole_blocks * block, rest);
        tail[rest] = static_cast<char>(0x80);
        uint64_t bits = static_cast<uint64_t>(bytes.size()) * 8;
        memcpy(tail + (blocks - whole_blocks) * block - sizeof bits, &bits, sizeof bits);
    }

    const char *at(size_t number) const {
        return number < whole_blocks ? text + number * block : tail + (number - whole_blocks) * block;
    }
};

/// Section 3.4, on all lanes at once.
static void add_block(Lanes state[4], const Lanes words[16]) {
    static const std::array<uint32_t, 64> table = sines();
    static const int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    Lanes a = state[0], b = state[1], c = state[2], d = state[3];
#pragma GCC unroll 64
    for (size_t i = 0; i < 64; i++) {
        Lanes mixed;
        size_t word;
        if (i < 16) mixed = (b & c) | (~b & d), word = i;
        else if (i < 32) mixed = (d & b) | (~d & c), word = (5 * i + 1) % 16;
        else if (i < 48) mixed = b ^ c ^ d, word = (3 * i + 5) % 16;
        else mixed = c ^ (b | ~d), word = (7 * i) % 16;
        int shift = shifts[i / 16][i % 4];
        mixed += a + words[word] + table[i];
        Lanes next = b + ((mixed << shift) | (mixed >> (32 - shift)));
        a = d, d = c, c = b, b = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

std::vector<std::string> md5_of_each(const std::vector<std::string_view> &texts) {
    static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    std::array<Lane, digest_lanes> lanes;
    Lanes state[4], words[16];
    size_t blocks = 0;
    for (size_t lane = 0; lane < texts.size(); lane++) {
        lanes[lane].take(texts[lane]);
        blocks = std::max(blocks, lanes[lane].blocks);
    }
    for (int part = 0; part < 4; part++) state[part] = Lanes{} + start[part];

    std::vector<std::string> digests(texts.size(), std::string(16, 0));
    for (size_t number = 0; number < blocks; number++) {
        for (size_t lane = 0; lane < digest_lanes; lane++) {
            // A lane that is at its end counts on with zeros, for nobody.
            uint32_t of_lane[16] = {};
            if (number < lanes[lane].blocks) memcpy(of_lane, lanes[lane].at(number), block);
            for (int word = 0; word < 16; word++) words[word][lane] = of_lane[word];
        }
        add_block(state, words);
        for (size_t lane = 0; lane < texts.size(); lane++) {
            if (number + 1 != lanes[lane].blocks) continue;
            for (int part = 0; part < 4; part++) {
                uint32_t value = state[part][lane];
                memcpy(digests[lane].data() + part * sizeof value, &value, sizeof value);
            }
        }
    }
    return digests;
}
