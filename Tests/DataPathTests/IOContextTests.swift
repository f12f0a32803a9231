// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Synchronization
import Testing

@Suite("What a request carries") struct IOContextTests {
    private final class Counter: Sendable {
        private let count = Atomic(0)
        var value: Int { count.load(ordering: .relaxed) }
        func add() { count.add(1, ordering: .relaxed) }
    }

    @Test("a context keeps its priority, unless it can be raised and was")
    func priority() {
        #expect(IOContext.foreground.priority == .foreground && IOContext.background.priority == .background)
        let escalation = IOEscalation()
        let context = IOContext(escalation: escalation)
        #expect(context.priority == .background)
        escalation.raise()
        #expect(context.priority == .foreground)
    }

    @Test("whoever asked in time is told once; whoever asks later sees that it is too late")
    func told() throws {
        let escalation = IOEscalation()
        let counter = Counter()
        let staying = escalation.whenRaised { counter.add() }
        let leaving = try #require(escalation.whenRaised { counter.add() })
        #expect(staying != nil)
        escalation.remove(leaving)
        escalation.raise()
        escalation.raise()
        #expect(counter.value == 1)
        let late = escalation.whenRaised { counter.add() }
        #expect(late == nil && counter.value == 1)
    }
}
