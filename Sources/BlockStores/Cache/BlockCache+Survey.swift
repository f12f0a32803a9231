// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Synchronization

/// What a survey of the volume's objects tells of blocks that an earlier run left: a page has as many versions as a thousand
/// requests that ask for one.
///
/// A restored block that was not compared yet has not been sent to the store by this run, so what a page shows of it, at whatever
/// moment since the survey began, still holds.
extension BlockCache: SurveyListener {
    /// Nothing needs to be remembered; see ``SurveyListener/surveyBegan()``.
    public func surveyBegan() {}

    /// Compares the versions that the page shows with those recorded; see ``SurveyListener/surveyAnswered(_:)``.
    ///
    /// Blocks that have changed, or are not shown, are compared at their first use, which brings the new bytes along.
    public func surveyAnswered(_ page: SurveyPage) {
        let unclear = Set(page.unclear)
        for block in page.present where block.version != .unknown && !unclear.contains(block.number) {
            guard let slot = state.withLock({ $0.machine.slotToVerify(block.number) }) else { continue }
            guard storage.version(of: block.number, in: slot) == block.version else { continue }
            state.withLock { $0.machine.confirm(block.number) }
        }
    }

    /// Nothing was remembered; see ``SurveyListener/surveyEnded()``.
    public func surveyEnded() {}
}
