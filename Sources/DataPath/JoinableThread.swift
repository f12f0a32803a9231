// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Glibc

/// A thread of the operating system that runs one closure.
///
/// The start routine lives here, in a nonisolated function of a library: written in main.swift it would silently belong to the
/// main actor, and trap on its own thread.
public struct JoinableThread: Sendable {
    /// The system has no room for a further thread.
    public struct CannotStart: Error, Hashable, Sendable {
        /// What pthread_create(3) returned.
        public let errno: Int32
    }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    private let thread: pthread_t

    /// Starts a thread that runs `body`.
    ///
    /// - Parameter name: What ps(1) and gdb show; at most 15 bytes count.
    /// - Throws: When the system has no room for it; `body` is not run then.
    public init(name: String, _ body: @escaping @Sendable () -> Void) throws(CannotStart) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let status = pthread_create(&thread, nil, Self.run, start.toOpaque())
        guard status == 0 else {
            start.release()
            throw CannotStart(errno: status)
        }
        self.thread = thread
    }

    /// Blocks until the closure has returned. To be called once at most.
    public func join() {
        let status = pthread_join(thread, nil)
        precondition(status == 0, "pthread_join")
    }

    private static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { preconditionFailure("pthread_create passes its argument on") }
        let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
        _ = linux_set_thread_name(start.name)
        start.body()
        return nil
    }
}
