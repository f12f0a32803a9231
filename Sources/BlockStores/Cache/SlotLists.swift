// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Several lists of slots, each slot in at most one of them: who was used last, who is dirty longest, who is free.
///
/// Doubly linked through one array of 8 bytes a slot, so that every verb is O(1), and moving a slot allocates nothing. Which
/// list a slot is in is known to the caller, who names it when the slot leaves. Memory is taken up to the highest slot used.
///
/// - Concurrency: a value; its owner locks.
struct SlotLists<List: RawRepresentable<Int> & CaseIterable & Sendable>: Sendable {
    /// What stands in a link when there is no further slot.
    private static var none: UInt32 { .max }
    /// What stands in both links of a slot that is in no list.
    private static var unlinked: UInt32 { .max - 1 }

    private struct Link {
        var previous: UInt32
        var next: UInt32
    }

    private struct Ends {
        var first = none
        var last = none
        var count = 0
    }

    private var links: [Link] = []
    private var ends: [Ends]
    private let slotCount: Int

    /// Makes empty lists, one for each case of `List`, whose raw values are 0, 1, 2 and so on.
    ///
    /// - Parameter slotCount: How many slots there are; below 2^32 - 2.
    init(slotCount: Int) {
        precondition(slotCount >= 1 && slotCount < Int(Self.unlinked), "a slot number is none of the marks")
        precondition(Set(List.allCases.map(\.rawValue)) == Set(0..<List.allCases.count), "lists are numbered from 0")
        self.slotCount = slotCount
        ends = [Ends](repeating: Ends(), count: List.allCases.count)
    }

    /// How many slots are in `list`.
    func count(of list: List) -> Int { ends[list.rawValue].count }

    /// The first slot of `list`, or nil.
    func first(of list: List) -> CacheSlot? { Self.slot(ends[list.rawValue].first) }

    /// The last slot of `list`, or nil.
    func last(of list: List) -> CacheSlot? { Self.slot(ends[list.rawValue].last) }

    /// The slot that follows `slot` in its list, or nil.
    func next(after slot: CacheSlot) -> CacheSlot? { Self.slot(links[Int(slot.rawValue)].next) }

    /// The slot before `slot` in its list, or nil.
    func previous(before slot: CacheSlot) -> CacheSlot? { Self.slot(links[Int(slot.rawValue)].previous) }

    /// Whether `slot` is in some list.
    func isLinked(_ slot: CacheSlot) -> Bool {
        Int(slot.rawValue) < links.count && links[Int(slot.rawValue)].next != Self.unlinked
    }

    /// Makes `slot`, which is in no list, the last of `list`.
    mutating func append(_ slot: CacheSlot, to list: List) {
        takeUp(slot)
        let last = ends[list.rawValue].last
        links[Int(slot.rawValue)] = Link(previous: last, next: Self.none)
        if last == Self.none { ends[list.rawValue].first = slot.rawValue } else { links[Int(last)].next = slot.rawValue }
        ends[list.rawValue].last = slot.rawValue
        ends[list.rawValue].count += 1
    }

    /// Makes `slot`, which is in no list, the first of `list`.
    mutating func prepend(_ slot: CacheSlot, to list: List) {
        takeUp(slot)
        let first = ends[list.rawValue].first
        links[Int(slot.rawValue)] = Link(previous: Self.none, next: first)
        if first == Self.none { ends[list.rawValue].last = slot.rawValue } else { links[Int(first)].previous = slot.rawValue }
        ends[list.rawValue].first = slot.rawValue
        ends[list.rawValue].count += 1
    }

    /// Takes `slot` out of `list`, in which it is.
    mutating func remove(_ slot: CacheSlot, from list: List) {
        precondition(isLinked(slot), "the slot is in a list")
        let link = links[Int(slot.rawValue)]
        if link.previous == Self.none {
            precondition(ends[list.rawValue].first == slot.rawValue, "the slot is in this list")
            ends[list.rawValue].first = link.next
        } else {
            links[Int(link.previous)].next = link.next
        }
        if link.next == Self.none {
            precondition(ends[list.rawValue].last == slot.rawValue, "the slot is in this list")
            ends[list.rawValue].last = link.previous
        } else {
            links[Int(link.next)].previous = link.previous
        }
        links[Int(slot.rawValue)] = Link(previous: Self.unlinked, next: Self.unlinked)
        ends[list.rawValue].count -= 1
    }

    /// Makes `slot`, which is in `list`, its last: what a use does in a list of who was used last.
    mutating func moveToEnd(_ slot: CacheSlot, of list: List) {
        guard ends[list.rawValue].last != slot.rawValue else { return }
        remove(slot, from: list)
        append(slot, to: list)
    }

    /// Takes the first slot out of `list`.
    ///
    /// - Returns: That slot; nil when the list is empty.
    mutating func popFirst(of list: List) -> CacheSlot? {
        guard let slot = first(of: list) else { return nil }
        remove(slot, from: list)
        return slot
    }

    /// The bytes that the links take; for the tests of the cost.
    var byteCount: Int { links.count * MemoryLayout<Link>.stride }

    private static func slot(_ number: UInt32) -> CacheSlot? {
        precondition(number != unlinked, "the slot is in a list")
        return number == none ? nil : CacheSlot(rawValue: number)
    }

    /// Takes memory for `slot` (for twice as many as before, but never for more than there are), which is in no list.
    private mutating func takeUp(_ slot: CacheSlot) {
        let number = Int(slot.rawValue)
        precondition(number < slotCount, "there is such a slot")
        guard number >= links.count else { return precondition(!isLinked(slot), "a slot is in one list at most") }
        let target = min(slotCount, max(number + 1, links.count * 2))
        links.reserveCapacity(target)
        let unlinked = Link(previous: Self.unlinked, next: Self.unlinked)
        links.append(contentsOf: repeatElement(unlinked, count: target - links.count))
    }
}
