// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
#include "Signature.hpp"

#include <algorithm>

// Source: AWS documentation, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".

namespace {

struct Authorization {
    std::vector<std::string> credential, signed_headers;
    std::string signature;
};

Authorization parse(std::string_view text) {
    Authorization authorization;
    text.remove_prefix(std::min(text.size(), text.find(' ')));
    for (const std::string &part : split(text, ',')) {
        size_t equals = part.find('=');
        if (equals == std::string::npos) continue;
        std::string name = part.substr(0, equals), value = part.substr(equals + 1);
        if (name == "Credential") authorization.credential = split(value, '/');
        if (name == "SignedHeaders") authorization.signed_headers = split(value, ';');
        if (name == "Signature") authorization.signature = value;
    }
    return authorization;
}

std::string canonical_query(const std::string &query) {
    std::string text;
    for (const auto &[name, value] : parameters(query)) {
        if (!text.empty()) text += '&';
        text += percent_encoded(name, false) + "=" + percent_encoded(value, false);
    }
    return text;
}

Answer denied(const std::string &code, const std::string &message) { return Answer::error(403, code, message); }

} // namespace

const std::string &Signature::signing_key(const std::string &day, const std::string &region, const std::string &service) {
    std::string wanted = day + "/" + region + "/" + service;
    if (wanted != scope) {
        key = hmac_sha256(hmac_sha256(hmac_sha256(hmac_sha256("AWS4" + secret, day), region), service), "aws4_request");
        scope = wanted;
    }
    return key;
}

std::optional<Answer> Signature::refusal(const Request &request, bool hashes_body) {
    const std::string *header = request.header("authorization"), *date = request.header("x-amz-date");
    const std::string *payload = request.header("x-amz-content-sha256");
    if (!header || !date || !payload || header->compare(0, 17, "AWS4-HMAC-SHA256 ") != 0)
        return denied("AccessDenied", "a signature of version 4 is wanted");
    Authorization authorization = parse(*header);
    const auto &credential = authorization.credential, &names = authorization.signed_headers;
    if (credential.size() != 5 || credential[0] != access) return denied("InvalidAccessKeyId", "no such access key");

    std::string canonical = request.method + "\n" + percent_encoded(percent_decoded(request.path), true) + "\n" +
                            canonical_query(request.query) + "\n";
    std::string joined;
    for (const std::string &name : names) {
        const std::string *value = request.header(name);
        canonical += name + ":" + std::string(value ? trimmed(*value) : "") + "\n";
        joined += (joined.empty() ? "" : ";") + name;
    }
    canonical += "\n" + joined + "\n" + *payload;
    for (const auto &[name, value] : request.headers) {
        bool must_be_signed = name == "host" || name.compare(0, 6, "x-amz-") == 0;
        if (must_be_signed && std::find(names.begin(), names.end(), name) == names.end())
            return denied("AccessDenied", "there were headers present in the request which were not signed: " + name);
    }

    std::string text = "AWS4-HMAC-SHA256\n" + *date + "\n" + credential[1] + "/" + credential[2] + "/" + credential[3] +
                       "/aws4_request\n" + hex(sha256(canonical));
    if (hex(hmac_sha256(signing_key(credential[1], credential[2], credential[3]), text)) != authorization.signature)
        return denied("SignatureDoesNotMatch", "the signature is not that of the request");
    if (hashes_body && *payload != "UNSIGNED-PAYLOAD" && hex(sha256(request.body.view())) != *payload)
        return Answer::error(400, "XAmzContentSHA256Mismatch", "the body is not what was signed");
    const std::string *sum = request.header("content-md5");
    if (hashes_body && sum && md5(request.body.view()) != from_base64(*sum))
        return Answer::error(400, "BadDigest", "the body is not that of Content-MD5");
    return std::nullopt;
}
