// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCrypto

/// Compares two texts in a time that does not tell where they differ; only that their lengths differ shows.
///
/// - Source: 'man 3 CRYPTO_memcmp'.
public func isEqualInConstantTime(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
    guard one.count == other.count else { return false }
    guard let one = one.baseAddress, let two = other.baseAddress else { return true }
    return CRYPTO_memcmp(one, two, other.count) == 0
}
