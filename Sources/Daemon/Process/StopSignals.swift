// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import DataPath
internal import Glibc
internal import Logging
internal import Synchronization

/// What a request to stop does at the moment: cancel the start, or end the session.
///
/// - Concurrency: safe from anywhere.
final class StopSwitch: Sendable {
    private struct State {
        var action: (@Sendable () -> Void)?
        var isPending = false
        var wasRequested = false
    }
    private let state = Mutex(State())

    /// Whether anybody has ever asked.
    var wasRequested: Bool { state.withLock { $0.wasRequested } }

    /// Decides what a request does from now on. One that came while nothing was connected is acted upon at once.
    func connect(_ action: @escaping @Sendable () -> Void) {
        let isPending = state.withLock { state in
            state.action = action
            defer { state.isPending = false }
            return state.isPending
        }
        if isPending { action() }
    }

    /// Keeps the next request until something is connected again.
    func disconnect() { state.withLock { $0.action = nil } }

    /// Asks again, if anybody has ever asked: whoever is connected next is told what came too late for the one before.
    ///
    /// Work that is cancelled when it is nearly done ends as if nobody had asked, and the request would be lost with it.
    func renew() {
        if wasRequested { request() }
    }

    /// Asks to stop.
    func request() {
        let action = state.withLock { state in
            state.wasRequested = true
            if state.action == nil { state.isPending = true }
            return state.action
        }
        action?()
    }
}

/// SIGHUP, SIGINT and SIGTERM, taken by a thread of their own instead of by handlers, so that ordinary code can run.
enum StopSignals {
    /// Blocks the signals in the calling thread and in all threads it starts later, and ignores SIGPIPE.
    ///
    /// To be called before there are other threads. A signal that is ignored on entry stays so: nohup(1) asks for that, and a
    /// blocked signal would be taken in spite of it.
    ///
    /// - Source: 'man 1 nohup'; the kernel's sig_ignored(): "Blocked signals are never ignored".
    static func block() {
        var set = signals
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Starts the thread that waits for the signals, each of which is a request to stop.
    ///
    /// It ends with the process: nobody waits for it.
    static func start(_ stopping: StopSwitch, logger: Logger) {
        _ = JoinableThread.required(name: "signals") {
            var set = signals
            while true {
                var number: Int32 = 0
                // See: 'man 3 sigwait'.
                guard sigwait(&set, &number) == 0 else { continue }
                logger.info("stopping on signal", metadata: ["signal": "\(name(of: number))"])
                stopping.request()
            }
        }
    }

    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGHUP, SIGINT, SIGTERM] where !isIgnored(number) { sigaddset(&set, number) }
        return set
    }

    /// Whether whoever started the process wants it to ignore this signal.
    static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        // See: 'man 2 sigaction'; SIG_IGN is the address 1.
        guard sigaction(number, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self) == 1
    }

    private static func name(of number: Int32) -> String {
        switch number {
        case SIGHUP: "HUP"
        case SIGINT: "INT"
        case SIGTERM: "TERM"
        default: "\(number)"
        }
    }
}
