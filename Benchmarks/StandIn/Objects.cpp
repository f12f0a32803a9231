// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
#include "Objects.hpp"

#include <algorithm>

static const char http_date[] = "%a, %d %b %Y %H:%M:%S GMT";

/// "/bucket/key" or "/bucket"
static std::pair<std::string, std::string> bucket_and_key(const std::string &path) {
    size_t slash = path.find('/', 1);
    if (slash == std::string::npos) return {percent_decoded(path.substr(1)), ""};
    return {percent_decoded(path.substr(1, slash - 1)), percent_decoded(path.substr(slash + 1))};
}

std::string Objects::kind(const Request &request, std::string &key) {
    key = bucket_and_key(request.path).second;
    if (!key.empty())
        return request.method == "GET" || request.method == "HEAD" || request.method == "PUT" || request.method == "DELETE"
                   ? request.method
                   : "OTHER";
    if (request.method == "POST" && parameters(request.query).count("delete")) return "DELETES";
    return request.method == "GET" ? "LIST" : "OTHER";
}

size_t Objects::bytes() const {
    size_t sum = 0;
    for (const auto &[key, object] : objects) sum += object->body.size;
    return sum;
}

Answer Objects::perform(const std::string &kind, const std::string &key, Request &request) {
    if (bucket_and_key(request.path).first != bucket)
        return Answer::error(404, "NoSuchBucket", "the specified bucket does not exist");
    if (kind == "GET" || kind == "HEAD") return get(key, request);
    if (kind == "PUT") return put(key, request);
    if (kind == "DELETES") return remove_many(request);
    if (kind == "LIST") return list(request);
    if (kind == "DELETE") {
        objects.erase(key);
        return Answer::empty(204);
    }
    if (request.method == "HEAD") return Answer::empty(200);
    return Answer::error(501, "NotImplemented", "this stand-in does not know that request");
}

static bool names(const std::string &condition, const std::string &tag) {
    std::string bare = tag.substr(1, tag.size() - 2);
    for (const std::string &part : split(condition, ','))
        if (part == "*" || part == tag || part == bare) return true;
    return false;
}

Answer Objects::get(const std::string &key, const Request &request) {
    auto found = objects.find(key);
    if (found == objects.end()) return Answer::error(404, "NoSuchKey", "the specified key does not exist");
    const std::shared_ptr<const Object> &object = found->second;
    const std::string *if_match = request.header("if-match"), *if_none_match = request.header("if-none-match");
    Answer answer;
    answer.headers = "ETag: " + object->tag + "\r\nLast-Modified: " + date_text(object->modified, http_date) + "\r\n";
    if (if_match && !names(*if_match, object->tag))
        return Answer::error(412, "PreconditionFailed", "the object is another one");
    if (if_none_match && names(*if_none_match, object->tag)) {
        answer.status = 304;
        return answer;
    }
    answer.headers += object->headers;
    answer.object = object;
    answer.length = object->body.size;
    const std::string *range = request.header("range");
    unsigned long first = 0, last = 0;
    int fields = range ? sscanf(range->c_str(), "bytes=%lu-%lu", &first, &last) : 0;
    if (fields == 0) return answer;
    if (first >= object->body.size) return Answer::error(416, "InvalidRange", "the requested range is not satisfiable");
    last = fields == 1 ? object->body.size - 1 : std::min<unsigned long>(last, object->body.size - 1);
    answer.status = 206;
    answer.offset = first;
    answer.length = last - first + 1;
    answer.headers += "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                      std::to_string(object->body.size) + "\r\n";
    return answer;
}

Answer Objects::put(const std::string &key, Request &request) {
    auto found = objects.find(key);
    const std::string *if_none_match = request.header("if-none-match"), *if_match = request.header("if-match");
    if (if_none_match && found != objects.end())
        return Answer::error(412, "PreconditionFailed", "there is an object of that name");
    if (if_match && found == objects.end()) return Answer::error(404, "NoSuchKey", "the specified key does not exist");
    if (if_match && !names(*if_match, found->second->tag))
        return Answer::error(412, "PreconditionFailed", "the object is another one");

    auto object = std::make_shared<Object>();
    object->tag = "\"" + hex(request.digest.empty() ? md5(request.body.view()) : request.digest) + "\"";
    object->modified = time(nullptr);
    for (const auto &[name, value] : request.headers) {
        bool is_kept = name.compare(0, 11, "x-amz-meta-") == 0 || name == "content-type" || name == "content-encoding";
        if (is_kept) object->headers += name + ": " + value + "\r\n";
    }
    object->body = std::move(request.body);
    Answer answer;
    answer.headers = "ETag: " + object->tag + "\r\n";
    objects[key] = std::move(object);
    return answer;
}

Answer Objects::remove_many(const Request &request) {
    std::string_view text = request.body.view();
    bool is_quiet = text.find("<Quiet>true</Quiet>") != std::string_view::npos;
    std::string document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DeleteResult>";
    for (size_t start = 0; (start = text.find("<Key>", start)) != std::string_view::npos;) {
        start += 5;
        size_t end = text.find("</Key>", start);
        if (end == std::string_view::npos) return Answer::error(400, "MalformedXML", "a key has no end");
        std::string key = xml_unescaped(text.substr(start, end - start));
        objects.erase(key);
        if (!is_quiet) document += "<Deleted><Key>" + xml_escaped(key) + "</Key></Deleted>";
    }
    return Answer::of(document + "</DeleteResult>");
}

Answer Objects::list(const Request &request) {
    auto query = parameters(request.query);
    bool is_version2 = query["list-type"] == "2", is_encoded = query["encoding-type"] == "url";
    size_t limit = query["max-keys"].empty() ? 1000 : std::min<size_t>(1000, strtoul(query["max-keys"].c_str(), nullptr, 10));
    const std::string &prefix = query["prefix"];
    std::string after = std::max({query["marker"], query["start-after"], query["continuation-token"]});
    auto shown = [&](const std::string &key) { return is_encoded ? percent_encoded(key, true) : xml_escaped(key); };

    std::string contents, last;
    size_t count = 0;
    auto next = after < prefix ? objects.lower_bound(prefix) : objects.upper_bound(after);
    auto is_listed = [&] { return next != objects.end() && next->first.compare(0, prefix.size(), prefix) == 0; };
    for (; count < limit && is_listed(); ++next, ++count) {
        const Object &object = *next->second;
        last = next->first;
        contents += "<Contents><Key>" + shown(last) + "</Key><LastModified>" +
                    date_text(object.modified, "%Y-%m-%dT%H:%M:%S.000Z") + "</LastModified><ETag>" + xml_escaped(object.tag) +
                    "</ETag><Size>" + std::to_string(object.body.size) + "</Size><StorageClass>STANDARD</StorageClass></Contents>";
    }
    bool is_truncated = limit > 0 && is_listed();
    std::string document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>" + bucket + "</Name><Prefix>" +
                           shown(prefix) + "</Prefix><MaxKeys>" + std::to_string(limit) + "</MaxKeys><IsTruncated>" +
                           (is_truncated ? "true" : "false") + "</IsTruncated>";
    if (is_encoded) document += "<EncodingType>url</EncodingType>";
    if (is_version2) document += "<KeyCount>" + std::to_string(count) + "</KeyCount>";
    if (is_version2 && is_truncated) document += "<NextContinuationToken>" + xml_escaped(last) + "</NextContinuationToken>";
    return Answer::of(document + contents + "</ListBucketResult>");
}
