// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// One value for each slot that was ever used, addressed by slot.
struct SlotArray<Element: Sendable>: Sendable {
    private var elements: [Element] = []

    /// How many slots have a value.
    var count: Int { elements.count }

    /// The slots that have a value.
    var slots: some Sequence<CacheSlot> { (0..<UInt32(elements.count)).lazy.map(CacheSlot.init(rawValue:)) }

    /// Gives the next slot a value.
    ///
    /// - Returns: That slot.
    mutating func append(_ element: Element) -> CacheSlot {
        elements.append(element)
        return CacheSlot(rawValue: UInt32(elements.count - 1))
    }

    /// The value of a slot.
    subscript(slot: CacheSlot) -> Element {
        get { elements[Int(slot.rawValue)] }
        _modify { yield &elements[Int(slot.rawValue)] }
    }
}
