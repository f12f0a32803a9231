// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Glibc

extension JoinableThread {
    /// Starts a thread without which the process is of no use; where there is no room for it, the process ends with status 1.
    ///
    /// Only for the threads of the start: nothing has been touched in the store or mounted by then.
    static func required(name: String, _ body: @escaping @Sendable () -> Void) -> JoinableThread {
        do throws(CannotStart) {
            return try JoinableThread(name: name, body)
        } catch {
            Console.say("cannot start a thread: \(SystemFailure(code: error.errno)); see ulimit -u")
            exit(1)
        }
    }
}
