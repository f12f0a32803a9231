// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// One request that went through a ``TCPProxy``.
struct ProxiedRequest: Sendable {
    /// For example `GET /bucket/00000001 HTTP/1.1`.
    let line: String
    /// When its first byte came from the client.
    let began: ContinuousClock.Instant
    /// When the first byte of its answer went to the client, or its connection ended.
    var answered: ContinuousClock.Instant?
    /// What went wrong with it on purpose.
    var fault: ProxyFault?

    /// The verb.
    var method: Substring { line.prefix { $0 != " " } }
}

extension Array where Element == ProxiedRequest {
    /// How many requests, one after the other, at least took place: a chain of requests of which each began when the one
    /// before had been answered. That is the number of round trips somebody had to wait for.
    var roundTrips: Int {
        var count = 0
        var end: ContinuousClock.Instant?
        let ended = compactMap { request in request.answered.map { (request.began, $0) } }.sorted { $0.1 < $1.1 }
        for (began, answered) in ended where end.map({ began >= $0 }) ?? true {
            count += 1
            end = answered
        }
        return count
    }

    /// The greatest number in flight at one time.
    var inFlightMax: Int {
        let starts = map { ($0.began, 1) }
        let ends = compactMap { request in request.answered.map { ($0, -1) } }
        var now = 0
        var most = 0
        for (_, change) in (starts + ends).sorted(by: { ($0.0, $0.1) < ($1.0, $1.1) }) {
            now += change
            most = Swift.max(most, now)
        }
        return most
    }

    /// The mean number in flight, over the time from the first request to the last answer.
    var inFlightMean: Double {
        guard let first = map(\.began).min(), let last = compactMap(\.answered).max() else { return 0 }
        let busy = reduce(Duration.zero) { sum, request in sum + ((request.answered ?? last) - request.began) }
        return busy / (last - first)
    }
}
