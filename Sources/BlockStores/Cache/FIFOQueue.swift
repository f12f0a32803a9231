// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// First in, first out; both in constant time on average.
struct FIFOQueue<Element: Sendable>: Sendable {
    private var incoming: [Element] = []
    private var outgoing: [Element] = []

    /// How many there are.
    var count: Int { incoming.count + outgoing.count }

    /// Adds at the end.
    mutating func append(_ element: Element) { incoming.append(element) }

    /// Takes the first; nil when there is none.
    mutating func popFirst() -> Element? {
        if outgoing.isEmpty {
            swap(&incoming, &outgoing)
            outgoing.reverse()
        }
        return outgoing.popLast()
    }
}
