// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CZlib

/// Compresses blocks into zlib streams, the same bytes as compress2() of zlib makes, and back.
///
/// - Concurrency: safe from anywhere, and in parallel.
/// - Source: RFC 1950, RFC 1951; zlib.h.
final class Deflate: Sendable {
    /// The levels that zlib takes; -1 stands for its default, 6.
    static let levels = -1...9
    /// How many idle workspaces are kept, a quarter of a MiB each.
    static let idleMax = 8

    private let compressors: WorkspacePool<Compressor>
    private let decompressors = WorkspacePool(idleMax: idleMax) { Decompressor() }

    /// Makes a codec; `level` must be one of ``levels``, and matters to ``compress(_:into:)`` only.
    init(level: Int) {
        precondition(Self.levels.contains(level), "zlib has no such level")
        compressors = WorkspacePool(idleMax: Self.idleMax) { Compressor(level: level) }
    }

    /// The bytes that `count` bytes may become at most.
    static func sizeMax(of count: Int) -> Int { Int(compressBound(uLong(count))) }

    /// The bytes that `count` bytes may have become at most under any encoder: one bit more for each byte, as the fixed code
    /// of RFC 1951 section 3.2.6 makes at worst, and what zlib allows itself.
    static func sizeReadMax(of count: Int) -> Int { sizeMax(of: count) + count / 8 }

    /// Compresses `source` into one stream.
    ///
    /// - Parameter target: At least `sizeMax(of: source.count)` bytes; no more than those are used.
    /// - Returns: The bytes of the stream.
    func compress(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int {
        // How much room there is decides how stored blocks are cut, so it is what compress2() is given.
        let bound = Self.sizeMax(of: source.count)
        let room = UnsafeMutableRawBufferPointer(rebasing: target[..<bound])
        return compressors.withWorkspace { $0.compress(source, into: room) }
    }

    /// Decompresses one stream that holds exactly `target.count` bytes, and is followed by nothing.
    ///
    /// A stream that holds more is given up when `target` is full, so neither time nor memory depend on what it says.
    ///
    /// - Throws: `.damaged`.
    func decompress(
        _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) throws(CodecError) {
        try decompressors.withWorkspace { (workspace) throws(CodecError) in try workspace.decompress(source, into: target) }
    }
}

extension Deflate {
    // Proof for @unchecked: it is reached through a WorkspacePool only, which gives it to one user at a time.
    /// A deflate stream's state. zlib keeps the address of the z_stream, so it stays where it is.
    fileprivate final class Compressor: @unchecked Sendable {
        private let stream: UnsafeMutablePointer<z_stream>

        init(level: Int) {
            stream = .allocate(capacity: 1)
            stream.initialize(to: z_stream())
            let status = deflateInit_(stream, Int32(level), ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
            guard status == Z_OK else { fatalError("out of memory: zlib has none to compress with") }
        }

        deinit {
            deflateEnd(stream)
            stream.deallocate()
        }

        func compress(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int {
            deflateReset(stream)
            stream.take(source, target)
            let status = deflate(stream, Z_FINISH)
            precondition(status == Z_STREAM_END, "a stream fits into its bound")
            return target.count - Int(stream.pointee.avail_out)
        }
    }

    // Proof for @unchecked: it is reached through a WorkspacePool only, which gives it to one user at a time.
    /// An inflate stream's state.
    fileprivate final class Decompressor: @unchecked Sendable {
        private let stream: UnsafeMutablePointer<z_stream>

        init() {
            stream = .allocate(capacity: 1)
            stream.initialize(to: z_stream())
            let status = inflateInit_(stream, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
            guard status == Z_OK else { fatalError("out of memory: zlib has none to decompress with") }
        }

        deinit {
            inflateEnd(stream)
            stream.deallocate()
        }

        func decompress(
            _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
        ) throws(CodecError) {
            inflateReset(stream)
            stream.take(source, target)
            let status = inflate(stream, Z_FINISH)
            let rest = Int(stream.pointee.avail_in)
            let room = Int(stream.pointee.avail_out)
            switch status {
            case Z_STREAM_END where rest > 0:
                throw CodecError(.damaged, "its zlib stream is followed by \(rest) bytes that belong to nothing")
            case Z_STREAM_END where room > 0:
                throw CodecError(
                    .damaged, "its zlib stream holds \(target.count - room) bytes instead of \(target.count); \(Self.hint)")
            case Z_STREAM_END: return
            case Z_MEM_ERROR: fatalError("out of memory: zlib has none to decompress with")
            case Z_BUF_ERROR where room == 0, Z_OK where room == 0:
                throw CodecError(.damaged, "its zlib stream holds more than \(target.count) bytes; \(Self.hint)")
            case Z_BUF_ERROR, Z_OK: throw CodecError(.damaged, "its zlib stream is cut off")
            default: throw CodecError(.damaged, "its zlib stream is damaged")
            }
        }

        private static let hint = "was the volume written with another block size?"
    }
}

extension UnsafeMutablePointer<z_stream> {
    /// Sets where the stream reads and writes; the pointers are used by the next call only.
    fileprivate func take(_ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer) {
        // zlib does not write to its input; its type is older than const.
        pointee.next_in = UnsafeMutablePointer<UInt8>(mutating: source.baseAddress?.assumingMemoryBound(to: UInt8.self))
        pointee.avail_in = uInt(source.count)
        pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        pointee.avail_out = uInt(target.count)
    }
}
