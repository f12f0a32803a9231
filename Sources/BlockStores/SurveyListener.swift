// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What one page of a survey tells about the blocks of a volume.
public struct SurveyPage: Sendable {
    /// A block that has an object.
    public struct Block: Hashable, Sendable {
        /// Which block.
        public let number: BlockNumber
        /// The version that a read of the block would have given; `.unknown` where the list does not tell.
        public let version: BlockVersion

        /// Describes a block.
        public init(_ number: BlockNumber, _ version: BlockVersion) {
            self.number = number
            self.version = version
        }
    }

    /// Blocks about which the survey has told everything with this page: one of them that no page of this survey has named, as
    /// present or as unclear, has no object. Empty as long as that cannot be said.
    public var covered: BlockRange
    /// The blocks with an object that this page shows; they need not lie in ``covered``.
    public var present: [Block]
    /// Blocks about which this survey must not be believed, wherever they lie.
    public var unclear: [BlockNumber]

    /// Makes a page.
    public init(covered: BlockRange, present: [Block], unclear: [BlockNumber]) {
        self.covered = covered
        self.present = present
        self.unclear = unclear
    }
}

/// Whoever learns from a survey of a volume's objects.
///
///     surveyBegan()  ->  surveyAnswered(page) ...  ->  surveyEnded()
///
/// Every request of a survey is sent after ``surveyBegan()`` returned, so a page shows each block as it was at some moment since.
/// Therefore a page says something about a block only if no mutation of the block was under way at any moment since the beginning;
/// listeners see the mutations that pass through them, and leave these blocks out. Nothing is lost by that: what has become
/// of a block that was changed meanwhile, the change itself has told.
///
/// - Concurrency: one call after the other, from the survey's task. They must not take long; mutations run beside them.
/// - Source: Docs/Architecture.md "The survey".
public protocol SurveyListener: Sendable {
    /// A survey begins; no request of it has been sent.
    func surveyBegan()
    /// A page was answered.
    func surveyAnswered(_ page: SurveyPage)
    /// The survey is over, whole or not; no page follows.
    func surveyEnded()
}
