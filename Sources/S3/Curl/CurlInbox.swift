// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux
internal import Glibc
internal import Synchronization

/// What callers ask of the curl thread: a list under a lock, and an eventfd that wakes the thread.
///
/// It holds one transfer for each suspended caller at most, so the callers bound it.
final class CurlInbox: Sendable {
    /// What the thread finds.
    struct Contents {
        /// Transfers to begin.
        var started: [CurlTransfer] = []
        /// Transfers whose callers were cancelled; begun or not, or finished already.
        var cancelled: [CurlTransfer] = []
        /// Whether the thread must end.
        var isStopping = false
    }

    /// Readable when there is something in the list.
    let eventDescriptor: Int32
    private let contents = Mutex(Contents())

    /// Makes an inbox.
    ///
    /// - Throws: When there are no more file descriptors.
    init() throws(CurlTransport.CannotStart) {
        // See: 'man 2 eventfd'.
        eventDescriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard eventDescriptor >= 0 else { throw CurlTransport.CannotStart(step: "eventfd", errno: errno) }
    }

    deinit { close(eventDescriptor) }

    /// Hands a transfer to the thread.
    ///
    /// - Returns: false when the thread has ended or is about to; then the caller keeps it.
    func start(_ transfer: CurlTransfer) -> Bool {
        let isTaken = contents.withLock { contents in
            guard !contents.isStopping else { return false }
            contents.started.append(transfer)
            return true
        }
        if isTaken { wake() }
        return isTaken
    }

    /// Asks for the end of a transfer; in any state.
    func cancel(_ transfer: CurlTransfer) {
        transfer.isCancelled.store(true, ordering: .releasing)
        contents.withLock { $0.cancelled.append(transfer) }
        wake()
    }

    /// Asks the thread to end.
    func stop() {
        contents.withLock { $0.isStopping = true }
        wake()
    }

    /// Empties the list; for the thread.
    func take() -> Contents {
        var counter: UInt64 = 0
        // It fails with EAGAIN only, when nobody woke the thread; both are fine.
        _ = read(eventDescriptor, &counter, 8)
        return contents.withLock { contents in
            let taken = contents
            contents.started = []
            contents.cancelled = []
            return taken
        }
    }

    private func wake() {
        var one: UInt64 = 1
        // It can fail only when the counter is full; then the thread is awake already.
        _ = write(eventDescriptor, &one, 8)
    }
}
