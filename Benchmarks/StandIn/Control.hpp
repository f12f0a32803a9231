// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// What the control port sets and shows: delays, faults, counters.
#pragma once

#include <random>

#include "Request.hpp"

struct Settings {
    /// Seconds from a complete request to the first byte of its answer, and bytes a second of each connection (0: no limit).
    double latency = 0, bandwidth = 0;
    /// Each so manieth body is compared with the SHA-256 that was signed and with Content-MD5; 0 for none.
    unsigned long hash_every = 1;
    /// "off", "500", "503", "reset", "timeout": what happens to every request.
    std::string outage = "off";
    /// How many of all requests fail, from 0 to 1, in what ways, and how many of the failing mutations are done all the same.
    double fault_rate = 0, fault_applied = 0;
    std::vector<std::string> fault_kinds = {"500", "503", "reset", "timeout"};
    /// Seconds in the Retry-After of a 503; negative for none.
    int retry_after = 1;
};

/// The next `count` requests of a kind whose key contains a text, after `skip` of them.
struct ScriptedFault {
    std::string kind, key, fault;
    long skip = 0, count = 1;
    double applied = 0;
};

struct Counter {
    uint64_t requests = 0, succeeded = 0, unchanged = 0, refused = 0, failed = 0, unanswered = 0;
    uint64_t bytes_in = 0, bytes_out = 0, in_flight = 0, in_flight_max = 0;
};

/// What becomes of a request instead of its answer: "" for nothing.
struct Fault {
    std::string kind;
    bool is_applied = false;
};

class Control {
public:
    Settings settings;
    /// By kind; those about the mount token apart, as "PUT.token".
    std::map<std::string, Counter> counters;
    size_t connections = 0, connections_max = 0;

    explicit Control(unsigned seed) : random(seed) {}

    /// False for an unknown name or a value that cannot be.
    bool set(const std::string &name, const std::string &value);
    void add(ScriptedFault fault) { scripted.push_back(std::move(fault)); }
    void clear_faults();
    Fault fault(const std::string &kind, const std::string &key);
    bool hashes_next_body() { return settings.hash_every > 0 && ++bodies % settings.hash_every == 0; }

    void began(Counter &counter);
    /// `status` is 0 when there was no answer.
    void ended(Counter &counter, int status, size_t bytes_out);
    void reset_counters();
    /// PUT, DELETE and DELETES that have not been answered.
    uint64_t mutations_in_flight() const;
    std::string statistics(size_t objects) const;

private:
    std::mt19937_64 random;
    std::vector<ScriptedFault> scripted;
    unsigned long bodies = 0;

    double chance() { return std::uniform_real_distribution<double>(0, 1)(random); }
};
