// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import Logging
internal import ObjectStores

/// The trial of a password: one block that exists must be authentic.
///
/// A block that is not may be damaged instead, and a damaged block must not keep the whole volume from being mounted. So others are
/// tried then: one that is authentic says that the password is right.
extension CodecOpening {
    /// How many other blocks are tried when the first is not authentic.
    static let otherBlocksMax = 4

    /// The codecs around `encryption`, if the volume is stored in its way.
    ///
    /// - Throws: `.password` and `.encryption` when it is not; `.store`.
    func checked(_ encryption: any BlockEncryption, on sample: Sample) async throws(VolumeError) -> CodecStack {
        let stack = stack(encryption)
        switch sample {
        case .none: break
        case .unknown(let reason):
            logger.warning("no block was found on which the password could be tried", metadata: ["cause": "\(reason)"])
        case .object(let first, let object):
            guard let problem = problem(of: object, first, stack, encryption) else { break }
            if !problem.isAuthentic, try await !hasAuthenticBlock(beside: first, stack, encryption) {
                throw refusal(of: object, first, problem.error, encryption)
            }
            logger.warning(
                "the password is right, but a block cannot be read",
                metadata: [
                    "block": "\(first)", "object": "\(options.keys.key(of: first))", "cause": "\(problem.error.message)",
                ])
        }
        return stack
    }

    /// What is wrong with an object.
    ///
    /// - Returns: Nil when it can be read; else why not, and whether it is authentic all the same: the password is right then, and
    ///   what was encrypted is not a block of this size.
    private func problem(
        of object: Object, _ block: BlockNumber, _ stack: CodecStack, _ encryption: any BlockEncryption
    ) -> (error: CodecError, isAuthentic: Bool)? {
        let metadata = object.attributes.metadata
        do throws(CodecError) {
            _ = try stack.decode(object.body, metadata, of: block)
            return nil
        } catch {
            guard error.kind == .damaged else { return (error, false) }
            return (error, Self.isAuthentic(object, block, stack.encoding(metadata), encryption))
        }
    }

    private static func isAuthentic(
        _ object: Object, _ block: BlockNumber, _ encoding: ContentEncoding, _ encryption: any BlockEncryption
    ) -> Bool {
        let target = BufferWriter(count: object.body.count)
        do throws(CodecError) {
            _ = try target.withMutableBytes { (target) throws(CodecError) in
                try object.body.withBytes { (body) throws(CodecError) in
                    try encryption.decrypt(body, object.attributes.metadata, of: block, encoding, into: target)
                }
            }
            return true
        } catch {
            return false
        }
    }

    /// Whether one of the first other blocks is authentic.
    private func hasAuthenticBlock(
        beside first: BlockNumber, _ stack: CodecStack, _ encryption: any BlockEncryption
    ) async throws(VolumeError) -> Bool {
        let listing = await probe.listing(blocksMax: Self.otherBlocksMax + 1)
        for block in listing.blocks.filter({ $0 != first }).prefix(Self.otherBlocksMax) {
            guard let object = try await get(block) else { continue }
            guard let problem = problem(of: object, block, stack, encryption) else { return true }
            if problem.isAuthentic { return true }
        }
        return false
    }

    private func refusal(
        of object: Object, _ block: BlockNumber, _ error: CodecError, _ encryption: any BlockEncryption
    ) -> VolumeError {
        let stored = storedEncryption(object.attributes.metadata.contentEncoding)
        let configured = EncryptionName.of(ContentEncoding(elements: [encryption.encodingName]))
        guard stored == configured else { return failure(.encryption, EncryptionName.cure(stored), cause: error) }
        let text = "block \(block) (object \"\(options.keys.key(of: block))\"): \(error.message)"
        guard error.kind == .notAuthentic else { return failure(.encryption, text, cause: error) }
        // The key object has been unlocked by then, so it is not the password.
        guard configured != EncryptionName.aes256GCM else {
            return failure(
                .encryption,
                "\(text); the key object \"\(options.keys.volumeKeyKey)\" is another volume's, or blocks were changed",
                cause: error)
        }
        return failure(
            .password,
            "\(text); check the password and --keyLength, and that the volume was written under this bucket name and prefix",
            cause: error)
    }
}
