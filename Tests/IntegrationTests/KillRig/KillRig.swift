// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// A volume whose daemon is killed again and again under writers, and looked at after each restart.
///
/// - Concurrency: for one thread; the writers are the disk's.
final class KillRig {
    private static let writerCount = 4

    /// What the writers know, and what was found.
    let disk: StampedDisk
    /// Where the objects are.
    let store: KillStore
    /// How often the daemon was killed.
    private(set) var killCount = 0
    private let mode: KillMode
    private let workspace: Workspace
    private let name: String
    private let options: [String]
    private var generator: SplitMix
    private var mount: Mount?

    /// What a start does about the mount token that a kill has left.
    private enum Start {
        /// Nothing: there is none.
        case fresh
        /// Nothing: the cache file says that it is our own.
        case byItself
        /// `--force`
        case forced
        /// `--reset-mounted-flag` comes first.
        case afterReset
    }

    /// A fresh volume.
    ///
    /// - Parameter more: Further options of its mounts.
    init(_ mode: KillMode, cacheBlocks: Int, seed: UInt64, in workspace: Workspace, more: [String] = []) throws {
        self.mode = mode
        self.workspace = workspace
        name = "kill-\(cacheBlocks)"
        disk = StampedDisk(sizeBytes: mode.blockCount << 16, seed: seed)
        store = try KillStore(in: workspace, name: "store-\(cacheBlocks)", isBucket: mode.hasOutage)
        options =
            ["--size=\(mode.blockCount * 64)k", "--blockSize=64k"]
            + mode.options(cacheBlocks: cacheBlocks, cacheFile: workspace.file("cache-\(cacheBlocks)")) + more
        generator = SplitMix(seed: seed)
    }

    /// The end of the last daemon's log.
    var log: String { "the daemon's last words: \(mount?.log.suffix(4_000) ?? "none")" }

    /// Kills the daemon so often, then ends in good order and reads everything from the store alone.
    ///
    /// - Throws: `FixtureError` when the volume cannot be mounted, read, fsynced or unmounted.
    func run(kills: Int) throws {
        try startFresh()
        while killCount < kills, disk.findings.isEmpty {
            try work()
            try recover()
        }
        guard disk.findings.isEmpty else { return }
        try endInOrder()
    }

    /// Makes and mounts the volume.
    func startFresh() throws { try start(.fresh) }

    /// Writes for a while, and kills the daemon.
    ///
    /// - Parameters:
    ///   - syncing: Whether there are fsyncs.
    ///   - interlude: Done in the middle of it, after some fsyncs and before some more.
    func work(syncing: Bool = true, with interlude: (() throws -> Void)? = nil) throws {
        guard let mount else { return }
        disk.run(mount.file, writers: Self.writerCount, seed: generator.next(), syncing: syncing)
        if let interlude {
            waitForSyncs(10)
            try interlude()
            waitForSyncs(20)
        }
        waitForMoment()
        if mode.hasOutage {
            store.goDown()
            usleep(random(800_000))
        }
        disk.willDie()
        disk.noteRisk()
        try mount.crash()
        killCount += 1
        try disk.halt()
    }

    /// Starts the daemon again, now and then with another kill in between, and looks at every sector.
    func recover() throws {
        let isBack = store.comeBack(after: 300_000 + random(2_000_000))
        var isStartKilled = false
        if random(4) == 0 {
            try killWhileStarting()
            isStartKilled = true
        }
        let start: Start = mode.hasCacheFile ? .byItself : isStartKilled || random(2) == 0 ? .forced : .afterReset
        try self.start(start)
        try isBack()
        guard let mount else { return }
        try limited(mount) { disk, file in try disk.verifyAfterCrash(file) }
        // Otherwise what was found may still be lost by the next kill, down to the last fsync.
        if random(2) == 0 { try limited(mount) { disk, file in try disk.sync(file) } }
    }

    /// Ends the mount in good order; then the store alone, without any cache, must have the newest value of every sector.
    func endInOrder() throws {
        guard let mount else { return }
        disk.run(mount.file, writers: Self.writerCount, seed: generator.next(), syncing: true)
        usleep(300_000)
        try disk.halt()
        try limited(mount) { disk, file in try disk.verifyCurrent(file) }
        try mount.unmount(seconds: 120)
        let reader = try Mount(["--blockCacheSize=0", "--readOnly"] + store.arguments, in: workspace, name: name)
        try reader.startInForeground()
        self.mount = reader
        try limited(reader) { disk, file in try disk.verifyCurrent(file) }
        try reader.unmount()
    }

    private func start(_ start: Start) throws {
        // Some of the time writes run side by side in the kernel.
        let direct = random(2) == 0 ? ["--directIO"] : []
        let force = start == .forced ? ["--force"] : []
        if start == .afterReset { try Command.run(Mount.binary, ["--reset-mounted-flag"] + store.arguments) }
        let next = try Mount(options + direct + force + store.arguments, in: workspace, name: name)
        try next.startInForeground()
        mount = next
    }

    /// Works on the disk file for two minutes at most: a daemon that does not answer must not stop the test for ever.
    private func limited(_ mount: Mount, _ body: @escaping @Sendable (StampedDisk, String) throws -> Void) throws {
        let (disk, file) = (disk, mount.file)
        try ReturningThread { try body(disk, file) }.join(seconds: 120)
    }

    private func killWhileStarting() throws {
        let force = mode.hasCacheFile ? [] : ["--force"]
        let next = try Mount(options + force + store.arguments, in: workspace, name: name)
        try next.launch()
        usleep(random(400_000))
        try next.crash()
        killCount += 1
    }

    /// The moment of the kill: any; in the middle of an fsync; or just when one has returned.
    private func waitForMoment() {
        let kind = random(3)
        usleep(50_000 + random(kind == 0 ? 1_200_000 : 500_000))
        let before = disk.counts.syncs
        let end = ContinuousClock.now + .seconds(3)
        while ContinuousClock.now < end {
            if kind == 0 || kind == 1 && disk.syncsInFlight > 0 || kind == 2 && disk.counts.syncs > before { break }
            usleep(100)
        }
        if kind == 1 { usleep(random(5_000)) }
    }

    private func waitForSyncs(_ count: Int) {
        let before = disk.counts.syncs
        _ = eventually(within: 20) { disk.counts.syncs >= before + count }
    }

    private func random(_ count: UInt32) -> UInt32 { UInt32(generator.next() % UInt64(count)) }
}
