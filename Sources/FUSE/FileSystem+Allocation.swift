// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import CLinux
internal import DataPath
internal import Glibc

/// What fallocate(2) comes to on a file of fixed size; pure.
///
/// | mode | within the disk | beyond its end |
/// |---|---|---|
/// | 0, KEEP_SIZE | nothing: any block can be written at any time | ENOSPC: there will never be room |
/// | PUNCH_HOLE, KEEP_SIZE | zeros | nothing: there is nothing to punch |
/// | ZERO_RANGE, with KEEP_SIZE or without | zeros | ENOSPC, and nothing is zeroed |
/// | anything else | EOPNOTSUPP | EOPNOTSUPP |
///
/// - Source: 'man 2 fallocate'.
enum Allocation: Equatable, Sendable {
    /// There is nothing to do.
    case nothing
    /// These bytes become zeros; not empty.
    case zero(Range<UInt64>)
    /// The request is refused with this error number.
    case refuse(Int32)

    /// Decides on a request.
    init(mode: Int32, offset: Int64, length: Int64, size: UInt64) {
        guard offset >= 0, length > 0 else {
            self = .refuse(EINVAL)
            return
        }
        guard let span = ByteSpan(offset: offset, count: Int(length), size: size) else {
            self = .refuse(EFBIG)
            return
        }
        switch mode {
        case 0, FALLOC_FL_KEEP_SIZE:
            self = span.crossesEnd ? .refuse(ENOSPC) : .nothing
        case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
            self = span.inside.isEmpty ? .nothing : .zero(span.inside)
        case FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
            self = span.crossesEnd ? .refuse(ENOSPC) : .zero(span.inside)
        default:
            self = .refuse(EOPNOTSUPP)
        }
    }
}

/// FALLOCATE.
extension FileSystem {
    /// FALLOCATE; see ``Allocation``.
    func allocate(_ request: consuming FUSERequest, _ number: fuse_ino_t, mode: Int32, offset: off_t, length: off_t) {
        guard node(number) == .file else { return request.reply(errno: EOPNOTSUPP) }
        guard !disk.isReadOnly else { return request.reply(errno: EROFS) }
        switch Allocation(mode: mode, offset: Int64(offset), length: Int64(length), size: disk.sizeBytes) {
        case .nothing:
            request.reply(errno: 0)
        case .refuse(let errno):
            request.reply(errno: errno)
        case .zero(let range):
            answer(request) { [self] () async throws(BlockStoreError) in
                try await disk.zero(range, .foreground)
                times.recordModification(at: realTimeNow())
                return .success
            }
        }
    }
}
