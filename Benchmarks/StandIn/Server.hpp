// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// HTTP/1.1 on one thread: connections, delays, and what is done with a request.
#pragma once

#include <queue>
#include <unordered_map>

#include "Control.hpp"
#include "Objects.hpp"
#include "Signature.hpp"

enum class State { head, body, waiting, writing, held };

struct Connection {
    uint64_t number;
    int socket;
    bool is_control;
    State state = State::head;
    /// Counts the timers that were set, so that an old one is known.
    uint64_t timer = 0;

    std::string received;
    Request request;
    size_t body_received = 0;
    /// When the head was there, and when the first byte of the answer is due.
    double begun = 0, due = 0;

    std::string kind, key;
    Counter *counter = nullptr;
    Fault fault;
    bool is_refused = false;
    Answer answer;
    std::string head;
    /// Bytes of the head and the body that were sent, and of the body that may be by now.
    size_t sent = 0, allowed = 0;
    /// A timer, not the socket, says when sending goes on.
    bool awaits_timer = false;
};

class Server {
public:
    Server(Control &control, Objects &objects, Signature &signature);

    /// Listens on 127.0.0.1, on any free port for 0, and returns the port.
    int listen(int port, bool is_control);
    /// Serves until `/quit`.
    void run();

private:
    struct Timer {
        double time;
        uint64_t connection, serial;
        bool operator<(const Timer &other) const { return time > other.time; }
    };

    Control &control;
    Objects &objects;
    Signature &signature;
    int poll;
    bool is_running = true;
    uint64_t connections_made = 0;
    std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections;
    std::priority_queue<Timer> timers;
    /// The listening sockets are told from the numbers of connections by their place in here.
    std::vector<std::pair<int, bool>> listeners;
    /// Connections whose request waits for its time, and whose body has not been digested.
    std::vector<uint64_t> undigested;
    /// Connections of the control port that wait for `/drained`.
    std::vector<uint64_t> held;

    void accept_all(int listener, bool is_control);
    void close(Connection &connection, bool resets = false);
    void set_timer(Connection &connection, double time);
    void ring(uint64_t number, uint64_t serial);

    bool receive(Connection &connection);
    bool receive_head(Connection &connection);
    bool receive_body(Connection &connection);
    bool parse_head(Connection &connection, std::string_view text);
    void complete(Connection &connection);
    void note_digest(Connection &connection);
    void digest_bodies();
    void hung_up(Connection &connection);

    void perform(Connection &connection);
    void begin_answer(Connection &connection);
    void await_next_piece(Connection &connection);
    void send(Connection &connection);
    void end_request(Connection &connection, int status);

    void perform_control(Connection &connection);
    bool is_drained(const std::string &query) const;
    void answer_held();
};
