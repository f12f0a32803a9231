// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What is known of a store's ETags: whether those that look like MD5s are MD5s. No I/O, no hashing.
///
///                    a put or a get matches    a put differs       a get differs
///     undecided      all are MD5s              others, too         wrong; the same object with the same bytes
///                                                                  and tag once more: others, too
///     all are MD5s   stays so                  see below           wrong
///     others, too    stays so                  stays so            accepted
///
/// After a get that differs, "all are MD5s" is put to the test again by the next puts, of whatever size: a store may give large
/// objects other tags than the small one that decided, and then good data must not stay unreadable. Where one differs: others, too.
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

    /// How many puts are looked at after a get that differs from what is known.
    static let retrialPutsMax = 16

    private(set) var verdict = Verdict.undecided
    /// How many more puts are looked at although the verdict is known.
    private var retrialPuts = 0
    private var suspects: [Suspect] = []

    /// Begins without evidence.
    init() {}

    /// Whether the next put can tell anything new.
    ///
    /// - Parameter isSmall: Whether looking at it costs next to nothing.
    func asksForPut(isSmall: Bool) -> Bool { verdict == .undecided ? isSmall : retrialPuts > 0 }

    /// Takes note of a put.
    ///
    /// - Parameter isDigest: Whether the tag in its answer is the MD5 of the bytes.
    /// - Returns: Whether this has shown that there are other tags, too.
    mutating func notePut(isDigest: Bool) -> Bool {
        switch verdict {
        case .undecided: return decide(isDigest ? .allDigests : .othersToo)
        case .allDigests where retrialPuts > 0:
            retrialPuts -= 1
            return isDigest ? false : decide(.othersToo)
        case .allDigests, .othersToo: return false
        }
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
        case .allDigests:
            retrialPuts = Self.retrialPutsMax
            return (.wrong, false)
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
        retrialPuts = 0
        return verdict == .othersToo
    }
}
