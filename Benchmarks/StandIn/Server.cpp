// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
#include "Server.hpp"

#include "Digests.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cmath>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>

/// The first numbers of events are those of listeners.
static const uint64_t listeners_max = 16;
/// What is sent or taken at once where the bandwidth is limited. A body of this size needs one timer.
static const size_t piece = 256 << 10;
/// Bodies up to this size are always hashed; of the larger ones, as many as `hash_every` says.
static const size_t always_hashed = 4 << 10;
/// Seconds until the next answer that leave time to digest the bodies there are, however few.
static const double idle = 500e-6;
/// Fewer bodies than that are digested faster one after the other.
static const size_t side_by_side_min = 4;
static const size_t head_max = 64 << 10, body_max = 1 << 30;

static int checked(int result, const char *what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

Server::Server(Control &control, Objects &objects, Signature &signature)
    : control(control), objects(objects), signature(signature), poll(checked(epoll_create1(0), "epoll_create1")) {}

int Server::listen(int port, bool is_control) {
    int listener = checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    checked(bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address), "bind");
    checked(::listen(listener, 1024), "listen");
    socklen_t length = sizeof address;
    checked(getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length), "getsockname");
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = listeners.size();
    listeners.emplace_back(listener, is_control);
    checked(epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
    return ntohs(address.sin_port);
}

void Server::run() {
    epoll_event events[256];
    while (is_running) {
        timespec wait{3600, 0};
        if (!timers.empty()) {
            double left = std::max(0.0, timers.top().time - now());
            wait.tv_sec = static_cast<time_t>(left);
            wait.tv_nsec = static_cast<long>((left - std::floor(left)) * 1e9);
        }
        int count = epoll_pwait2(poll, events, 256, &wait, nullptr);
        if (count < 0 && errno != EINTR) checked(count, "epoll_pwait2");
        for (int i = 0; i < count; i++) {
            uint64_t number = events[i].data.u64;
            if (number < listeners_max) {
                accept_all(listeners[number].first, listeners[number].second);
                continue;
            }
            auto found = connections.find(number);
            if (found == connections.end()) continue;
            Connection &connection = *found->second;
            if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) hung_up(connection);
            else if (connection.state == State::writing) send(connection);
            else while (receive(connection)) {}
        }
        while (!timers.empty() && timers.top().time <= now()) {
            Timer timer = timers.top();
            timers.pop();
            ring(timer.connection, timer.serial);
        }
        if (!undigested.empty() && (timers.empty() || timers.top().time - now() > idle)) digest_bodies();
    }
}

void Server::accept_all(int listener, bool is_control) {
    for (;;) {
        int socket = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) return;
        int yes = 1, buffer = 1 << 20;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
        auto connection = std::make_unique<Connection>();
        connection->number = listeners_max + connections_made++;
        connection->socket = socket;
        connection->is_control = is_control;
        // Edges only: what is not wanted yet needs no further call.
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.u64 = connection->number;
        checked(epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
        if (!is_control) control.connections_max = std::max(control.connections_max, ++control.connections);
        connections.emplace(connection->number, std::move(connection));
    }
}

void Server::close(Connection &connection, bool resets) {
    if (connection.socket >= 0) {
        linger hard{1, 0};
        if (resets) setsockopt(connection.socket, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        ::close(connection.socket);
        if (!connection.is_control) control.connections--;
    }
    connections.erase(connection.number);
}

void Server::set_timer(Connection &connection, double time) { timers.push({time, connection.number, ++connection.timer}); }

void Server::ring(uint64_t number, uint64_t serial) {
    auto found = connections.find(number);
    if (found == connections.end() || found->second->timer != serial) return;
    Connection &connection = *found->second;
    switch (connection.state) {
    case State::body:
        while (receive(connection)) {}
        break;
    case State::waiting: perform(connection); break;
    case State::writing:
        connection.allowed = std::min(connection.answer.length, connection.allowed + piece);
        connection.awaits_timer = false;
        send(connection);
        break;
    case State::head:
    case State::held: break;
    }
}

// --- Receiving. Each returns whether there may be more to receive.

bool Server::receive(Connection &connection) {
    if (connection.state == State::head) return receive_head(connection);
    if (connection.state == State::body) return receive_body(connection);
    return false;
}

bool Server::receive_head(Connection &connection) {
    size_t end = connection.received.find("\r\n\r\n");
    if (end == std::string::npos) {
        // Little, so that most of a body is received where it stays.
        char bytes[4096];
        ssize_t count = recv(connection.socket, bytes, sizeof bytes, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN) || connection.received.size() > head_max) {
            close(connection);
            return false;
        }
        if (count < 0) return false;
        connection.received.append(bytes, static_cast<size_t>(count));
        return true;
    }
    std::string text = connection.received.substr(0, end);
    connection.received.erase(0, end + 4);
    connection.begun = now();
    if (!parse_head(connection, text)) {
        close(connection, true);
        return false;
    }
    if (connection.request.body.size == 0) {
        complete(connection);
        return false;
    }
    connection.body_received = std::min(connection.received.size(), connection.request.body.size);
    connection.received.copy(connection.request.body.bytes.get(), connection.body_received);
    connection.received.erase(0, connection.body_received);
    connection.state = State::body;
    const std::string *expected = connection.request.header("expect");
    if (expected && lower_case(*expected) == "100-continue" && connection.body_received == 0)
        ::send(connection.socket, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    return true;
}

bool Server::parse_head(Connection &connection, std::string_view text) {
    Request &request = connection.request;
    request = Request();
    std::vector<std::string> lines = split(text, '\n'), words = split(lines[0], ' ');
    if (words.size() != 3) return false;
    size_t question = words[1].find('?');
    request.method = words[0];
    request.path = words[1].substr(0, question);
    request.query = question == std::string::npos ? "" : words[1].substr(question + 1);
    for (size_t i = 1; i < lines.size(); i++) {
        size_t colon = lines[i].find(':');
        if (colon == std::string::npos) return false;
        request.headers.emplace_back(lower_case(lines[i].substr(0, colon)), trimmed(std::string_view(lines[i]).substr(colon + 1)));
    }
    // What the clients send has a length; bodies in chunks are not known here.
    if (request.header("transfer-encoding")) return false;
    const std::string *length = request.header("content-length");
    size_t size = length ? strtoul(length->c_str(), nullptr, 10) : 0;
    if (size > body_max) return false;
    request.body = Body(size);
    return true;
}

bool Server::receive_body(Connection &connection) {
    Body &body = connection.request.body;
    double bandwidth = control.settings.bandwidth;
    if (connection.body_received < body.size) {
        size_t wanted = body.size - connection.body_received;
        if (bandwidth > 0 && body.size > piece) {
            double ready = connection.begun + static_cast<double>(connection.body_received) / bandwidth;
            if (ready > now()) {
                set_timer(connection, ready);
                return false;
            }
            wanted = std::min(wanted, piece);
        }
        ssize_t count = recv(connection.socket, body.bytes.get() + connection.body_received, wanted, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            close(connection);
            return false;
        }
        if (count < 0) return false;
        connection.body_received += static_cast<size_t>(count);
        return true;
    }
    complete(connection);
    return false;
}

/// A request is whole: it waits for its time.
void Server::complete(Connection &connection) {
    if (connection.is_control) return perform_control(connection);
    connection.kind = Objects::kind(connection.request, connection.key);
    bool is_token = connection.key.size() >= 16 && connection.key.compare(connection.key.size() - 16, 16, "s3backer-mounted") == 0;
    connection.counter = &control.counters[connection.kind + (is_token ? ".token" : "")];
    control.began(*connection.counter);
    connection.counter->bytes_in += connection.request.body.size;
    connection.fault = control.fault(connection.kind, connection.key);
    // Now, so that the work is done while the answer is not due.
    bool hashes_body = connection.request.body.size <= always_hashed || control.hashes_next_body();
    auto refusal = signature.refusal(connection.request, hashes_body);
    connection.is_refused = refusal.has_value();
    if (refusal) connection.answer = std::move(*refusal);
    else if (connection.kind == "PUT") note_digest(connection);
    // The bytes took their time on the way here, however fast loopback was.
    double size = static_cast<double>(connection.request.body.size), bandwidth = control.settings.bandwidth;
    double received = bandwidth > 0 ? std::max(now(), connection.begun + size / bandwidth) : now();
    connection.due = received + control.settings.latency;
    connection.state = State::waiting;
    if (control.settings.latency == 0 && bandwidth == 0) perform(connection);
    else set_timer(connection, connection.due);
}

/// Sees to it that the body's MD5, which is to be its ETag, is known when the request is carried out.
void Server::note_digest(Connection &connection) {
    const std::string *sum = connection.request.header("content-md5");
    if (sum) {
        connection.request.digest = from_base64(*sum);
        return;
    }
    undigested.push_back(connection.number);
    if (undigested.size() == digest_lanes) digest_bodies();
}

/// Many at once cost a fraction of what each alone costs, so they are collected while their answers are not due.
void Server::digest_bodies() {
    std::vector<std::string_view> bodies;
    std::vector<Request *> requests;
    for (uint64_t number : undigested) {
        auto found = connections.find(number);
        if (found == connections.end()) continue;
        requests.push_back(&found->second->request);
        bodies.push_back(requests.back()->body.view());
    }
    undigested.clear();
    std::vector<std::string> digests;
    if (bodies.size() >= side_by_side_min) digests = md5_of_each(bodies);
    else for (std::string_view body : bodies) digests.push_back(md5(body));
    for (size_t i = 0; i < requests.size(); i++) requests[i]->digest = std::move(digests[i]);
}

/// A request that was sent whole is carried out, though nobody waits for its answer any more.
void Server::hung_up(Connection &connection) {
    if (connection.state != State::waiting) {
        if (connection.counter) end_request(connection, 0);
        return close(connection);
    }
    ::close(connection.socket);
    connection.socket = -1;
    control.connections--;
}

// --- Answering.

void Server::perform(Connection &connection) {
    Request &request = connection.request;
    const std::string &fault = connection.fault.kind;
    if (std::find(undigested.begin(), undigested.end(), connection.number) != undigested.end()) digest_bodies();
    if (!connection.is_refused && (fault.empty() || connection.fault.is_applied))
        connection.answer = objects.perform(connection.kind, connection.key, request);
    if (connection.socket < 0 || fault == "reset") {
        end_request(connection, 0);
        return close(connection, true);
    }
    if (fault == "timeout") {
        connection.state = State::held;
        return;
    }
    if (fault == "500") connection.answer = Answer::error(500, "InternalError", "an internal error, please try again");
    if (fault == "503") {
        connection.answer = Answer::error(503, "SlowDown", "please reduce your request rate");
        if (control.settings.retry_after >= 0)
            connection.answer.headers += "Retry-After: " + std::to_string(control.settings.retry_after) + "\r\n";
    }
    begin_answer(connection);
}

void Server::begin_answer(Connection &connection) {
    Answer &answer = connection.answer;
    connection.head = "HTTP/1.1 " + std::to_string(answer.status) + " -\r\n" + answer.headers;
    if (answer.status != 204 && answer.status != 304)
        connection.head += "Content-Length: " + std::to_string(answer.length) + "\r\n";
    connection.head += "Server: s3-stand-in\r\nx-amz-request-id: 0\r\n\r\n";
    if (connection.request.method == "HEAD") answer.length = 0;
    connection.state = State::writing;
    connection.sent = 0;
    connection.allowed = answer.length;
    if (!connection.is_control && control.settings.bandwidth > 0 && answer.length > 0) {
        // The head alone is not worth a call: it goes with the first piece.
        connection.allowed = 0;
        return await_next_piece(connection);
    }
    send(connection);
}

/// Sending goes on when the next piece would have arrived.
void Server::await_next_piece(Connection &connection) {
    size_t next = std::min(connection.answer.length - connection.allowed, piece);
    connection.due += static_cast<double>(next) / std::max(1.0, control.settings.bandwidth);
    connection.awaits_timer = true;
    set_timer(connection, connection.due);
}

void Server::send(Connection &connection) {
    Answer &answer = connection.answer;
    const char *body = answer.object ? answer.object->body.bytes.get() + answer.offset : answer.text.data();
    size_t head = connection.head.size();
    if (connection.awaits_timer) return;
    while (connection.sent < head + connection.allowed) {
        iovec parts[2];
        int count = 0;
        if (connection.sent < head) parts[count++] = {connection.head.data() + connection.sent, head - connection.sent};
        size_t from = connection.sent > head ? connection.sent - head : 0;
        if (from < connection.allowed) parts[count++] = {const_cast<char *>(body) + from, connection.allowed - from};
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = static_cast<size_t>(count);
        ssize_t written = sendmsg(connection.socket, &message, MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN) return;
        if (written < 0) {
            if (connection.counter) end_request(connection, 0);
            return close(connection);
        }
        connection.sent += static_cast<size_t>(written);
    }
    if (connection.allowed < answer.length) return await_next_piece(connection);
    if (connection.counter) end_request(connection, answer.status);
    connection.answer = Answer();
    connection.state = State::head;
    while (receive(connection)) {}
}

void Server::end_request(Connection &connection, int status) {
    control.ended(*connection.counter, status, status > 0 ? connection.answer.length : 0);
    connection.counter = nullptr;
    answer_held();
}

// --- The control port.

bool Server::is_drained(const std::string &query) const {
    auto wanted = parameters(query);
    auto puts = control.counters.find("PUT");
    uint64_t done = puts == control.counters.end() ? 0 : puts->second.succeeded;
    return control.mutations_in_flight() == 0 && objects.count() >= strtoul(wanted["objects"].c_str(), nullptr, 10) &&
           done >= strtoul(wanted["puts"].c_str(), nullptr, 10);
}

/// Those who wait on the control port for `/drained`.
void Server::answer_held() {
    for (size_t i = 0; i < held.size();) {
        auto found = connections.find(held[i]);
        if (found != connections.end() && !is_drained(found->second->request.query)) {
            i++;
            continue;
        }
        held.erase(held.begin() + static_cast<long>(i));
        if (found == connections.end()) continue;
        found->second->answer = Answer::of("drained\n", "text/plain");
        begin_answer(*found->second);
    }
}

void Server::perform_control(Connection &connection) {
    const std::string &path = connection.request.path;
    auto query = parameters(connection.request.query);
    connection.answer = Answer::of("done\n", "text/plain");
    if (path == "/stats") {
        connection.answer = Answer::of(control.statistics(objects.count()), "application/json");
        if (query.count("reset")) control.reset_counters();
    } else if (path == "/set") {
        for (const auto &[name, value] : query)
            if (!control.set(name, value)) connection.answer = Answer::error(400, "InvalidArgument", "cannot set " + name);
    } else if (path == "/fault") {
        ScriptedFault fault{query["kind"].empty() ? "ALL" : query["kind"], query["key"], query["fault"]};
        fault.skip = atol(query["skip"].c_str());
        fault.count = query["count"].empty() ? 1 : atol(query["count"].c_str());
        fault.applied = atof(query["applied"].c_str());
        control.add(fault);
    } else if (path == "/clear-faults") {
        control.clear_faults();
    } else if (path == "/wipe") {
        objects.clear();
    } else if (path == "/quit") {
        is_running = false;
    } else if (path == "/drained") {
        if (!is_drained(connection.request.query)) {
            connection.state = State::held;
            held.push_back(connection.number);
            return;
        }
    } else if (path != "/ready") {
        connection.answer = Answer::error(404, "NoSuchKey", "no such request");
    }
    begin_answer(connection);
}
