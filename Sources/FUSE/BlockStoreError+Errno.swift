// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Glibc

extension BlockStoreError.Code {
    /// The error number that an application gets for this failure.
    ///
    /// The numbers are those of the C program where it has one, so that scripts that tell them apart go on working.
    ///
    /// - Source: errno(3); Docs/Semantics.md, "Errors".
    var errno: Int32 {
        switch self {
        case .io, .corrupt: EIO
        case .accessDenied: EACCES
        case .forbidden: EPERM
        case .stale, .fenced: ESTALE
        case .redirected: ELOOP
        case .timedOut: ETIMEDOUT
        case .unreachable: ENXIO
        case .noSpace: ENOSPC
        case .outOfMemory: ENOMEM
        case .readOnly: EROFS
        case .outOfRange: EINVAL
        case .cancelled: EINTR
        }
    }
}
