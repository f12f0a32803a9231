// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// A block that is asked of the store.
final class FetchTask: CacheTask {
    private enum Phase {
        case sent, answered, keeping
        case copying(CacheStateMachine.CopyTicket, [Range<Int>], isNewTenant: Bool)
    }
    private var phase = Phase.sent
    private let block: BlockNumber
    private let isJob: Bool
    /// The version named to the store.
    private let known: Int?
    private var outcome = CacheStateMachine.FetchOutcome.failed
    private var cells: [CacheCell] = []
    private var version = -1
    private var changeCount = 0
    private var ticket: CacheStateMachine.CopyTicket?
    /// Whoever performs the fetch itself.
    private let owner: CacheTask?

    init(_ world: CacheWorld, _ block: BlockNumber, isJob: Bool, owner: CacheTask? = nil) {
        self.block = block
        self.isJob = isJob
        self.owner = owner
        known = world.machine.slotToVerify(block).map { world.slotVersions[Int($0.rawValue)] }
        changeCount = world.isChanging[Int(block.rawValue)] ? -1 : world.changeCounts[Int(block.rawValue)]
    }

    override func step(_ world: CacheWorld) {
        switch phase {
        case .sent: answer(world)
        case .answered:
            if world.chance(world.fetchDelay), !world.isDraining { return }
            let index = Int(block.rawValue)
            if outcome == .zero, changeCount == world.changeCounts[index] { world.isKnownZero[index] = true }
            phase = .keeping
        case .keeping:
            if ticket != nil, !isGranted { ticket = nil }
            keep(world)
        case .copying(let ticket, let runs, let isNewTenant): fill(world, ticket, runs, isNewTenant)
        }
    }

    /// The store answers, at some moment between the begin and the end.
    private func answer(_ world: CacheWorld) {
        phase = .answered
        if world.chance(world.storeFailures) { return }
        cells = world.store[Int(block.rawValue)]
        version = world.storeVersions[Int(block.rawValue)]
        outcome = known == version ? .unchanged : cells.allSatisfy { $0 == 0 } ? .zero : .bytes
    }

    private func keep(_ world: CacheWorld) {
        let (step, end) = world.tell(.fetchEnds) { $0.beginFill(of: block, outcome, ticket: ticket, now: world.now) }
        switch step {
        case .startOver: reply(world, outcome == .failed ? .failed : .startOver)
        case .answerOnly: reply(world, .contents(cells))
        case .copy(let ticket, isGranted: false, _):
            self.ticket = ticket
            isGranted = false
            wait(for: ticket, world)
        case .copy(let ticket, isGranted: true, let isNewTenant):
            let runs = world.machine.sectorsToFill(ticket)
            if isNewTenant { world.assign(ticket.slot, to: block) }
            for run in runs { for sector in run { world.bytes[Int(ticket.slot.rawValue)][sector] = CacheWorld.garbage } }
            phase = .copying(ticket, runs, isNewTenant: isNewTenant)
        }
        world.finish(end)
    }

    private func fill(
        _ world: CacheWorld, _ ticket: CacheStateMachine.CopyTicket, _ runs: [Range<Int>], _ isNewTenant: Bool
    ) {
        let slot = Int(ticket.slot.rawValue)
        let succeeded = !world.chance(world.diskFailures)
        if succeeded {
            for run in runs { for sector in run { world.bytes[slot][sector] = cells[sector] } }
            world.slotVersions[slot] = version
        }
        let end = world.tell(succeeded ? .fillEnds : .fillFails) { machine in
            machine.endFill(ticket, of: block, sectors: runs, succeeded: succeeded, now: world.now)
        }
        world.finish(end)
        reply(world, succeeded ? .startOver : isNewTenant ? .contents(cells) : .failed)
    }

    private func reply(_ world: CacheWorld, _ answer: FetchAnswer) {
        world.answerFetchers(of: block, answer)
        owner?.wake(fetched: answer)
        if isJob { world.isRung = true }
        end()
    }
}

/// A block on its way to the store.
final class UploadTask: CacheTask {
    private enum Phase {
        case preparing, fetching
        case granted(CacheStateMachine.CopyTicket)
        case snapshot(CacheStateMachine.CopyTicket)
        case copying(CacheStateMachine.CopyTicket, holes: [Range<Int>])
        case committing(CacheCommit)
        case sending, sent
        case ending(isDone: Bool)
        case recording(CacheStateMachine.CopyTicket)
    }
    private var phase = Phase.preparing
    private let block: BlockNumber
    private var cells: [CacheCell] = []
    private var slot = 0
    private var sectors: Set<Int> = []

    init(_ block: BlockNumber) { self.block = block }

    override func step(_ world: CacheWorld) {
        switch phase {
        case .preparing: prepare(world)
        case .fetching:
            if case .failed = fetched { return finish(world, .failed(isPermanent: false)) }
            phase = .preparing
        case .granted(let ticket): phase = isGranted ? .snapshot(ticket) : .preparing
        case .snapshot(let ticket):
            guard let holes = world.tell(.snapshot, { $0.takeSnapshot(of: block, ticket) }) else {
                world.finish(world.tell(.copied) { $0.endCopy(ticket) })
                phase = .preparing
                return
            }
            slot = Int(ticket.slot.rawValue)
            sectors = world.userSectors[slot]
            phase = .copying(ticket, holes: holes)
        case .copying(let ticket, let holes): copy(world, ticket, holes)
        case .committing(let commit):
            guard commit.end(world) else { return finish(world, .failed(isPermanent: true)) }
            phase = .sending
        case .sending:
            guard world.machine.beginMutation(of: block) else { return finish(world, .abandoned) }
            world.beginChange(Int(block.rawValue))
            phase = .sent
        case .sent:
            let isDone = !world.chance(world.storeFailures)
            let isApplied = isDone || world.chance(0.5)
            if isApplied { world.apply(cells, to: Int(block.rawValue)) }
            phase = .ending(isDone: isDone)
        case .ending(let isDone): end(world, isDone: isDone)
        case .recording(let pin): record(world, pin)
        }
    }

    private func prepare(_ world: CacheWorld) {
        switch world.machine.prepareUpload(of: block) {
        case .gone: finish(world, .abandoned)
        case .needsBytes:
            phase = .fetching
            isReady = false
            if world.machine.startFetch(of: block) {
                world.tasks.append(FetchTask(world, block, isJob: false, owner: self))
            } else {
                world.fetchers[block, default: []].append(self)
            }
        case .copy(let ticket, isGranted: true): phase = .snapshot(ticket)
        case .copy(let ticket, isGranted: false):
            phase = .granted(ticket)
            wait(for: ticket, world)
        }
    }

    private func copy(_ world: CacheWorld, _ ticket: CacheStateMachine.CopyTicket, _ holes: [Range<Int>]) {
        cells = world.bytes[slot]
        for hole in holes { for sector in hole { cells[sector] = 0 } }
        world.finish(world.tell(.copied) { $0.endCopy(ticket) })
        if world.chance(world.diskFailures) {
            let damaged = (0..<CacheWorld.sectorCount).filter { sector in
                world.chance(0.3) && !holes.contains { $0.contains(sector) }
            }
            let mends = world.machine.canForget(block, damaged)
            finish(world, .failed(isPermanent: !mends))
            world.forget(block, damaged)
            return
        }
        phase = world.isPersistent ? .committing(CacheCommit(world)) : .sending
    }

    private func end(_ world: CacheWorld, isDone: Bool) {
        let index = Int(block.rawValue)
        world.endChange(index, isZero: isDone && cells.allSatisfy { $0 == 0 })
        if isDone, world.isPersistent, let pin = world.machine.pinUpload(of: block) { return phase = .recording(pin) }
        finish(world, isDone ? .done : .failed(isPermanent: world.chance(0.3)))
    }

    /// The storage takes note of what has reached the store, while the slot cannot be given away.
    private func record(_ world: CacheWorld, _ pin: CacheStateMachine.CopyTicket) {
        if world.tenants[slot] != Int(block.rawValue) { world.fail("the slot of an upload was given away") }
        if world.chance(world.diskFailures) {
            world.finish(world.tell(.copied) { $0.endCopy(pin) })
            return finish(world, world.chance(0.3) ? .abandoned : .failed(isPermanent: true))
        }
        let behind = world.machine.dirty.words(of: CacheSlot(rawValue: UInt32(slot)))
        let later = sectors.filter { behind[0] >> UInt64($0) & 1 == 1 }
        world.userSectors[slot].subtract(sectors.subtracting(later))
        world.slotVersions[slot] = world.storeVersions[Int(block.rawValue)]
        world.heldBack[slot] = world.clock
        world.finish(world.tell(.copied) { $0.endCopy(pin) })
        finish(world, .done)
    }

    private func finish(_ world: CacheWorld, _ outcome: CacheStateMachine.MutationOutcome) {
        let (_, flushes) = world.tell(outcome.isDone ? .uploadDone : .uploadFails) { machine in
            machine.endUpload(of: block, outcome, now: world.now)
        }
        world.end(flushes, isDone: outcome.isDone)
        end()
    }
}

/// Blocks on their way to be zeroed in the store.
final class ZeroingTask: CacheTask {
    private enum Phase {
        case begun, sent, ending
        case committing(CacheCommit)
    }
    private var phase = Phase.begun
    private let number: UInt64
    private let blocks: BlockSet
    private var isDone = false

    init(_ world: CacheWorld, _ number: UInt64, _ blocks: BlockSet) {
        self.number = number
        self.blocks = blocks
        if world.isPersistent, blocks.blocks.contains(where: { world.hasUnreleasedSlot(Int($0.rawValue)) }) {
            world.fail("a block is zeroed in the store before the storage has heard that its slot was given up")
        }
    }

    override func step(_ world: CacheWorld) {
        switch phase {
        case .begun:
            if world.isPersistent { phase = .committing(CacheCommit(world)) } else { send(world) }
        case .committing(let commit):
            guard commit.end(world) else { return finish(world, .failed(isPermanent: true)) }
            send(world)
        case .sent:
            isDone = !world.chance(world.storeFailures)
            for block in blocks.blocks.map({ Int($0.rawValue) }) where isDone || world.chance(0.5) {
                world.apply(Array(repeating: 0, count: CacheWorld.sectorCount), to: block)
            }
            phase = .ending
        case .ending:
            for block in blocks.blocks { world.endChange(Int(block.rawValue), isZero: isDone) }
            if isDone, world.isPersistent, world.chance(world.diskFailures) { return finish(world, .abandoned) }
            finish(world, isDone ? .done : .failed(isPermanent: world.chance(0.3)))
        }
    }

    private func send(_ world: CacheWorld) {
        for block in blocks.blocks { world.beginChange(Int(block.rawValue)) }
        phase = .sent
    }

    private func finish(_ world: CacheWorld, _ outcome: CacheStateMachine.MutationOutcome) {
        let (_, flushes) = world.tell(outcome.isDone ? .zeroingDone : .zeroingFails) { machine in
            machine.endZero(number, outcome, now: world.now)
        }
        world.end(flushes, isDone: outcome.isDone)
        end()
    }
}
