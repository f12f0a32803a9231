// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What is known of a store's ETags: whether those that look like MD5s are MD5s. No I/O, no hashing.
///
///                    a put or a get matches    a put differs       a get differs
///     undecided      all are MD5s              others, too         wrong; the same object with the same bytes
///                                                                  and tag once more: others, too
///     all are MD5s   stays so                  stays so            wrong
///     others, too    stays so                  stays so            accepted
///
/// A put is the better witness: its bytes are ours, so they cannot be damaged. A damaged object on a store of which nothing is known
/// yet, read twice with the same damage, cannot be told from a store with other tags. The mount token's put, usually the first
/// request of a mount, decides before it comes to that.
struct DigestEvidenceStateMachine {
    /// What the store's ETags are.
    enum Verdict: Hashable {
        /// Nothing has shown it yet.
        case undecided
        /// Each that looks like an MD5 is one.
        case allDigests
        /// Some look like MD5s and are none.
        case othersToo
    }

    /// What a body is.
    enum Judgement: Hashable {
        /// To be accepted.
        case good
        /// Not what was stored.
        case wrong
    }

    /// A body and its tag that did not fit.
    private struct Suspect {
        let key: ObjectKey
        let digest: String
        let tag: String
    }

    /// How many suspects are remembered; with more, the oldest is forgotten.
    static let suspectsMax = 64

    private(set) var verdict = Verdict.undecided
    private var suspects: [Suspect] = []

    /// Begins without evidence.
    init() {}

    /// Takes note of a put.
    ///
    /// - Parameter isDigest: Whether the tag in its answer is the MD5 of the bytes.
    /// - Returns: Whether this has shown that there are other tags, too.
    mutating func notePut(isDigest: Bool) -> Bool {
        guard verdict == .undecided else { return false }
        return decide(isDigest ? .allDigests : .othersToo)
    }

    /// Takes note of a whole body that was read, and judges it.
    ///
    /// - Parameters:
    ///   - digest: The body's MD5.
    ///   - tag: The tag that came with it; looks like an MD5.
    /// - Returns: The judgement, and whether this has shown that there are other tags, too.
    mutating func noteGet(_ key: ObjectKey, digest: String, tag: String) -> (judgement: Judgement, isNew: Bool) {
        if digest == tag {
            if verdict == .undecided { _ = decide(.allDigests) }
            return (.good, false)
        }
        switch verdict {
        case .allDigests: return (.wrong, false)
        case .othersToo: return (.good, false)
        case .undecided:
            let isRepeated = suspects.contains { $0.key == key && $0.digest == digest && $0.tag == tag }
            if isRepeated { return (.good, decide(.othersToo)) }
            suspects.removeAll { $0.key == key }
            if suspects.count == Self.suspectsMax { suspects.removeFirst() }
            suspects.append(Suspect(key: key, digest: digest, tag: tag))
            return (.wrong, false)
        }
    }

    private mutating func decide(_ verdict: Verdict) -> Bool {
        self.verdict = verdict
        suspects = []
        return verdict == .othersToo
    }
}
