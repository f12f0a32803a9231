// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// Something that takes several steps, between which others happen.
class CacheTask {
    enum FetchAnswer {
        case startOver
        case contents([CacheCell])
        case failed
    }

    /// Whether it can take a step; else it waits to be woken.
    var isReady = true
    var isOver = false
    var isGranted = false
    var fetched = FetchAnswer.startOver

    /// Takes the next step.
    func step(_ world: CacheWorld) { isOver = true }

    /// Gives up waiting, if it may.
    func cancel(_ world: CacheWorld) {}

    func wake() { isReady = true }

    func wake(granted: Bool) {
        isGranted = granted
        isReady = true
    }

    func wake(fetched answer: FetchAnswer) {
        fetched = answer
        isReady = true
    }

    func end() {
        isOver = true
        isReady = true
    }

    /// Waits for the grant of a copy.
    func wait(for ticket: CacheStateMachine.CopyTicket, _ world: CacheWorld) {
        isReady = false
        world.copiers[ticket.number] = self
    }
}

/// The storage is told of released slots.
final class ReleaseTask: CacheTask {
    private let releases: [CacheStateMachine.Release]

    init(_ releases: [CacheStateMachine.Release]) { self.releases = releases }

    override func step(_ world: CacheWorld) {
        for release in releases {
            let slot = Int(release.slot.rawValue)
            if world.isPersistent, world.chance(world.diskFailures) {
                let ends = world.machine.releaseFailed(release, now: world.now)
                world.answerSuccessors(of: release.block, granted: false)
                world.end(ends, isDone: false)
                continue
            }
            if world.isPersistent, release.wasDirty { world.heldBack[slot] = world.clock }
            world.userSectors[slot] = []
            world.tenants[slot] = nil
            world.tell(.recorded) { $0.released(release) }
            world.isRung = true
            if world.machine.mayAllocate(release.block) { world.answerSuccessors(of: release.block, granted: true) }
        }
        world.admitWriters()
        end()
    }
}

/// A commit of the storage, which others may wait for.
struct CacheCommit {
    private let number: UInt64
    private let beganAt: Int

    init(_ world: CacheWorld, _ number: UInt64? = nil) {
        self.number = number ?? world.machine.beginCommit()
        beganAt = world.clock
    }

    /// - Returns: Whether it succeeded.
    func end(_ world: CacheWorld) -> Bool {
        let succeeded = !world.chance(world.diskFailures)
        if succeeded { world.heldBack = world.heldBack.filter { $0.value >= beganAt } }
        world.tell(.committed) { $0.endCommit(number, succeeded: succeeded) }
        world.admitWriters()
        return succeeded
    }
}

/// A commit for the sake of room.
final class CommitTask: CacheTask {
    private let commit: CacheCommit

    init(_ world: CacheWorld, _ number: UInt64) { commit = CacheCommit(world, number) }

    override func step(_ world: CacheWorld) {
        _ = commit.end(world)
        world.isRung = true
        end()
    }
}

/// Blocks that a stream will soon need.
final class ReadAheadTask: CacheTask {
    override func step(_ world: CacheWorld) {
        let block = world.anyBlock()
        let blocks = block..<min(block.advanced(by: 1 + world.number(below: 3)), BlockNumber(world.blockCount))
        if world.machine.readAhead(blocks, isZeroBelow: { world.isKnownZero[Int($0.rawValue)] }) { world.isRung = true }
        end()
    }
}

/// A flush of everything, or of some blocks.
final class FlushTask: CacheTask {
    enum Outcome { case done, failed, timedOut }

    private var number: UInt64?
    private var promised: [[Int]] = []
    private var blocks: [Int]?

    init(_ world: CacheWorld) {
        if world.chance(0.5) { blocks = (0..<world.blockCount).filter { _ in world.chance(0.4) } }
    }

    override func step(_ world: CacheWorld) {
        let scope = blocks.map { FlushScope.blocks(BlockSet(blocks: $0.map { BlockNumber($0) })) } ?? .everything
        promised = world.history.map { $0.map { $0.count - 1 } }
        number = world.machine.beginFlush(scope, deadline: world.flushTimeout.map { world.now + $0 })
        guard let number else { return end(world, .done) }
        world.flushers[number] = self
        world.isRung = true
        isReady = false
    }

    func end(_ world: CacheWorld, _ outcome: Outcome) {
        if outcome == .done {
            for block in blocks ?? Array(0..<world.blockCount) {
                for sector in 0..<CacheWorld.sectorCount {
                    let place = promised[block][sector]
                    let isThere = world.history[block][sector][place...].contains { $0.cell == world.store[block][sector] }
                    if !isThere { world.fail("a flush is over, but the store lacks block \(block) sector \(sector)") }
                    world.promised[block][sector] = max(world.promised[block][sector], place)
                }
            }
        }
        end()
    }

    override func cancel(_ world: CacheWorld) {
        guard let number else { return }
        world.machine.cancelFlush(number)
        world.flushers[number] = nil
        end()
    }
}

/// A question for extents.
final class ExtentsTask: CacheTask {
    private var phase = 0
    private var number: UInt64 = 0
    private var began = 0
    private var below: [BlockExtent] = []
    private let blocks: BlockRange

    init(_ world: CacheWorld) {
        let first = world.anyBlock()
        blocks = first..<BlockNumber(Int(first.rawValue) + 1 + world.number(below: world.blockCount - Int(first.rawValue)))
    }

    override func step(_ world: CacheWorld) {
        phase += 1
        switch phase {
        case 1:
            began = world.clock
            number = world.machine.beginExtents()
        case 2:
            for block in blocks {
                below.append(block..<block.advanced(by: 1), world.isKnownZero[Int(block.rawValue)] ? .zero : .data)
            }
        default:
            let extents = world.machine.endExtents(number, below: below)
            if extents.flatMap({ Array($0.blocks) }) != Array(blocks) { world.fail("the extents do not cover the blocks") }
            for extent in extents where extent.kind == .zero {
                for block in extent.blocks.map({ Int($0.rawValue) }) {
                    for sector in 0..<CacheWorld.sectorCount where !world.mayBeSeen(0, block, sector, since: began) {
                        world.fail("block \(block) has data and counts as a hole")
                    }
                }
            }
            end()
        }
    }
}
