// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What an earlier run left on this machine that says the volume is still its own: the mount token in its cache file, and data
/// that the store does not have.
///
/// A token in the store that is equal to ``token`` was left by a run that crashed, and which nobody else can be: whoever makes a
/// claim holds the lock on the file. The volume is taken over with the same token, so that the data stays tied to it; nobody has
/// written in between, since everybody else was refused. Any other token, or none, says that somebody may have: then unsaved data
/// keeps the mount from starting, unless the user has decided.
///
/// **Order.** ``record`` makes the next token durable in the file *before* it is written to the store. Wherever a crash comes
/// in between, the next start sees one of these:
///
///     file      store            unsaved   what the next start does
///     t         t                any       takes over with t: it was our own crash
///     new       none, other      none      the usual rules; a token that never came to the store is harmless
///     new       none, other      some      refuses again, as it did before the user decided (apply), who decides again
///     t         none             none      mounts: the crash came between the return of the token and the end of the process
///
/// The other order would leave `old` in the file and `new` in the store: our own token, taken for a foreign one.
///
/// - Source: Docs/Semantics.md "The cache file"; Docs/Formats/Direct.md "Mount token".
public struct MountClaim: Sendable {
    /// Where it was found, as messages say it: `cache file "/var/cache/vm1"`.
    public var place: String
    /// The token of the run that left it; nil when none was recorded.
    public var token: MountToken?
    /// How many blocks it holds that the store does not have, blocks to be zeroed included.
    public var unsavedBlockCount: Int
    /// Whether they may be older than what was flushed, since the local disk has failed: then they are never written unasked.
    public var isDoubtful: Bool

    /// What the user wants done with them.
    public enum Decision: Sendable {
        /// Nothing was said: where it is not certain that they belong to the volume, it is not mounted.
        case undecided
        /// They are written, whoever has used the volume since: `--recoverDirty=apply`.
        case apply
        /// ``MountClaim/record`` sets them aside: `--recoverDirty=discard`.
        case discard
    }

    /// See ``Decision``.
    public var decision: Decision
    /// Makes a token durable beside the data; before that, sets the data aside if that was decided.
    ///
    /// - Throws: When that failed; nothing has been sent to the store then.
    public var record: @Sendable (MountToken) throws(VolumeError) -> Void

    /// Makes a claim.
    public init(
        place: String, token: MountToken?, unsavedBlockCount: Int, isDoubtful: Bool, decision: Decision,
        record: @escaping @Sendable (MountToken) throws(VolumeError) -> Void
    ) {
        self.place = place
        self.token = token
        self.unsavedBlockCount = unsavedBlockCount
        self.isDoubtful = isDoubtful
        self.decision = decision
        self.record = record
    }

    /// Whether `record` was left by the run that made the claim.
    ///
    /// An object without a readable number is nobody's.
    func isOf(_ record: MountTokenRecord?) -> Bool {
        guard let token, token != .unnumbered, token != .sharedDisk else { return false }
        return record?.token == token
    }

    /// How many blocks there are, in words: `1 block`, `12 blocks`.
    var unsavedBlocks: String { unsavedBlockCount == 1 ? "1 block" : "\(unsavedBlockCount) blocks" }
}
