// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import Logging
import Testing

@testable import Daemon

@Suite("Log lines")
struct LogTests {
    @Test("a line is date, time, level and text")
    func form() {
        var time = tm()
        time.tm_year = 126
        time.tm_mon = 0
        time.tm_mday = 9
        time.tm_hour = 3
        time.tm_min = 4
        time.tm_sec = 59
        #expect(LogLine.line(at: time, .notice, "mounting /mnt") == "2026-01-09 03:04:59 NOTICE: mounting /mnt\n")
    }

    @Test(
        "each level has its word",
        arguments: [
            (Logger.Level.trace, "DEBUG"), (.debug, "DEBUG"), (.info, "INFO"), (.notice, "NOTICE"), (.warning, "WARNING"),
            (.error, "ERROR"), (.critical, "ERROR"),
        ])
    func words(level: Logger.Level, word: String) {
        #expect(LogLine.word(for: level) == word)
    }

    @Test("metadata follows the text in the order of names, and a line stays one line")
    func metadata() {
        #expect(LogLine.text("cannot read", ["status": "500", "key": "a\nb"]) == "cannot read key=a b status=500")
    }
}
