// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import BlockStores

@Suite("The forecast of commits") struct CommitForecastTests {
    /// Writes so often, and then commits.
    ///
    /// - Returns: After which writes a commit was expected, from 1.
    private func run(_ forecast: inout CommitForecast, _ writeCount: Int) -> [Int] {
        defer { forecast.noteCommit() }
        return (0..<writeCount).filter { _ in forecast.noteWrite() }.map { $0 + 1 }
    }

    @Test("after two equal runs the next is expected to be as long", arguments: [1, 2, 16])
    func regular(length: Int) {
        var forecast = CommitForecast()
        #expect(run(&forecast, length).isEmpty)
        #expect(run(&forecast, length).isEmpty)
        for _ in 0..<3 { #expect(run(&forecast, length) == [length]) }
    }

    @Test("a run of another length ends the expectation, until two are equal again")
    func change() {
        var forecast = CommitForecast()
        for _ in 0..<3 { _ = run(&forecast, 2) }
        #expect(run(&forecast, 3) == [2], "it could not be known")
        #expect(run(&forecast, 3).isEmpty)
        #expect(run(&forecast, 3) == [3])
        #expect(run(&forecast, 1).isEmpty)
    }

    @Test("a commit without writes changes nothing, and long runs are not expected")
    func limits() {
        var forecast = CommitForecast()
        for _ in 0..<2 {
            #expect(run(&forecast, 1).isEmpty)
            #expect(run(&forecast, 0).isEmpty)
        }
        #expect(run(&forecast, 1) == [1])
        for _ in 0..<4 { #expect(run(&forecast, 17) != [17]) }
    }
}
