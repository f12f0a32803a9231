// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Takes secrets out of what is logged of HTTP traffic.
enum SecretMask {
    private static let names = ["authorization", "security-token"]

    /// The line with everything replaced that follows the name of a header whose value is secret.
    ///
    /// Looks for the name anywhere, because libcurl reports HTTP/2 headers in brackets: `h2h3 [authorization: AWS4-...]`.
    static func mask(_ line: Substring) -> String {
        let lower = line.lowercased()
        for name in names {
            guard let found = lower.firstRange(of: name) else { continue }
            let kept = lower.distance(from: lower.startIndex, to: found.upperBound)
            return String(line.prefix(kept)) + ": (not shown)"
        }
        return String(line)
    }
}
