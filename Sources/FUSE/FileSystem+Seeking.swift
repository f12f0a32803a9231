// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import CLinux
internal import Glibc

/// A search for the next data or the next hole, in steps; pure.
///
/// The extents of a whole disk may be many, and the answer usually lies near, so the disk is asked for one window after the
/// other, each twice as long as the one before.
///
/// - Source: 'man 2 lseek', SEEK_DATA and SEEK_HOLE.
struct ExtentSearch: Sendable {
    private let kind: BlockExtent.Kind
    private let size: UInt64
    private var position: UInt64
    private var windowBytes: UInt64 = 64 << 20

    /// The longest window; bounds how many extents one answer can have.
    static let windowBytesMax: UInt64 = 64 << 30

    /// - Returns: Nil for an offset at or beyond the end (ENXIO).
    init?(for kind: BlockExtent.Kind, from offset: Int64, size: UInt64) {
        guard offset >= 0, UInt64(offset) < size else { return nil }
        self.kind = kind
        self.size = size
        position = UInt64(offset)
    }

    /// The bytes to ask the disk about next; nil when it has been searched to its end.
    mutating func nextWindow() -> Range<UInt64>? {
        guard position < size else { return nil }
        let window = position..<position + min(windowBytes, size - position)
        position = window.upperBound
        windowBytes = min(windowBytes * 2, Self.windowBytesMax)
        return window
    }

    /// Looks at the answer for the last window.
    ///
    /// - Returns: Where the search ends, if it does.
    func position(in extents: [DiskExtent]) -> UInt64? {
        extents.first { $0.kind == kind }?.range.lowerBound
    }

    /// What the search comes to when no window had it: a file has a hole at its end, but no data (nil: ENXIO).
    var positionAtEnd: UInt64? { kind == .zero ? size : nil }
}

/// LSEEK, of which the kernel sends only SEEK_DATA and SEEK_HOLE.
extension FileSystem {
    /// LSEEK.
    func seek(_ request: consuming FUSERequest, _ number: fuse_ino_t, offset: off_t, whence: Int32) {
        guard node(number) == .file, whence == SEEK_DATA || whence == SEEK_HOLE else { return request.reply(errno: EINVAL) }
        let kind: BlockExtent.Kind = whence == SEEK_DATA ? .data : .zero
        guard let search = ExtentSearch(for: kind, from: Int64(offset), size: disk.sizeBytes) else {
            return request.reply(errno: ENXIO)
        }
        let disk = disk
        answer(request) { () async throws(BlockStoreError) in
            var search = search
            while let window = search.nextWindow() {
                if let position = search.position(in: try await disk.extents(in: window)) { return .position(position) }
            }
            return search.positionAtEnd.map(FUSEReply.position) ?? .failure(ENXIO)
        }
    }
}
