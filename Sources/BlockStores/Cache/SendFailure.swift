// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Why a block, or a zeroing, was not brought to the store and recorded.
struct SendFailure: Error {
    /// The store's error, or the storage's.
    let error: BlockStoreError
    /// Whether trying again is no use until somebody has changed something.
    let isPermanent: Bool
    /// The sectors of the block that fail their check, if that is why.
    let damaged: [Int]?

    /// A failure that is permanent if the error is of that kind.
    init(_ error: BlockStoreError) {
        self.init(error, isPermanent: error.isPermanent)
    }

    /// A failure of which its finder knows whether it is permanent.
    init(_ error: BlockStoreError, isPermanent: Bool, damaged: [Int]? = nil) {
        self.error = error
        self.isPermanent = isPermanent
        self.damaged = damaged
    }
}
