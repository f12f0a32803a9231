// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How a read that could not wait was answered.
public enum PromptRead<Bytes> {
    /// With these bytes, which are the caller's.
    case bytes(Bytes)
    /// The bytes were shown where they are; the caller's closure has had them, once.
    case lent
    /// Not at all, and nobody was called: somebody has to wait.
    case notNow

    /// The answer of a layer that lends nothing.
    init(_ bytes: Bytes?) { self = if let bytes { .bytes(bytes) } else { .notNow } }
}
