// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Synchronization
import Testing

@testable import ObjectStores

/// Stops a store before each of its changes in turn, as kill -9 would, and opens the directory again.
@Suite("DirectoryObjectStore crashes")
struct DirectoryCrashTests {
    private let pool = BufferPool(retainedBytesMax: 1 << 20)
    private let key = ObjectKey("sub/k")

    /// What there is to know about an object.
    private struct Content: Hashable {
        var text: String
        var user: [String: String]
    }

    /// Writes down the changes of a store, and stops it before one of them.
    private final class Trace: Sendable {
        private let state = Mutex((changes: [DirectoryStep](), stopAt: Int.max))
        var changes: [DirectoryStep] { state.withLock { $0.changes } }

        func arm(stopAt: Int) { state.withLock { $0 = ([], stopAt) } }

        func note(_ change: DirectoryStep) throws(SystemError) {
            let isStopped = state.withLock { state in
                guard state.changes.count < state.stopAt else { return true }
                state.changes.append(change)
                return false
            }
            if isStopped { throw SystemError("crash", errno: DirectoryObjectStore.crashed) }
        }
    }

    private func open(_ directory: TemporaryDirectory, _ trace: Trace) throws -> DirectoryObjectStore {
        try DirectoryObjectStore(directory: directory.path, pool: pool, isReadOnly: false, undescribed: ObjectMetadata()) {
            change throws(SystemError) in
            try trace.note(change)
        }
    }

    private func content(_ store: DirectoryObjectStore) throws -> Content? {
        try store.read(key).map { object in
            Content(text: String(decoding: object.body.bytes, as: UTF8.self), user: object.attributes.metadata.user)
        }
    }

    private func mutate(_ store: DirectoryObjectStore, to new: Content?) async throws(ObjectStoreError) {
        if let new {
            _ = try await store.put(key, body(new.text), ObjectMetadata(user: new.user), .none, .foreground)
        } else {
            _ = try await store.delete([key], .foreground)
        }
    }

    private static let contents: [Content?] = [
        nil, Content(text: "one", user: [:]), Content(text: "two", user: [:]), Content(text: "one", user: ["size": "1"]),
        Content(text: "two", user: ["size": "2"]), Content(text: "two", user: ["size": "3"]),
    ]

    @Test("stopped anywhere, a mutation was done whole or not at all, and can be done again", arguments: 0..<6, 0..<6)
    private func survivesCrashes(from: Int, to: Int) async throws {
        let (old, new) = (Self.contents[from], Self.contents[to])
        for stopAt in 0..<40 {
            let directory = TemporaryDirectory()
            let trace = Trace()
            let store = try open(directory, trace)
            try await mutate(store, to: old)
            trace.arm(stopAt: stopAt)
            var isDone = false
            do {
                try await mutate(store, to: new)
                isDone = true
            } catch {
                let changes = trace.changes
                trace.arm(stopAt: .max)
                let isUnchanged = try content(store) == old
                #expect(error.outcomeIsUnknown || isUnchanged, "known, and yet changed: \(changes)")
            }
            let again = try open(directory, Trace())
            let found = try content(again)
            #expect(isDone ? found == new : found == old || found == new, "stopped at \(stopAt): \(trace.changes)")
            let litter = directory.files().filter { $0.contains(".tmp.") }
            #expect(litter == [], "the next start sweeps")
            try await mutate(again, to: new)
            #expect(try content(again) == new)
            if isDone { return }
        }
        Issue.record("a mutation takes fewer than 40 changes")
    }

    @Test("every rename and unlink of an object is followed by an fsync of its directory, before the mutation returns")
    func syncsInOrder() async throws {
        let directory = TemporaryDirectory()
        let trace = Trace()
        let store = try open(directory, trace)
        try await mutate(store, to: Content(text: "one", user: [:]))
        #expect(
            trace.changes == [
                .makeDirectory("sub"), .sync("."), .writeTemporary, .rename(to: "k"), .sync("sub"),
            ])
        trace.arm(stopAt: .max)
        try await mutate(store, to: Content(text: "two", user: ["a": "1"]))
        #expect(
            trace.changes == [
                .makeDirectory("sub"), .writeTemporary, .rename(to: ".s3backer.meta.k"), .sync("sub"), .writeTemporary,
                .rename(to: "k"), .sync("sub"),
            ])
        trace.arm(stopAt: .max)
        try await mutate(store, to: nil)
        #expect(trace.changes == [.unlink("k"), .sync("sub"), .unlink(".s3backer.meta.k")])
    }

    @Test("a read between whose body and metadata the object is replaced, twice, gives one version")
    func readsOneVersion() async throws {
        let directory = TemporaryDirectory()
        let writer = try open(directory, Trace())
        try await mutate(writer, to: Content(text: "one", user: ["n": "1"]))
        let rest = Mutex([Content(text: "two", user: ["n": "2"]), Content(text: "three", user: ["n": "3"])])
        let key = key
        let reader = try DirectoryObjectStore(
            directory: directory.path, pool: pool, isReadOnly: true, undescribed: ObjectMetadata()
        ) {
            step throws(SystemError) in
            guard case .readMetadata = step else { return }
            for new in rest.withLock({ rest in
                defer { rest = [] }; return rest
            }) {
                do throws(ObjectStoreError) {
                    _ = try writer.write(key, body(new.text), ObjectMetadata(user: new.user), .none)
                } catch {
                    throw SystemError("write", errno: -3)
                }
            }
        }
        #expect(try content(reader) == Content(text: "three", user: ["n": "3"]))
    }

    @Test("a metadata file keeps the record of both bodies, and reads back what was written")
    func sidecarRoundTrip() throws {
        var sidecar = DirectorySidecar()
        sidecar.records["900150983cd24fb0d6963f7d28e17f72"] = ObjectMetadata(
            contentType: "text/plain; charset=\"utf 8\"", contentEncoding: "", user: ["a": "", "b": "100 %\n\u{fc}\u{308}"])
        sidecar.records["d41d8cd98f00b204e9800998ecf8427e"] = ObjectMetadata()
        let bytes = sidecar.encoded
        #expect(DirectorySidecar(bytes) == sidecar)
        #expect(DirectorySidecar(DirectorySidecar().encoded) == DirectorySidecar())
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 1
            #expect(DirectorySidecar(damaged) == nil, "byte \(index)")
            #expect(DirectorySidecar(Array(bytes[..<index])) == nil, "cut off at \(index)")
        }
    }
}
