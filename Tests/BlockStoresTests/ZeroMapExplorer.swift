// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

@testable import BlockStores

/// One block in the store below, reads, perhaps a survey, two mutations, and the map that watches them.
struct ZeroMapWorld {
    /// What becomes of a mutation.
    enum Fate: CaseIterable {
        case zeroDone, dataDone, zeroDoneButFailed, dataDoneButFailed, dataFailedAndArrivesLate
        var writesZeros: Bool { self == .zeroDone || self == .zeroDoneButFailed }
        var isLate: Bool { self == .dataFailedAndArrivesLate }
        var outcome: ZeroMap.StateMachine.Outcome {
            switch self {
            case .zeroDone: .zero
            case .dataDone: .data
            case .zeroDoneButFailed, .dataDoneButFailed, .dataFailedAndArrivesLate: .failed
            }
        }
    }
    struct Read {
        var step = 0
        var ticket: ZeroMap.StateMachine.ReadTicket?
        var sawZero = false
        /// Whether the block may have become another one since the read began or was last asked. When a read sees the block
        /// matters only in relation to the moments at which mutations happen; only one order of each such kind is tried.
        var maySee = false
    }
    struct Change {
        var step = 0
        var fate = Fate.dataDone
        /// It has begun, and not everything of it is over.
        var isOpen: Bool { step > 0 && step < 3 }
    }

    static let block = BlockNumber(0)
    var map = ZeroMap.StateMachine(blockCount: 1)
    var isZero: Bool
    var reads: [Read]
    var changes = [Change(), Change()]
    /// Begins, is answered with two pages of one block, and ends; each page is asked for, sees the block, and comes back.
    var survey: Read?
    static let surveyEnd = 8

    init(startsAsZero: Bool, readCount: Int, hasSurvey: Bool) {
        isZero = startsAsZero
        reads = Array(repeating: Read(), count: readCount)
        survey = hasSurvey ? Read() : nil
    }

    var isOver: Bool {
        reads.allSatisfy { $0.step == 3 } && changes.allSatisfy { $0.step == 3 }
            && survey?.step ?? Self.surveyEnd == Self.surveyEnd
    }

    /// A read goes down, sees the block, comes back.
    mutating func stepRead(_ index: Int) {
        if reads[index].step != 1 { closeEyes() }
        switch reads[index].step {
        case 0:
            if map.answersRead(of: Self.block) {
                reads[index].step = 3
                return
            }
            reads[index].ticket = map.beginRead(of: Self.block)
            reads[index].maySee = true
        case 1: reads[index].sawZero = isZero
        default:
            if let ticket = reads[index].ticket { map.endRead(of: Self.block, ticket, foundZero: reads[index].sawZero) }
        }
        reads[index].step += 1
    }

    /// Whether the survey's next step is to see the block.
    var isSurveyLooking: Bool { survey?.step == 2 || survey?.step == 5 }

    /// The survey begins; a page is asked for, sees the block, comes back; so does the next; the survey ends.
    mutating func stepSurvey() {
        guard var survey else { return }
        if !isSurveyLooking { closeEyes() }
        switch survey.step {
        case 0: map.beginSurvey()
        case 1, 4: survey.maySee = true
        case 2, 5: survey.sawZero = isZero
        case 3, 6:
            let present = survey.sawZero ? [] : [SurveyPage.Block(Self.block, .unknown)]
            map.learn(SurveyPage(covered: Self.block..<Self.block.advanced(by: 1), present: present, unclear: []))
        default: map.endSurvey()
        }
        survey.step += 1
        self.survey = survey
    }

    /// A mutation goes down, happens, comes back; a late one comes back first.
    mutating func stepChange(_ index: Int) {
        let fate = changes[index].fate
        let happens = changes[index].step == (fate.isLate ? 2 : 1)
        closeEyes()
        if happens {
            for read in reads.indices { reads[read].maySee = reads[read].step == 1 }
            let isLooking = isSurveyLooking
            survey?.maySee = isLooking
        }
        switch changes[index].step {
        case 0:
            if !map.beginWrite(to: Self.block, writesZeros: fate.writesZeros) {
                changes[index].step = 3
                return
            }
        case 1:
            if fate.isLate { map.endWrite(to: Self.block, .failed) } else { isZero = fate.writesZeros }
        default:
            if fate.isLate { isZero = false } else { map.endWrite(to: Self.block, fate.outcome) }
        }
        changes[index].step += 1
    }

    private mutating func closeEyes() {
        for read in reads.indices { reads[read].maySee = false }
        survey?.maySee = false
    }

    /// What is wrong, if the map calls the block zero and it is not, or may cease to be.
    var violation: String? {
        guard map.isZero(Self.block) else { return nil }
        if !isZero { return "a block that holds data is called zero" }
        if changes.contains(where: \.isOpen) { return "a block that is being changed is called zero" }
        return nil
    }
}

/// Tries all orders of the steps of a ``ZeroMapWorld``, and all fates of its mutations.
struct ZeroMapExplorer {
    /// Whether the second mutation waits for the end of the first, as it does below the one lock.
    let isSerial: Bool
    private(set) var violation: String?
    private(set) var endCount = 0
    private(set) var endsKnownZeroCount = 0

    init(isSerial: Bool) { self.isSerial = isSerial }

    mutating func explore(_ world: ZeroMapWorld) {
        guard violation == nil else { return }
        violation = world.violation
        if world.isOver {
            endCount += 1
            if world.map.isZero(ZeroMapWorld.block) { endsKnownZeroCount += 1 }
            if !world.map.isIdle { violation = "something is left behind" }
            return
        }
        // The reads are alike: the second begins after the first.
        for index in world.reads.indices where mayStepRead(world, index) {
            var after = world
            after.stepRead(index)
            explore(after)
        }
        if let survey = world.survey, survey.step < ZeroMapWorld.surveyEnd, !world.isSurveyLooking || survey.maySee {
            var after = world
            after.stepSurvey()
            explore(after)
        }
        for index in 0..<2 where world.changes[index].step < 3 && mayStep(world, index) {
            if world.changes[index].step > 0 {
                var after = world
                after.stepChange(index)
                explore(after)
                continue
            }
            // Without the lock a late arrival could undo the other mutation, which nobody above could know.
            for fate in ZeroMapWorld.Fate.allCases where isSerial || !fate.isLate {
                var after = world
                after.changes[index].fate = fate
                after.stepChange(index)
                explore(after)
            }
        }
    }

    private func mayStepRead(_ world: ZeroMapWorld, _ index: Int) -> Bool {
        switch world.reads[index].step {
        case 0: index == 0 || world.reads[0].step > 0
        case 1: world.reads[index].maySee
        case 2: true
        default: false
        }
    }

    private func mayStep(_ world: ZeroMapWorld, _ index: Int) -> Bool {
        guard index == 1 else { return true }
        guard isSerial else { return world.changes[0].step > 0 }
        // A late arrival comes before the next mutation happens: the volume below sees to that.
        let first = world.changes[0]
        return first.step == 3 || first.fate.isLate && first.step == 2 && world.changes[1].step == 0
    }
}
