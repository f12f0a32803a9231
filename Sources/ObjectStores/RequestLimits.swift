// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// How many requests may be in flight at one store.
public struct RequestLimits: Hashable, Sendable {
    /// The most requests in flight; where the adaptive limit begins, and how far it grows back.
    public let requestsMax: Int
    /// How many of these lanes the background never takes (of a lower limit: the same share, at least one); 0 where the
    /// foreground need not be preferred.
    public let foregroundReserve: Int

    /// Makes limits; `requestsMax` is at least 1, and at least one lane is left for the background.
    public init(requestsMax: Int, foregroundReserve: Int) {
        precondition(requestsMax >= 1, "a store that takes no request is of no use")
        precondition(foregroundReserve >= 0 && foregroundReserve < requestsMax, "the background needs a lane too")
        self.requestsMax = requestsMax
        self.foregroundReserve = foregroundReserve
    }
}

/// What a ``LimitedObjectStore`` has counted, and where it stands.
public struct LimitStatistics: Hashable, Sendable {
    /// How many requests may be in flight at present.
    public var limit: Int
    /// How many are.
    public var inFlight: Int
    /// How many callers wait.
    public var waiting: Int
    /// Requests that had to wait.
    public var waits: UInt64
    /// How often the limit was halved.
    public var halvings: UInt64
}
