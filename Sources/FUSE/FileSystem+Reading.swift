// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import CFuse
internal import DataPath
internal import Glibc
internal import Synchronization

/// READ.
extension FileSystem {
    /// READ of the disk file, or of an open statistics file.
    func read(_ request: consuming FUSERequest, _ number: fuse_ino_t, count: Int, offset: off_t, handle: UInt64) {
        switch node(number) {
        case .file: readDisk(request, count: count, offset: offset)
        case .statistics: readStatistics(request, count: count, offset: offset, handle: handle)
        case .root, nil: request.reply(errno: EISDIR)
        }
    }

    private func readDisk(_ request: consuming FUSERequest, count: Int, offset: off_t) {
        guard let range = ByteSpan(offset: Int64(offset), count: count, size: disk.sizeBytes) else {
            return request.reply(errno: EINVAL)
        }
        times.recordAccess(at: realTimeNow())
        // The kernel asks for whole pages; what lies beyond the end is not there.
        guard !range.inside.isEmpty else { return request.reply(UnsafeRawBufferPointer(start: nil, count: 0)) }
        // A closure cannot consume what it captures. The handle is used once: by the closure if the bytes are lent, else below.
        let handle = request.handOver()
        switch disk.readNow(range.inside, lending: { FUSERequest(handle).reply($0) }) {
        case .lent: return
        case .bytes(let bytes): return reply(to: FUSERequest(handle), with: bytes)
        case .notNow: break
        }
        let disk = disk
        let inside = range.inside
        answer(FUSERequest(handle)) { () async throws(BlockStoreError) in .bytes(try await disk.read(inside, .foreground)) }
    }

    private func readStatistics(_ request: consuming FUSERequest, count: Int, offset: off_t, handle: UInt64) {
        guard let text = openFiles.withLock({ $0.snapshots[handle] }) else { return request.reply(errno: EBADF) }
        let start = min(Int(max(offset, 0)), text.count)
        let end = min(start + count, text.count)
        request.reply(text[start..<end])
    }

    /// Replies from where the bytes are; only an answer of very many runs is copied together first.
    func reply(to request: consuming FUSERequest, with bytes: DiskBytes) {
        switch bytes.single {
        case .zeros(let count)? where count <= zeros.bytes.count:
            request.reply(UnsafeRawBufferPointer(rebasing: zeros.bytes[..<count]))
        case .bytes(let slice)?:
            request.reply(slice.unsafeBytes)
            withExtendedLifetime(slice.buffer) {}
        default:
            replyScattered(request, bytes)
        }
    }

    private func replyScattered(_ request: consuming FUSERequest, _ bytes: DiskBytes) {
        let runs = bytes.runs
        var vectors: [iovec] = []
        for run in runs {
            switch run {
            case .bytes(let slice):
                vectors.append(vector(slice.unsafeBytes[...]))
            case .zeros(var left):
                while left > 0 {
                    let count = min(left, zeros.bytes.count)
                    vectors.append(vector(zeros.bytes[..<count]))
                    left -= count
                }
            }
        }
        guard vectors.count <= Self.piecesMax else { return replyCopied(request, bytes) }
        request.reply(vectors)
        withExtendedLifetime(runs) {}
    }

    private func replyCopied(_ request: consuming FUSERequest, _ bytes: DiskBytes) {
        let writer = pool.writer(count: bytes.count)
        writer.withMutableBytes { target in
            var position = 0
            for run in bytes.runs {
                let part = UnsafeMutableRawBufferPointer(rebasing: target[position..<position + run.count])
                switch run {
                case .zeros: part.initializeMemory(as: UInt8.self, repeating: 0)
                case .bytes(let slice): part.copyMemory(from: slice.unsafeBytes)
                }
                position += run.count
            }
        }
        let buffer = writer.freeze(count: bytes.count)
        request.reply(buffer.unsafeBytes)
        withExtendedLifetime(buffer) {}
    }

    /// writev(2) takes 1,024 pieces, of which libfuse needs one.
    private static var piecesMax: Int { 1000 }

    private func vector(_ bytes: Slice<UnsafeRawBufferPointer>) -> iovec {
        let bytes = UnsafeRawBufferPointer(rebasing: bytes)
        return iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
    }
}

/// A byte range as the kernel gives it, against the size of the disk; pure.
struct ByteSpan: Equatable, Sendable {
    /// The part that lies on the disk; empty when none does.
    let inside: Range<UInt64>
    /// Whether some part lies beyond the end.
    let crossesEnd: Bool

    /// - Returns: Nil for a negative offset or count, or an end beyond what an offset can be.
    init?(offset: Int64, count: Int, size: UInt64) {
        guard offset >= 0, count >= 0 else { return nil }
        let (end, overflow) = offset.addingReportingOverflow(Int64(count))
        guard !overflow else { return nil }
        inside = min(UInt64(offset), size)..<min(UInt64(end), size)
        crossesEnd = UInt64(end) > size
    }
}
