// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// The state of a slot as the table at the head of `CacheStateMachine.swift` names it.
enum CacheLabel: String, Sendable {
    case free, filling, clean, dirty, waiting, uploading, detached, released, quarantined
    /// Uploading, and written since the snapshot.
    case uploadingBehind = "uploading and dirty behind it"
}

/// What may change a slot's state.
enum CacheEvent: String, Sendable {
    case restored = "restored at the start"
    case writeBegins = "write begins"
    case writeEnds = "write ends"
    case writeFails = "write fails"
    case fetchEnds = "fetch ends with data, or a writer waits for it"
    case fillEnds = "fill ends"
    case fillFails = "fill fails"
    case expired = "unused for too long"
    case unreadable = "cannot be read"
    case zeroed = "block zeroed"
    case taken = "due, flushed, or room is needed"
    case snapshot
    case uploadDone = "upload succeeds"
    case uploadFails = "upload fails"
    case zeroingDone = "zeroing succeeds"
    case zeroingFails = "zeroing fails"
    case mutationEnds = "mutation in flight ends"
    case copied = "last copy ends"
    case recorded = "the storage has recorded it"
    case committed = "a commit that began afterwards succeeds"
}

/// One line of the table.
struct CacheTransition: Hashable, Sendable, CustomStringConvertible {
    let from: CacheLabel
    let event: CacheEvent
    let to: CacheLabel

    init(_ from: CacheLabel, _ event: CacheEvent, _ to: CacheLabel) {
        self.from = from
        self.event = event
        self.to = to
    }

    var description: String { "\(from.rawValue) | \(event.rawValue) | \(to.rawValue)" }

    /// The table, with each of several outcomes on a line of its own.
    static let table: [CacheTransition] = [
        CacheTransition(.free, .writeBegins, .filling),
        CacheTransition(.free, .fetchEnds, .filling),
        CacheTransition(.free, .restored, .clean),
        CacheTransition(.free, .restored, .dirty),
        CacheTransition(.filling, .writeEnds, .dirty),
        CacheTransition(.filling, .writeEnds, .waiting),
        CacheTransition(.filling, .writeFails, .released),
        CacheTransition(.filling, .fillEnds, .clean),
        CacheTransition(.filling, .fillFails, .released),
        CacheTransition(.filling, .zeroed, .detached),
        CacheTransition(.clean, .writeEnds, .dirty),
        CacheTransition(.clean, .writeBegins, .filling),
        CacheTransition(.clean, .fetchEnds, .filling),
        CacheTransition(.clean, .expired, .released),
        CacheTransition(.clean, .unreadable, .released),
        CacheTransition(.clean, .zeroed, .released),
        CacheTransition(.clean, .zeroed, .detached),
        CacheTransition(.dirty, .taken, .uploading),
        CacheTransition(.dirty, .zeroed, .released),
        CacheTransition(.dirty, .zeroed, .detached),
        CacheTransition(.uploading, .writeEnds, .uploadingBehind),
        CacheTransition(.uploading, .uploadDone, .clean),
        CacheTransition(.uploading, .uploadFails, .dirty),
        CacheTransition(.uploading, .zeroed, .released),
        CacheTransition(.uploading, .zeroed, .detached),
        CacheTransition(.uploadingBehind, .uploadDone, .dirty),
        CacheTransition(.uploadingBehind, .uploadFails, .dirty),
        CacheTransition(.uploadingBehind, .zeroed, .released),
        CacheTransition(.uploadingBehind, .zeroed, .detached),
        CacheTransition(.waiting, .mutationEnds, .dirty),
        CacheTransition(.waiting, .zeroed, .released),
        CacheTransition(.waiting, .zeroed, .detached),
        CacheTransition(.detached, .copied, .released),
        CacheTransition(.released, .recorded, .free),
        CacheTransition(.released, .recorded, .quarantined),
        CacheTransition(.quarantined, .committed, .free),
    ]
}

extension CacheWorld {
    /// Notes which slots changed their state by `event`.
    func observe(_ event: CacheEvent) {
        for slot in machine.entries.slots {
            let index = Int(slot.rawValue)
            let label = label(of: slot)
            guard label != labels[index] else { continue }
            var event = event
            if labels[index] == .waiting, label == .dirty { event = .mutationEnds }
            if labels[index] == .detached { event = .copied }
            let transition = CacheTransition(labels[index], event, label)
            if seen.insert(transition).inserted, !CacheTransition.table.contains(transition) {
                fail("not in the table: \(transition)")
            }
            labels[index] = label
        }
    }

    private func label(of slot: CacheSlot) -> CacheLabel {
        switch machine.entries[slot].state {
        case .free: .free
        case .filling: .filling
        case .clean: .clean
        case .dirty: .dirty
        case .waiting: .waiting
        case .uploading:
            machine.uploads[machine.entries[slot].block]?.hasSnapshot == true && !machine.dirty.isEmpty(slot)
                ? .uploadingBehind : .uploading
        case .detached: .detached
        case .released: .released
        case .quarantined: .quarantined
        }
    }
}
