// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Glibc

/// A thread of the operating system that runs one closure.
///
/// The start routine lives here, in a nonisolated function of a library: written in main.swift it would silently belong to the
/// main actor, and trap on its own thread.
struct JoinableThread: Sendable {
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    private let thread: pthread_t

    /// Starts a thread.
    ///
    /// - Parameter name: For ps(1) and gdb; at most 15 bytes count.
    init(name: String, _ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let status = pthread_create(&thread, nil, Self.run, start.toOpaque())
        precondition(status == 0, "cannot start a thread: \(SystemFailure(code: status))")
        self.thread = thread
    }

    /// Waits until the closure has returned. To be called once.
    func join() { pthread_join(thread, nil) }

    private static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        _ = linux_set_thread_name(start.name)
        start.body()
        return nil
    }
}
