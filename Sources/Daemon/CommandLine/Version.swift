// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Which program this is.
enum Version {
    /// The release, as in CHANGES.
    static let number = "3.0.0"

    /// The text of `--version`: four lines, as the C program prints.
    static let text = """
        s3backer version \(number)
        Copyright (c) the s3backer authors.
        This is free software, licensed under the Apache License, Version 2.0.
        There is NO WARRANTY, to the extent permitted by law.

        """
}
