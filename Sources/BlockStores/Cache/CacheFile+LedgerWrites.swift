// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension CacheFile {
    /// Where a write of some neighbouring sectors of one slot goes.
    struct WritePlan: Sendable {
        /// The slot.
        var slot: Int
        /// The first sector.
        var firstSector: Int
        /// The number of the write.
        var sequence: UInt64
        /// The number it had when it began.
        let firstSequence: UInt64
        /// Whether the store lacks the bytes.
        var isUser: Bool
        /// For each sector, where.
        var locations: [Int]
        /// How many of them overwrite a fresh version.
        var rewriteCount = 0
    }

    /// What a write has to do next.
    enum WriteStep: Sendable {
        /// Write.
        case go(WritePlan)
        /// Wait until sectors that are being brought home are there.
        case waitForRelocation
        /// Make so many spares free.
        case needSpares(Int)
    }

    /// How a write ended.
    enum WriteEnd: Sendable {
        /// It counts.
        case done
        /// Somebody was told a mark meanwhile that the write must lie after: write again, as told.
        case again(WritePlan)

        /// Whether it counts.
        var isDone: Bool { if case .done = self { true } else { false } }
    }
}

extension CacheFile.Ledger {
    private enum Target {
        case at(Int)
        case rewriting(Int)
        case spare
    }

    /// Decides where a write goes, and takes the spares for it.
    mutating func planWrite(slot: Int, sectors: Range<Int>, isUser: Bool) -> CacheFile.WriteStep {
        let keys = layout.homes(of: slot).lowerBound + sectors.lowerBound..<layout.homes(of: slot).lowerBound + sectors.upperBound
        if !busy.isEmpty, keys.contains(where: { busy.contains($0) }) { return .waitForRelocation }
        let targets = keys.map { target(of: $0) }
        let spareCount = targets.count { if case .spare = $0 { true } else { false } }
        guard spareCount <= freeSpares.count else { return .needSpares(spareCount) }
        let sequence = nextSequence()
        var plan = CacheFile.WritePlan(
            slot: slot, firstSector: sectors.lowerBound, sequence: sequence, firstSequence: sequence, isUser: isUser,
            locations: [])
        for target in targets {
            switch target {
            case .at(let location): plan.locations.append(location)
            case .rewriting(let location):
                plan.locations.append(location)
                plan.rewriteCount += 1
            case .spare: plan.locations.append(freeSpares.removeLast())
            }
        }
        runningCount += 1
        rewriteCount += plan.rewriteCount
        if isUser { userWrites[slot, default: []].append(sequence) }
        for key in keys where moved[key] != nil { writing.insert(key) }
        return .go(plan)
    }

    private func target(of key: Int) -> Target {
        guard written[key] else { return .at(key) }
        let current = location(of: key)
        // Nothing can be promised any more, so nothing is to be kept.
        guard isTrusted else { return .at(current) }
        if let version = fresh[key], version.round == round, !version.isCovered, !isSyncWanted { return .rewriting(current) }
        let isFree = fresh[key] == nil && !protected[key] && left[key] == nil && shadowed[key] == nil
        if current == key { return isFree ? .at(key) : .spare }
        return held.contains(key) ? .spare : .at(key)
    }

    /// A write is on the disk: from now on its versions are the current ones, unless it must be made again.
    mutating func finishWrite(_ plan: CacheFile.WritePlan) -> CacheFile.WriteEnd {
        // Whoever was told a mark believes every write with a lower number to have returned by then.
        guard !plan.isUser || plan.sequence > markTold else {
            var again = plan
            again.sequence = nextSequence()
            return .again(again)
        }
        let first = layout.homes(of: plan.slot).lowerBound + plan.firstSector
        for (index, location) in plan.locations.enumerated() { publish(first + index, at: location, plan) }
        if plan.isUser { lastUser[plan.slot] = max(lastUser[plan.slot], plan.sequence) }
        end(plan)
        return .done
    }

    private mutating func end(_ plan: CacheFile.WritePlan) {
        runningCount -= 1
        rewriteCount -= plan.rewriteCount
        hasNews = true
        guard plan.isUser, var running = userWrites[plan.slot] else { return }
        running.removeAll { $0 == plan.firstSequence }
        userWrites[plan.slot] = running.isEmpty ? nil : running
    }

    private mutating func publish(_ key: Int, at location: Int, _ plan: CacheFile.WritePlan) {
        if !writing.isEmpty { writing.remove(key) }
        if written[key] {
            let first = replaced[plan.slot]?.sequence ?? plan.sequence
            replaced[plan.slot] = Replaced(sequence: min(first, plan.sequence), round: round)
            leave(self.location(of: key), of: key, for: location)
        }
        written[key] = true
        protected[key] = false
        moved[key] = location == key ? nil : location
        fresh[key] = plan.isUser || location != key ? Fresh(round: round, isUser: plan.isUser) : nil
    }

    private mutating func leave(_ old: Int, of key: Int, for new: Int) {
        guard old != new else { return }
        if old == key { held.insert(key) }
        left[key, default: []].append(Left(location: old, round: round))
    }

    /// A write failed, and may have damaged versions in place that nobody else has: where to write instead. No commit can begin before that
    /// has ended, for what it would promise may not be there.
    ///
    /// - Returns: Nil when nothing of the kind is in danger, or there are too few spares.
    mutating func planElsewhere(_ plan: CacheFile.WritePlan) -> CacheFile.WritePlan? {
        let first = layout.homes(of: plan.slot).lowerBound + plan.firstSector
        var next = plan
        for (index, location) in plan.locations.enumerated() where isOnlyCopy(first + index, location) {
            if location != first + index, !held.contains(first + index) {
                next.locations[index] = first + index
            } else if let spare = freeSpares.popLast() {
                next.locations[index] = spare
            } else {
                for (old, new) in zip(plan.locations, next.locations) where old != new && new >= layout.homeCount {
                    freeSpares.append(new)
                }
                return nil
            }
        }
        guard next.locations != plan.locations else { return nil }
        next.sequence = nextSequence()
        return next
    }

    /// Whether the current version of a sector is in `location`, and the store does not have it.
    private func isOnlyCopy(_ key: Int, _ location: Int) -> Bool {
        written[key] && location == self.location(of: key) && (protected[key] || fresh[key]?.isUser == true)
    }

    /// The locations of a failed write whose records are to be erased. What was overwritten in place and is the only copy of acknowledged
    /// bytes is left to its check: it may still be whole, in the old version or the new one.
    mutating func erasableLocations(_ plan: CacheFile.WritePlan) -> [Int] {
        let first = layout.homes(of: plan.slot).lowerBound + plan.firstSector
        let erasable = plan.locations.indices.filter { !isOnlyCopy(first + $0, plan.locations[$0]) }.map { plan.locations[$0] }
        if plan.isUser, erasable.count < plan.locations.count { lastUser[plan.slot] = max(lastUser[plan.slot], plan.sequence) }
        return erasable
    }

    /// A write failed: what it took is given back when the records of all its locations have been erased, which may hold a version that
    /// was never published; see ``noteErased(_:)``.
    mutating func failWrite(_ plan: CacheFile.WritePlan) -> [(key: Int, location: Int)] {
        let first = layout.homes(of: plan.slot).lowerBound + plan.firstSector
        var others: [(key: Int, location: Int)] = []
        for (index, location) in plan.locations.enumerated() {
            writing.remove(first + index)
            guard location != self.location(of: first + index) else { continue }
            shadowed[first + index, default: 0] += 1
            others.append((first + index, location))
        }
        end(plan)
        return others
    }

    /// The records of these locations have been erased.
    mutating func noteErased(_ locations: [(key: Int, location: Int)]) {
        for (key, location) in locations { erasing.append((key, Left(location: location, round: round))) }
        if !locations.isEmpty { hasNews = true }
    }

    // MARK: Bringing sectors home

    /// Sectors that can be brought home from their spares; they are busy until ``finishRelocation(_:from:succeeded:)``.
    mutating func beginRelocation(countMax: Int) -> [(key: Int, spare: Int)] {
        var result: [(key: Int, spare: Int)] = []
        for (key, spare) in moved {
            guard result.count < countMax else { break }
            let isFree = !held.contains(key) && fresh[key] == nil && left[key] == nil && shadowed[key] == nil
            if isFree, !writing.contains(key) { result.append((key, spare)) }
        }
        for (key, _) in result { busy.insert(key) }
        return result.sorted { $0.key < $1.key }
    }

    /// A sector has been copied home, record and all.
    mutating func finishRelocation(_ key: Int, from spare: Int, succeeded: Bool) {
        busy.remove(key)
        // Its slot may have been released meanwhile; then the copy is void like everything else of it.
        guard succeeded, moved[key] == spare else { return }
        moved[key] = nil
        left[key, default: []].append(Left(location: spare, round: round))
        hasNews = true
    }
}
