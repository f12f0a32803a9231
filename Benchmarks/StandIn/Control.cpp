// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
#include "Control.hpp"

#include <algorithm>
#include <sys/resource.h>

static bool is_fault(const std::string &kind) {
    return kind == "500" || kind == "503" || kind == "reset" || kind == "timeout";
}

bool Control::set(const std::string &name, const std::string &value) {
    char *end = nullptr;
    double number = strtod(value.c_str(), &end);
    bool is_number = !value.empty() && *end == 0;
    if (name == "outage") {
        if (value != "off" && !is_fault(value)) return false;
        settings.outage = value;
        return true;
    }
    if (name == "fault_kinds") {
        auto kinds = split(value, ',');
        if (!std::all_of(kinds.begin(), kinds.end(), is_fault)) return false;
        settings.fault_kinds = kinds;
        return true;
    }
    if (!is_number) return false;
    if (name == "latency_ms") settings.latency = number / 1000;
    else if (name == "bandwidth") settings.bandwidth = number;
    else if (name == "hash_every") settings.hash_every = static_cast<unsigned long>(number);
    else if (name == "fault_rate") settings.fault_rate = number;
    else if (name == "fault_applied") settings.fault_applied = number;
    else if (name == "retry_after") settings.retry_after = static_cast<int>(number);
    else return false;
    return true;
}

void Control::clear_faults() {
    scripted.clear();
    settings.fault_rate = 0;
    settings.outage = "off";
}

Fault Control::fault(const std::string &kind, const std::string &key) {
    if (settings.outage != "off") return {settings.outage, false};
    for (auto next = scripted.begin(); next != scripted.end(); ++next) {
        if ((next->kind != "ALL" && next->kind != kind) || key.find(next->key) == std::string::npos) continue;
        if (next->skip > 0) {
            next->skip--;
            continue;
        }
        Fault fault{next->fault, chance() < next->applied};
        if (--next->count == 0) scripted.erase(next);
        return fault;
    }
    if (settings.fault_rate <= 0 || chance() >= settings.fault_rate) return {};
    size_t which = static_cast<size_t>(chance() * static_cast<double>(settings.fault_kinds.size()));
    return {settings.fault_kinds[which], chance() < settings.fault_applied};
}

void Control::began(Counter &counter) {
    counter.requests++;
    counter.in_flight++;
    counter.in_flight_max = std::max(counter.in_flight_max, counter.in_flight);
}

void Control::ended(Counter &counter, int status, size_t bytes_out) {
    counter.in_flight--;
    counter.bytes_out += bytes_out;
    if (status == 0) counter.unanswered++;
    else if (status < 300) counter.succeeded++;
    else if (status == 304) counter.unchanged++;
    else if (status < 500) counter.refused++;
    else counter.failed++;
}

void Control::reset_counters() {
    for (auto &[kind, counter] : counters) {
        uint64_t in_flight = counter.in_flight;
        counter = Counter();
        counter.in_flight = counter.in_flight_max = in_flight;
    }
    connections_max = connections;
}

uint64_t Control::mutations_in_flight() const {
    uint64_t sum = 0;
    for (const auto &[kind, counter] : counters)
        if (kind.compare(0, 3, "PUT") == 0 || kind.compare(0, 3, "DEL") == 0) sum += counter.in_flight;
    return sum;
}

std::string Control::statistics(size_t objects) const {
    std::string text = "{\n";
    auto add = [&](const std::string &name, const std::string &value) {
        text += std::string(text.size() > 2 ? ",\n" : "") + "  \"" + name + "\": " + value;
    };
    for (const auto &[kind, counter] : counters) {
        add(kind + ".requests", std::to_string(counter.requests));
        add(kind + ".succeeded", std::to_string(counter.succeeded));
        add(kind + ".unchanged", std::to_string(counter.unchanged));
        add(kind + ".refused", std::to_string(counter.refused));
        add(kind + ".failed", std::to_string(counter.failed));
        add(kind + ".unanswered", std::to_string(counter.unanswered));
        add(kind + ".bytes_in", std::to_string(counter.bytes_in));
        add(kind + ".bytes_out", std::to_string(counter.bytes_out));
        add(kind + ".in_flight_max", std::to_string(counter.in_flight_max));
    }
    add("connections", std::to_string(connections));
    add("connections_max", std::to_string(connections_max));
    add("objects", std::to_string(objects));
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    auto microseconds = [](const timeval &time) { return time.tv_sec * 1000000L + time.tv_usec; };
    add("cpu_us", std::to_string(microseconds(usage.ru_utime) + microseconds(usage.ru_stime)));
    return text + "\n}\n";
}
