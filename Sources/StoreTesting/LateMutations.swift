// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import ObjectStores

/// A mutation whose sender has given up, and which is still on its way to the store.
struct LateMutation: Sendable {
    /// What is carried out when it arrives.
    enum Kind: Sendable {
        case put(ObjectKey, BufferSlice, ObjectMetadata, PutCondition)
        case delete([ObjectKey])

        /// The keys that it changes.
        var keys: [ObjectKey] {
            switch self {
            case .put(let key, _, _, _): [key]
            case .delete(let keys): keys
            }
        }
    }
    /// What is carried out.
    let kind: Kind
    /// After how many more mutations of one of its keys it arrives.
    var mutationsLeft: Int
    /// When it arrives at the latest; nil: at no certain time.
    let due: Duration?
}

/// The mutations on their way, the oldest first.
struct LateMutations: Sendable {
    private var onTheWay: [LateMutation] = []

    /// How many are on their way to `key`.
    func count(of key: ObjectKey) -> Int { onTheWay.count { $0.kind.keys.contains(key) } }

    /// Adds one that was just sent.
    mutating func append(_ mutation: LateMutation) { onTheWay.append(mutation) }

    /// Takes all of them.
    mutating func takeAll() -> [LateMutation] { take { _ in true } }

    /// Takes those on their way to `key`.
    mutating func take(of key: ObjectKey) -> [LateMutation] { take { $0.kind.keys.contains(key) } }

    /// Takes those whose time has come.
    mutating func takeDue(_ now: Duration) -> [LateMutation] {
        take { mutation in mutation.due.map { $0 <= now } ?? false }
    }

    /// Counts a mutation of `keys`, and takes those that waited for it.
    mutating func takeAfterMutation(of keys: [ObjectKey]) -> [LateMutation] {
        for index in onTheWay.indices where onTheWay[index].kind.keys.contains(where: keys.contains) {
            onTheWay[index].mutationsLeft -= 1
        }
        return take { $0.mutationsLeft <= 0 }
    }

    private mutating func take(_ isTaken: (LateMutation) -> Bool) -> [LateMutation] {
        guard !onTheWay.isEmpty else { return [] }
        let taken = onTheWay.filter(isTaken)
        onTheWay.removeAll(where: isTaken)
        return taken
    }
}
