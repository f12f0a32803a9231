// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores
internal import DataPath
public import ObjectStores

/// What the bucket says about a volume's sizes.
public enum ProbeResult: Hashable, Sendable {
    /// Whether other blocks exist while block 0 has no object.
    public enum OtherBlocks: Hashable, Sendable {
        /// None: the volume was never written to.
        case none
        /// This one, for example: the C program wrote the volume, and its first block is zeros.
        case example(ObjectKey)
        /// None, but this one, for example, has the name of a block of the other kind, with a hash or without: the volume exists,
        /// and `--blockHashPrefix` was given wrongly or left out.
        case otherNames(ObjectKey, areHashed: Bool)
        /// It could not be told; the text says why.
        case unknown(String)
    }

    /// Block 0 has an object, and these are the volume's sizes.
    case found(BlockGeometry)
    /// Block 0 has an object, but its metadata does not tell the sizes; the text names each field and what is wrong with it.
    case damaged(String)
    /// Block 0 has no object.
    case absent(OtherBlocks)

    /// Whether block 0 has an object.
    public var isFirstBlockPresent: Bool {
        switch self {
        case .found, .damaged: true
        case .absent: false
        }
    }
}

/// What a ``VolumeProbe`` saw.
public struct ProbeAnswer: Hashable, Sendable {
    /// What the bucket says about the sizes.
    public var result: ProbeResult
    /// The Content-Encoding of block 0; nil when it has none, or has no object.
    public var firstBlockEncoding: String?
    /// Whether a key object was seen while all other blocks were looked for: only where ``result`` says that there are none.
    public var hasKeyObject: Bool
}

/// Finds out a volume's sizes from the object of block 0.
///
/// One HEAD tells. Where there is no object, a GET of one byte confirms it, since only its answer has a body, which tells a
/// missing object from a missing bucket; then a listing tells a fresh volume from one whose first block is zeros, and from one
/// whose blocks have the other kind of names. Where listing is refused, block 0 is looked for under its other name.
///
/// - Source: Docs/Formats/Direct.md "Sizes".
public struct VolumeProbe: Sendable {
    /// The objects.
    let store: any ObjectStore
    /// How blocks are named.
    let keys: BlockKeyScheme
    private let isAnonymous: Bool

    /// - Parameter isAnonymous: Whether requests are unsigned; then a refusal is explained differently.
    public init(of store: any ObjectStore, keys: BlockKeyScheme, isAnonymous: Bool) {
        self.store = store
        self.keys = keys
        self.isAnonymous = isAnonymous
    }

    /// Asks.
    ///
    /// - Throws: `.store`, when the object store failed or refused; whether the volume exists is not known then.
    public func run() async throws(VolumeError) -> ProbeAnswer {
        let key = keys.key(of: BlockObject.first)
        do {
            switch try await headConfirmed(key) {
            case .present(let attributes):
                let metadata = attributes.metadata
                return ProbeAnswer(
                    result: Self.judge(metadata), firstBlockEncoding: metadata.contentEncoding, hasKeyObject: false)
            case .absent: break
            }
            let listing = await listing(blocksMax: 1)
            var others = listing.otherBlocks(keys)
            if case .unknown = others, case .present = try await store.head(keys.other.key(of: BlockObject.first), .foreground) {
                others = .otherNames(keys.other.key(of: BlockObject.first), areHashed: keys.other.isHashed)
            }
            return ProbeAnswer(result: .absent(others), firstBlockEncoding: nil, hasKeyObject: listing.hasKeyObject)
        } catch {
            throw explained(error, key)
        }
    }

    /// What `metadata` of block 0 says.
    static func judge(_ metadata: ObjectMetadata) -> ProbeResult {
        var problems: [String] = []
        func number(_ name: String) -> Int? {
            guard let text = metadata.user[name] else {
                problems.append("\(name) is missing")
                return nil
            }
            let shown = "\"\(String(text.prefix(40)))\""
            guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
                problems.append("\(name) is not a number: \(shown)")
                return nil
            }
            guard let number = Int(text) else {
                problems.append("\(name) is too large: \(shown)")
                return nil
            }
            guard number > 0 else {
                problems.append("\(name) is zero")
                return nil
            }
            return number
        }
        let blockSize = number(BlockObject.blockSizeName)
        let diskSize = number(BlockObject.diskSizeName)
        if let blockSize, blockSize & (blockSize - 1) != 0 {
            problems.append("\(BlockObject.blockSizeName) is not a power of two: \(blockSize)")
        } else if let blockSize, blockSize > BlockObject.blockSizeMax {
            problems.append("\(BlockObject.blockSizeName) is too large: \(blockSize)")
        }
        guard problems.isEmpty, let blockSize, let diskSize else { return .damaged(problems.joined(separator: ", ")) }
        guard diskSize % blockSize == 0 else {
            return .damaged("\(BlockObject.diskSizeName) \(diskSize) is not a multiple of the block size \(blockSize)")
        }
        guard let geometry = BlockGeometry(blockSize: blockSize, blockCount: diskSize / blockSize) else {
            return .damaged("\(BlockObject.diskSizeName) \(diskSize) means 2^32 blocks or more")
        }
        return .found(geometry)
    }

    /// A HEAD whose bad news is confirmed by a GET: only an answer with a body says what is really missing or refused.
    private func headConfirmed(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectHead {
        do {
            let head = try await store.head(key, .foreground)
            if case .present = head { return head }
        } catch {
            guard [.forbidden, .unauthorized, .badRequest, .unexpectedStatus].contains(error.code) else { throw error }
        }
        switch try await store.get(key, range: 0..<1, ifMatch: nil, ifNoneMatch: nil, .foreground) {
        case .absent: return .absent
        case .object(let object): return .present(object.attributes)
        case .unchanged:
            throw ObjectStoreError(
                .malformedAnswer, "cannot read object \"\(key)\": the store says unchanged, unasked",
                outcomeIsUnknown: false)
        }
    }

    private func explained(_ error: ObjectStoreError, _ key: ObjectKey) -> VolumeError {
        var text = "cannot look for the volume's sizes (object \"\(key)\"): \(error.message)"
        switch error.code {
        // What a refusal means to the anonymous, the store's own message says.
        case .forbidden where !isAnonymous:
            text += "; the credentials must allow s3:GetObject and s3:ListBucket, or a missing object is refused too"
        case .connectFailed, .hostUnknown, .timedOut: text += "; check --baseURL and the network"
        default: break
        }
        return VolumeError(.store, text, cause: error)
    }
}
