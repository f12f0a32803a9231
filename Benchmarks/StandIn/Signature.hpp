// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors
//
// Signature Version 4 in the Authorization header.
#pragma once

#include <optional>

#include "Request.hpp"

class Signature {
public:
    Signature(std::string access, std::string secret) : access(std::move(access)), secret(std::move(secret)) {}

    /// Nothing when the request is signed as it must be, else the refusal. The hash of the payload is part of what is signed;
    /// whether it is the hash of the body is looked at only with `hashes_body`, since that is most of the work.
    std::optional<Answer> refusal(const Request &request, bool hashes_body);

private:
    std::string access, secret;
    /// The signing key of the last day and region asked for.
    std::string scope, key;

    const std::string &signing_key(const std::string &day, const std::string &region, const std::string &service);
};
