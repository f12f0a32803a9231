// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath

extension JoinableThread {
    /// Starts a thread without which the process is of no use; where there is no room for it, the process ends.
    static func required(name: String, _ body: @escaping @Sendable () -> Void) -> JoinableThread {
        do throws(CannotStart) {
            return try JoinableThread(name: name, body)
        } catch {
            fatalError("cannot start a thread: \(SystemFailure(code: error.errno))")
        }
    }
}
