// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Synchronization

/// Lines that several tasks add.
final class BlockLog: Sendable {
    private let state = Mutex<[String]>([])
    var lines: [String] { state.withLock { $0 } }
    func add(_ line: String) { state.withLock { $0.append(line) } }
}
