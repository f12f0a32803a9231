// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

/// The check of each sector: 16 bytes that depend on its bytes, on where it belongs and on when it was written.
///
/// An encrypted file seals the sector itself with a random nonce, and all else is additional data. A plain one has AES-256-GMAC, with a
/// key from its header: 0.9 us for 4 KiB, where SHA-256 takes 3.2 and XAES-256-GCM 2.1.
///
/// - Concurrency: safe from anywhere; callers do not wait for each other.
/// - Source: Docs/Formats/CacheFile.md "Sectors".
struct CacheFileSeal: Sendable {
    private enum Method: Sendable {
        case plain(GMAC)
        case encrypted(XAES256GCM)
    }
    private let method: Method
    private let fileID: [UInt8]

    /// Works the key in.
    ///
    /// - Parameter key: The key of an encrypted file; of any other, the check key from its header.
    init(key: SecretBytes, fileID: [UInt8], isEncrypted: Bool) {
        method = isEncrypted ? .encrypted(XAES256GCM(key: key)) : .plain(GMAC(key: key))
        self.fileID = fileID
    }

    /// Whether the bytes in the file differ from those of the block.
    var isEncrypted: Bool { if case .encrypted = method { true } else { false } }

    /// The tag by which a later start knows the key of an encrypted file; zeros of any other.
    func keyTag(nonce: [UInt8]) -> [UInt8] {
        var tag = [UInt8](repeating: 0, count: XAES256GCM.tagCount)
        guard case .encrypted(let cipher) = method else { return tag }
        tag.withUnsafeMutableBytes { tag in
            nonce.withUnsafeBytes { nonce in
                fileID.withUnsafeBytes { id in
                    cipher.seal(
                        UnsafeRawBufferPointer(start: nil, count: 0), nonce: nonce, additionalData: id,
                        into: UnsafeMutableRawBufferPointer(start: nil, count: 0), tag: tag)
                }
            }
        }
        return tag
    }

    /// Seals one sector and notes nonce and tag in `record`.
    ///
    /// - Parameter target: Where the bytes for the file go; unused when the file is plain: they are those of `sector`.
    func seal(_ sector: UnsafeRawBufferPointer, _ record: inout CacheFileRecord, into target: UnsafeMutableRawBufferPointer) {
        if isEncrypted { withUnsafeMutableBytes(of: &record.nonce) { fillRandom($0) } }
        var tag: (UInt64, UInt64) = (0, 0)
        withUnsafeMutableBytes(of: &tag) { tag in
            withContext(of: record) { context in
                switch method {
                case .plain(let check):
                    check.authenticate(context.part(16, 20), sector, nonce: context.part(24, 12), into: tag)
                case .encrypted(let cipher):
                    withUnsafeBytes(of: record.nonce) { nonce in
                        cipher.seal(sector, nonce: nonce, additionalData: context.part(0, 36), into: target, tag: tag)
                    }
                }
            }
        }
        record.tag = tag
    }

    /// Checks one sector.
    ///
    /// - Parameter target: Where the bytes of an encrypted sector go; it may be `stored` itself. Unused when the file is plain.
    /// - Returns: Whether these bytes were sealed with this record.
    func open(
        _ stored: UnsafeRawBufferPointer, _ record: CacheFileRecord, into target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        withContext(of: record) { context in
            switch method {
            case .plain(let check):
                var tag: (UInt64, UInt64) = (0, 0)
                withUnsafeMutableBytes(of: &tag) { tag in
                    check.authenticate(context.part(16, 20), stored, nonce: context.part(24, 12), into: tag)
                }
                return tag == record.tag
            case .encrypted(let cipher):
                return withUnsafeBytes(of: record.nonce) { nonce in
                    withUnsafeBytes(of: record.tag) { tag in
                        cipher.open(stored, nonce: nonce, additionalData: context.part(0, 36), tag: tag, into: target)
                    }
                }
            }
        }
    }

    /// Lends what a tag covers beside the bytes: the file's id, then the first 20 bytes of the record, of which the last 12, sequence,
    /// kind and sector, are also the nonce of a plain file.
    private func withContext<Result>(of record: CacheFileRecord, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeTemporaryAllocation(byteCount: 40, alignment: 8) { context in
            context.part(0, 16).copyBytes(from: fileID)
            context.store(record.block.rawValue, at: 16)
            context.store(record.slot, at: 20)
            context.store(record.sequence | UInt64(record.kind.rawValue) << 56, at: 24)
            context.store(record.sector, at: 32)
            return body(UnsafeRawBufferPointer(context))
        }
    }
}
