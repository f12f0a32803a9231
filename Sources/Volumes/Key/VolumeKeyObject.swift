// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import DataPath
internal import Logging
internal import ObjectStores

/// The object that holds the wrapped key of a volume: reads it, unlocks it, makes it.
///
/// Without it every block of the volume is lost, so it is made once, never over another, and what is used is always what was
/// read back from the store.
///
/// - Concurrency: safe from anywhere; only the holder of the mount token calls ``create(by:_:spread:)``.
/// - Source: Docs/Formats/Encryption.md "The key object".
struct VolumeKeyObject: Sendable {
    /// The Content-Type of the object.
    static let contentType = "text/plain"

    /// The object as it was read.
    struct Found: Sendable {
        /// What it says.
        let record: VolumeKeyRecord
        /// Its version; nil where the store gave none.
        let eTag: ETag?
    }

    /// Its name.
    let key: ObjectKey
    /// What messages call the volume: `bucket "b/vm1"`.
    let volume: String
    /// The clock of all waits.
    let timeline: any Timeline
    /// How long after its end an unanswered attempt may still be carried out; see ``SettlementLimits/window``.
    let window: Duration
    /// Where waits and what was found are told.
    let logger: Logger
    private let store: any ObjectStore
    /// What the user wants, to complete "cannot ... <volume>".
    private let purpose: String

    /// - Parameter purpose: What the user wants, to complete "cannot ... <volume>": `open`.
    init(
        in store: any ObjectStore, _ options: VolumeOptions, for purpose: String, timeline: any Timeline, logger: Logger
    ) {
        self.store = store
        self.key = options.keys.volumeKeyKey
        self.volume = options.description
        self.window = options.limits.window
        self.purpose = purpose
        self.timeline = timeline
        self.logger = logger
    }

    /// Reads the object.
    ///
    /// - Returns: Nil when there is none.
    /// - Throws: `.encryption` when it is not one that this version reads; `.store`.
    func read() async throws(VolumeError) -> Found? {
        let answer: ObjectRead
        do throws(ObjectStoreError) {
            answer = try await store.get(key, range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        } catch {
            var text = "cannot read its key object \"\(key)\": \(error.message)"
            if [.connectFailed, .hostUnknown, .timedOut].contains(error.code) { text += "; check --baseURL and the network" }
            throw failure(.store, text, cause: error)
        }
        switch answer {
        case .absent: return nil
        case .unchanged: throw failure(.store, "cannot read its key object \"\(key)\": the store says unchanged, unasked")
        case .object(let object):
            do throws(VolumeKeyRecord.ParsingError) {
                guard object.body.count <= VolumeKeyRecord.bytesMax else { throw .tooLarge }
                return Found(
                    record: try VolumeKeyRecord(parsing: object.body.bytes), eTag: object.attributes.eTag)
            } catch {
                throw failure(
                    .encryption, "its key object \"\(key)\" cannot be used: \(error.message); \(error.cure)", cause: error)
            }
        }
    }

    /// Unlocks a key; takes the time and memory of scrypt.
    ///
    /// - Parameter name: What messages call the password: `the password`.
    /// - Throws: `.password` when it is not the one; `.store` when there is not the memory.
    func unlock(
        _ record: VolumeKeyRecord, by password: SecretBytes, called name: String
    ) throws(VolumeError) -> VolumeKey {
        switch record.unwrap(by: password) {
        case .key(let key): return key
        case .notAuthentic:
            throw failure(
                .password,
                "\(name) is not that of the volume, or its key object \"\(key)\" was changed; try again, or restore the object "
                    + "from a copy")
        case .outOfMemory: throw outOfMemory()
        }
    }

    /// Wraps a key; takes the time and memory of scrypt.
    ///
    /// - Throws: `.store` when there is not the memory.
    func wrap(
        _ key: VolumeKey, by password: SecretBytes, _ parameters: ScryptParameters
    ) throws(VolumeError) -> VolumeKeyRecord {
        guard let record = VolumeKeyRecord(wrapping: key, by: password, parameters) else { throw outOfMemory() }
        return record
    }

    // MARK: Making it

    /// Makes a key and its object for a volume without any block; takes the existing one, should there be one by now.
    ///
    /// As with the mount token, whether the store keeps `If-None-Match: *` is tried, not believed. Where it does not, the last
    /// writer wins, and everybody waits long enough to see who that was before using what is read.
    ///
    /// - Parameter spread: How much longer than others this mount waits there; from its mount token.
    /// - Throws: `.store`; `.password` and `.encryption` when the object of somebody else who was faster cannot be used.
    func create(
        by password: SecretBytes, _ parameters: ScryptParameters, spread: Duration
    ) async throws(VolumeError) -> VolumeKey {
        if let found = try await read() { return try unlock(found.record, by: password, called: "the password") }
        let record = try wrap(VolumeKey.fresh(), by: password, parameters)
        try await make(record, spread)
        guard let found = try await read() else {
            throw failure(.store, "its key object \"\(key)\" was written, and is not there; try again")
        }
        let isOurs = found.record == record
        let key = try unlock(found.record, by: password, called: "the password")
        logger.notice(
            isOurs
                ? "made the key object of a new volume; keep a copy of it" : "another mount made the volume's key object first",
            metadata: ["object": "\(self.key)", "volume": "\(hexadecimal(key.id))"])
        return key
    }

    /// Writes the object if there is none, and returns when nobody's PUT can replace it any more.
    private func make(_ record: VolumeKeyRecord, _ spread: Duration) async throws(VolumeError) {
        var isSettled = true
        switch try await put(record, .ifAbsent, &isSettled) {
        case .refused: return
        case .made: if try await put(record, .ifAbsent, &isSettled) == .refused { return }
        case .unsupported:
            if try await read() != nil { break }
            _ = try await put(record, .none, &isSettled)
        }
        logger.warning(
            "the store does not keep If-None-Match: two mounts that start in the same moment are told apart by waiting")
        try await sleep(isSettled ? MountTokenHold.plainWait + spread : window)
    }

    /// What became of a PUT.
    private enum Answer {
        /// The object is written.
        case made
        /// It was there already.
        case refused
        /// The store has no conditions.
        case unsupported
    }

    private func put(
        _ record: VolumeKeyRecord, _ condition: PutCondition, _ isSettled: inout Bool
    ) async throws(VolumeError) -> Answer {
        do throws(ObjectStoreError) {
            if try await !put(record, condition).isSettled { isSettled = false }
            return .made
        } catch {
            switch error.code {
            case .preconditionFailed where condition != .none: return .refused
            case .notImplemented where condition != .none, .badRequest where condition != .none: return .unsupported
            default:
                // The mount token is held until this returns; after the wait nobody's object is overwritten by a late attempt.
                if error.outcomeIsUnknown {
                    isSettled = false
                    try await sleep(window)
                    if try await read()?.record == record { return .made }
                }
                throw failure(.store, "cannot write its key object \"\(key)\": \(error.message)", cause: error)
            }
        }
    }

    /// Writes the object.
    ///
    /// - Throws: As ``ObjectStore/put(_:_:_:_:_:)``.
    func put(_ record: VolumeKeyRecord, _ condition: PutCondition) async throws(ObjectStoreError) -> Mutation {
        let body = BufferSlice(Buffer(copying: record.bytes))
        return try await store.put(key, body, ObjectMetadata(contentType: Self.contentType), condition, .foreground)
    }

    /// Waits.
    ///
    /// - Throws: `.store` when the task is cancelled.
    func sleep(_ duration: Duration) async throws(VolumeError) {
        do throws(CancellationError) {
            try await timeline.sleep(until: timeline.now + duration)
        } catch {
            throw failure(.store, "cancelled", cause: error)
        }
    }

    // MARK: Errors

    /// An error in the user's words: `cannot open bucket "b/vm1": ...`.
    func failure(_ code: VolumeError.Code, _ text: String, cause: (any Error)? = nil) -> VolumeError {
        VolumeError(code, "cannot \(purpose) \(volume): \(text)", cause: cause)
    }

    private func outOfMemory() -> VolumeError {
        failure(.store, "there is not the memory that turning a password into a key takes; free some")
    }
}
