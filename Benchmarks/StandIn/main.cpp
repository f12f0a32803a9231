// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// An S3 server for measurements and fault trials: one thread, one bucket, objects in memory, on 127.0.0.1 only. See README.md.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <malloc.h>
#include <new>
#include <sys/mman.h>

#include "Server.hpp"

static const char usage[] =
    "usage: stand-in [--port=N] [--control-port=N] [--bucket=NAME] [--access=ID:SECRET] [--reserve=MIB] [--seed=N] [NAME=VALUE ...]\n";

static bool value_of(const char *word, const char *name, std::string &value) {
    size_t length = strlen(name);
    if (strncmp(word, name, length) != 0 || word[length] != '=') return false;
    value = word + length + 1;
    return true;
}

/// Memory that was touched once is not given back: objects then cost no page faults while something is measured.
static void reserve(size_t mebibytes) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    mallopt(M_TOP_PAD, 16 << 20);
    if (mebibytes == 0) return;
    void *bytes = malloc(mebibytes << 20);
    if (!bytes) throw std::bad_alloc();
    // Large pages, and few faults: else this alone takes seconds.
    const size_t large = 2 << 20;
    char *first = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(bytes) + large - 1) / large * large);
    madvise(first, (mebibytes << 20) - large, MADV_HUGEPAGE);
    memset(bytes, 1, mebibytes << 20);
    asm volatile("" : : "r"(bytes) : "memory"); // else the compiler sees that nobody reads it
    free(bytes);
}

int main(int count, char **words) {
    std::string port = "0", control_port = "0", bucket = "bench", access = "access:secret", reserved = "0", seed = "1";
    std::vector<std::string> settings;
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        bool is_known = value_of(word, "--port", port) || value_of(word, "--control-port", control_port) ||
                        value_of(word, "--bucket", bucket) || value_of(word, "--access", access) ||
                        value_of(word, "--reserve", reserved) || value_of(word, "--seed", seed);
        if (is_known) continue;
        if (word[0] == '-' || !strchr(word, '=')) {
            fputs(usage, stderr);
            return 2;
        }
        settings.emplace_back(word);
    }
    signal(SIGPIPE, SIG_IGN);
    try {
        Control control(static_cast<unsigned>(std::stoul(seed)));
        for (const std::string &setting : settings) {
            size_t equals = setting.find('=');
            if (!control.set(setting.substr(0, equals), setting.substr(equals + 1))) {
                fprintf(stderr, "stand-in: cannot set %s\n", setting.c_str());
                return 2;
            }
        }
        reserve(std::stoul(reserved));
        Objects objects(bucket);
        size_t colon = access.find(':');
        Signature signature(access.substr(0, colon), colon == std::string::npos ? "" : access.substr(colon + 1));
        Server server(control, objects, signature);
        int s3 = server.listen(std::stoi(port), false), admin = server.listen(std::stoi(control_port), true);
        printf("STAND_IN=http://127.0.0.1:%d/ STAND_IN_CONTROL=http://127.0.0.1:%d/\n", s3, admin);
        fflush(stdout);
        server.run();
    } catch (const std::exception &error) {
        fprintf(stderr, "stand-in: %s\n", error.what());
        return 1;
    }
    return 0;
}
