// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import ObjectStores

/// Reading, writing and deleting single objects.
extension ObjectStoreContract {
    static var reading: [ObjectStoreContract] {
        [
            ObjectStoreContract("an object never written is absent, to GET and HEAD") { store in
                try expect(try await !store.exists("never"), "an object never written is absent")
                let read = try await store.get("x/y/z", range: 0..<5)
                guard case .absent = read else { throw ContractViolation("a range of an absent object is absent, not \(read)") }
            },
            ObjectStoreContract("what was put is read back, with its version and metadata") { store in
                let metadata = ObjectMetadata(
                    contentType: "application/x-s3backer-block", contentEncoding: "deflate,encrypt-AES-128-CBC",
                    user: ["s3backer-filesize": "1048576", "s3backer-blocksize": "4096", "s3backer-hmac": "\"% a=b\""])
                let mutation = try await store.put("sub/00000000", Array("block".utf8), metadata)
                let object = try await store.object("sub/00000000")
                try expect(object.body.bytes == Array("block".utf8), "the body is what was put")
                try expect(object.attributes.metadata == metadata, "metadata stays, not \(object.attributes.metadata)")
                try expect(object.attributes.size == 5, "the size is the body's")
                try expect(object.attributes.eTag == mutation.eTag, "GET has the version that the put returned")
                let head = try await store.head(ObjectKey("sub/00000000"), .foreground)
                try expect(head == .present(object.attributes), "HEAD says what GET says, not \(head)")
            },
            ObjectStoreContract("a range is cut off at the end, and one that starts beyond it is an error") { store in
                _ = try await store.put("range", Array(0..<10))
                for (range, expected) in [(0..<10, 0..<10), (2..<5, 2..<5), (8..<20, 8..<10), (0..<1, 0..<1)] {
                    guard case .object(let part) = try await store.get("range", range: range) else {
                        throw ContractViolation("bytes \(range) of an object that exists")
                    }
                    try expect(part.body.bytes == expected.map(UInt8.init), "bytes \(range), not \(part.body.bytes)")
                    try expect(part.attributes.size == 10, "the size is the whole object's, also for a range")
                }
                do {
                    _ = try await store.get("range", range: 10..<12)
                } catch {
                    return
                }
                throw ContractViolation("a range beyond the end is an error")
            },
            ObjectStoreContract("ifNoneMatch answers unchanged exactly while the version stays") { store in
                let eTag = try await store.put("v", [1]).eTag
                guard case .unchanged = try await store.get("v", ifNoneMatch: eTag) else {
                    throw ContractViolation("the same version is unchanged")
                }
                _ = try await store.put("v", [2])
                guard case .object(let object) = try await store.get("v", ifNoneMatch: eTag), object.body.bytes == [2] else {
                    throw ContractViolation("another version is read")
                }
                _ = try await store.delete([ObjectKey("v")], .foreground)
                guard case .absent = try await store.get("v", ifNoneMatch: eTag) else {
                    throw ContractViolation("a deleted object is absent")
                }
            },
            ObjectStoreContract("ifMatch reads that version only") { store in
                let eTag = try await store.put("v", [1]).eTag
                guard case .object = try await store.get("v", ifMatch: eTag) else {
                    throw ContractViolation("the version asked for is read")
                }
                _ = try await store.put("v", [2])
                try await expectFailure(.preconditionFailed, "another version is refused") { () async throws(ObjectStoreError) in
                    _ = try await store.get("v", ifMatch: eTag)
                }
            },
        ]
    }

    static var writing: [ObjectStoreContract] {
        [
            ObjectStoreContract("an empty object exists") { store in
                _ = try await store.put("empty", [])
                try expect(try await store.exists("empty"), "an empty object exists")
                try expect(try await store.object("empty").body.count == 0, "an empty object has no bytes")
            },
            ObjectStoreContract("a put replaces body and metadata whole") { store in
                _ = try await store.put("k", Array(repeating: 7, count: 10_000), ObjectMetadata(user: ["a": "1", "b": "2"]))
                _ = try await store.put("k", [8], ObjectMetadata(user: ["b": "3"]))
                var object = try await store.object("k")
                try expect(object.body.bytes == [8], "the old body is gone")
                try expect(object.attributes.metadata.user == ["b": "3"], "the old metadata is gone")
                _ = try await store.put("k", [9])
                object = try await store.object("k")
                try expect(object.attributes.metadata.user == [:], "metadata goes when none is given")
            },
            ObjectStoreContract("metadata changes also when the body stays the same, and does not come back") { store in
                _ = try await store.put("k", [1], ObjectMetadata(user: ["a": "1"]))
                _ = try await store.put("k", [1], ObjectMetadata(user: ["a": "2"]))
                try expect(try await store.object("k").attributes.metadata.user == ["a": "2"], "the new metadata is there")
                _ = try await store.put("k", [2])
                _ = try await store.put("k", [1])
                try expect(try await store.object("k").attributes.metadata.user == [:], "old metadata does not come back")
            },
            ObjectStoreContract("a body of 1 MiB and a part of a larger buffer are stored as they are") { store in
                var generator = SeededGenerator(seed: 5)
                let bytes = generator.bytes(count: 1 << 20)
                let buffer = BufferSlice(Buffer(copying: bytes))
                _ = try await store.put(ObjectKey("large"), buffer, ObjectMetadata(), .none, .background)
                _ = try await store.put(ObjectKey("part"), buffer.slice(100..<4196), ObjectMetadata(), .none, .background)
                try expect(try await store.object("large").body.bytes == bytes, "1 MiB is stored")
                try expect(try await store.object("part").body.bytes == Array(bytes[100..<4196]), "a slice is stored")
            },
            ObjectStoreContract("names with blanks, plus, percent, umlauts, marks and dots are kept apart") { store in
                let names = [
                    "a b/c", "a+b/c", "a%20b/c", "\u{fc}/c", "u\u{308}/c", "a&b=c?d#e", "..x/...", "-", "~", "s/\u{308}x",
                ]
                for (index, name) in names.enumerated() { _ = try await store.put(name, [UInt8(index)]) }
                for (index, name) in names.enumerated() {
                    try expect(try await store.object(name).body.bytes == [UInt8(index)], "\"\(name)\" is an object of its own")
                }
                let page = try await store.list(prefix: "", after: nil, limit: 100, .foreground)
                let listed = Set(page.entries.map { Array($0.key.name.utf8) })
                try expect(listed == Set(names.map { Array($0.utf8) }), "the names are listed as they are, not \(page.entries)")
            },
        ]
    }

    static var conditions: [ObjectStoreContract] {
        [
            ObjectStoreContract("ifAbsent writes once, until the object is deleted") { store in
                let mutation = try await store.put("token", [1], ObjectMetadata(), .ifAbsent)
                try expect(mutation.eTag != nil, "the put returns a version")
                try await expectFailure(.preconditionFailed, "what exists is not written") { () async throws(ObjectStoreError) in
                    _ = try await store.put("token", [2], ObjectMetadata(), .ifAbsent)
                }
                try expect(try await store.object("token").body.bytes == [1], "what was refused changes nothing")
                _ = try await store.delete([ObjectKey("token")], .foreground)
                _ = try await store.put("token", [3], ObjectMetadata(), .ifAbsent)
                try expect(try await store.object("token").body.bytes == [3], "a deleted object may be written again")
            },
            ObjectStoreContract("ifMatch writes over that version only, and never over nothing") { store in
                guard let first = try await store.put("token", [1]).eTag else { throw ContractViolation("a version") }
                let second = try await store.put("token", [2], ObjectMetadata(user: ["n": "2"]), .ifMatch(first))
                try expect(second.eTag != first, "another body is another version")
                try await expectFailure(.preconditionFailed, "an old version is refused") { () async throws(ObjectStoreError) in
                    _ = try await store.put("token", [3], ObjectMetadata(), .ifMatch(first))
                }
                try expect(try await store.object("token").body.bytes == [2], "what was refused changes nothing")
                try expect(try await store.object("token").attributes.metadata.user == ["n": "2"], "nor the metadata")
                _ = try await store.delete([ObjectKey("token")], .foreground)
                try await expectFailure(.preconditionFailed, "nothing has no version") { () async throws(ObjectStoreError) in
                    _ = try await store.put("token", [4], ObjectMetadata(), .ifMatch(first))
                }
                try expect(try await !store.exists("token"), "what was refused writes nothing")
            },
        ]
    }

    static var deleting: [ObjectStoreContract] {
        [
            ObjectStoreContract("a deleted object is absent, and deleting it again succeeds") { store in
                _ = try await store.put("d/1", [1], ObjectMetadata(user: ["a": "b"]))
                for _ in 0..<2 {
                    let mutation = try await store.delete([ObjectKey("d/1")], .foreground)
                    try expect(mutation.eTag == nil && mutation.isSettled, "a delete is settled and has no version")
                    try expect(try await !store.exists("d/1"), "a deleted object is absent")
                }
                _ = try await store.put("d/1", [1])
                try expect(try await store.object("d/1").attributes.metadata.user == [:], "its metadata went with it")
            },
            ObjectStoreContract("many objects are deleted at once, and no other") { store in
                let keys = (0..<25).map { ObjectKey("many/\($0)") }
                for key in keys.dropLast(5) { _ = try await store.put(key.name, [1]) }
                _ = try await store.put("many.", [2])
                _ = try await store.delete(keys, .background)
                _ = try await store.delete([], .background)
                let page = try await store.list(prefix: "", after: nil, limit: 1000, .foreground)
                try expect(page.entries.map(\.key) == [ObjectKey("many.")], "only the others are left, not \(page.entries)")
            },
        ]
    }
}

extension ObjectStore {
    /// Reads with conditions, all optional.
    fileprivate func get(
        _ name: String, range: Range<Int>? = nil, ifMatch: ETag? = nil, ifNoneMatch: ETag? = nil
    ) async throws(ObjectStoreError) -> ObjectRead {
        try await get(ObjectKey(name), range: range, ifMatch: ifMatch, ifNoneMatch: ifNoneMatch, .foreground)
    }
}
