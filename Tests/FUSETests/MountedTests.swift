// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import CFuse
import CLinux
import DataPath
import Dispatch
import Glibc
import Synchronization
import Testing

@testable import FUSE

@Suite("What mounting needs")
struct PrerequisiteTests {
    @Test("continuous integration has root and /dev/fuse", .enabled(if: Prerequisites.mustBeMet))
    func areMet() {
        #expect(Prerequisites.areMet)
    }

    @Test("a mount point that is missing, or no directory, is refused by name", arguments: ["/nonexistent", "/etc/passwd"])
    func mountPoint(path: String) {
        let error = #expect(throws: FUSEError.self) { try MountPoint.check(path) }
        #expect(error?.code == .badMountPoint && error?.message.contains("\"\(path)\"") == true)
    }
}

@Suite("A mounted disk", .serialized, .enabled(if: Prerequisites.isAskedFor && Prerequisites.areMet), .timeLimit(.minutes(3)))
struct MountedTests {
    static let size = 16 << 20

    @Test("what is written is read back, through the page cache, past it, and by another descriptor", arguments: [false, true])
    func readBack(isDirectIO: Bool) throws {
        let disk = MemoryDisk(sizeBytes: Self.size)
        let ending = try MountedDisk.with(disk, isDirectIO: isDirectIO) { mounted in
            let descriptor = try MountedDisk.open(mounted.file, O_RDWR)
            let data = (0..<300_001).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
            #expect(pwrite(descriptor, data, data.count, 12_345) == data.count)
            var back = [UInt8](repeating: 1, count: data.count + 2)
            #expect(pread(descriptor, &back, back.count, 12_344) == back.count)
            #expect(back == [0] + data + [0])
            close(descriptor)
            let other = try MountedDisk.open(mounted.file, O_RDONLY)
            #expect(pread(other, &back, data.count, 12_345) == data.count)
            #expect(Array(back[..<data.count]) == data)
            close(other)
        }
        #expect(ending == .unmounted)
        #expect(disk.state.withLock { $0.bytes[12_345] } == 0)
    }

    @Test(
        "a write is cut, stored, counted in the times and read back alike, whether it is taken at once and lent back, or not",
        arguments: [false, true])
    func takenWrites(takesWrites: Bool) throws {
        let disk = MemoryDisk(sizeBytes: Self.size)
        disk.state.withLock { ($0.takesWrites, $0.lends) = (takesWrites, takesWrites) }
        try MountedDisk.with(disk, isDirectIO: true) { mounted in
            let descriptor = try MountedDisk.open(mounted.file, O_RDWR)
            defer { close(descriptor) }
            // A day back: the clock of the times ticks every 4 ms, and mount and write can fall into one tick.
            var now = timespec()
            #expect(clock_gettime(CLOCK_REALTIME, &now) == 0)
            let before = timespec(tv_sec: now.tv_sec - 86_400, tv_nsec: 0)
            #expect(futimens(descriptor, [before, before]) == 0)
            let data = (0..<5001).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
            #expect(pwrite(descriptor, data, data.count, 777) == data.count)
            #expect(pwrite(descriptor, data, data.count, Self.size - 100) == 100)
            var after = stat()
            #expect(fstat(descriptor, &after) == 0)
            #expect(after.st_mtim.tv_sec > before.tv_sec)
            var back = [UInt8](repeating: 9, count: data.count + 2)
            #expect(pread(descriptor, &back, back.count, 776) == back.count)
            #expect(back == [0] + data + [0])
            #expect(pread(descriptor, &back, back.count, Self.size - 101) == 101)
            #expect(Array(back[..<101]) == [0] + data[..<100])
        }
        #expect(disk.state.withLock { [$0.takenCount, $0.lentCount] } == (takesWrites ? [2, 2] : [0, 0]))
    }

    @Test("fsync and the close of a written descriptor flush the disk; closing one that could not write does not")
    func flushes() throws {
        let disk = MemoryDisk(sizeBytes: Self.size)
        try MountedDisk.with(disk) { mounted in
            let reader = try MountedDisk.open(mounted.file, O_RDONLY)
            close(reader)
            #expect(disk.flushCount == 0)
            let writer = try MountedDisk.open(mounted.file, O_WRONLY)
            #expect(fsync(writer) == 0)
            #expect(disk.flushCount == 1)
            #expect(fdatasync(writer) == 0)
            #expect(disk.flushCount == 2)
            close(writer)
            #expect(disk.flushCount == 3 && disk.promptFlushCount == 0)
            disk.flushNowFromNowOn()
            let other = try MountedDisk.open(mounted.file, O_WRONLY)
            #expect(fsync(other) == 0)
            #expect(disk.flushCount == 3 && disk.promptFlushCount == 1, "no task is needed")
            close(other)
            #expect(disk.flushCount == 3 && disk.promptFlushCount == 2)
        }
        // The stop flushes as well.
        #expect(disk.flushCount == 4)
    }

    @Test("a write across the end is cut there, one beyond it has no room, and a read there is empty")
    func end() throws {
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size)) { mounted in
            let descriptor = try MountedDisk.open(mounted.file, O_RDWR)
            defer { close(descriptor) }
            var bytes = [UInt8](repeating: 9, count: 100)
            #expect(pwrite(descriptor, bytes, 100, Self.size - 50) == 50)
            #expect(pwrite(descriptor, bytes, 100, Self.size) == -1)
            #expect(errno == ENOSPC)
            #expect(pread(descriptor, &bytes, 100, Self.size - 10) == 10)
            #expect(pread(descriptor, &bytes, 100, Self.size) == 0)
            var status = stat()
            #expect(fstat(descriptor, &status) == 0 && status.st_size == Self.size)
        }
    }

    @Test("punched holes and zeroed ranges are zeros, and show as holes")
    func holes() throws {
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size)) { mounted in
            let descriptor = try MountedDisk.open(mounted.file, O_RDWR)
            defer { close(descriptor) }
            let ones = [UInt8](repeating: 1, count: 1 << 20)
            #expect(pwrite(descriptor, ones, ones.count, 1 << 20) == ones.count)
            #expect(lseek(descriptor, 0, SEEK_DATA) == 1 << 20)
            #expect(lseek(descriptor, 1 << 20, SEEK_HOLE) == 2 << 20)
            #expect(lseek(descriptor, 2 << 20, SEEK_DATA) == -1)
            #expect(errno == ENXIO)
            #expect(lseek(descriptor, Self.size, SEEK_HOLE) == -1)
            let punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            #expect(linux_fallocate(descriptor, punch, 1 << 20, 65536) == 0)
            #expect(linux_fallocate(descriptor, FALLOC_FL_ZERO_RANGE, (1 << 20) + 131072, 65537) == 0)
            #expect(lseek(descriptor, 1 << 20, SEEK_DATA) == (1 << 20) + 65536)
            var back = [UInt8](repeating: 7, count: 262144)
            #expect(pread(descriptor, &back, back.count, 1 << 20) == back.count)
            let expected = (0..<262144).map { UInt8(($0 < 65536) || (131072..<196609).contains($0) ? 0 : 1) }
            #expect(back == expected)
            #expect(linux_fallocate(descriptor, 0, 0, Int64(Self.size)) == 0)
            #expect(linux_fallocate(descriptor, 0, 0, Int64(Self.size) + 1) == -1)
            #expect(errno == ENOSPC)
            #expect(linux_fallocate(descriptor, FALLOC_FL_COLLAPSE_RANGE, 0, 4096) == -1)
            #expect(errno == EOPNOTSUPP)
        }
    }

    @Test("the directory lists two files with the inode numbers that stat shows; the file system is full")
    func names() throws {
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size)) { mounted in
            let listing = try MountedDisk.run("ls", "-1ai", mounted.directory)
            let lines = listing.output.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
            #expect(lines.contains("2 file") && lines.contains("3 stats") && lines.contains("1 .") && lines.count == 4)
            var status = stat()
            #expect(stat(mounted.file, &status) == 0)
            #expect(status.st_ino == 2 && status.st_blocks == Self.size / 512 && status.st_blksize == 65536)
            var figures = statvfs()
            #expect(statvfs(mounted.directory, &figures) == 0)
            #expect(figures.f_blocks == 256 && figures.f_frsize == 65536 && figures.f_bfree == 0 && figures.f_files == 3)
            #expect(access(mounted.directory + "/absent", F_OK) == -1)
            #expect(errno == ENOENT)
        }
    }

    @Test("nothing can be made, moved or removed, nor change its owner or permissions")
    func refusals() throws {
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size)) { mounted in
            let other = mounted.directory + "/other"
            #expect(Glibc.open(other, O_CREAT | O_RDWR, 0o600) == -1)
            #expect(errno == EPERM)
            #expect(mkdir(other, 0o700) == -1)
            #expect(errno == EPERM)
            #expect(rename(mounted.file, other) == -1)
            #expect(errno == EPERM)
            #expect(unlink(mounted.file) == -1)
            #expect(errno == EPERM)
            #expect(chmod(mounted.file, 0o777) == -1)
            #expect(errno == EPERM)
            #expect(truncate(mounted.file, off_t(Self.size) + 1) == -1)
            #expect(errno == EFBIG)
            #expect(truncate(mounted.file, 0) == 0)
            let descriptor = try MountedDisk.open(mounted.file, O_WRONLY | O_TRUNC)
            close(descriptor)
            var status = stat()
            #expect(stat(mounted.file, &status) == 0 && status.st_size == Self.size)
        }
    }

    @Test("the statistics file shows the moment of its open; removing it resets the statistics, and it stays")
    func statistics() throws {
        let statistics = CountingStatistics()
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size), statistics: statistics) { mounted in
            let before = try MountedDisk.open(mounted.statistics, O_RDONLY)
            for count in 1...2 {
                #expect(unlink(mounted.statistics) == 0)
                #expect(statistics.resetCount == count)
            }
            let cat = try MountedDisk.run("cat", mounted.statistics)
            #expect(cat.output == "resets                       2\n")
            var bytes = [UInt8](repeating: 0, count: 100)
            let count = read(before, &bytes, 100)
            #expect(String(decoding: bytes[..<max(count, 0)], as: UTF8.self) == "resets                       0\n")
            close(before)
            #expect(throws: MountedDisk.Failure(call: "open", errno: EACCES)) {
                try MountedDisk.open(mounted.statistics, O_WRONLY)
            }
        }
    }

    @Test("an empty name hides the statistics file from lookup and listing")
    func hiddenStatistics() throws {
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size), statisticsFileName: "") { mounted in
            let listing = try MountedDisk.run("ls", "-1a", mounted.directory)
            #expect(listing.status == 0 && listing.output == ".\n..\nfile\n")
            #expect(access(mounted.statistics, F_OK) == -1)
        }
    }

    @Test("a disk that may only be read refuses to be opened for writing with EROFS")
    func readOnly() throws {
        try MountedDisk.with(MemoryDisk(sizeBytes: Self.size, isReadOnly: true)) { mounted in
            #expect(throws: MountedDisk.Failure(call: "open", errno: EROFS)) { try MountedDisk.open(mounted.file, O_RDWR) }
            let descriptor = try MountedDisk.open(mounted.file, O_RDONLY)
            var bytes = [UInt8](repeating: 1, count: 10)
            #expect(pread(descriptor, &bytes, 10, 0) == 10 && bytes.allSatisfy { $0 == 0 })
            close(descriptor)
        }
    }

    @Test("a failed read is told with its error number, and once in the log")
    func failure() throws {
        let disk = MemoryDisk(sizeBytes: Self.size)
        let log = LogLines()
        try MountedDisk.with(disk, log: log) { mounted in
            disk.state.withLock { $0.readFailure = .forbidden }
            let descriptor = try MountedDisk.open(mounted.file, O_RDONLY | O_DIRECT)
            defer { close(descriptor) }
            let page = try #require(aligned_alloc(4096, 4096))
            defer { free(page) }
            for _ in 0..<3 {
                #expect(pread(descriptor, page, 4096, 0) == -1)
                #expect(errno == EPERM)
            }
        }
        #expect(log.text.split(separator: "\n").count { $0.contains("told to fail") } == 1)
    }

    @Test("while a hundred reads wait for the store, what needs no store is answered")
    func stalledReads() throws {
        let disk = MemoryDisk(sizeBytes: Self.size)
        try MountedDisk.with(disk) { mounted in
            disk.state.withLock { $0.isStalled = true }
            let descriptor = try MountedDisk.open(mounted.file, O_RDONLY | O_DIRECT)
            defer { close(descriptor) }
            let readers = try (0..<100).map { number in try Reader(descriptor: descriptor, offset: number * 4096) }
            MountedDisk.wait { disk.stalledCount >= 100 }
            var status = stat()
            #expect(stat(mounted.statistics, &status) == 0)
            let cat = try MountedDisk.run("cat", mounted.statistics)
            #expect(cat.status == 0)
            disk.release()
            for reader in readers { #expect(reader.wait() == 4096) }
        }
    }

    @Test("umount(8) ends the session")
    func unmountedByOthers() throws {
        let ending = try MountedDisk.with(MemoryDisk(sizeBytes: Self.size)) { mounted in
            try Self.expectSuccess("umount", mounted.directory)
        }
        #expect(ending == .unmounted)
    }

    @Test("a stop while a file is open serves on, says who holds it, and unmounts after the close")
    func stopWhileOpen() throws {
        let log = LogLines()
        let ending = try MountedDisk.with(MemoryDisk(sizeBytes: Self.size), log: log) { mounted in
            let descriptor = try MountedDisk.open(mounted.file, O_RDWR)
            mounted.session.requestStop()
            MountedDisk.wait { log.text.contains("cannot unmount yet") }
            #expect(pwrite(descriptor, [5], 1, 0) == 1)
            close(descriptor)
            MountedDisk.wait { MountTable.entry(at: mounted.directory) == nil }
        }
        #expect(ending == .unmounted)
    }

    @Test("a second stop ends the session at once, although a file is open and a read waits")
    func secondStop() throws {
        let disk = MemoryDisk(sizeBytes: Self.size)
        let ending = try MountedDisk.with(disk) { mounted in
            disk.state.withLock { $0.isStalled = true }
            let descriptor = try MountedDisk.open(mounted.file, O_RDONLY | O_DIRECT)
            let reader = try Reader(descriptor: descriptor, offset: 0)
            MountedDisk.wait { disk.stalledCount >= 1 }
            mounted.session.requestStop()
            mounted.session.requestStop()
            #expect(reader.wait() == -1)
            close(descriptor)
        }
        #expect(ending == .aborted(requestsLeft: 1))
        disk.release()
    }

    @Test("ext4 on a loop device: made, filled, trimmed, checked; a stop waits for the device")
    func loopDevice() throws {
        let log = LogLines()
        let ending = try MountedDisk.with(MemoryDisk(sizeBytes: 64 << 20), limit: 120, log: log) { mounted in
            let setup = try MountedDisk.run("losetup", "--show", "-f", mounted.file)
            #expect(setup.status == 0, "\(setup.output)")
            let device = setup.output.split(separator: "\n").first.map(String.init) ?? ""
            defer { MountedDisk.cleanUp("losetup", "-d", device) }
            let directory = mounted.directory + "-ext4"
            mkdir(directory, 0o700)
            defer {
                umount2(directory, Int32(MNT_DETACH))
                rmdir(directory)
            }
            try Self.expectSuccess("mkfs.ext4", "-q", device)
            try Self.expectSuccess("mount", device, directory)
            try Self.expectSuccess("cp", "-r", "/usr/include/linux", directory)
            try Self.expectSuccess("sync", "-f", directory)
            try Self.expectSuccess("fstrim", directory)
            mounted.session.requestStop()
            MountedDisk.wait { log.text.contains("cannot unmount yet") }
            #expect(log.text.contains(device))
            try Self.expectSuccess("umount", directory)
            try Self.expectSuccess("fsck.ext4", "-fn", device)
            try Self.expectSuccess("mount", "-r", device, directory)
            try Self.expectSuccess("diff", "-r", "/usr/include/linux", directory + "/linux")
            try Self.expectSuccess("umount", directory)
            try Self.expectSuccess("losetup", "-d", device)
            MountedDisk.wait { MountTable.entry(at: mounted.directory) == nil }
        }
        #expect(ending == .unmounted)
    }

    private static func expectSuccess(_ arguments: String...) throws {
        let result = try MountedDisk.run(arguments)
        #expect(result.status == 0, "\(arguments.joined(separator: " ")): \(result.output)")
    }
}

/// A pread(2) of 4 KiB on a thread of its own.
final class Reader: Sendable {
    private let thread: Mutex<JoinableThread?>
    private let outcome: ReadOutcome

    init(descriptor: Int32, offset: Int) throws {
        let outcome = ReadOutcome()
        self.outcome = outcome
        thread = Mutex(
            try JoinableThread(name: "reader") {
                let page = aligned_alloc(4096, 4096)
                outcome.count.store(pread(descriptor, page, 4096, off_t(offset)), ordering: .releasing)
                free(page)
            })
    }

    /// What pread returned.
    func wait() -> Int {
        let thread = thread.withLock { $0.take() }
        thread?.join()
        return outcome.count.load(ordering: .acquiring)
    }
}

/// What a ``Reader`` got.
final class ReadOutcome: Sendable {
    let count = Atomic(Int.min)
}
