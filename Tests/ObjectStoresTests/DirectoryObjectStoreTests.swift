// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import StoreTesting
import Testing

@testable import ObjectStores

@Suite("DirectoryObjectStore")
struct DirectoryObjectStoreTests {
    private let directory = TemporaryDirectory()
    private let pool = BufferPool(retainedBytesMax: 1 << 20)

    private func open(isReadOnly: Bool = false) throws(ObjectStoreError) -> DirectoryObjectStore {
        try DirectoryObjectStore(directory: directory.path, pool: pool, isReadOnly: isReadOnly, undescribed: ObjectMetadata())
    }

    private func put(
        _ store: DirectoryObjectStore, _ name: String, _ text: String, user: [String: String] = [:]
    ) async throws(ObjectStoreError) {
        _ = try await store.put(ObjectKey(name), body(text), ObjectMetadata(user: user), .none, .foreground)
    }

    private func read(_ store: DirectoryObjectStore, _ name: String) throws -> String? {
        try store.read(ObjectKey(name)).map { String(decoding: $0.body.bytes, as: UTF8.self) }
    }

    private func expectFailure(
        _ code: ObjectStoreError.Code, sourceLocation: SourceLocation = #_sourceLocation,
        _ request: () async throws -> Void
    ) async {
        await #expect(sourceLocation: sourceLocation) {
            try await request()
        } throws: { error in
            (error as? ObjectStoreError)?.code == code
        }
    }

    @Test("an object is a file with just its bytes, in the directories of its key")
    func isCompatible() async throws {
        let store = try open()
        try await put(store, "00000001", "one")
        try await put(store, "a/b/00000002", "two")
        #expect(directory.files() == [".s3backer.lock", "00000001", "a/b/00000002"])
        directory.write("00000003", Array("of the C program".utf8))
        #expect(try read(store, "00000003") == "of the C program")
        let page = try await store.list(prefix: "", after: nil, limit: 1000, .foreground)
        #expect(page.entries.map(\.key.name) == ["00000001", "00000003", "a/b/00000002"])
    }

    @Test("the ETag is the MD5 of the bytes")
    func hasETag() async throws {
        let store = try open()
        try await put(store, "k", "abc")
        // RFC 1321, appendix A.5.
        #expect(try store.read(ObjectKey("k"))?.attributes.eTag == ETag("900150983cd24fb0d6963f7d28e17f72"))
    }

    @Test("metadata that the store takes for granted needs no second file, and any other has one")
    func savesSecondFile() async throws {
        let block = ObjectMetadata(contentType: "application/x-s3backer-block")
        let store = try DirectoryObjectStore(
            directory: directory.path, pool: pool, isReadOnly: false, undescribed: block)
        let stored = { () throws(ObjectStoreError) in try store.read(ObjectKey("k"))?.attributes.metadata }
        _ = try await store.put(ObjectKey("k"), body("1"), block, .none, .foreground)
        #expect(directory.files() == [".s3backer.lock", "k"])
        #expect(try stored() == block)
        for metadata in [ObjectMetadata(), ObjectMetadata(contentType: "text/plain", user: ["a": "b"])] {
            _ = try await store.put(ObjectKey("k"), body("2"), metadata, .none, .foreground)
            #expect(directory.files() == [".s3backer.lock", ".s3backer.meta.k", "k"])
            #expect(try stored() == metadata)
        }
        _ = try await store.put(ObjectKey("k"), body("3"), block, .none, .foreground)
        #expect(directory.files() == [".s3backer.lock", "k"])
        #expect(try stored() == block)
    }

    @Test(
        "a key that would leave the directory, or meet the store's own files, is refused",
        arguments: [
            "", "/", "/etc/passwd", "..", "../x", "a/../x", "a/..", ".", "a/./b", "a//b", "a/", "a\0b", ".s3backer.lock",
            "a/.s3backer.tmp.1", ".s3backer.\u{308}", "../\u{308}x",
        ])
    func refusesKeys(name: String) async throws {
        let store = try open()
        await expectFailure(.badRequest) { try await put(store, name, "x") }
        await expectFailure(.badRequest) { _ = try read(store, name) }
        await expectFailure(.badRequest) { _ = try await store.delete([ObjectKey(name)], .foreground) }
    }

    @Test("a directory that does not exist, or goes away, is an error and not an empty store")
    func needsDirectory() async throws {
        await expectFailure(.noSuchBucket) {
            _ = try DirectoryObjectStore(
                directory: directory.path + "/missing", pool: pool, isReadOnly: true, undescribed: ObjectMetadata())
        }
        let path = directory.path + "/gone"
        mkdir(path, 0o777)
        let store = try DirectoryObjectStore(directory: path, pool: pool, isReadOnly: true, undescribed: ObjectMetadata())
        #expect(try read(store, "k") == nil)
        rmdir(path)
        await expectFailure(.noSuchBucket) { _ = try read(store, "k") }
        await expectFailure(.noSuchBucket) { _ = try await store.list(prefix: "", after: nil, limit: 1, .foreground) }
    }

    @Test("a store opened read-only touches nothing and refuses mutations")
    func respectsReadOnly() async throws {
        directory.write(".s3backer.tmp.5", [1])
        directory.write("k", [65])
        let store = try open(isReadOnly: true)
        await expectFailure(.forbidden) { try await put(store, "k", "x") }
        await expectFailure(.forbidden) { _ = try await store.delete([ObjectKey("k")], .foreground) }
        #expect(try read(store, "k") == "A")
        #expect(directory.files() == [".s3backer.tmp.5", "k"])
    }

    @Test("a full disk is .noSpace, and nothing is left of the attempt")
    func reportsFullDisk() async throws {
        let store = try DirectoryObjectStore(
            directory: directory.path, pool: pool, isReadOnly: false, undescribed: ObjectMetadata()
        ) {
            change throws(SystemError) in
            if change == .rename(to: "full") { throw SystemError("write", errno: ENOSPC) }
        }
        await expectFailure(.noSpace) { try await put(store, "full", "x") }
        #expect(directory.files() == [".s3backer.lock"])
    }

    @Test("a name that is a directory of other objects is absent, and cannot be written")
    func keepsDirectoriesApart() async throws {
        let store = try open()
        try await put(store, "a/b", "x")
        #expect(try read(store, "a") == nil)
        #expect(try read(store, "a/b/c") == nil)
        await expectFailure(.badRequest) { try await put(store, "a", "x") }
        await expectFailure(.badRequest) { try await put(store, "a/b/c", "x") }
        _ = try await store.delete([ObjectKey("a"), ObjectKey("a/b/c")], .foreground)
        #expect(try read(store, "a/b") == "x")
    }

    @Test("a damaged metadata file is an error until the object is written again")
    func noticesDamage() async throws {
        let store = try open()
        try await put(store, "k", "x", user: ["a": "1"])
        directory.write(".s3backer.meta.k", Array("s3backer-metadata 1\ncheck 0\n".utf8))
        await expectFailure(.io) { _ = try read(store, "k") }
        try await put(store, "k", "y", user: ["a": "2"])
        #expect(try store.read(ObjectKey("k"))?.attributes.metadata.user == ["a": "2"])
    }

    @Test("reads land in buffers of the pool")
    func readsIntoPool() async throws {
        let store = try open()
        try await put(store, "k", "x")
        let before = pool.retainedBytes
        do { #expect(try read(store, "k") == "x") }
        #expect(pool.retainedBytes >= max(before, 4096))
    }

    @Test("two stores in one directory lock each other's keys: of many creations one succeeds")
    func excludesOtherProcesses() async throws {
        let stores = [try open(), try open()]
        for round in 0..<20 {
            let winners = await withTaskGroup(of: Int.self) { group in
                for worker in 0..<6 {
                    group.addTask {
                        let key = ObjectKey("token\(round)")
                        do {
                            let text = body("\(worker)")
                            _ = try await stores[worker % 2].put(key, text, ObjectMetadata(), .ifAbsent, .foreground)
                            return 1
                        } catch {
                            return 0
                        }
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(winners == 1)
        }
    }
}
