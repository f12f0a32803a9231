// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import DataPath
internal import Logging
public import ObjectStores
internal import Synchronization

extension S3Client {
    /// Lists objects; see ``ObjectStore/list(prefix:after:limit:_:)``.
    ///
    /// Asks with version 2, and with version 1 from the moment the server shows that it does not know 2: by refusing it
    /// (400, 501) and accepting 1, or by answering without KeyCount.
    ///
    /// - Source: Amazon S3 API Reference, ListObjectsV2 and ListObjects.
    public func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        precondition((1...S3Client.listLimitMax).contains(limit), "a page has 1 to 1000 entries")
        let bounds = ListBounds(prefix: prefix, after: after, limit: limit)
        let known = listVersion.withLock { $0 }
        if known == .version1 { return try await page(bounds, .version1) }
        let refusal: ObjectStoreError
        do {
            let page = try await page(bounds, .version2)
            if known == .unknown { listVersion.withLock { $0 = .version2 } }
            return page
        } catch {
            let isDoubtful = error.code == .badRequest || error.code == .notImplemented || error.cause is NotVersion2
            guard known == .unknown, isDoubtful else { throw error }
            refusal = error
        }
        do {
            let page = try await page(bounds, .version1)
            listVersion.withLock { $0 = .version1 }
            logger.info("the store does not know ListObjectsV2; listing with version 1")
            return page
        } catch {
            throw refusal
        }
    }

    /// The most keys that a page may have.
    private static let listLimitMax = 1000
    /// How large a page may be, in bytes: a thousand keys of 1 KiB, each byte percent-encoded, and room for what stands beside.
    private static let pageSizeMax = 16 << 20

    private struct ListBounds {
        let prefix: String
        let after: ObjectKey?
        let limit: Int
    }

    /// The answer was given by a server that knows version 1 only.
    private struct NotVersion2: Error {}

    private func page(_ bounds: ListBounds, _ version: ListVersion) async throws(ObjectStoreError) -> ObjectListPage {
        let operation = S3Operation("list bucket \"\(settings.endpoint.bucket)\"", isMutation: false)
        var request = S3Request(
            method: .get, path: settings.endpoint.bucketPath,
            query: [("encoding-type", "url"), ("max-keys", String(bounds.limit)), ("prefix", bounds.prefix)],
            answerSizeMax: S3Client.pageSizeMax)
        if version == .version2 { request.query.append(("list-type", "2")) }
        if let after = bounds.after { request.query.append((version == .version2 ? "start-after" : "marker", after.name)) }
        let response = try await send(request, for: operation)
        guard response.status == 200 else { throw refusal(response, to: operation).objectStoreError }
        let page: S3ListPage
        do {
            page = try response.body.withBytes { bytes throws(S3ListPage.Malformed) in try S3ListPage(parsing: bytes) }
        } catch {
            throw operation.malformed("the answer \(error.description)")
        }
        if version == .version2, !page.isVersion2 {
            throw operation.error(
                .notImplemented, "the store does not know ListObjectsV2", outcomeIsUnknown: false, wrapping: NotVersion2())
        }
        return try checked(page, bounds, operation)
    }

    /// Believes a page only if it is what was asked for: a server that heeds neither prefix nor start would be listed in
    /// circles, or have foreign objects taken for blocks.
    private func checked(
        _ page: S3ListPage, _ bounds: ListBounds, _ operation: S3Operation
    ) throws(ObjectStoreError) -> ObjectListPage {
        var previous = bounds.after
        for entry in page.entries {
            guard previous.map({ $0 < entry.key }) ?? true, entry.key.name.utf8.starts(with: bounds.prefix.utf8) else {
                throw operation.malformed("the answer lists objects that were not asked for, or not in order")
            }
            previous = entry.key
        }
        guard page.isTruncated else { return ObjectListPage(entries: page.entries, next: nil) }
        guard let last = page.entries.last?.key else {
            throw operation.malformed("the answer is an empty page and says that more follow")
        }
        return ObjectListPage(entries: page.entries, next: last)
    }
}
