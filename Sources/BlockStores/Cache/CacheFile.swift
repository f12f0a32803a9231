// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Logging
internal import Synchronization

/// A cache that outlives the process: a file in which every write is recorded, and from which the next start takes what the store does
/// not have yet.
///
/// What is where, and what may be overwritten, is decided by ``Ledger``; this is the shell that reads and writes. The order on the disk
/// that makes a crash harmless is argued in Docs/Formats/CacheFile.md "Why a crash loses nothing".
///
/// - Concurrency: safe from anywhere, within the rules of the protocol. The ledger's lock is never held over I/O; two others are, that
///   of the header and that of the zero log, which no read and no write of data takes.
public final class CacheFile: CacheStorage {
    /// What the ledger's lock guards.
    struct State: Sendable {
        /// Where everything is.
        var ledger: Ledger
        /// When the next commit will come.
        var forecast = CommitForecast()
        /// Whether somebody makes a commit.
        var isCommitting = false
        /// Who waits for the commit that runs.
        var followers: [CheckedContinuation<CommitTurn, Never>] = []
        /// Who waits for the next one, and will make it if first.
        var waiting: [CheckedContinuation<CommitTurn, Never>] = []
        /// The maker of a commit, while versions are being overwritten.
        var drain: CheckedContinuation<Void, Never>?
        /// Who waits for some write to end, because those that run have all spares.
        var writeWaiters: [CheckedContinuation<Void, Never>] = []
        /// Whether somebody brings sectors home.
        var isRelocating = false
        /// Who waits for that.
        var relocationWaiters: [CheckedContinuation<Void, Never>] = []
    }

    /// The largest part of a block that is read or written at once.
    static let pieceSizeMax = 128 << 10

    /// The file.
    let disk: any CacheFileDisk
    /// Where everything lies in it.
    let layout: CacheFileLayout
    /// What makes and checks the tags of sectors.
    let seal: CacheFileSeal
    /// What all checks but the header's start from.
    let seed: UInt64
    /// Where failures are told.
    let logger: Logger
    /// Where everything is, and who waits.
    let state: Mutex<State>
    /// The header as it was written last; locked over I/O, after ``zeroLog`` if both are.
    let header: Mutex<CacheFileHeader>
    /// Whether the file is to be marked as distrusted on the disk, and is not.
    let isMarkDue = Atomic(false)
    /// The end of the zero log; locked over I/O.
    let zeroLog: Mutex<ZeroLog>
    /// What was found when the file was opened, until it is restored.
    let scan: Mutex<CacheFileScan?>

    /// What an earlier run left, before anything is restored.
    public let contents: CacheFileContents

    /// Takes over a file that has been read.
    init(disk: any CacheFileDisk, header: CacheFileHeader, seal: CacheFileSeal, scan: CacheFileScan, logger: Logger) {
        self.disk = disk
        self.seal = seal
        self.logger = logger
        layout = header.layout
        seed = header.seed
        contents = CacheFileContents(header: header, scan: scan)
        var ledger = Ledger(layout: layout)
        scan.fill(&ledger)
        // What could not be written once may be in the page cache only: that such a file is promised again takes a new one.
        ledger.isTrusted = !contents.isDistrusted
        state = Mutex(State(ledger: ledger))
        zeroLog = Mutex(ZeroLog(area: header.zeroArea, next: scan.zeroLogNext))
        self.header = Mutex(header)
        self.scan = Mutex(scan)
    }

    // MARK: What it is

    /// How many blocks have room.
    public var slotCount: Int { layout.slotCount }
    /// Always.
    public var isPersistent: Bool { true }
    /// Until an fdatasync(2) fails.
    public var isTrusted: Bool { state.withLock { $0.ledger.isTrusted } }
    /// The number of the last write. Asking has an effect: a write by the user that has not returned yet gets a later number then, and is
    /// recorded once more.
    public var mark: CacheMark {
        state.withLock { state in
            state.ledger.markTold = state.ledger.sequence
            return CacheMark(rawValue: state.ledger.sequence)
        }
    }

    // MARK: Slots

    /// See ``CacheStorage/assign(_:to:)``.
    public func assign(_ slot: CacheSlot, to block: BlockNumber) throws(BlockStoreError) {
        let number = Int(slot.rawValue)
        try keepWhatMarkSays(of: number, nil)
        let (base, isUnsettled, isShadowed, isZeroed) = state.withLock { state in
            (
                state.ledger.sequence, state.ledger.unsettled[number] != nil, state.ledger.isShadowed(number),
                state.ledger.zeroedSlots[number] != nil
            )
        }
        // After a release: the slot's homes, and its descriptor, must not be overwritten before that is durable.
        if isUnsettled { settle() }
        let descriptor = CacheFileDescriptor(.used, block: block, base: base)
        if isZeroed {
            // Forgetting zeros writes to the descriptors of such slots, too.
            try zeroLog.withLock { _ throws(BlockStoreError) in
                try write(descriptor, of: number)
                state.withLock { _ = $0.ledger.zeroedSlots.removeValue(forKey: number) }
            }
        } else {
            try write(descriptor, of: number)
        }
        // Without a release, this descriptor is what must be durable before the homes are overwritten.
        if isShadowed { settle() }
        state.withLock { $0.ledger.noteEmpty(number, base: base, isSettled: true) }
    }

    /// See ``CacheStorage/release(_:of:wasDirty:)``.
    public func release(_ slot: CacheSlot, of block: BlockNumber, wasDirty: Bool) throws(BlockStoreError) {
        let number = Int(slot.rawValue)
        try keepWhatMarkSays(of: number, block)
        let (base, zeroed, isShadowed) = state.withLock { state in
            (state.ledger.sequence, state.ledger.zeros.sequence(of: block), state.ledger.isShadowed(number))
        }
        var descriptor = CacheFileDescriptor(.free, block: block, base: base)
        if wasDirty, let zeroed {
            // In one record: either the data is there or the zeros are, whatever else reaches the disk.
            descriptor.state = .zeroed
            descriptor.zeroSequence = zeroed
        }
        try write(descriptor, of: number)
        state.withLock { state in
            state.ledger.noteEmpty(number, base: base, isSettled: !wasDirty && !isShadowed)
            if descriptor.state == .zeroed { state.ledger.zeroedSlots[number] = block }
        }
    }

    /// See ``CacheStorage/setVersion(_:of:in:upTo:)``.
    public func setVersion(
        _ version: BlockVersion, of block: BlockNumber, in slot: CacheSlot, upTo mark: CacheMark?
    ) throws(BlockStoreError) {
        let number = Int(slot.rawValue)
        let asked = mark?.rawValue ?? 0
        let (base, covered, needsSettling) = state.withLock { state in
            let covered = state.ledger.recordableMark(asked, of: block, in: number)
            return (
                state.ledger.bases[number], covered, state.ledger.isTrusted && state.ledger.needsSettling(number, upTo: covered)
            )
        }
        if needsSettling { settle() }
        markDistrusted()
        var descriptor = CacheFileDescriptor(.used, block: block, base: base)
        descriptor.mark = covered
        // What lies between the two marks is lost in a crash, and what it replaced must not count as this version.
        descriptor.version = covered < asked ? .unknown : version
        try write(descriptor, of: number)
        // Without a mark nothing more is covered than before.
        state.withLock { if mark == nil { $0.ledger.hasNews = true } else { $0.ledger.noteMark(covered, of: block, in: number) } }
    }

    /// See ``CacheStorage/version(of:in:)``.
    public func version(of block: BlockNumber, in slot: CacheSlot) -> BlockVersion {
        let number = Int(slot.rawValue)
        let descriptor = withUnsafeTemporaryAllocation(byteCount: CacheFileLayout.descriptorSize, alignment: 8) { bytes in
            do throws(BlockStoreError) {
                try disk.read(into: bytes, at: layout.descriptorOffset(number))
                return CacheFileDescriptor(UnsafeRawBufferPointer(bytes), slot: number, seed: seed)
            } catch {
                logger.warning("cannot read a version from the cache file", metadata: ["cause": "\(error)"])
                return nil
            }
        }
        guard let descriptor, descriptor.state == .used, descriptor.block == block else { return .unknown }
        return descriptor.version
    }

    // MARK: Smaller parts

    /// Writes the descriptor of a slot.
    func write(_ descriptor: CacheFileDescriptor, of slot: Int) throws(BlockStoreError) {
        try withScratch(CacheFileLayout.descriptorSize) { bytes throws(BlockStoreError) in
            descriptor.encode(into: bytes, slot: slot, seed: seed)
            try disk.write(UnsafeRawBufferPointer(bytes), at: layout.descriptorOffset(slot))
        }
    }

    /// Erases records, so that what they say never counts again.
    func eraseRecords(_ locations: some Sequence<Int>) throws(BlockStoreError) {
        for location in locations {
            try withScratch(CacheFileLayout.recordSize) { bytes throws(BlockStoreError) in
                bytes.initializeMemory(as: UInt8.self, repeating: 0)
                try disk.write(UnsafeRawBufferPointer(bytes), at: layout.recordOffset(location))
            }
        }
    }
}

/// Lends `count` bytes, aligned to 8. As `withUnsafeTemporaryAllocation`, which has no typed errors.
func withScratch<Result>(
    _ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(BlockStoreError) -> Result
) throws(BlockStoreError) -> Result {
    let outcome: Swift.Result<Result, BlockStoreError> = withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { bytes in
        do throws(BlockStoreError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try outcome.get()
}
