// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CFuse
internal import CLinux
internal import Glibc

/// A thread that is waited for: every one that is started is joined by its owner.
struct JoinableThread: ~Copyable {
    private let thread: pthread_t

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts a thread that runs `body`.
    ///
    /// - Parameter name: What ps(1) shows; at most 15 bytes.
    /// - Throws: `.outOfResources` when the system has no room for a further thread.
    init(name: String, _ body: @escaping @Sendable () -> Void) throws(FUSEError) {
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
                _ = linux_set_thread_name(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        guard status == 0 else {
            start.release()
            throw FUSEError(.outOfResources, "cannot start a thread: \(describe(errno: status))")
        }
        self.thread = thread
    }

    /// Blocks until the thread's body has returned.
    consuming func join() {
        let status = pthread_join(thread, nil)
        precondition(status == 0, "pthread_join")
    }
}

/// The words of strerror(3) for an error number.
func describe(errno number: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard let text = buffer.baseAddress else { return "error \(number)" }
        text.initialize(repeating: 0, count: buffer.count)
        // Swift sees the POSIX function, which returns 0 when it knows the number.
        let status = strerror_r(number, text, buffer.count)
        return status == 0 ? String(cString: text) : "error \(number)"
    }
}

/// The reading of CLOCK_MONOTONIC.
func monotonicNow() -> Duration {
    var time = timespec()
    let status = clock_gettime(CLOCK_MONOTONIC, &time)
    precondition(status == 0, "clock_gettime")
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}
