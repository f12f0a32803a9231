// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import ObjectStores

extension BlockStoreError {
    /// What a failure at the object waist is called at the block waist; the one place where an error crosses.
    ///
    /// - Parameter doing: What could not be done, to which block and object: `read block 00000003 (object "vm/00000003")`.
    init(_ error: ObjectStoreError, doing: String) {
        self.init(Code(error.code), "cannot \(doing): \(error.message)", cause: error)
    }
}

extension BlockStoreError.Code {
    /// The code of the block waist for one of the object waist.
    init(_ code: ObjectStoreError.Code) {
        switch code {
        case .unauthorized: self = .accessDenied
        case .forbidden: self = .forbidden
        case .preconditionFailed, .stale: self = .stale
        case .redirected: self = .redirected
        case .timedOut: self = .timedOut
        case .connectFailed, .hostUnknown: self = .unreachable
        case .outOfMemory: self = .outOfMemory
        case .noSpace: self = .noSpace
        case .fenced: self = .fenced
        case .cancelled: self = .cancelled
        // A missing bucket is not a missing block: it must never turn into zeros. The message names it.
        case .noSuchBucket, .clockSkewed, .slowDown, .serverError, .notImplemented, .badRequest, .unexpectedStatus,
            .notS3, .malformedAnswer, .connectionLost, .io:
            self = .io
        }
    }
}
