// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Logging
internal import Synchronization

/// What is made durable between commits, and what becomes of a file when that fails.
extension CacheFile {
    /// Makes what has been written durable at once, blocking the thread: for the few cases in which one record must not reach
    /// the disk before another, and no commit has come between them by itself.
    ///
    /// If that fails, the file is not trusted any more and the caller goes on: then nothing is promised, and what is in the file is never
    /// applied unasked, so that no order matters.
    func settle() {
        let (isTrusted, unsettled) = state.withLock { ($0.ledger.isTrusted, $0.ledger.unsettled) }
        guard isTrusted else { return markDistrusted() }
        do throws(BlockStoreError) {
            try disk.settle()
            state.withLock { state in
                for (slot, round) in unsettled where state.ledger.unsettled[slot] == round { state.ledger.unsettled[slot] = nil }
            }
        } catch {
            distrust(error)
        }
    }

    /// From now on nothing is promised: Linux forgets which pages it could not write, so a repeated fdatasync(2) would lie.
    func distrust(_ cause: BlockStoreError) {
        let isNews = state.withLock { state in
            defer { state.ledger.isTrusted = false }
            return state.ledger.isTrusted
        }
        guard isNews else { return }
        // In memory first: no header that is written from now on, for whatever reason, lacks the mark.
        header.withLock { header in
            header.flags.insert(.distrusted)
            isMarkDue.store(true, ordering: .relaxed)
        }
        logger.error(
            """
            the cache file cannot be made durable; from now on flushes wait for the store, and after a crash its data is used only \
            with --recoverDirty=apply
            """,
            metadata: ["cause": "\(cause)"])
        markDistrusted()
        guard isMarkDue.load(ordering: .relaxed) else { return }
        logger.error(
            "the cache file cannot be marked as distrusted yet; it is tried again with each block that is brought to the store")
    }

    /// Writes the mark of distrust to the disk, if it is not there yet.
    ///
    /// - Concurrency: two threads may both write it, which does no harm.
    func markDistrusted() {
        // Once more, for Linux tells each open file of an error once: the first failure may be the one that is known already.
        for _ in 0..<2 where isMarkDue.load(ordering: .relaxed) {
            do throws(BlockStoreError) {
                if try updateHeader({ _ in }) { isMarkDue.store(false, ordering: .relaxed) }
            } catch {
                logger.debug("cannot mark the cache file as distrusted", metadata: ["cause": "\(error)"])
            }
        }
    }

    /// Says durably in the zero log what only the mark of `slot` says, before its descriptor is overwritten: that the zeroing of its
    /// block is over. Else the next start would zero in the store what was written there since.
    ///
    /// - Parameter block: Whose slot it is; nil for the block that has the mark, if any.
    /// - Throws: `.io` or `.noSpace` from the local disk; then the descriptor must stay.
    func keepWhatMarkSays(of slot: Int, _ block: BlockNumber?) throws(BlockStoreError) {
        let (zeroing, isForgotten) = state.withLock { state in
            let isForgotten =
                if let block { state.ledger.isForgotten(block) } else { state.ledger.isForgotten(in: slot) }
            return (state.ledger.zeroingUnderMark(of: slot), isForgotten)
        }
        if let zeroing { try forgetZeros(BlockSet(blocks: [zeroing.block]), upTo: CacheMark(rawValue: zeroing.mark)) }
        if zeroing != nil || isForgotten { settle() }
    }
}
