// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

@Suite("Waiting for the last writes")
struct WriteBackWatchTests {
    private func watch(wasSignalled: Bool = false) -> WriteBackWatch {
        WriteBackWatch(wasSignalled: wasSignalled, now: .seconds(100))
    }

    @Test("what is only in memory is waited for without end, and the log says so now and then")
    func memory() {
        var watch = watch()
        var told = 0
        for second in 0..<86_400 {
            let action = watch.look(count: 5, outlivesProcess: false, now: .seconds(100 + second))
            #expect(action != .end)
            if action == .tell { told += 1 }
        }
        #expect((2800...2880).contains(told))
    }

    @Test("what is in a file is waited for as long as it gets less, and then left there")
    func file() {
        var watch = watch()
        var now = Duration.seconds(100)
        for count in stride(from: 50, to: 1, by: -1) {
            now += .seconds(110)
            #expect(watch.look(count: count, outlivesProcess: true, now: now) != .end)
        }
        #expect(watch.look(count: 2, outlivesProcess: true, now: now + .seconds(119)) != .end)
        #expect(watch.look(count: 3, outlivesProcess: true, now: now + .seconds(120)) == .end)
    }

    @Test("a file that is trusted no more is like memory from then on")
    func trustLost() {
        var watch = watch()
        #expect(watch.look(count: 5, outlivesProcess: true, now: .seconds(101)) == .wait)
        for second in 102..<1000 {
            #expect(watch.look(count: 5, outlivesProcess: false, now: .seconds(second)) != .end)
        }
    }

    @Test("nothing left is not waited for by this watch", arguments: [false, true])
    func nothingLeft(outlivesProcess: Bool) {
        var watch = watch()
        #expect(watch.look(count: 0, outlivesProcess: outlivesProcess, now: .seconds(9999)) == .wait)
        #expect(watch.signal(count: 0, now: .seconds(9999)) == .end)
    }

    @Test("the first signal is answered with what the second would do; one that ended the mount is the first")
    func signals() {
        var first = watch()
        #expect(first.signal(count: 7, now: .seconds(101)) == .tell)
        #expect(first.look(count: 7, outlivesProcess: false, now: .seconds(120)) == .wait)
        #expect(first.signal(count: 7, now: .seconds(121)) == .end)
        var second = watch(wasSignalled: true)
        #expect(second.signal(count: 7, now: .seconds(101)) == .end)
    }

    @Test("blocks are called lost only if no cache file has anything of them; after a failed disk the next mount has to be told")
    func words() {
        for isFenced in [false, true] {
            #expect(UnsavedFate.lost.lineAtEnd(isFenced: isFenced).contains("lost"))
            #expect(!UnsavedFate.kept.lineAtEnd(isFenced: isFenced).contains("lost"))
            #expect(!UnsavedFate.doubtful.lineAtEnd(isFenced: isFenced).contains("lost"))
            #expect(UnsavedFate.doubtful.lineAtEnd(isFenced: isFenced).contains("--recoverDirty"))
        }
        #expect(UnsavedFate.kept.lineAtEnd(isFenced: true).contains("--recoverDirty"))
        #expect(!UnsavedFate.kept.lineAtEnd(isFenced: false).contains("--recoverDirty"))
        #expect(UnsavedFate.lost.lineWhileTrying.contains("loses them"))
        #expect(!UnsavedFate.doubtful.lineWhileTrying.contains("loses them"))
    }
}
