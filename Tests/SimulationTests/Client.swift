// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import Daemon
import Logging
import StoreTesting
import Synchronization
import Volumes

/// Does requests one after the other, and holds every answer against the model.
struct Client: Sendable {
    private let mount: Mount
    private let world: World
    private let seed: UInt64

    init(_ mount: Mount, seed: UInt64) {
        self.mount = mount
        world = mount.world
        self.seed = seed
    }

    func act() async throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<world.scenario.stepsPerClient {
            guard !mount.wire.isCut, !Task.isCancelled else { return }
            let units = drawUnits(&generator)
            switch Int.random(in: 0..<16, using: &generator) {
            case 0..<5: try await write(units, isZeros: false, &generator)
            case 5: try await write(units, isZeros: true, &generator)
            case 6: try await zero(drawUnits(&generator), &generator)
            case 7:
                try await write(units, isZeros: false, &generator)
                try await flush(units, &generator)
            case 8: try await flush(nil, &generator)
            case 9: try await flush(units, &generator)
            case 10: try await checkExtents(units)
            default: try await read(units, &generator)
            }
            world.count("requests")
        }
    }

    /// A part of one block, one block, or several.
    private func drawUnits(_ generator: inout SeededGenerator) -> Range<Int> {
        let perBlock = Scenario.unitsPerBlock
        let blocks = world.scenario.geometry.blockCount
        let block = Int.random(in: 0..<blocks, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0:
            let lower = Int.random(in: 0..<perBlock, using: &generator)
            return block * perBlock + lower..<block * perBlock + Int.random(in: lower + 1...perBlock, using: &generator)
        case 1:
            return block * perBlock..<Int.random(in: block + 1...blocks, using: &generator) * perBlock
        default:
            let lower = Int.random(in: 0..<world.unitCount, using: &generator)
            return lower..<Int.random(in: lower + 1...min(world.unitCount, lower + 3 * perBlock), using: &generator)
        }
    }

    private func bytes(_ units: Range<Int>) -> Range<UInt64> {
        UInt64(units.lowerBound * world.unitSize)..<UInt64(units.upperBound * world.unitSize)
    }

    private func blocks(_ units: Range<Int>) -> Range<Int> {
        units.lowerBound / Scenario.unitsPerBlock..<(units.upperBound - 1) / Scenario.unitsPerBlock + 1
    }

    // MARK: Mutations

    private func write(_ units: Range<Int>, isZeros: Bool, _ generator: inout SeededGenerator) async throws {
        let disk = mount.stack.disk
        // Not drawn, so that a seed means the same to every store.
        let asksNow = (units.lowerBound + units.count) % 2 == 0
        try await mutate(units, isZeros: isZeros, &generator) { values throws(BlockStoreError) in
            let slice = Units.fill(values, unitSize: world.unitSize)
            let offset = bytes(units).lowerBound
            if asksNow, disk.writeNow(slice.unsafeBytes, at: offset) { return withExtendedLifetime(slice) {} }
            try await disk.write(slice, at: offset, .foreground)
        }
    }

    private func zero(_ units: Range<Int>, _ generator: inout SeededGenerator) async throws {
        let disk = mount.stack.disk
        try await mutate(units, isZeros: true, &generator) { _ throws(BlockStoreError) in
            try await disk.zero(bytes(units), .foreground)
        }
    }

    private func mutate(
        _ units: Range<Int>, isZeros: Bool, _ generator: inout SeededGenerator,
        _ request: @escaping @Sendable ([UInt64]) async throws(BlockStoreError) -> Void
    ) async throws {
        let blocks = blocks(units)
        let (values, ticket) = world.book.withLock { book in
            book.mutationCount += 1
            let mutation = book.mutationCount
            let values = units.map { isZeros ? 0 : Units.value(mutation: mutation, unit: $0) }
            for block in blocks {
                if book.running[block] > 0 { book.census["mutations that met", default: 0] += 1 }
                book.running[block] += 1
            }
            return (values, book.model.beginWrite(Units.bytes(values), at: units.lowerBound * 8))
        }
        world.logger.debug("client: begins mutation \(values.first.map { $0 >> 16 } ?? 0) of units \(units)")
        let outcome = await perform(&generator) { () async throws(BlockStoreError) in try await request(values) }
        world.logger.debug("client: ends mutation of units \(units): \(outcome.failure?.description ?? "done")")
        world.book.withLock { book in
            for block in blocks { book.running[block] -= 1 }
            book.model.endMutation(ticket, succeeded: outcome.failure == nil)
        }
        try examine(outcome)
    }

    // MARK: Reads

    private func read(_ units: Range<Int>, _ generator: inout SeededGenerator) async throws {
        let disk = mount.stack.disk
        let range = bytes(units)
        let unitSize = world.unitSize
        let ticket = world.book.withLock { $0.model.beginRead(units.lowerBound * 8..<units.upperBound * 8) }
        let asksNow = generator.chance(0.5)
        let outcome = await perform(&generator) { () async throws(BlockStoreError) in
            let answer: DiskBytes
            if asksNow, let now = disk.readNow(range) { answer = now } else { answer = try await disk.read(range, .foreground) }
            return answer.bytes.withUnsafeBytes { Units.values(of: $0, unitSize) }
        }
        let wrong = world.book.withLock { $0.model.endRead(ticket, outcome.value.map(Units.bytes)) }
        world.logger.debug("client: has read units \(units): \(outcome.value.map { $0.map { $0 >> 16 } } ?? [])")
        if let wrong { throw Violation("a read of units \(units): \(wrong)") }
        try examine(outcome)
    }

    /// What is said to be zeros must be allowed to read as zeros.
    private func checkExtents(_ units: Range<Int>) async throws {
        let tickets = world.book.withLock { book in units.map { book.model.beginRead($0 * 8..<$0 * 8 + 8) } }
        let extents = try await mount.stack.disk.extents(in: bytes(units))
        let zeros = [UInt8](repeating: 0, count: 8)
        for (ticket, unit) in zip(tickets, units) {
            let isZero = extents.contains { $0.kind == .zero && $0.range.contains(UInt64(unit * world.unitSize)) }
            if isZero { world.count("units said to be zeros") }
            let wrong = world.book.withLock { $0.model.endRead(ticket, isZero ? zeros : nil) }
            if let wrong { throw Violation("unit \(unit) is said to be zeros: \(wrong)") }
        }
    }

    // MARK: Flush

    private func flush(_ units: Range<Int>?, _ generator: inout SeededGenerator) async throws {
        let covered = blocks(units ?? 0..<world.unitCount)
        let arrivals = covered.map { world.arrivals($0) }
        let disk = mount.stack.disk
        let range = units.map(bytes)
        if mount.stack.volume.blocks.unsettledBlockCount > 0 { world.count("flushes with blocks to confirm") }
        let outcome = await perform(&generator) { () async throws(BlockStoreError) in try await disk.flush(range) }
        if outcome.failure == nil {
            world.book.withLock { book in
                for (block, count) in zip(covered, arrivals) {
                    book.arrivalsFlushed[block] = max(book.arrivalsFlushed[block], count)
                }
            }
        }
        try examine(outcome)
    }

    // MARK: One request

    private struct Outcome<Value: Sendable>: Sendable {
        var value: Value?
        var failure: BlockStoreError?
        var wasCancelled = false
    }

    /// Does a request, and now and then loses patience.
    private func perform<Value: Sendable>(
        _ generator: inout SeededGenerator, _ request: @escaping @Sendable () async throws(BlockStoreError) -> Value
    ) async -> Outcome<Value> {
        guard generator.chance(world.scenario.impatience) else { return await Self.outcome(of: request) }
        let timeline = world.timeline
        let deadline = timeline.now + generator.duration(upTo: .seconds(3))
        return await withTaskGroup(of: Outcome<Value>?.self) { group in
            group.addTask { await Self.outcome(of: request) }
            group.addTask {
                do { try await timeline.sleep(until: deadline) } catch {}
                return nil
            }
            var result = Outcome<Value>()
            var wasCancelled = false
            for await outcome in group {
                if let outcome { result = outcome } else if result.value == nil, result.failure == nil { wasCancelled = true }
                group.cancelAll()
            }
            result.wasCancelled = wasCancelled
            return result
        }
    }

    private static func outcome<Value: Sendable>(
        of request: @Sendable () async throws(BlockStoreError) -> Value
    ) async -> Outcome<Value> {
        do throws(BlockStoreError) {
            return Outcome(value: try await request())
        } catch {
            return Outcome(failure: error)
        }
    }

    /// Which failures a client may see.
    private func examine<Value>(_ outcome: Outcome<Value>) throws {
        guard let failure = outcome.failure else { return }
        if outcome.wasCancelled { world.count("requests cancelled") }
        if mount.wire.isCut { return }
        world.count("requests failed")
        switch failure.code {
        case .cancelled:
            // The whole crew is sent home when another client found something wrong; that one reports.
            guard outcome.wasCancelled || Task.isCancelled else { throw Violation("nobody cancelled this: \(failure)") }
        case .io, .timedOut, .unreachable, .forbidden:
            guard !world.scenario.isFaultless else { throw Violation("nothing failed, and yet: \(failure)") }
        case .stale:
            // A late request has brought an older version back, and the guard does not believe it.
            guard world.scenario.consistency != nil, world.lateArrivals > 0 else { throw Violation("nothing is old: \(failure)") }
        default: throw Violation("a failure that nothing explains: \(failure.code) \(failure)")
        }
    }
}
