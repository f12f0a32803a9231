// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// The objects of one bucket, in memory, and the requests on them.
#pragma once

#include <ctime>

#include "Request.hpp"

struct Object {
    Body body;
    /// With its quotation marks.
    std::string tag;
    /// What is sent back with the object: lines that end with CR LF.
    std::string headers;
    time_t modified = 0;
};

class Objects {
public:
    explicit Objects(std::string bucket) : bucket(std::move(bucket)) {}

    /// GET, HEAD, PUT, DELETE, DELETES (many at once), LIST or OTHER; `key` is that of the object, if it is about one.
    static std::string kind(const Request &request, std::string &key);

    /// Does what the request asks for, and takes its body where it puts an object.
    Answer perform(const std::string &kind, const std::string &key, Request &request);

    size_t count() const { return objects.size(); }
    size_t bytes() const;
    void clear() { objects.clear(); }

private:
    std::string bucket;
    std::map<std::string, std::shared_ptr<const Object>> objects;

    Answer get(const std::string &key, const Request &request);
    Answer put(const std::string &key, Request &request);
    Answer remove_many(const Request &request);
    Answer list(const Request &request);
};
