// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// Fills `target` with random bytes that nobody can foretell. Ends the process if the system has none to give.
///
/// - Concurrency: safe from anywhere; a process made by fork gets bytes of its own.
/// - Source: 'man 3 RAND_bytes'; 'man 7 RAND'.
public func fillRandom(_ target: UnsafeMutableRawBufferPointer) {
    guard let start = target.baseAddress, target.count > 0 else { return }
    precondition(
        RAND_bytes(start.assumingMemoryBound(to: UInt8.self), Int32(target.count)) == 1,
        "the system has no random bytes; without them no key and no nonce can be made")
}
