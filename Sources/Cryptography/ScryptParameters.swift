// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a derivation by scrypt costs, whoever makes it.
///
/// - Source: RFC 7914 section 2.
public struct ScryptParameters: Hashable, Sendable {
    /// The binary logarithm of N, the cost in time and memory.
    public var costLog2: Int
    /// The parameter r; a block is 128 * r bytes.
    public var blockSize: Int
    /// The parameter p: how often all of it is done.
    public var parallelism: Int

    /// Makes parameters; whether scrypt allows them is found out when they are used.
    public init(costLog2: Int, blockSize: Int, parallelism: Int) {
        self.costLog2 = costLog2
        self.blockSize = blockSize
        self.parallelism = parallelism
    }

    /// The bytes of memory that a derivation takes: 128 * r * (N + p + 2); nil if the parameters cannot be meant or the number
    /// does not fit.
    public var memoryCount: Int? {
        guard (1...62).contains(costLog2), blockSize >= 1, parallelism >= 1 else { return nil }
        let (block, isTooLongBlock) = blockSize.multipliedReportingOverflow(by: 128)
        let (blocks, isTooMany) = (1 << costLog2 + 2).addingReportingOverflow(parallelism)
        let (bytes, isTooMuch) = block.multipliedReportingOverflow(by: blocks)
        return isTooLongBlock || isTooMany || isTooMuch ? nil : bytes
    }
}
