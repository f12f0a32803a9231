// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import FUSE

@Suite("The end of a session")
struct StopStateMachineTests {
    @Test("a stop flushes first and unmounts after")
    func order() {
        var machine = StopStateMachine()
        #expect(machine.nextStep(now: .zero) == nil)
        #expect(machine.stopRequested() == .begin)
        #expect(machine.nextStep(now: .zero) == .flush)
        #expect(machine.nextStep(now: .zero) == nil)
        machine.flushed()
        #expect(machine.nextStep(now: .zero) == .unmount)
        #expect(machine.unmountTried(isBusy: false, now: .zero) == false)
        #expect(machine.nextStep(now: .zero) == nil)
        machine.ended()
        #expect(machine.nextStep(now: .zero) == .finish)
        #expect(!machine.isAborted)
    }

    @Test("a busy mount is reported once, tried again after growing pauses, and soon after the last close")
    func busy() {
        var machine = StopStateMachine()
        _ = machine.stopRequested()
        _ = machine.nextStep(now: .zero)
        machine.flushed()
        _ = machine.nextStep(now: .zero)
        #expect(machine.unmountTried(isBusy: true, now: .zero) == true)
        var now = Duration.zero
        var pause = Duration.zero
        for _ in 0..<20 {
            guard let deadline = machine.deadline else {
                Issue.record("a busy mount is tried again")
                return
            }
            #expect(machine.nextStep(now: now) == nil)
            pause = deadline - now
            now = deadline
            #expect(machine.nextStep(now: now) == .unmount)
            #expect(machine.unmountTried(isBusy: true, now: now) == false)
        }
        #expect(pause == StopStateMachine.longestPause)
        machine.lastClose(now: now)
        #expect(machine.deadline == now + StopStateMachine.shortestPause)
    }

    @Test("a second stop aborts, whatever the first one is waiting for, and a third does nothing")
    func second() {
        for steps in 0..<4 {
            var machine = StopStateMachine()
            _ = machine.stopRequested()
            if steps > 0 { _ = machine.nextStep(now: .zero) }
            if steps > 1 { machine.flushed() }
            if steps > 2 {
                _ = machine.nextStep(now: .zero)
                _ = machine.unmountTried(isBusy: true, now: .zero)
            }
            #expect(machine.stopRequested() == .abort)
            #expect(machine.stopRequested() == .ignore)
            machine.flushed()
            #expect(machine.nextStep(now: .seconds(99)) == nil)
            machine.ended()
            #expect(machine.nextStep(now: .zero) == .finish)
            #expect(machine.isAborted)
        }
    }

    @Test("a second stop while the unmount is succeeding aborts nothing", arguments: [false, true])
    func secondStopDuringUnmount(endsFirst: Bool) {
        var machine = StopStateMachine()
        #expect(machine.stopRequested() == .begin)
        #expect(machine.nextStep(now: .zero) == .flush)
        machine.flushed()
        #expect(machine.nextStep(now: .zero) == .unmount)
        #expect(machine.stopRequested() == .abort)
        if endsFirst { machine.ended() }
        let isReported = machine.unmountTried(isBusy: false, now: .zero)
        #expect(!isReported)
        machine.ended()
        #expect(machine.nextStep(now: .zero) == .finish)
        #expect(!machine.isAborted)
    }

    @Test("a stop after the end does nothing")
    func late() {
        var machine = StopStateMachine()
        machine.ended()
        #expect(machine.stopRequested() == .ignore)
    }
}

@Suite("The mount table")
struct MountTableTests {
    @Test("a line gives device, directory and type, with optional fields or without")
    func lines() throws {
        let entry = try #require(
            MountTableEntry(line: #"36 35 0:52 / /mnt/a\040b rw,nosuid shared:1 - fuse.s3backer http://x/ rw"#))
        #expect(entry.deviceMinor == 52 && entry.mountPoint == "/mnt/a b" && entry.type == "fuse.s3backer")
        let plain = try #require(MountTableEntry(line: "36 35 8:1 / / rw - ext4 /dev/sda1 rw"))
        #expect(plain.mountPoint == "/" && plain.type == "ext4")
    }

    @Test("a line of another form is none", arguments: ["", "1 2 3", "36 35 x / /mnt rw - ext4", "36 35 0:5 / /mnt rw a b c -"])
    func malformed(line: String) {
        #expect(MountTableEntry(line: line) == nil)
    }

    @Test("a mounted directory is found, and one that is not mounted is not")
    func lookup() {
        // Not the root directory: below chroot(8) it need not be a mount point, and the kernel leaves it out then.
        #expect(MountTable.entry(at: "/proc")?.type == "proc")
        #expect(MountTable.entry(at: "/proc/self") == nil)
    }
}
