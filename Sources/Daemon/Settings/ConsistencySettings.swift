// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What is remembered of written blocks, against a store that may answer with old versions.
struct ConsistencySettings: Equatable, Sendable {
    /// How many blocks are remembered; at least one.
    let blocksMax: Int
    /// How long a block is; nil is for ever.
    let keptFor: Duration?
    /// The least time between two writes of one block.
    let minWriteDelay: Duration

    /// Checks what the options say; nil when nothing is remembered, as always where nothing is written.
    ///
    /// - Throws: When a time is given without a size, or the times contradict each other.
    init?(_ options: ParsedOptions, isReadOnly: Bool) throws(UserError) {
        let size = options.md5CacheSize?.value ?? 0
        let time = options.md5CacheTime?.value ?? 0
        let delay = options.minWriteDelay?.value ?? 0
        guard !isReadOnly else { return nil }
        for (option, value) in [(OptionDescription.md5CacheTime, time), (.minWriteDelay, delay)] where size == 0 && value != 0 {
            throw UserError("cannot use \"--\(option.name)=\(value)\": nothing is remembered; add \"--md5CacheSize\"")
        }
        guard time == 0 || time >= delay else {
            throw UserError(
                "cannot use \"--md5CacheTime=\(time)\": it is shorter than \"--minWriteDelay=\(delay)\", so a block would be "
                    + "forgotten before it may be written again; make it longer")
        }
        guard size > 0 else { return nil }
        blocksMax = size
        keptFor = time == 0 ? nil : .milliseconds(time)
        minWriteDelay = .milliseconds(delay)
    }
}
