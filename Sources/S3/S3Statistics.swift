// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What the client counted since the start or the last reset; each attempt counts, the retried ones too.
public struct S3Statistics: Hashable, Sendable {
    /// Successful requests of one kind.
    public struct Requests: Hashable, Sendable {
        /// How many.
        public var count: UInt64 = 0
        /// How long they took together, from the first byte sent to the last received, waiting for a connection included.
        public var time: Duration = .zero
    }

    /// GETs, lists included.
    public var gets = Requests()
    /// PUTs.
    public var puts = Requests()
    /// DELETEs, batch deletes included.
    public var deletes = Requests()

    /// Answers 401.
    public var unauthorized: UInt64 = 0
    /// Answers 403.
    public var forbidden: UInt64 = 0
    /// Answers 412.
    public var stale: UInt64 = 0
    /// Answers 301, 302, 307 and 308.
    public var redirect: UInt64 = 0
    /// Other answers 3xx, but the 304 that was asked for.
    public var error3xx: UInt64 = 0
    /// Other answers 4xx, but 404.
    public var error4xx: UInt64 = 0
    /// Answers 5xx.
    public var error5xx: UInt64 = 0
    /// Answers with any other status.
    public var otherError: UInt64 = 0

    /// Attempts that a time limit ended.
    public var timeouts: UInt64 = 0
    /// Attempts without a connection.
    public var connectFailed: UInt64 = 0
    /// Attempts that could not resolve the server's name.
    public var hostUnknown: UInt64 = 0
    /// Attempts that ran out of memory.
    public var outOfMemory: UInt64 = 0
    /// Attempts that failed in another way before a whole answer came.
    public var otherTransportError: UInt64 = 0
    /// Attempts that were cancelled.
    public var canceled: UInt64 = 0
    /// Writes among those.
    public var canceledWrites: UInt64 = 0

    /// Transfers that needed a new curl handle.
    public var handlesCreated: UInt64 = 0
    /// Transfers that took a handle of an earlier one.
    public var handlesReused: UInt64 = 0

    /// Makes counts of zero.
    public init() {}

    /// Counts an answer.
    mutating func count(status: Int, to method: HTTPMethod, after time: Duration) {
        switch status {
        case 200..<300: countSuccess(of: method, after: time)
        case 304, 404: break
        case 301, 302, 307, 308: redirect += 1
        case 300..<400: error3xx += 1
        case 401: unauthorized += 1
        case 403: forbidden += 1
        case 412: stale += 1
        case 400..<500: error4xx += 1
        case 500..<600: error5xx += 1
        default: otherError += 1
        }
    }

    private mutating func countSuccess(of method: HTTPMethod, after time: Duration) {
        func add(to requests: inout Requests) {
            requests.count += 1
            requests.time += time
        }
        switch method {
        case .get: add(to: &gets)
        // The statistics file has no line for them.
        case .head: break
        case .put: add(to: &puts)
        case .delete, .post: add(to: &deletes)
        }
    }

    /// Counts an attempt without a whole answer.
    mutating func count(_ error: HTTPTransportError, of method: HTTPMethod) {
        switch error.kind {
        case .timedOut: timeouts += 1
        case .connectFailed: connectFailed += 1
        case .hostUnknown: hostUnknown += 1
        case .outOfMemory: outOfMemory += 1
        case .connectionLost, .malformedAnswer, .other: otherTransportError += 1
        case .cancelled:
            canceled += 1
            if method == .put { canceledWrites += 1 }
        }
    }
}
