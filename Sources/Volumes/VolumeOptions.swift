// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How a volume is opened.
public struct VolumeOptions: Sendable {
    /// What messages call the volume: `bucket "b/vm1"`.
    public var description: String
    /// How its objects are named.
    public var keys: BlockKeyScheme
    /// What is done to blocks between memory and store.
    public var codec: CodecOptions
    /// The sizes that the user gave.
    public var sizes: ConfiguredSizes
    /// Whether block 0 is asked for the sizes at the start; false is `--noAutoDetect`, and holds if both sizes are given.
    public var detectsSizes: Bool
    /// Whether the volume is only read: its token is looked at, and not taken.
    public var isReadOnly: Bool
    /// Whether other sizes and a foreign mount token are overridden: `--force`.
    public var isForced: Bool
    /// Whether there is a mount token at all; false where nobody else can have the volume.
    public var usesMountToken: Bool
    /// Whether requests are unsigned.
    public var isAnonymous: Bool
    /// What the mount token names as its holder.
    public var hostName: String
    /// What is remembered about attempts without an answer.
    public var limits: SettlementLimits

    /// Makes options; every one is said at the call.
    public init(
        description: String, keys: BlockKeyScheme, codec: CodecOptions, sizes: ConfiguredSizes, detectsSizes: Bool,
        isReadOnly: Bool,
        isForced: Bool, usesMountToken: Bool, isAnonymous: Bool, hostName: String, limits: SettlementLimits
    ) {
        self.description = description
        self.keys = keys
        self.codec = codec
        self.sizes = sizes
        self.detectsSizes = detectsSizes
        self.isReadOnly = isReadOnly
        self.isForced = isForced
        self.usesMountToken = usesMountToken
        self.isAnonymous = isAnonymous
        self.hostName = hostName
        self.limits = limits
    }
}
