// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath

@testable import BlockStores

/// How a life of the cache begins.
extension CacheWorld {
    /// Fills the store at random; half of the time something is left of an earlier run.
    func begin() {
        var truth: [[CacheCell]] = []
        for block in 0..<blockCount {
            if chance(0.6) { store[block] = store[block].map { _ in chance(0.7) ? freshCell() : 0 } }
            isKnownZero[block] = store[block].allSatisfy { $0 == 0 } && chance(0.6)
            truth.append(store[block])
        }
        if chance(0.5) { restore(&truth) }
        history = truth.map { $0.map { [(since: 0, cell: $0)] } }
        observe(.restored)
    }

    private func restore(_ truth: inout [[CacheCell]]) {
        let isVerified = chance(0.3)
        var blocks: [RestoredBlock] = []
        var zeros = BlockSet()
        for block in 0..<blockCount where chance(0.3) {
            truth[block] = truth[block].map { _ in 0 }
            zeros.insert(contentsOf: BlockNumber(block)..<BlockNumber(block + 1))
        }
        var free = Array(0..<blockCount)
        for slot in tenants.indices where chance(0.7) && !free.isEmpty {
            let block = free.remove(at: number(below: free.count))
            blocks.append(restore(block, in: slot, isVerified, isZeroed: zeros.contains(BlockNumber(block)), &truth[block]))
        }
        // The map of zeros knows nothing that the cache has not told it: it begins with the store.
        machine.restore(blocks, zeros: zeros, isVerified: isVerified, now: now)
    }

    private func restore(
        _ block: Int, in slot: Int, _ isVerified: Bool, isZeroed: Bool, _ truth: inout [CacheCell]
    ) -> RestoredBlock {
        var valid: UInt64 = 0
        var dirty: UInt64 = 0
        let isStale = !isZeroed && !isVerified && chance(0.3)
        tenants[slot] = block
        slotVersions[slot] = isStale ? storeVersions[block] - 1 : storeVersions[block]
        for sector in truth.indices {
            // What was written over a pending zeroing is dirty; nothing else of the block was kept.
            guard chance(0.6) || (isZeroed && sector == 0) else { continue }
            valid |= 1 << UInt64(sector)
            if isZeroed || chance(0.4) {
                dirty |= 1 << UInt64(sector)
                truth[sector] = freshCell()
                bytes[slot][sector] = truth[sector]
                userSectors[slot].insert(sector)
            } else {
                bytes[slot][sector] = isStale ? freshCell() : store[block][sector]
            }
        }
        return RestoredBlock(
            block: BlockNumber(block), slot: CacheSlot(rawValue: UInt32(slot)), valid: [valid], dirty: [dirty],
            isZeroElsewhere: isZeroed)
    }
}
