// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

extension MutationLocks {
    /// Who may change which blocks, in what order.
    ///
    /// Every claim gets a ticket, and tickets ascend. A claim is granted when no claim with a smaller ticket that shares a block
    /// with it is left. That is first come, first served for each block; and nobody can wait in a circle, since each waits for
    /// smaller tickets only.
    ///
    /// Claims of one block stand in the line of that block. Claims of a set are few; each counts the claims ahead of it.
    /// Memory: one entry for each claim, nothing for a block nobody claims.
    struct StateMachine: Sendable {
        /// The claims of one block by itself, smallest ticket first; only the first can be granted.
        private struct Line {
            var first: UInt64
            var isFirstGranted: Bool
            var behind: [UInt64] = []
        }

        private struct SetClaim {
            let ticket: UInt64
            let blocks: BlockSet
            /// How many claims with smaller tickets share a block with this one; granted when none is left.
            var aheadCount: Int
        }

        private var lines: [BlockNumber: Line] = [:]
        /// In the order of their tickets.
        private var setClaims: [SetClaim] = []
        private var lastTicket: UInt64 = 0

        /// Whether nobody claims anything, so that no memory is held.
        var isIdle: Bool { lines.isEmpty && setClaims.isEmpty }

        /// Adds a claim; the caller waits until its ticket is granted.
        ///
        /// - Returns: The ticket, and whether it is granted at once.
        mutating func enter(_ claim: Claim) -> (ticket: UInt64, isGranted: Bool) {
            lastTicket += 1
            switch claim {
            case .block(let block): return (lastTicket, enter(block, lastTicket))
            case .blocks(let blocks): return (lastTicket, enter(blocks, lastTicket))
            }
        }

        /// Removes a claim, whether it was granted (its work is done) or not (its owner gave up).
        ///
        /// - Returns: The tickets that are granted by that, in ascending order.
        mutating func leave(_ claim: Claim, _ ticket: UInt64) -> [UInt64] {
            switch claim {
            case .block(let block): leave(block, ticket)
            case .blocks(let blocks): leave(blocks, ticket)
            }
        }

        /// Whether the claim is granted; nil when it is not here (any more).
        func isGranted(_ claim: Claim, _ ticket: UInt64) -> Bool? {
            switch claim {
            case .block(let block):
                guard let line = lines[block] else { return nil }
                if line.first == ticket { return line.isFirstGranted }
                return line.behind.contains(ticket) ? false : nil
            case .blocks:
                return setClaims.first { $0.ticket == ticket }.map { $0.aheadCount == 0 }
            }
        }

        private mutating func enter(_ block: BlockNumber, _ ticket: UInt64) -> Bool {
            guard lines[block] == nil else {
                lines[block]?.behind.append(ticket)
                return false
            }
            let isGranted = !isClaimedBySet(block, before: ticket)
            lines[block] = Line(first: ticket, isFirstGranted: isGranted)
            return isGranted
        }

        private mutating func enter(_ blocks: BlockSet, _ ticket: UInt64) -> Bool {
            var aheadCount = setClaims.count { !$0.blocks.isDisjoint(blocks) }
            for (block, line) in lines where blocks.contains(block) { aheadCount += 1 + line.behind.count }
            setClaims.append(SetClaim(ticket: ticket, blocks: blocks, aheadCount: aheadCount))
            return aheadCount == 0
        }

        private mutating func leave(_ block: BlockNumber, _ ticket: UInt64) -> [UInt64] {
            guard var line = lines[block] else { preconditionFailure("a claim is removed once") }
            if line.first != ticket {
                guard let place = line.behind.firstIndex(of: ticket) else { preconditionFailure("a claim is removed once") }
                line.behind.remove(at: place)
                lines[block] = line
            } else if line.behind.isEmpty {
                lines[block] = nil
            } else {
                line.first = line.behind.removeFirst()
                line.isFirstGranted = false
                lines[block] = line
            }
            var granted = advanceSets(behind: ticket) { $0.contains(block) }
            if let first = grantFirst(of: block) { granted.append(first) }
            return granted.sorted()
        }

        private mutating func leave(_ blocks: BlockSet, _ ticket: UInt64) -> [UInt64] {
            guard let index = setClaims.firstIndex(where: { $0.ticket == ticket }) else {
                preconditionFailure("a claim is removed once")
            }
            setClaims.remove(at: index)
            var granted = advanceSets(behind: ticket) { !$0.isDisjoint(blocks) }
            for block in lines.keys.filter(blocks.contains) {
                if let first = grantFirst(of: block) { granted.append(first) }
            }
            return granted.sorted()
        }

        /// One claim ahead less, for the sets behind `ticket` that shared a block with it.
        private mutating func advanceSets(behind ticket: UInt64, where shares: (BlockSet) -> Bool) -> [UInt64] {
            var granted: [UInt64] = []
            for index in setClaims.indices where setClaims[index].ticket > ticket && shares(setClaims[index].blocks) {
                setClaims[index].aheadCount -= 1
                if setClaims[index].aheadCount == 0 { granted.append(setClaims[index].ticket) }
            }
            return granted
        }

        /// Grants the first in the line of `block` if it waits and may go; returns its ticket then.
        private mutating func grantFirst(of block: BlockNumber) -> UInt64? {
            guard let line = lines[block], !line.isFirstGranted, !isClaimedBySet(block, before: line.first) else { return nil }
            lines[block]?.isFirstGranted = true
            return line.first
        }

        private func isClaimedBySet(_ block: BlockNumber, before ticket: UInt64) -> Bool {
            setClaims.contains { $0.ticket < ticket && $0.blocks.contains(block) }
        }
    }
}
