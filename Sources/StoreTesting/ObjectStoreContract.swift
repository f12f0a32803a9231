// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
public import ObjectStores

/// What every object store, and every stack of layers over one, must do; as data, for `@Test(arguments:)`.
///
/// Each case begins with an empty store that nobody else uses.
public struct ObjectStoreContract: Sendable, CustomStringConvertible {
    /// The sentence of the contract that the case shows.
    public let name: String
    private let body: @Sendable (any ObjectStore) async throws -> Void

    /// Makes a case.
    init(_ name: String, _ body: @escaping @Sendable (any ObjectStore) async throws -> Void) {
        self.name = name
        self.body = body
    }

    /// Runs the case.
    ///
    /// - Throws: ``ContractViolation`` when the store does something else; its own error when it fails.
    public func check(_ store: any ObjectStore) async throws { try await body(store) }

    /// The name.
    public var description: String { name }

    /// The cases that any store and any stack passes.
    public static var all: [ObjectStoreContract] { reading + writing + conditions + deleting + listing + overlapping }

    /// The cases where several clients meet at one key, which no single caller may do: for stores, not for layers.
    public static var severalClients: [ObjectStoreContract] { rivals }
}

/// A promise that a store does not keep.
public struct ContractViolation: Error, CustomStringConvertible {
    /// What was expected, and what came.
    public let description: String

    /// Makes a violation.
    public init(_ description: String) { self.description = description }
}

/// Throws a ``ContractViolation`` unless `holds`.
public func expect(_ holds: Bool, _ promise: @autoclosure () -> String) throws {
    guard !holds else { return }
    throw ContractViolation(promise())
}

extension ObjectStore {
    /// Writes bytes under a name, with no condition, unless it is given.
    func put(
        _ name: String, _ bytes: [UInt8], _ metadata: ObjectMetadata = ObjectMetadata(), _ condition: PutCondition = .none
    ) async throws(ObjectStoreError) -> Mutation {
        try await put(ObjectKey(name), BufferSlice(Buffer(copying: bytes)), metadata, condition, .foreground)
    }

    /// Reads a whole object that must exist.
    func object(_ name: String) async throws -> Object {
        let read = try await get(ObjectKey(name), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        guard case .object(let object) = read else { throw ContractViolation("object \(name) exists, but GET said \(read)") }
        return object
    }

    /// Whether an object exists, as both GET and HEAD have it.
    func exists(_ name: String) async throws -> Bool {
        let read = try await get(ObjectKey(name), range: nil, ifMatch: nil, ifNoneMatch: nil, .foreground)
        let head = try await head(ObjectKey(name), .foreground)
        switch (read, head) {
        case (.absent, .absent): return false
        case (.object, .present): return true
        default: throw ContractViolation("GET and HEAD of \(name) agree, but they said \(read) and \(head)")
        }
    }
}

/// Throws a ``ContractViolation`` unless `request` fails with `code`, nothing having been done.
func expectFailure(
    _ code: ObjectStoreError.Code, _ promise: String, _ request: () async throws(ObjectStoreError) -> Void
) async throws {
    do throws(ObjectStoreError) {
        try await request()
    } catch {
        try expect(error.code == code, "\(promise): .\(code), but it failed with .\(error.code): \(error)")
        try expect(!error.outcomeIsUnknown, "\(promise): the store answered, so the outcome is known")
        return
    }
    throw ContractViolation("\(promise): .\(code), but it succeeded")
}
