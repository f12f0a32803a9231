// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

@Suite("The guard for eventually consistent stores, on the command line")
struct ConsistencySettingsTests {
    @Test("it is off without a size, and always where nothing is written")
    func off() throws {
        #expect(try settings("b", "/m", "--md5CacheSize=0", "--md5CacheTime=0", "--minWriteDelay=0").consistency == nil)
        #expect(try settings("b", "/m", "--readOnly", "--md5CacheSize=10", "--md5CacheTime=5000").consistency == nil)
        #expect(try settings("b", "/m", "-o", "ro", "--minWriteDelay=5").consistency == nil)
    }

    @Test("times are milliseconds, and no time is for ever")
    func values() throws {
        let full = try #require(
            try settings("b", "/m", "--md5CacheSize=10", "--md5CacheTime=5000", "--minWriteDelay=500").consistency)
        #expect(full.blocksMax == 10 && full.keptFor == .seconds(5) && full.minWriteDelay == .milliseconds(500))
        let plain = try #require(try settings("b", "/m", "-o", "md5CacheSize=7").consistency)
        #expect(plain.blocksMax == 7 && plain.keptFor == nil && plain.minWriteDelay == .zero)
    }

    @Test(
        "what contradicts itself is refused in one line",
        arguments: [
            (["--md5CacheTime=5"], "cannot use \"--md5CacheTime=5\": nothing is remembered; add \"--md5CacheSize\""),
            (["--minWriteDelay=5"], "cannot use \"--minWriteDelay=5\": nothing is remembered; add \"--md5CacheSize\""),
            (
                ["--md5CacheSize=9", "--md5CacheTime=4", "--minWriteDelay=5"],
                "cannot use \"--md5CacheTime=4\": it is shorter than \"--minWriteDelay=5\", so a block would be forgotten "
                    + "before it may be written again; make it longer"
            ),
        ])
    func refusals(arguments: [String], expected: String) {
        #expect(failure(["b", "/m"] + arguments) == expected)
    }
}
