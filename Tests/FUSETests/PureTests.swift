// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import CFuse
import CLinux
import Testing

@testable import FUSE

@Suite("Decisions of the file system")
struct DecisionTests {
    @Test("each failure of a disk has the error number that the C program's users know")
    func errnos() {
        let expected: [BlockStoreError.Code: Int32] = [
            .io: EIO, .corrupt: EIO, .accessDenied: EACCES, .forbidden: EPERM, .stale: ESTALE, .fenced: ESTALE,
            .redirected: ELOOP, .timedOut: ETIMEDOUT, .unreachable: ENXIO, .noSpace: ENOSPC, .outOfMemory: ENOMEM,
            .readOnly: EROFS, .outOfRange: EINVAL, .cancelled: EINTR,
        ]
        for code in BlockStoreError.Code.allCases { #expect(code.errno == expected[code], "\(code)") }
    }

    @Test("a byte range is cut at the end of the disk, and a negative or overflowing one is none")
    func spans() throws {
        let crossing = try #require(ByteSpan(offset: 90, count: 20, size: 100))
        #expect(crossing.inside == 90..<100 && crossing.crossesEnd)
        let last = try #require(ByteSpan(offset: 90, count: 10, size: 100))
        #expect(last.inside == 90..<100 && !last.crossesEnd)
        let beyond = try #require(ByteSpan(offset: 200, count: 1, size: 100))
        #expect(beyond.inside.isEmpty && beyond.crossesEnd)
        #expect(ByteSpan(offset: -1, count: 1, size: 100) == nil)
        #expect(ByteSpan(offset: .max, count: 1, size: 100) == nil)
    }

    static let allocations: [(mode: Int32, offset: Int64, length: Int64, answer: Allocation)] = [
        (0, 0, 100, .nothing),
        (0, 50, 51, .refuse(ENOSPC)),
        (FALLOC_FL_KEEP_SIZE, 0, 100, .nothing),
        (FALLOC_FL_KEEP_SIZE, 0, 101, .refuse(ENOSPC)),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 20, .zero(10..<30)),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 90, 20, .zero(90..<100)),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 20, .nothing),
        (FALLOC_FL_PUNCH_HOLE, 0, 10, .refuse(EOPNOTSUPP)),
        (FALLOC_FL_ZERO_RANGE, 0, 100, .zero(0..<100)),
        (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 1, 2, .zero(1..<3)),
        (FALLOC_FL_ZERO_RANGE, 90, 11, .refuse(ENOSPC)),
        (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 90, 11, .refuse(ENOSPC)),
        (FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1, .refuse(EOPNOTSUPP)),
        (FALLOC_FL_COLLAPSE_RANGE, 0, 1, .refuse(EOPNOTSUPP)),
        (0, -1, 1, .refuse(EINVAL)),
        (0, 0, 0, .refuse(EINVAL)),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .max, .max, .refuse(EFBIG)),
    ]

    @Test("fallocate zeroes what it must, and refuses what a disk of fixed size cannot do", arguments: 0..<17)
    func allocation(line: Int) {
        let (mode, offset, length, answer) = Self.allocations[line]
        #expect(Allocation(mode: mode, offset: offset, length: length, size: 100) == answer)
    }

    @Test("the kernel need not tell of a close when the descriptor could not write")
    func openFlags() {
        let reading = OpenAnswer.diskFlags(isForWriting: false, isDirectIO: false, keepsCache: true)
        let writing = OpenAnswer.diskFlags(isForWriting: true, isDirectIO: false, keepsCache: true)
        #expect(reading == 1 << 1 | 1 << 5 && writing == 1 << 1)
        #expect(OpenAnswer.diskFlags(isForWriting: true, isDirectIO: true, keepsCache: true) == 1 << 0 | 1 << 6)
        #expect(OpenAnswer.diskFlags(isForWriting: true, isDirectIO: false, keepsCache: false) == 0)
    }

    @Test("the disk file counts its space in units of 512 bytes")
    func attributes() {
        let attributes = FileAttributes(
            node: .file, sizeBytes: 1 << 20, preferredSizeBytes: 4096, permissions: 0o600, userID: 1, groupID: 2,
            accessTime: 3_000_000_004, modificationTime: -1, statusTime: 0)
        let status = attributes.status
        #expect(status.st_blocks == 2048 && status.st_blksize == 4096 && status.st_size == 1 << 20)
        #expect(status.st_mode == S_IFREG | 0o600 && status.st_nlink == 1 && status.st_ino == 2)
        #expect(status.st_atim.tv_sec == 3 && status.st_atim.tv_nsec == 4)
    }

    @Test("a failure is shown in the log at most once in ten seconds, with the number of those that were not")
    func failureLog() {
        var log = FailureLog()
        #expect(log.record(at: .seconds(1)) == 0)
        #expect(log.record(at: .seconds(2)) == nil)
        #expect(log.record(at: .seconds(10)) == nil)
        #expect(log.record(at: .seconds(11)) == 2)
        #expect(log.record(at: .seconds(30)) == 0)
    }
}

@Suite("Search for data and holes")
struct ExtentSearchTests {
    @Test("a search ends at the first extent of its kind")
    func first() throws {
        var search = try #require(ExtentSearch(for: .data, from: 10, size: 100))
        #expect(search.nextWindow() == 10..<100)
        let extents = [DiskExtent(range: 10..<40, kind: .zero), DiskExtent(range: 40..<100, kind: .data)]
        #expect(search.position(in: extents) == 40)
    }

    @Test("a position within the kind that is looked for is the answer itself")
    func within() throws {
        var search = try #require(ExtentSearch(for: .zero, from: 10, size: 100))
        _ = search.nextWindow()
        #expect(search.position(in: [DiskExtent(range: 10..<100, kind: .zero)]) == 10)
    }

    @Test("at or beyond the end there is nothing to find; before it there is a hole at the end, but no data")
    func end() throws {
        #expect(ExtentSearch(for: .data, from: 100, size: 100) == nil)
        #expect(ExtentSearch(for: .zero, from: 100, size: 100) == nil)
        #expect(ExtentSearch(for: .zero, from: -1, size: 100) == nil)
        var data = try #require(ExtentSearch(for: .data, from: 0, size: 100))
        _ = data.nextWindow()
        #expect(data.nextWindow() == nil && data.positionAtEnd == nil)
        let hole = try #require(ExtentSearch(for: .zero, from: 0, size: 100))
        #expect(hole.positionAtEnd == 100)
    }

    @Test("windows follow each other without a gap, grow, and stay bounded")
    func windows() throws {
        let size: UInt64 = 1 << 42
        var search = try #require(ExtentSearch(for: .data, from: 5, size: size))
        var position: UInt64 = 5
        var longest: UInt64 = 0
        while let window = search.nextWindow() {
            #expect(window.lowerBound == position)
            position = window.upperBound
            longest = max(longest, UInt64(window.count))
        }
        #expect(position == size && longest == ExtentSearch.windowBytesMax)
    }
}
