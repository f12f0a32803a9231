// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

@Suite("The survey, on the command line")
struct SurveySettingsTests {
    @Test("there is none unless it is asked for, and then with 16 requests at once, or as many as one says")
    func values() throws {
        #expect(try settings("b", "/m").survey == nil)
        #expect(try settings("b", "/m", "--listBlocks").survey?.requestsMax == 16)
        #expect(try settings("b", "/m", "-o", "listBlocks,listBlocksThreads=3").survey?.requestsMax == 3)
        #expect(try settings("b", "/m", "--readOnly", "--listBlocks").survey != nil)
    }

    @Test("no request at once is refused, and a number without a survey is warned of")
    func contradictions() throws {
        #expect(
            failure(["b", "/m", "--listBlocks", "--listBlocksThreads=0"])
                == "cannot use \"--listBlocksThreads=0\": a survey needs at least one; give 1 or more")
        let idle = try settings("b", "/m", "--listBlocksThreads=3")
        #expect(idle.survey == nil)
        #expect(idle.warnings.contains("warning: \"--listBlocksThreads\" has no effect without \"--listBlocks\""))
    }
}
