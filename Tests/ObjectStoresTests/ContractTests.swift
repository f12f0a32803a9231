// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("ObjectStore contract")
struct ContractTests {
    @Test("every store and every pair of layers keeps the contract", arguments: TestedStore.allCases, ObjectStoreContract.all)
    func keepsContract(_ tested: TestedStore, _ contract: ObjectStoreContract) async throws {
        let (store, directory) = try tested.make()
        try await contract.check(store)
        withExtendedLifetime(directory) {}
    }

    @Test("rivals at one key", arguments: [TestedStore.memory, .directory], ObjectStoreContract.severalClients)
    func keepsContractWithRivals(_ tested: TestedStore, _ contract: ObjectStoreContract) async throws {
        let (store, directory) = try tested.make()
        try await contract.check(store)
        withExtendedLifetime(directory) {}
    }

    @Test("the contract finds a store that forgets metadata, or cuts a list short")
    func contractCanFail() async throws {
        var failures = 0
        for contract in ObjectStoreContract.all {
            do {
                try await contract.check(ForgetfulStore())
            } catch {
                failures += 1
            }
        }
        #expect(failures >= 4)
    }
}

/// Breaks the contract.
private final class ForgetfulStore: ObjectStore {
    private let next = MemoryObjectStore()

    func get(
        _ key: ObjectKey, range: Range<Int>?, ifMatch: ETag?, ifNoneMatch: ETag?, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await next.get(key, range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, context)
    }
    func head(_ key: ObjectKey, _ context: IOContext) async throws(ObjectStoreError) -> ObjectHead {
        try await next.head(key, context)
    }
    func put(
        _ key: ObjectKey, _ body: BufferSlice, _ metadata: ObjectMetadata, _ condition: PutCondition, _ context: IOContext
    ) async throws(ObjectStoreError) -> Mutation {
        try await next.put(key, body, ObjectMetadata(), condition, context)
    }
    func delete(_ keys: [ObjectKey], _ context: IOContext) async throws(ObjectStoreError) -> Mutation {
        try await next.delete(keys, context)
    }
    func list(
        prefix: String, after: ObjectKey?, limit: Int, _ context: IOContext
    ) async throws(ObjectStoreError) -> ObjectListPage {
        let page = try await next.list(prefix: prefix, after: after, limit: limit, context)
        return ObjectListPage(entries: page.entries, next: nil)
    }
}
