// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// What the stand-in can do at most: connections that put, or get, one object after another, each signed once.
//
//   load PORT put|get CONNECTIONS OBJECTS BYTES     prints seconds
#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "Bytes.hpp"

/// Content-MD5 is not among the signed headers; it spares the server the digest, as that of any client does.
static std::string sum_header;

static std::string request(const std::string &method, const std::string &path, const std::string &body_hash, size_t size) {
    std::string headers = "host:localhost\nx-amz-content-sha256:" + body_hash + "\nx-amz-date:20260101T000000Z\n";
    std::string names = "host;x-amz-content-sha256;x-amz-date", scope = "20260101/us-east-1/s3/aws4_request";
    std::string canonical = method + "\n" + path + "\n\n" + headers + "\n" + names + "\n" + body_hash;
    std::string key = hmac_sha256(hmac_sha256(hmac_sha256(hmac_sha256("AWS4secret", "20260101"), "us-east-1"), "s3"), "aws4_request");
    std::string signature = hex(hmac_sha256(key, "AWS4-HMAC-SHA256\n20260101T000000Z\n" + scope + "\n" + hex(sha256(canonical))));
    return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nx-amz-content-sha256: " + body_hash +
           "\r\nx-amz-date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=access/" + scope +
           ", SignedHeaders=" + names + ", Signature=" + signature + "\r\nContent-Length: " + std::to_string(size) + "\r\n" +
           sum_header + "\r\n";
}

static void fail(const char *what) {
    perror(what);
    _exit(1);
}

static void exchange(int socket, const std::string &head, const std::string &body, std::string &answer) {
    std::string bytes = head + body;
    for (size_t sent = 0; sent < bytes.size();) {
        ssize_t count = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) fail("send");
        sent += static_cast<size_t>(count);
    }
    size_t received = 0, wanted = SIZE_MAX;
    while (received < wanted) {
        ssize_t count = recv(socket, answer.data() + received, answer.size() - received, 0);
        if (count <= 0) fail("recv");
        received += static_cast<size_t>(count);
        const void *end = wanted == SIZE_MAX ? memmem(answer.data(), received, "\r\n\r\n", 4) : nullptr;
        if (!end) continue;
        const char *length = static_cast<const char *>(memmem(answer.data(), received, "Content-Length: ", 16));
        size_t head_size = static_cast<size_t>(static_cast<const char *>(end) - answer.data()) + 4;
        wanted = head_size + (length ? strtoul(length + 16, nullptr, 10) : 0);
    }
    if (answer.compare(0, 12, "HTTP/1.1 200") != 0) {
        fprintf(stderr, "load: %s\n", answer.substr(0, received).c_str());
        _exit(1);
    }
}

static void work(int port, bool puts, size_t first, size_t step, size_t objects, const std::string &body, const std::string &hash) {
    int connection = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(connection, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) fail("connect");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    std::string answer(body.size() + 8192, 0), nothing;
    for (size_t i = first; i < objects; i += step) {
        std::string path = "/bench/load-" + std::to_string(i);
        std::string head = request(puts ? "PUT" : "GET", path, puts ? hash : hex(sha256("")), puts ? body.size() : 0);
        exchange(connection, head, puts ? body : nothing, answer);
    }
    close(connection);
}

int main(int count, char **words) {
    if (count != 6) {
        fprintf(stderr, "usage: load PORT put|get CONNECTIONS OBJECTS BYTES\n");
        return 2;
    }
    int port = atoi(words[1]);
    bool puts = strcmp(words[2], "put") == 0;
    size_t connections = strtoul(words[3], nullptr, 10), objects = strtoul(words[4], nullptr, 10);
    std::string body(strtoul(words[5], nullptr, 10), 'x'), hash = hex(sha256(body));
    if (puts) sum_header = "Content-MD5: " + to_base64(md5(body)) + "\r\n";
    double begun = now();
    std::vector<std::thread> threads;
    for (size_t i = 0; i < connections; i++)
        threads.emplace_back(work, port, puts, i, connections, objects, std::cref(body), std::cref(hash));
    for (std::thread &thread : threads) thread.join();
    printf("%.3f\n", now() - begun);
    return 0;
}
