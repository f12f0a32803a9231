// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import S3

@Suite("Transfer progress")
struct TransferProgressTests {
    private let start = Duration.seconds(1000)

    private func watch(timeout: Int = 30, stall: Int = 20) -> TransferProgress {
        TransferProgress(start: start, timeout: .seconds(timeout), stallTimeout: .seconds(stall))
    }

    @Test("an attempt whose bytes move is never ended, however old it is")
    func moving() {
        var progress = watch()
        for second in 1...10_000 where second % 9 == 0 {
            #expect(progress.observe(mark: UInt64(second), queued: 0, now: start + .seconds(second)) == nil)
        }
    }

    @Test("bytes that leave the kernel's queue count as moving")
    func queue() {
        var progress = watch()
        for second in 1...1000 {
            let isEnded = progress.observe(mark: 7, queued: 1_000_000 - second, now: start + .seconds(second)) != nil
            #expect(!isEnded)
        }
        #expect(progress.observe(mark: 7, queued: 999_000, now: start + .seconds(1009)) == nil)
        #expect(progress.observe(mark: 7, queued: 999_000, now: start + .seconds(1010)) == .seconds(10))
    }

    @Test("a young attempt is ended when nothing moved for the stall limit, an old one sooner")
    func silent() {
        var young = watch()
        #expect(young.observe(mark: 0, queued: 0, now: start + .seconds(19)) == nil)
        #expect(young.observe(mark: 0, queued: 0, now: start + .seconds(20)) == .seconds(20))
        var old = watch()
        #expect(old.observe(mark: 1, queued: 0, now: start + .seconds(25)) == nil)
        #expect(old.observe(mark: 1, queued: 0, now: start + .seconds(34)) == nil)
        #expect(old.observe(mark: 1, queued: 0, now: start + .seconds(35)) == .seconds(10))
    }

    @Test("with equal limits a silent attempt ends exactly at the timeout")
    func equal() {
        var progress = watch(timeout: 30, stall: 30)
        #expect(progress.observe(mark: 0, queued: 0, now: start + .milliseconds(29_999)) == nil)
        #expect(progress.observe(mark: 0, queued: 0, now: start + .seconds(30)) == .seconds(30))
    }

    @Test("secrets are masked in every spelling that curl logs")
    func mask() {
        for line in [
            "Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=hush", "authorization: AWS id:hush",
            "X-Amz-Security-Token: hush", "h2h3 [authorization: hush]", "x-aws-ec2-metadata-token: x, x-amz-security-token:hush",
            "Proxy-Authorization: Basic hush",
        ] {
            let masked = SecretMask.mask(line[...])
            #expect(!masked.contains("hush") && masked.hasSuffix("(not shown)"))
        }
        #expect(SecretMask.mask("Host: b") == "Host: b")
    }
}
