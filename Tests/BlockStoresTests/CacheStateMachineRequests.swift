// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// A read of some sectors of a block.
final class ReadTask: CacheTask {
    private enum Phase {
        case asking, fetching
        case copying(CacheStateMachine.CopyTicket, holes: [Range<Int>]?)
        case granted(CacheStateMachine.CopyTicket)
    }
    private var phase = Phase.asking
    private let block: BlockNumber
    private let sectors: Range<Int>
    private let waits: Bool
    private let began: Int

    init(_ world: CacheWorld) {
        block = world.anyBlock()
        let first = world.number(below: CacheWorld.sectorCount)
        sectors = first..<first + 1 + world.number(below: CacheWorld.sectorCount - first)
        waits = world.chance(0.7)
        began = world.clock
    }

    override func step(_ world: CacheWorld) {
        switch phase {
        case .asking: ask(world)
        case .fetching:
            phase = .asking
            switch fetched {
            case .startOver: break
            case .failed: end()
            case .contents(let cells): finish(world) { cells[$0] }
            }
        case .granted(let ticket):
            guard isGranted else { return phase = .asking }
            phase = .copying(ticket, holes: world.machine.holes(of: ticket))
        case .copying(let ticket, let holes): copy(world, ticket, holes)
        }
    }

    override func cancel(_ world: CacheWorld) {
        guard case .fetching = phase else { return }
        world.fetchers[block]?.removeAll { $0 === self }
        end()
    }

    private func ask(_ world: CacheWorld) {
        let step = world.machine.beginRead(of: block, sectors, waits: waits, now: world.now) {
            world.isKnownZero[Int(block.rawValue)]
        }
        switch step {
        case .zero: finish(world) { _ in 0 }
        case .miss:
            guard waits else { return end() }
            phase = .fetching
            isReady = false
            world.joinFetch(self, of: block, isForWrite: false)
        case .copy(let ticket, isGranted: true, let holes): phase = .copying(ticket, holes: holes)
        case .copy(let ticket, isGranted: false, _):
            if !waits { world.fail("a read that cannot wait is told to") }
            phase = .granted(ticket)
            wait(for: ticket, world)
        }
    }

    private func copy(_ world: CacheWorld, _ ticket: CacheStateMachine.CopyTicket, _ holes: [Range<Int>]?) {
        let cells = world.bytes[Int(ticket.slot.rawValue)]
        let isCorrupt = waits && world.chance(world.diskFailures)
        world.finish(world.tell(.copied) { $0.endCopy(ticket) })
        phase = .asking
        guard let holes, !isCorrupt else {
            guard isCorrupt else { return }
            let damaged = ticket.sectors.filter { sector in
                world.chance(0.5) && holes?.contains { $0.contains(sector) } != true
            }
            if !world.forget(block, damaged) { end() }
            return
        }
        finish(world) { sector in holes.contains { $0.contains(sector) } ? 0 : cells[sector] }
    }

    private func finish(_ world: CacheWorld, _ cell: (Int) -> CacheCell) {
        for sector in sectors where !world.mayBeSeen(cell(sector), Int(block.rawValue), sector, since: began) {
            world.fail("a read of block \(block) sector \(sector) since step \(began) gives \(cell(sector) >> 32)")
        }
        end()
    }
}

/// A write to some sectors of a block, perhaps to a half only of the first and the last.
final class WriteTask: CacheTask {
    private enum Phase {
        case asking, fetching, lining, succeeding
        case granted(CacheStateMachine.CopyTicket, isNewTenant: Bool, waited: Bool)
        case copying(CacheStateMachine.CopyTicket, new: [CacheCell])
    }
    private var phase = Phase.asking
    private let block: BlockNumber
    private let sectors: Range<Int>
    private var edges: [Int] = []
    private var waits: Bool
    private var isAdmitted = false
    private let version: CacheCell
    private var old: [CacheCell] = []
    private var zeroCount = 0

    init(_ world: CacheWorld) {
        block = world.anyBlock()
        let first = world.number(below: CacheWorld.sectorCount)
        let isWhole = world.chance(0.3)
        let sectors =
            isWhole ? 0..<CacheWorld.sectorCount : first..<first + 1 + world.number(below: CacheWorld.sectorCount - first)
        self.sectors = sectors
        if !isWhole, world.chance(0.3) { edges.append(sectors.lowerBound) }
        if !isWhole, world.chance(0.3), edges != [sectors.upperBound - 1] { edges.append(sectors.upperBound - 1) }
        // All of a block as zeros is a zeroing.
        let isZeros = world.chance(0.15) && !(sectors.count == CacheWorld.sectorCount && edges.isEmpty)
        version = isZeros ? 0 : CacheCell(world.freshVersion())
        waits = !edges.isEmpty || isZeros || world.chance(0.6)
    }

    override func step(_ world: CacheWorld) {
        switch phase {
        case .asking: ask(world)
        case .fetching:
            phase = .asking
            switch fetched {
            case .startOver: break
            case .failed: end()
            case .contents: waitForRoom(world)
            }
        case .lining:
            phase = .asking
            isAdmitted = true
        case .succeeding:
            phase = .asking
            // The storage has failed, and so does the write.
            if !isGranted { end() }
        case .granted(let ticket, let isNewTenant, let waited):
            if waited, !isGranted { return phase = .asking }
            begin(world, ticket, isNewTenant)
        case .copying(let ticket, let new): copy(world, ticket, new)
        }
    }

    override func cancel(_ world: CacheWorld) {
        switch phase {
        case .fetching:
            world.fetchers[block]?.removeAll { $0 === self }
            end()
        case .lining:
            world.line.removeAll { $0 === self }
            end()
        case .succeeding:
            world.successors[block]?.removeAll { $0 === self }
            if world.successors[block]?.isEmpty == true { world.successors[block] = nil }
            end()
        default: break
        }
    }

    private func ask(_ world: CacheWorld) {
        beginAttempt(world)
        guard isAdmitted else { return }
        isAdmitted = false
        world.admittedCount -= 1
        world.admitWriters()
    }

    private func beginAttempt(_ world: CacheWorld) {
        let step = world.tell(.writeBegins) { machine in
            machine.beginWrite(to: block, sectors, edges: edges, isZeros: version == 0, waits: waits) {
                world.isKnownZero[Int(block.rawValue)]
            }
        }
        switch step {
        case .nothing:
            for sector in sectors where world.truth(Int(block.rawValue), sector) != 0 || version != 0 {
                world.fail("a write counts as nothing, but sector \(sector) is no zero")
            }
            end()
        case .needsBytes:
            phase = .fetching
            isReady = false
            world.joinFetch(self, of: block, isForWrite: true)
        case .full:
            // A write at once becomes one that waits, as FUSE does it.
            guard waits else { return waits = true }
            phase = .lining
            isReady = false
            world.lineUp(self)
        case .unreleased:
            guard waits else { return waits = true }
            phase = .succeeding
            world.waitForRelease(self, of: block)
        case .copy(let ticket, let isGranted, let isNewTenant):
            if !isGranted, !waits { world.fail("a write that cannot wait is told to") }
            if !waits { return begin(world, ticket, isNewTenant) }
            phase = .granted(ticket, isNewTenant: isNewTenant, waited: !isGranted)
            if !isGranted { wait(for: ticket, world) }
        }
    }

    private func waitForRoom(_ world: CacheWorld) {
        if world.machine.roomCount > world.admittedCount { return }
        phase = .lining
        isReady = false
        world.lineUp(self)
    }

    /// The copy begins: its sectors hold garbage until it ends.
    private func begin(_ world: CacheWorld, _ ticket: CacheStateMachine.CopyTicket, _ isNewTenant: Bool) {
        guard let held = world.machine.heldEdges(ticket, edges) else {
            world.finish(world.tell(.copied) { $0.endCopy(ticket) })
            return phase = .asking
        }
        let slot = Int(ticket.slot.rawValue)
        if isNewTenant { world.assign(ticket.slot, to: block) }
        if world.tenants[slot] != Int(block.rawValue) { world.fail("a write goes to a slot of another block") }
        old = world.bytes[slot]
        var new = old
        for sector in sectors {
            let before = held.contains(sector) ? old[sector] : 0
            new[sector] = merged(before, sector)
            world.bytes[slot][sector] = CacheWorld.garbage
        }
        zeroCount = world.zeroCounts[Int(block.rawValue)]
        phase = .copying(ticket, new: new)
    }

    private func merged(_ before: CacheCell, _ sector: Int) -> CacheCell {
        guard edges.contains(sector) else { return version << 32 | version }
        // The first edge begins in the middle of its sector, the last ends there.
        let coversUpper = sector == sectors.lowerBound
        return coversUpper ? version << 32 | before & 0xffff_ffff : before & ~0xffff_ffff | version
    }

    private func copy(_ world: CacheWorld, _ ticket: CacheStateMachine.CopyTicket, _ new: [CacheCell]) {
        let slot = Int(ticket.slot.rawValue)
        let succeeded = !world.chance(world.diskFailures)
        for sector in sectors {
            world.bytes[slot][sector] = succeeded ? new[sector] : old[sector]
            if succeeded { world.userSectors[slot].insert(sector) }
        }
        let wasIdle = world.machine.lists.first(of: .dirty) == nil
        // A zeroing that came after the bytes were on their way wins.
        if succeeded, zeroCount == world.zeroCounts[Int(block.rawValue)] {
            for sector in sectors {
                let cell = merged(world.truth(Int(block.rawValue), sector), sector)
                world.setTruth(Int(block.rawValue), sector, cell)
            }
        }
        let end = world.tell(succeeded ? .writeEnds : .writeFails) { machine in
            machine.endWrite(ticket, to: block, sectors, succeeded: succeeded, now: world.now)
        }
        let rings = wasIdle || world.machine.canSendNow
        world.finish(end)
        if rings { world.isRung = true }
        self.end()
    }
}

/// A zeroing of some blocks.
final class ZeroTask: CacheTask {
    private enum Phase {
        case begun, recorded
        case succeeding([BlockNumber])
    }
    private var phase = Phase.begun
    private let blocks: BlockSet

    init(_ world: CacheWorld) {
        var blocks = BlockSet()
        for _ in 0...world.number(below: 3) {
            let block = world.anyBlock()
            blocks.insert(contentsOf: block..<block.advanced(by: 1))
        }
        self.blocks = blocks
    }

    override func step(_ world: CacheWorld) {
        switch phase {
        case .begun: record(world)
        case .recorded: zero(world)
        case .succeeding(let left): waitForReleases(world, left)
        }
    }

    override func cancel(_ world: CacheWorld) {
        guard case .succeeding = phase else { return }
        for block in blocks.blocks { world.successors[block]?.removeAll { $0 === self } }
        world.successors = world.successors.filter { !$0.value.isEmpty }
        end()
    }

    private func zero(_ world: CacheWorld) {
        for block in blocks.blocks.map({ Int($0.rawValue) }) {
            world.zeroCounts[block] += 1
            for sector in 0..<CacheWorld.sectorCount { world.setTruth(block, sector, 0) }
        }
        let start = world.tell(.zeroed) { $0.beginZero(blocks, now: world.now) }
        world.wake(revoked: start.revoked)
        world.admitWriters()
        world.finish(start.releases)
        world.isRung = true
        beginToWait(world)
    }

    private func beginToWait(_ world: CacheWorld) {
        guard world.isPersistent else { return end() }
        phase = .succeeding(world.machine.unreleased.keys.filter(blocks.contains).sorted())
        isGranted = true
    }

    /// Waits for one block after the other: before that the zeroing is not acknowledged.
    private func waitForReleases(_ world: CacheWorld, _ blocks: [BlockNumber]) {
        // The storage has failed.
        guard isGranted else { return end() }
        var left = blocks
        while let block = left.first, world.machine.mayAllocate(block) { left.removeFirst() }
        phase = .succeeding(left)
        guard let block = left.first else { return end() }
        world.waitForRelease(self, of: block)
    }

    private func record(_ world: CacheWorld) {
        phase = .recorded
        guard let only = blocks.single else { return }
        let isZero = world.machine.isZeroAlready(only) { world.isKnownZero[Int(only.rawValue)] }
        guard isZero else { return }
        for sector in 0..<CacheWorld.sectorCount where world.truth(Int(only.rawValue), sector) != 0 {
            world.fail("block \(only) counts as zeros already")
        }
        beginToWait(world)
    }
}
