// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CZstd

/// Compresses blocks into Zstandard frames, the same bytes as ZSTD_compress() makes, and back.
///
/// - Concurrency: safe from anywhere, and in parallel.
/// - Source: RFC 8878; zstd.h.
final class Zstd: Sendable {
    /// The levels that the library takes.
    static let levels = Int(ZSTD_minCLevel())...Int(ZSTD_maxCLevel())
    /// How many idle workspaces are kept.
    static let idleMax = 8
    /// How a frame starts, read as a little-endian number.
    private static let magic: UInt32 = 0xFD2F_B528

    private let level: Int
    private let compressors = WorkspacePool(idleMax: idleMax) { Compressor() }
    private let decompressors = WorkspacePool(idleMax: idleMax) { Decompressor() }

    /// Makes a codec; `level` must be one of ``levels``, and matters to ``compress(_:into:)`` only.
    init(level: Int) {
        precondition(Self.levels.contains(level), "the library has no such level")
        self.level = level
    }

    /// The bytes that `count` bytes may become at most.
    static func sizeMax(of count: Int) -> Int { ZSTD_compressBound(count) }

    /// Compresses `source` into one frame.
    ///
    /// - Parameter target: At least `sizeMax(of: source.count)` bytes.
    /// - Returns: The bytes of the frame.
    func compress(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int {
        compressors.withWorkspace { workspace in
            let count = ZSTD_compressCCtx(
                workspace.pointer, target.baseAddress, target.count, source.baseAddress, source.count, Int32(level))
            // The one failure left: the tables of high levels for large blocks are allocated here.
            guard ZSTD_isError(count) == 0 else { fatalError("cannot compress: \(String(cString: ZSTD_getErrorName(count)))") }
            return count
        }
    }

    /// Decompresses one frame that holds exactly `target.count` bytes, and is followed by nothing.
    ///
    /// The frame is written straight into `target`, which serves as its window, and given up when that is full: neither time
    /// nor memory depend on what the frame says.
    ///
    /// - Throws: `.damaged`.
    func decompress(
        _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        // The library would also read older formats, frames to be skipped and several frames; a block is none of these.
        guard source.count >= 4, UInt32(littleEndian: source.loadUnaligned(as: UInt32.self)) == Self.magic else {
            throw CodecError(.damaged, "it does not start with a zstd frame")
        }
        let frame = ZSTD_findFrameCompressedSize(source.baseAddress, source.count)
        guard ZSTD_isError(frame) == 0 else { throw CodecError(.damaged, "its zstd frame is damaged or cut off") }
        guard frame == source.count else {
            throw CodecError(
                .damaged, "its zstd frame is followed by \(source.count - frame) bytes that belong to nothing")
        }
        try decompressors.withWorkspace { (workspace) throws(CodecError) in
            let count = ZSTD_decompressDCtx(
                workspace.pointer, target.baseAddress, target.count, source.baseAddress, source.count)
            guard ZSTD_isError(count) == 0 else {
                let reason = String(cString: ZSTD_getErrorName(count))
                throw CodecError(.damaged, "its zstd frame is no block of \(target.count) bytes (\(reason))")
            }
            guard count == target.count else {
                throw CodecError(
                    .damaged,
                    "its zstd frame holds \(count) bytes instead of \(target.count); "
                        + "was the volume written with another block size?")
            }
        }
    }
}

extension Zstd {
    // Proof for @unchecked: it is reached through a WorkspacePool only, which gives it to one user at a time.
    /// The tables of a compressor.
    fileprivate final class Compressor: @unchecked Sendable {
        let pointer: OpaquePointer

        init() {
            guard let pointer = ZSTD_createCCtx() else { fatalError("out of memory: zstd has none to compress with") }
            self.pointer = pointer
        }

        deinit { ZSTD_freeCCtx(pointer) }
    }

    // Proof for @unchecked: it is reached through a WorkspacePool only, which gives it to one user at a time.
    /// The tables of a decompressor.
    fileprivate final class Decompressor: @unchecked Sendable {
        let pointer: OpaquePointer

        init() {
            guard let pointer = ZSTD_createDCtx() else { fatalError("out of memory: zstd has none to decompress with") }
            self.pointer = pointer
        }

        deinit { ZSTD_freeDCtx(pointer) }
    }
}
