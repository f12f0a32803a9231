// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import ObjectStores

/// Lists, and requests that overlap.
extension ObjectStoreContract {
    static var listing: [ObjectStoreContract] {
        [
            ObjectStoreContract("an empty store lists nothing") { store in
                let page = try await store.list(prefix: "", after: nil, limit: 1000, .foreground)
                try expect(page == ObjectListPage(entries: [], next: nil), "an empty store has one empty page")
            },
            ObjectStoreContract("a list has every object once, by the bytes of the key, with its size") { store in
                let names = ["b", "a/b", "a-b", "a", "a0", "\u{e4}", "B", "z/y/x", "z/y-x", "\u{10000}", "\u{ffee}"]
                for name in names where name != "a" { _ = try await store.put(name, Array(name.utf8)) }
                let listed = try await allKeys(store, prefix: "", limit: 1000)
                let expected = names.filter { $0 != "a" }.map(ObjectKey.init).sorted()
                try expect(listed == expected, "keys in the order of their bytes, not \(listed)")
                let page = try await store.list(prefix: "", after: nil, limit: 1000, .foreground)
                for entry in page.entries {
                    try expect(entry.size == entry.key.name.utf8.count, "\(entry.key) is listed with its size")
                    guard let eTag = entry.eTag else { continue }
                    let version = try await store.object(entry.key.name).attributes.eTag
                    try expect(eTag == version, "\(entry.key) is listed with its version")
                }
            },
            ObjectStoreContract("pages of every size are parts of the same list") { store in
                for index in 0..<13 { _ = try await store.put("p\(index % 3)/\(index)", [1]) }
                let all = try await allKeys(store, prefix: "p", limit: 1000)
                try expect(all.count == 13, "13 objects are listed, not \(all.count)")
                for limit in [1, 2, 5, 12, 13, 14] {
                    let listed = try await allKeys(store, prefix: "p", limit: limit)
                    try expect(listed == all, "pages of \(limit) give the same list, not \(listed)")
                }
            },
            ObjectStoreContract("a prefix is any beginning of a key, not a directory") { store in
                for name in ["sub/0000", "sub/0001", "sub/0010", "sub-0000", "su", "tub/0000"] {
                    _ = try await store.put(name, [1])
                }
                let expected = [
                    "": 6, "su": 5, "sub": 4, "sub/": 3, "sub/00": 3, "sub/000": 2, "sub/0001": 1, "sub/0001x": 0, "x": 0,
                ]
                for (prefix, count) in expected {
                    let listed = try await allKeys(store, prefix: prefix, limit: 1000)
                    try expect(listed.count == count, "\(count) keys begin with \"\(prefix)\", not \(listed)")
                }
            },
            ObjectStoreContract("after is exclusive, and need not exist") { store in
                for name in ["a/1", "a/3", "a/5", "b"] { _ = try await store.put(name, [1]) }
                let expected = ["a/1": 3, "a/2": 3, "a/5": 1, "a": 4, "a/": 4, "a0": 1, "b": 0, "c": 0]
                for (after, count) in expected {
                    let page = try await store.list(prefix: "", after: ObjectKey(after), limit: 1000, .foreground)
                    try expect(page.entries.count == count, "\(count) keys come after \"\(after)\", not \(page.entries)")
                }
            },
            ObjectStoreContract("a list that begins after a mutation returned sees it") { store in
                for round in 0..<10 {
                    _ = try await store.put("seen", [UInt8](repeating: 1, count: round))
                    let page = try await store.list(prefix: "seen", after: nil, limit: 10, .foreground)
                    try expect(page.entries.map(\.size) == [round], "the size just written, not \(page.entries)")
                    _ = try await store.delete([ObjectKey("seen")], .foreground)
                    let empty = try await store.list(prefix: "seen", after: nil, limit: 10, .foreground)
                    try expect(empty.entries.isEmpty, "what was just deleted is not listed")
                }
            },
        ]
    }

    static var overlapping: [ObjectStoreContract] {
        [
            ObjectStoreContract("requests of different objects may overlap") { store in
                try await withThrowingTaskGroup { group in
                    for worker in UInt8(0)..<20 {
                        group.addTask {
                            for round in UInt8(0)..<10 {
                                _ = try await store.put("w\(worker % 4)/\(worker)", [worker, round])
                                let body = try await store.object("w\(worker % 4)/\(worker)").body.bytes
                                try expect(body == [worker, round], "each worker reads what it wrote")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                try expect(try await allKeys(store, prefix: "w", limit: 7).count == 20, "all of them are listed")
            },
            ObjectStoreContract("a read during a put sees the old or the new object, whole and with its metadata") { store in
                _ = try await store.put("k", [UInt8](repeating: 0, count: 5_000), ObjectMetadata(user: ["n": "0"]))
                try await withThrowingTaskGroup { group in
                    group.addTask {
                        for round in UInt8(1)..<30 {
                            let body = [UInt8](repeating: round, count: 5_000 + Int(round))
                            _ = try await store.put("k", body, ObjectMetadata(user: ["n": "\(round)"]))
                        }
                    }
                    for _ in 0..<2 {
                        group.addTask {
                            for _ in 0..<60 {
                                let object = try await store.object("k")
                                let version = object.body.bytes.first ?? 0
                                try expect(object.body.count == 5_000 + Int(version), "the body is whole")
                                try expect(object.body.bytes.allSatisfy { $0 == version }, "the body is of one version")
                                let metadata = object.attributes.metadata.user
                                try expect(
                                    metadata == ["n": "\(version)"], "version \(version) has its metadata, not \(metadata)")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            },
        ]
    }

    static var rivals: [ObjectStoreContract] {
        [
            ObjectStoreContract("of many that create an object at once, one succeeds") { store in
                let winners = await withTaskGroup(of: [UInt8].self) { group in
                    for worker in UInt8(0)..<8 {
                        group.addTask {
                            do {
                                _ = try await store.put("token", [worker], ObjectMetadata(), .ifAbsent)
                                return [worker]
                            } catch {
                                return []
                            }
                        }
                    }
                    return await group.reduce(into: []) { $0 += $1 }
                }
                try expect(winners.count == 1, "one wins, not \(winners)")
                try expect(try await store.object("token").body.bytes == winners, "and it is the winner's")
            }
        ]
    }

    /// All keys with a prefix, page by page.
    private static func allKeys(_ store: any ObjectStore, prefix: String, limit: Int) async throws -> [ObjectKey] {
        var keys: [ObjectKey] = []
        var after: ObjectKey?
        repeat {
            let page = try await store.list(prefix: prefix, after: after, limit: limit, .foreground)
            try expect(page.entries.count <= limit, "a page has at most \(limit) entries")
            keys += page.entries.map(\.key)
            after = page.next
        } while after != nil
        return keys
    }
}
