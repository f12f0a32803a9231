// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// One HTTP request and its answer.
#pragma once

#include "Bytes.hpp"

struct Object;

struct Request {
    std::string method;
    /// As sent, percent-encoded; the query without its question mark.
    std::string path, query;
    /// Names in lower case.
    std::vector<std::pair<std::string, std::string>> headers;
    Body body;
    /// The MD5 of the body, 16 bytes, where it is known already.
    std::string digest;

    /// Nothing where there is no such header.
    const std::string *header(std::string_view name) const {
        for (const auto &[key, value] : headers)
            if (key == name) return &value;
        return nullptr;
    }
};

struct Answer {
    int status = 200;
    /// Lines that end with CR LF.
    std::string headers;
    /// The body is either of an object, from an offset, or text.
    std::shared_ptr<const Object> object;
    size_t offset = 0, length = 0;
    std::string text;

    static Answer of(std::string text, const char *type = "application/xml") {
        Answer answer;
        answer.text = std::move(text);
        answer.length = answer.text.size();
        answer.headers = std::string("Content-Type: ") + type + "\r\n";
        return answer;
    }

    static Answer error(int status, const std::string &code, const std::string &message) {
        Answer answer = of("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code + "</Code><Message>" + message +
                           "</Message></Error>");
        answer.status = status;
        return answer;
    }

    static Answer empty(int status) {
        Answer answer;
        answer.status = status;
        return answer;
    }
};
