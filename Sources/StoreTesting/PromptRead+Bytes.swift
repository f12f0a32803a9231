// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import BlockStores

extension Disk {
    /// What the disk answers at once of `range`, lent or not.
    ///
    /// - Returns: Nil when somebody has to wait.
    /// - Throws: ``BlockContractViolation`` when what is said and what is lent do not fit.
    public func promptBytes(_ range: Range<UInt64>) throws(BlockContractViolation) -> [UInt8]? {
        var lent: [[UInt8]] = []
        let answer = readNow(range) { span in lent.append(span.withUnsafeBytes { Array($0) }) }
        return try fitting(answer, lent, count: range.count) { $0.bytes }
    }
}

extension PartialBlockStore {
    /// What the store answers at once of the bytes `range` of `block`; as ``Disk/promptBytes(_:)``.
    public func promptBytes(_ range: Range<Int>, of block: BlockNumber) throws(BlockContractViolation) -> [UInt8]? {
        var lent: [[UInt8]] = []
        let answer = readNow(range, of: block) { span in lent.append(span.withUnsafeBytes { Array($0) }) }
        return try fitting(answer, lent, count: range.count) { $0.allBytes(count: range.count) }
    }
}

private func fitting<Bytes>(
    _ answer: PromptRead<Bytes>, _ lent: [[UInt8]], count: Int, _ bytes: (Bytes) -> [UInt8]
) throws(BlockContractViolation) -> [UInt8]? {
    switch (answer, lent.count) {
    case (.lent, 1):
        try BlockContractViolation.unless(lent[0].count == count, "\(lent[0].count) bytes were lent instead of \(count)")
        return lent[0]
    case (.bytes(let own), 0): return bytes(own)
    case (.notNow, 0): return nil
    default: throw BlockContractViolation(description: "bytes were lent \(lent.count) times, and the answer says otherwise")
    }
}
