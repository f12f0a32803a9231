// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CCurl
internal import CLinux
internal import DataPath
internal import Glibc
internal import Logging
internal import Synchronization

/// The one thread that runs curl: waits in epoll for sockets, for curl's timer and for the inbox.
///
/// - Concurrency: `@unchecked Sendable` only to be handed to its thread.
final class CurlThread: @unchecked Sendable {
    // Proof for @unchecked: made by the transport, then reached by the one thread that runs run(), and by curl's callbacks,
    // which curl calls on that same thread.

    private let settings: TransportSettings
    private let inbox: CurlInbox
    private let counts: CurlCounts
    private let timeline: any Timeline
    private let logger: Logger

    private let multi: UnsafeMutableRawPointer
    private let epoll: Int32
    /// The transfers that curl works at: their owner, by handle.
    private var active: [UnsafeMutableRawPointer: (transfer: CurlTransfer, handle: CurlHandle)] = [:]
    /// Handles for reuse, the latest last.
    private var idle: [CurlHandle] = []
    /// When curl wants to be called without an event.
    private var timer: Duration?
    /// When the transfers' progress is looked at next.
    private var nextLook: Duration = .zero
    private let lookInterval: Duration

    /// Makes the engine; ``run()`` does the work.
    init(
        settings: TransportSettings, inbox: CurlInbox, counts: CurlCounts, timeline: any Timeline, logger: Logger
    ) throws(CurlTransport.CannotStart) {
        self.settings = settings
        self.inbox = inbox
        self.counts = counts
        self.timeline = timeline
        self.logger = logger
        lookInterval = max(min(settings.timeout / 8, settings.stallTimeout / 8, .seconds(1)), .milliseconds(10))
        // See: 'man 2 epoll_create1'.
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw CurlTransport.CannotStart(step: "epoll_create1", errno: errno) }
        guard let multi = curl_multi_init() else { fatalError("out of memory: curl_multi_init") }
        self.multi = multi
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: inbox.eventDescriptor))
        let status = epoll_ctl(epoll, EPOLL_CTL_ADD, inbox.eventDescriptor, &event)
        precondition(status == 0, "epoll_ctl of an eventfd")
    }

    deinit {
        for handle in idle { handle.destroy() }
        // It closes connections, and must not tell an object that is going away.
        curl_multi_set_socket_function(multi, nil)
        curl_multi_set_timer_function(multi, nil)
        curl_multi_cleanup(multi)
        close(epoll)
    }

    /// The error of a transfer that the transport's end took with it.
    static func shutDown(mayHaveBeenSent: Bool) -> HTTPTransportError {
        HTTPTransportError(.cancelled, "the HTTP client is shut down", mayHaveBeenSent: mayHaveBeenSent)
    }

    /// Works until the inbox says stop; then fails what is in flight.
    func run() {
        prepareThread()
        configureMulti()
        // Few at a time: the first of many answers is passed on, and the next request sent, before the last one is received.
        var events = [epoll_event](repeating: epoll_event(), count: 4)
        while true {
            let count = epoll_wait(epoll, &events, Int32(events.count), waitMilliseconds())
            for event in events.prefix(Int(max(count, 0))) where event.data.fd != inbox.eventDescriptor {
                act(on: event)
            }
            let contents = inbox.take()
            for transfer in contents.started { begin(transfer) }
            for transfer in contents.cancelled { cancel(transfer) }
            if contents.isStopping { break }
            let now = timeline.now
            if let due = timer, now >= due {
                timer = nil
                var running: Int32 = 0
                curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running)
            }
            collectFinished()
            if now >= nextLook { lookAtProgress(now) }
        }
        for (_, entry) in active {
            release(entry.handle)
            entry.transfer.finish(.failure(Self.shutDown(mayHaveBeenSent: entry.transfer.mayHaveBeenSent)))
        }
        active = [:]
    }

    private func prepareThread() {
        _ = linux_set_thread_name("s3-http")
        // All answers pass through here, while bodies are hashed on every processor. A hint: without it they come a little later.
        _ = linux_set_time_slice(100_000)
        // No signal is handled here: OpenSSL's writes raise SIGPIPE, and the others belong to the main thread.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, nil)
    }

    private func configureMulti() {
        // Proof for passUnretained: the thread holds a reference to self until run() returns, and the multi dies with self.
        let context = Unmanaged.passUnretained(self).toOpaque()
        curl_multi_set_socket_function(multi, curlSocketChanged)
        curl_multi_set_pointer(multi, CURLMOPT_SOCKETDATA, context)
        curl_multi_set_timer_function(multi, curlTimerChanged)
        curl_multi_set_pointer(multi, CURLMOPT_TIMERDATA, context)
        curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, settings.idleHandlesMax)
        // One transfer a connection at a time, with HTTP/2 as well: whose bytes move is seen at the connection's send queue, and
        // a stream that stands still beside others that move would never be ended.
        curl_multi_set_long(multi, CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING))
    }

    private func waitMilliseconds() -> Int32 {
        let look = active.isEmpty ? nil : nextLook
        guard let next = [timer, look].compactMap({ $0 }).min() else { return -1 }
        let wait = next - timeline.now
        guard wait > .zero else { return 0 }
        // Rounded up: waking early would spin.
        return Int32(clamping: Int64((wait / .milliseconds(1)).rounded(.up)))
    }

    private func act(on event: epoll_event) {
        var mask: Int32 = 0
        if event.events & EPOLLIN.rawValue != 0 { mask |= CURL_CSELECT_IN }
        if event.events & EPOLLOUT.rawValue != 0 { mask |= CURL_CSELECT_OUT }
        if event.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { mask |= CURL_CSELECT_ERR }
        var running: Int32 = 0
        // A descriptor that curl closed a moment ago is unknown to it by now, which does no harm.
        curl_multi_socket_action(multi, event.data.fd, mask, &running)
    }

    private func begin(_ transfer: CurlTransfer) {
        guard !transfer.isCancelled.load(ordering: .acquiring) else {
            return transfer.finish(.failure(cancelled(transfer)))
        }
        let reused = idle.popLast()
        guard let handle = reused ?? CurlHandle() else {
            return transfer.finish(
                .failure(HTTPTransportError(.outOfMemory, "no memory for a curl handle", mayHaveBeenSent: false)))
        }
        counts.countHandle(isNew: reused == nil)
        handle.configure(for: transfer, settings, isDumped: settings.isDumped ? logger : nil)
        if active.isEmpty { nextLook = timeline.now + lookInterval }
        active[handle.easy] = (transfer, handle)
        let status = curl_multi_add_handle(multi, handle.easy)
        precondition(status == CURLM_OK, "a fresh handle can be added")
    }

    private func cancel(_ transfer: CurlTransfer) {
        // One that was finished in the meantime is in the table no more.
        guard let entry = active.values.first(where: { $0.transfer === transfer }) else { return }
        end(entry.handle, .failure(cancelled(transfer)))
    }

    private func cancelled(_ transfer: CurlTransfer) -> HTTPTransportError {
        HTTPTransportError(.cancelled, "the request was cancelled", mayHaveBeenSent: transfer.mayHaveBeenSent)
    }

    private func collectFinished() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle,
                let entry = active[easy]
            else { continue }
            // The message is gone with the handle's removal.
            let result = curl_message_result(message)
            if result == CURLE_OK {
                end(entry.handle, .success(entry.transfer.response()))
            } else {
                end(entry.handle, .failure(entry.handle.error(result, of: entry.transfer)))
            }
        }
    }

    private func lookAtProgress(_ now: Duration) {
        nextLook = now + lookInterval
        for entry in Array(active.values) {
            let queued = CurlHandle.queuedBytes(of: entry.transfer.socket)
            let mark = entry.handle.sentMark &+ entry.transfer.receivedMark
            guard let silence = entry.transfer.progress.observe(mark: mark, queued: queued, now: now) else { continue }
            let seconds = (silence / .milliseconds(100)).rounded() / 10
            let error = HTTPTransportError(
                .timedOut, "no byte moved for \(seconds) seconds", mayHaveBeenSent: entry.transfer.mayHaveBeenSent)
            end(entry.handle, .failure(error))
        }
    }

    /// Takes a transfer from curl and answers its caller. Never called from one of curl's callbacks, where it is forbidden.
    private func end(_ handle: CurlHandle, _ outcome: Result<HTTPResponse, HTTPTransportError>) {
        guard let entry = active.removeValue(forKey: handle.easy) else { return }
        release(handle)
        entry.transfer.finish(outcome)
    }

    /// Takes a handle from curl, which closes the connection of an unfinished transfer, and keeps it for reuse.
    private func release(_ handle: CurlHandle) {
        curl_multi_remove_handle(multi, handle.easy)
        handle.clear()
        if idle.count < settings.idleHandlesMax { idle.append(handle) } else { handle.destroy() }
    }
}

extension CurlThread {
    /// curl wants other events of a socket, or none any more; 'man 3 CURLMOPT_SOCKETFUNCTION'.
    func socketChanged(_ easy: UnsafeMutableRawPointer?, _ socket: Int32, _ what: Int32) {
        if what == CURL_POLL_REMOVE {
            // It may have been closed already, which took it out of the set.
            epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nil)
            return
        }
        if let easy, let entry = active[easy] { entry.transfer.socket = socket }
        var event = epoll_event(events: 0, data: epoll_data_t(fd: socket))
        if what & CURL_POLL_IN != 0 { event.events |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { event.events |= EPOLLOUT.rawValue }
        if epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event) != 0 {
            let status = epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event)
            if status != 0 { logger.error("cannot watch a connection", metadata: ["errno": "\(errno)"]) }
        }
    }

    /// curl wants to be called after so many milliseconds, or not any more (-1); 'man 3 CURLMOPT_TIMERFUNCTION'.
    func timerChanged(_ milliseconds: Int) {
        timer = milliseconds < 0 ? nil : timeline.now + .milliseconds(milliseconds)
    }
}
