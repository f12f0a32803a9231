// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// Runs s3backer.
///
/// - Parameter arguments: The words after the program's name.
/// - Returns: The exit status: 0 done, 1 any configuration or start error.
public func runS3Backer(arguments: [String]) -> Int32 { 1 }
