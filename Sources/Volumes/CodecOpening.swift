// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import DataPath
internal import Logging
internal import ObjectStores

/// The codecs of a volume that is being opened: made from what the user says, and tried on a block that exists.
///
///     before the mount token is taken   check(_:)     nothing is written; refuses what was stored in another way
///     with the mount token              makeKey(_:)   only for the first mount of a volume encrypted with AES-256-GCM
///
/// A volume without encryption is judged by what the look for its sizes saw anyway.
///
/// - Source: Docs/Formats/Encryption.md "Opening a volume".
struct CodecOpening: Sendable {
    /// How the volume is opened.
    let options: VolumeOptions
    /// Its sizes.
    let geometry: BlockGeometry
    /// Asks the objects.
    let probe: VolumeProbe
    /// Where the codecs get their memory.
    let pool: BufferPool
    /// The clock of all waits.
    let timeline: any Timeline
    /// Where damage is told that does not stop the mount.
    let logger: Logger
    /// What a new key object asks of whoever tries passwords.
    let keyParameters: ScryptParameters

    /// What ``check(_:)`` found.
    enum Outcome: Sendable {
        /// The codecs, which read the volume.
        case ready(CodecStack)
        /// The volume has no block and no key yet; ``CodecOpening/makeKey(_:)`` makes it.
        case needsKey
    }

    private var keyObject: VolumeKeyObject {
        VolumeKeyObject(in: probe.store, options, for: "open", timeline: timeline, logger: logger)
    }

    /// Makes the codecs, and looks whether the volume is stored in their way and under this password. Changes nothing.
    ///
    /// - Parameter answer: What the look for the sizes saw; nil when there was none.
    /// - Throws: `.password`, `.encryption`, `.store`.
    func check(_ answer: ProbeAnswer?) async throws(VolumeError) -> Outcome {
        guard let encryption = options.codec.encryption else {
            try await requireUnencrypted(answer)
            return .ready(stack(nil))
        }
        switch encryption.scheme {
        case .compatible(let cipher, let keyCount):
            let sample = try await sample(answer)
            if case .none(hasKeyObject: true) = sample { throw otherScheme() }
            let compatible = CompatibleEncryption(
                cipher: cipher, keyCount: keyCount, password: encryption.password, salt: encryption.salt)
            return .ready(try await checked(compatible, on: sample))
        case .aes256GCM:
            if let found = try await keyObject.read() {
                let key = try keyObject.unlock(found.record, by: encryption.password, called: "the password")
                return .ready(try await checked(GCMEncryption(volumeKey: key), on: try await sample(answer)))
            }
            try requireFresh(try await sample(answer))
            guard !options.isReadOnly else {
                throw failure(.encryption, "it was never written to and has no key yet; its first mount cannot be read-only")
            }
            return .needsKey
        }
    }

    /// Makes the key of a volume that has no block yet, and the codecs with it. The caller holds the mount token.
    ///
    /// - Parameter token: The mount token.
    /// - Throws: `.encryption` when there are blocks by now; else as ``VolumeKeyObject/create(by:_:spread:)``.
    func makeKey(_ token: MountToken) async throws(VolumeError) -> CodecStack {
        guard let encryption = options.codec.encryption else { preconditionFailure("a key is made for an encrypted volume") }
        // Somebody may have been here between the first look and the mount token.
        if try await keyObject.read() == nil { try requireFresh(try await listed()) }
        let key = try await keyObject.create(by: encryption.password, keyParameters, spread: token.spread)
        return stack(GCMEncryption(volumeKey: key))
    }

    /// The codecs around an encryption.
    func stack(_ encryption: (any BlockEncryption)?) -> CodecStack {
        CodecStack(
            compression: options.codec.compression, encryption: encryption,
            defaultEncoding: options.codec.defaultContentEncoding, blockSize: geometry.blockSize, pool: pool)
    }

    // MARK: Finding a block

    /// A block to try the codecs on.
    enum Sample: Sendable {
        /// This one.
        case object(BlockNumber, Object)
        /// The volume has no block.
        case none(hasKeyObject: Bool)
        /// It could not be told whether it has; the text says why.
        case unknown(String)
    }

    /// Reads block 0, or another block where it has no object.
    private func sample(_ answer: ProbeAnswer?) async throws(VolumeError) -> Sample {
        switch answer?.result {
        case nil, .found, .damaged:
            if let object = try await get(BlockObject.first) { return .object(BlockObject.first, object) }
            return try await listed()
        case .absent(.example(let key)):
            if let block = options.keys.block(named: key), let object = try await get(block) { return .object(block, object) }
            return try await listed()
        case .absent(.none): return .none(hasKeyObject: answer?.hasKeyObject ?? false)
        case .absent(.unknown(let reason)): return .unknown(reason)
        case .absent(.otherNames(let key, let areHashed)):
            return .unknown(GeometryDecision.otherNames(key, areHashed: areHashed))
        }
    }

    /// The first block that a listing shows.
    private func listed() async throws(VolumeError) -> Sample {
        let listing = await probe.listing(blocksMax: 1)
        switch listing.otherBlocks(options.keys) {
        case .none: return .none(hasKeyObject: listing.hasKeyObject)
        case .unknown(let reason): return .unknown(reason)
        case .otherNames(let key, let areHashed): return .unknown(GeometryDecision.otherNames(key, areHashed: areHashed))
        case .example(let key):
            guard let block = listing.blocks.first, let object = try await get(block) else {
                return .unknown("object \"\(key)\" is listed, and does not exist")
            }
            return .object(block, object)
        }
    }

    /// Reads a block's object.
    ///
    /// - Returns: Nil when there is none.
    func get(_ block: BlockNumber) async throws(VolumeError) -> Object? {
        let key = options.keys.key(of: block)
        do throws(ObjectStoreError) {
            switch try await probe.store.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground) {
            case .absent: return nil
            case .object(let object): return object
            case .unchanged:
                throw ObjectStoreError(.malformedAnswer, "the store says unchanged, unasked", outcomeIsUnknown: false)
            }
        } catch {
            throw failure(.store, "cannot read block \(block) (object \"\(key)\"): \(error.message)", cause: error)
        }
    }

    // MARK: Refusing

    /// Refuses a volume that is encrypted although no encryption was asked for.
    ///
    /// Costs no request where block 0 has an object: the look for the sizes saw its Content-Encoding.
    private func requireUnencrypted(_ answer: ProbeAnswer?) async throws(VolumeError) {
        guard let answer else { return }
        var encoding = answer.firstBlockEncoding
        switch answer.result {
        case .found, .damaged: break
        case .absent(.none) where answer.hasKeyObject: throw otherScheme()
        case .absent(.example(let key)):
            do throws(ObjectStoreError) {
                guard case .present(let attributes) = try await probe.store.head(key, .foreground) else { return }
                encoding = attributes.metadata.contentEncoding
            } catch {
                throw failure(.store, "cannot look at object \"\(key)\": \(error.message)", cause: error)
            }
        case .absent: return
        }
        if let name = storedEncryption(encoding) { throw failure(.encryption, EncryptionName.cure(name)) }
    }

    /// The encryption of an object with this Content-Encoding.
    func storedEncryption(_ encoding: String?) -> String? {
        EncryptionName.of(encoding.map { ContentEncoding(parsing: $0) } ?? options.codec.defaultContentEncoding)
    }

    /// Refuses to make a key where there may be blocks: they could be of another key.
    private func requireFresh(_ sample: Sample) throws(VolumeError) {
        let key = options.keys.volumeKeyKey
        switch sample {
        case .none: return
        case .unknown(let reason):
            throw failure(
                .encryption,
                "it has no key object \"\(key)\", and whether it has blocks is not known (\(reason)); restore the object from a copy, "
                    + "or, for a new volume, allow the bucket to be listed")
        case .object(let block, let object):
            let name = storedEncryption(object.attributes.metadata.contentEncoding)
            guard name == EncryptionName.aes256GCM else { throw failure(.encryption, EncryptionName.cure(name)) }
            throw failure(
                .encryption,
                "its key object \"\(key)\" is missing, and it has blocks (\"\(options.keys.key(of: block))\"); restore the object "
                    + "from a copy")
        }
    }

    private func otherScheme() -> VolumeError {
        let key = options.keys.volumeKeyKey
        return failure(
            .encryption,
            "it has no block yet, but a key object \"\(key)\"; use --encrypt=\(EncryptionName.aes256GCM), or delete the object if "
                + "the volume is to be another")
    }

    /// An error in the user's words: `cannot open bucket "b/vm1": ...`.
    func failure(_ code: VolumeError.Code, _ text: String, cause: (any Error)? = nil) -> VolumeError {
        VolumeError(code, "cannot open \(options.description): \(text)", cause: cause)
    }
}
