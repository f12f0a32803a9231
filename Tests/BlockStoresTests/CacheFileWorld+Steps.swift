// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Synchronization

@testable import BlockStores

extension CacheFileWorld {
    /// Does something.
    func step() async throws {
        // Mostly one block after the other, so that its versions follow each other fast.
        if generator.chance(0.06) { hotBlock = Int.random(in: 0..<Self.blockCount, using: &generator) }
        let block = generator.chance(0.7) ? hotBlock : Int.random(in: 0..<Self.blockCount, using: &generator)
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<40: try await write(block)
        case 40..<52: try await commit()
        case 52..<68: try await upload(block)
        case 68..<76: try await zero([block])
        case 76..<79: try await zero(Set((block..<min(block + 3, Self.blockCount)).filter { _ in generator.chance(0.8) }))
        case 79..<84: try await deleteZeros()
        case 84..<92: try await fetch(block)
        case 92..<96: if let entry = held[block], entry.dirty.isEmpty { try release(block) }
        case 96..<97: try await refetch(block)
        case 97..<98: try kill()
        default: try await reopen()
        }
    }

    private func note(_ text: @autoclosure () -> String) { log.append("\(recorder.now): \(text())") }

    func watchCommits() {
        recorder.duringSync.withLock { hook in
            hook = { [unowned self] in
                guard generator.chance(0.5), let block = held.keys.sorted().randomElement(using: &generator) else { return }
                do { _ = try writeNow(block) } catch { log.append("\(error)") }
            }
        }
    }

    // MARK: Writing

    func write(_ block: Int) async throws {
        try await makeRoom(block)
        let sectors = someSectors()
        let stamps = begin(block, sectors)
        note("write \(block) \(sectors) \(stamps)")
        // Two calls that write never overlap in a sector.
        writingBlock = block
        defer { writingBlock = nil }
        try await put(stamps, sectors, block, .user)
        finish(block, sectors)
    }

    /// Writes without waiting, as a client does while a commit runs.
    private func writeNow(_ block: Int) throws -> Bool {
        guard let entry = held[block], block != writingBlock else { return false }
        let sectors = someSectors()
        let stamps = sectors.map { _ in generator.next() }
        let bytes = Self.bytes(stamps)
        let range = sectors.lowerBound * Self.sectorSize..<sectors.upperBound * Self.sectorSize
        for (sector, stamp) in zip(sectors, stamps) {
            history[Key(block: block, sector: sector), default: []].append(Value(stamp: stamp, began: recorder.now))
        }
        note("write \(block) \(sectors) \(stamps) during a commit")
        let obstacle = try bytes.withUnsafeBytes {
            try file.attemptWrite($0, at: range, of: BlockNumber(block), in: CacheSlot(rawValue: UInt32(entry.slot)), .user)
        }
        guard obstacle == nil else {
            note("which would have to wait")
            for sector in sectors { history[Key(block: block, sector: sector)]?.removeLast() }
            return false
        }
        finish(block, sectors)
        return true
    }

    private func someSectors() -> Range<Int> {
        if generator.chance(0.4) { return 0..<1 }
        let lower = Int.random(in: 0..<Self.sectorCount, using: &generator)
        return lower..<Int.random(in: lower + 1...Self.sectorCount, using: &generator)
    }

    private func begin(_ block: Int, _ sectors: Range<Int>) -> [UInt64] {
        sectors.map { sector in
            let stamp = generator.next()
            history[Key(block: block, sector: sector), default: []].append(Value(stamp: stamp, began: recorder.now))
            return stamp
        }
    }

    private func finish(_ block: Int, _ sectors: Range<Int>) {
        held[block]?.valid.formUnion(sectors)
        held[block]?.dirty.formUnion(sectors)
    }

    private func put(_ stamps: [UInt64], _ sectors: Range<Int>, _ block: Int, _ origin: CacheOrigin) async throws {
        guard let entry = held[block] else { return }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: sectors.count * Self.sectorSize, alignment: 8)
        defer { bytes.deallocate() }
        bytes.copyBytes(from: Self.bytes(stamps))
        let range = sectors.lowerBound * Self.sectorSize..<sectors.upperBound * Self.sectorSize
        try await file.write(
            UnsafeRawBufferPointer(bytes), at: range, of: BlockNumber(block), in: CacheSlot(rawValue: UInt32(entry.slot)), origin)
    }

    private func makeRoom(_ block: Int) async throws {
        guard held[block] == nil else { return }
        while true {
            let taken = Set(held.values.map(\.slot))
            let free = (0..<form.slotCount).filter { !taken.contains($0) }
            if let slot = free.filter({ !unsafeSlots.contains($0) }).randomElement(using: &generator) {
                note("assign \(slot) to \(block)")
                try file.assign(CacheSlot(rawValue: UInt32(slot)), to: BlockNumber(block))
                held[block] = Held(slot: slot)
                return
            }
            if !free.isEmpty {
                try await commit()
            } else if let clean = held.filter({ $0.value.dirty.isEmpty }).keys.sorted().first {
                if try generator.chance(0.5) || !evict(clean, for: block) { try release(clean) } else { return }
            } else if let victim = held.keys.sorted().randomElement(using: &generator) {
                try await upload(victim)
            }
        }
    }

    /// Gives the slot of a clean block to another one, as a cache that is full does.
    private func evict(_ victim: Int, for block: Int) throws -> Bool {
        guard let entry = held[victim], !entry.isUnsettled else { return false }
        note("assign \(entry.slot) of \(victim) to \(block)")
        held[victim] = nil
        try file.assign(CacheSlot(rawValue: UInt32(entry.slot)), to: BlockNumber(block))
        held[block] = Held(slot: entry.slot)
        return true
    }

    // MARK: The store

    func commit() async throws {
        let counts = history.mapValues(\.count)
        note("commit")
        let unsafe = unsafeSlots
        try await file.commit()
        note("committed")
        let later = unsafeSlots.subtracting(unsafe)
        noteCommit(counts)
        unsafeSlots = later
    }

    func upload(_ block: Int) async throws {
        guard let entry = held[block], !entry.dirty.isEmpty else { return }
        if generator.chance(0.3), !pendingZeros.contains(block) { try await fill(block) }
        let mark = file.mark
        var stamps: [UInt64] = []
        for sector in 0..<Self.sectorCount {
            let key = Key(block: block, sector: sector)
            guard held[block]?.valid.contains(sector) == true else {
                stamps.append(pendingZeros.contains(block) ? 0 : saved(block).stamps[sector])
                continue
            }
            guard let stamp = try stamp(in: file, key, entry.slot), stamp == current(key) else {
                throw Violation(description: "\(key): a read gives something else than \(current(key))")
            }
            stamps.append(stamp)
        }
        let before = history.mapValues(\.count)
        note("upload \(block) \(stamps) mark \(mark.rawValue)")
        try await commit()
        if generator.chance(0.3) { _ = try writeNow(block) }
        put(block, stamps)
        let dirty = Set(
            (0..<Self.sectorCount).filter { sector in
                let key = Key(block: block, sector: sector)
                return before[key] != history[key]?.count
            })
        let forgetsFirst = generator.chance(0.5)
        if forgetsFirst { try forget(block) }
        try file.setVersion(saved(block).version, of: BlockNumber(block), in: CacheSlot(rawValue: UInt32(entry.slot)), upTo: mark)
        note("uploaded \(block), dirty again \(dirty)")
        if !forgetsFirst { try forget(block) }
        held[block]?.dirty = dirty
        held[block]?.isUnsettled = true
    }

    private func forget(_ block: Int) throws {
        guard pendingZeros.contains(block) else { return }
        // If it does not come to that, the mark says the same, as long as the block has its slot.
        guard generator.chance(0.8) else {
            pendingZeros.remove(block)
            return
        }
        note("forget zeros of \(block)")
        try file.forgetZeros(BlockSet(blocks: [BlockNumber(block)]), upTo: file.mark)
        pendingZeros.remove(block)
    }

    func deleteZeros() async throws {
        let blocks = pendingZeros.sorted().filter { held[$0] == nil && generator.chance(0.6) }
        guard !blocks.isEmpty else { return }
        try await commit()
        note("delete \(blocks)")
        for block in blocks { put(block, [0, 0, 0, 0]) }
        try file.forgetZeros(BlockSet(blocks: blocks.map { BlockNumber($0) }), upTo: file.mark)
        pendingZeros.subtract(blocks)
    }

    // MARK: Zeros and clean blocks

    func zero(_ blocks: Set<Int>) async throws {
        guard !blocks.isEmpty else { return }
        note("zero \(blocks)")
        for key in keys where blocks.contains(key.block) { history[key]?.append(Value(stamp: 0, began: recorder.now)) }
        try file.recordZeros(BlockSet(blocks: blocks.map { BlockNumber($0) }))
        pendingZeros.formUnion(blocks)
        for block in blocks.sorted() where held[block] != nil { try release(block) }
    }

    func release(_ block: Int) throws {
        guard let entry = held.removeValue(forKey: block) else { return }
        note("release \(entry.slot) of \(block), dirty \(entry.dirty)")
        try file.release(
            CacheSlot(rawValue: UInt32(entry.slot)), of: BlockNumber(block), wasDirty: !entry.dirty.isEmpty)
        if !entry.dirty.isEmpty { unsafeSlots.insert(entry.slot) }
    }

    /// Reads the missing sectors of a block from the store.
    private func fill(_ block: Int) async throws {
        for sector in 0..<Self.sectorCount where held[block]?.valid.contains(sector) == false {
            note("fill \(block) \(sector)")
            writingBlock = block
            defer { writingBlock = nil }
            try await put([saved(block).stamps[sector]], sector..<sector + 1, block, .store)
            held[block]?.valid.insert(sector)
        }
    }

    func fetch(_ block: Int) async throws {
        guard !pendingZeros.contains(block), held[block]?.dirty.isEmpty ?? true else { return }
        try await makeRoom(block)
        guard !pendingZeros.contains(block), let entry = held[block] else { return }
        try await fill(block)
        try file.setVersion(
            saved(block).version, of: BlockNumber(block), in: CacheSlot(rawValue: UInt32(entry.slot)), upTo: file.mark)
        note("fetched \(block)")
    }

    /// Somebody else changes the volume while it is not ours, and the cache finds out by the version: the block is read anew in place.
    private func refetch(_ block: Int) async throws {
        // It can only happen while the file is not in use, so that everything in it is durable.
        try await commit()
        guard let entry = held[block], entry.dirty.isEmpty, !pendingZeros.contains(block) else { return }
        let stamps = (0..<Self.sectorCount).map { _ in generator.next() }
        for (sector, stamp) in stamps.enumerated() {
            history[Key(block: block, sector: sector)] = [Value(stamp: stamp, began: 0)]
        }
        for index in commits.indices {
            for sector in 0..<Self.sectorCount { commits[index].counts[Key(block: block, sector: sector)] = 1 }
        }
        note("somebody writes \(block) \(stamps)")
        put(block, stamps)
        // As if it had always been so: a crash before this moment is not played against the store of then.
        store[block] = [(0, saved(block))]
        firstMoment = recorder.now
        let slot = CacheSlot(rawValue: UInt32(entry.slot))
        let bytes = Self.bytes(stamps)
        let isDone = try bytes.withUnsafeBytes {
            try file.attemptWrite($0, at: 0..<bytes.count, of: BlockNumber(block), in: slot, .store)
        }
        guard isDone == nil else { return try release(block) }
        try file.setVersion(saved(block).version, of: BlockNumber(block), in: slot, upTo: file.mark)
        held[block]?.valid = Set(0..<Self.sectorCount)
        note("refetched \(block)")
    }

    /// Ends without a word and starts again, on a disk of which only the kernel knows the latest.
    private func kill() throws {
        note("kill")
        let recovered = try look(recorder, recorder.now)
        for key in keys where recovered.values[key] != current(key) {
            throw Violation(description: "\(key): \(recovered.values[key] ?? 0) after a kill, not \(current(key))")
        }
        file = recovered.file
        held = recovered.held
        pendingZeros = recovered.zeros
        // The start has made durable what it found.
        noteCommit(history.mapValues(\.count))
        for (block, entry) in held.sorted(by: { $0.key < $1.key }) where entry.valid.isEmpty { try release(block) }
    }

    /// Ends in order and starts again.
    private func reopen() async throws {
        note("reopen")
        let counts = history.mapValues(\.count)
        try await file.close(keepsToken: true)
        noteCommit(counts)
        let recovered = try crash(at: recorder.now, survival: 1)
        for key in keys where recovered.values[key] != current(key) {
            throw Violation(description: "\(key): \(recovered.values[key] ?? 0) after an orderly end, not \(current(key))")
        }
        for (block, entry) in recovered.held where entry.dirty != held[block]?.dirty ?? [] {
            throw Violation(description: "block \(block): dirty \(entry.dirty), not \(held[block]?.dirty ?? [])")
        }
        guard recovered.zeros == pendingZeros else {
            throw Violation(description: "zeros \(recovered.zeros), not \(pendingZeros)")
        }
        try resume(recovered)
    }
}
