// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

/// What a block becomes on its way to an object.
struct EncodedBlock: Sendable {
    /// The object's bytes.
    var body: BufferSlice
    /// The object's Content-Encoding; nil when the bytes are the block's own.
    var contentEncoding: String?
    /// User metadata that belongs to the bytes: the HMAC.
    var user: [String: String]
}
