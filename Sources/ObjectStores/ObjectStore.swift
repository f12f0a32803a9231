// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath

/// Waist 2: named objects of any size, with a version (ETag) and metadata.
///
/// The contract below is data in StoreTesting (`ObjectStoreContract`) and runs on every implementation and on pairs of layers.
///
/// **Consistency.** A `get`, `head` or `list` that begins after a mutation returned sees it. (A store that does not keep this
/// is what `ConsistencyGuard` is for.)
///
/// **Absence** means that the store said NoSuchKey. A missing bucket, a refusal, or a 404 that is not S3's is an error: it must
/// not turn into a block of zeros.
///
/// **Mutations.** `put` replaces the object at once and whole, or not at all. When `put` or `delete` throws with
/// ``ObjectStoreError/outcomeIsUnknown``, the object is old or new, and may still change later. When it throws without, nothing
/// was changed.
///
/// **No defaults.** Every layer spells out every verb.
///
/// - Concurrency: every verb is safe with every other. The caller never has two mutations of one key in flight.
/// - Source: Amazon S3 API Reference: GetObject, HeadObject, PutObject, DeleteObject(s), ListObjectsV2.
public protocol ObjectStore: Sendable {
    /// Reads an object, or a range of its bytes.
    ///
    /// - Parameters:
    ///   - range: Which bytes; nil means all. It is cut off at the end of the object; one that starts beyond it is an error.
    ///   - ifMatch: The version that it must have; else `.preconditionFailed`.
    ///   - ifNoneMatch: The version that the caller holds; if it still is, the answer is `.unchanged`.
    /// - Throws: Any code but `.noSpace`.
    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead

    /// Asks for an object's attributes.
    ///
    /// - Throws: Any code but `.noSpace` and `.preconditionFailed`.
    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead

    /// Writes an object, whole.
    ///
    /// - Throws: Any code; `.preconditionFailed` when `condition` does not hold.
    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation

    /// Deletes objects; one that does not exist is deleted already.
    ///
    /// - Parameter keys: Any number, without repetition; the store splits them as its protocol wants.
    /// - Throws: When one or more could not be deleted; any of them may be gone.
    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation

    /// Lists objects in the order of their keys.
    ///
    /// - Parameters:
    ///   - prefix: Only keys that start so.
    ///   - after: Only keys greater than this one; nil starts at the beginning.
    ///   - limit: How many at most, 1 ... 1000. A page may hold fewer and not be the last.
    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage
}
