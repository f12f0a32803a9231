// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Logging
import ObjectStores
import StoreTesting
import Synchronization
import Testing

@Suite("RetryingObjectStore")
struct RetryingObjectStoreTests {
    private let key = ObjectKey("k")
    private let timeline = HurriedTimeline()

    private func retrying(_ next: any ObjectStore, logger: Logger = silent) -> RetryingObjectStore {
        RetryingObjectStore(
            over: next, policy: RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(30)), isSigned: true,
            timeline: timeline, jitter: { 0 }, logger: logger)
    }

    private func put(
        _ store: any ObjectStore, _ text: String, _ condition: PutCondition, user: [String: String] = [:]
    ) async throws(ObjectStoreError) -> Mutation {
        try await store.put(key, body(text), ObjectMetadata(user: user), condition, .foreground)
    }

    @Test("a request that fails is tried again, after the pauses of the policy, and counted")
    func retries() async throws {
        let scripted = ScriptedStore([.fail(failure(.serverError)), .fail(failure(.timedOut))])
        let store = retrying(scripted)
        guard case .absent = try await store.head(key, .foreground) else { return #expect(Bool(false)) }
        #expect(scripted.requests == ["HEAD k", "HEAD k", "HEAD k"])
        #expect(timeline.now == .milliseconds(600))
        #expect(store.statistics.retries == 2)
        #expect(store.statistics.retryDelay == .milliseconds(600))
        store.resetStatistics()
        #expect(store.statistics == RetryStatistics())
    }

    @Test("after 30 s of pauses the last failure is thrown; the log says so, but leaves the error to whoever asked")
    func givesUp() async throws {
        let lines = LogLines()
        let scripted = ScriptedStore(Array(repeating: .fail(failure(.connectFailed)), count: 100))
        let store = retrying(scripted, logger: lines.logger)
        await #expect { try await store.head(key, .foreground) } throws: { error in
            (error as? ObjectStoreError)?.code == .connectFailed
        }
        #expect(scripted.requests.count == 9)
        #expect(timeline.now == .seconds(30))
        #expect(store.statistics.givenUp == 1)
        #expect(lines.all.first == "info retrying query (attempt #2): HEAD k")
        #expect(lines.all.last == "info giving up on HEAD k")
    }

    @Test("a wrong credential fails at once, but a sporadic 403 after a success is retried")
    func trustsWhatHasWorked() async throws {
        let scripted = ScriptedStore([.fail(failure(.forbidden)), .pass, .fail(failure(.forbidden)), .pass])
        let store = retrying(scripted)
        await #expect(throws: ObjectStoreError.self) { try await store.head(key, .foreground) }
        #expect(scripted.requests.count == 1)
        _ = try await store.head(key, .foreground)
        _ = try await store.head(key, .foreground)
        #expect(scripted.requests.count == 4)
    }

    @Test("a mutation is settled only if every attempt was answered")
    func reportsUnsettled() async throws {
        let answered = retrying(ScriptedStore([.fail(failure(.slowDown))]))
        #expect(try await put(answered, "a", .none).isSettled)
        let unanswered = retrying(ScriptedStore([.failAfter(failure(.timedOut, isUnknown: true))]))
        #expect(try await !put(unanswered, "a", .none).isSettled)
        let deleted = retrying(ScriptedStore([.fail(failure(.timedOut, isUnknown: true))]))
        #expect(try await !deleted.delete([key], .foreground).isSettled)
    }

    @Test("a failure after an attempt without an answer keeps the outcome unknown")
    func keepsUnknown() async throws {
        let store = retrying(ScriptedStore([.fail(failure(.timedOut, isUnknown: true)), .fail(failure(.noSpace))]))
        await #expect { try await put(store, "a", .none) } throws: { error in
            guard let error = error as? ObjectStoreError else { return false }
            return error.code == .noSpace && error.outcomeIsUnknown
        }
    }

    @Test("a 412 that our own unanswered attempt has caused is success", arguments: [true, false])
    func resolvesOwnSuccess(isAbsent: Bool) async throws {
        let scripted = ScriptedStore([.pass, .failAfter(failure(.connectionLost, isUnknown: true)), .pass, .pass])
        let store = retrying(scripted)
        let first = try await put(store, "old", .none).eTag
        if isAbsent { _ = try await scripted.memory.delete([key], .foreground) }
        let condition: PutCondition = isAbsent ? .ifAbsent : .ifMatch(try #require(first))
        let mutation = try await put(store, "own", condition, user: ["token": "1"])
        guard case .present(let attributes) = try await store.head(key, .foreground) else { return #expect(Bool(false)) }
        #expect(mutation == Mutation(eTag: attributes.eTag, isSettled: false))
        #expect(scripted.requests == ["PUT k", "PUT k", "PUT k", "GET k", "HEAD k"])
    }

    @Test("a 412 because of a foreign object stays a 412", arguments: ["body", "metadata", "absent"])
    func respectsForeignContent(difference: String) async throws {
        let key = key
        let foreign: ScriptedStore.Step = .first { memory async throws(ObjectStoreError) in
            let text = difference == "body" ? "foreign" : "own"
            let user = difference == "metadata" ? ["token": "2"] : ["token": "1"]
            _ = try await memory.put(key, body(text), ObjectMetadata(user: user), .none, .foreground)
        }
        let gone: ScriptedStore.Step = .first { memory async throws(ObjectStoreError) in
            _ = try await memory.delete([key], .foreground)
        }
        let store = retrying(
            ScriptedStore([
                .fail(failure(.timedOut, isUnknown: true)), foreign, difference == "absent" ? gone : .pass,
            ]))
        await #expect { try await put(store, "own", .ifAbsent, user: ["token": "1"]) } throws: { error in
            (error as? ObjectStoreError)?.code == .preconditionFailed
        }
    }

    @Test("a 412 at the first attempt is final, and nothing is read")
    func believesFirstRefusal() async throws {
        let scripted = ScriptedStore([])
        _ = try await put(scripted.memory, "same", .none)
        let store = retrying(scripted)
        await #expect { try await put(store, "same", .ifAbsent) } throws: { error in
            guard let error = error as? ObjectStoreError else { return false }
            return error.code == .preconditionFailed && !error.outcomeIsUnknown
        }
        #expect(scripted.requests == ["PUT k"])
    }

    @Test("when the object cannot be read after a 412, the outcome stays unknown")
    func admitsIgnorance() async throws {
        let unreadable = Array(repeating: ScriptedStore.Step.fail(failure(.serverError)), count: 20)
        let store = retrying(ScriptedStore([.failAfter(failure(.timedOut, isUnknown: true)), .pass] + unreadable))
        await #expect { try await put(store, "own", .ifAbsent) } throws: { error in
            guard let error = error as? ObjectStoreError else { return false }
            return error.code == .serverError && error.outcomeIsUnknown
        }
    }

    @Test("a change is sent again by leave only; a refusal ends it, and a failure is one more failed attempt")
    func asksBeforeRepeats() async throws {
        let scripted = ScriptedStore([
            .fail(failure(.slowDown)), .fail(failure(.connectFailed)), .pass, .fail(failure(.timedOut, isUnknown: true)),
            .fail(failure(.timedOut)),
        ])
        let store = retrying(scripted)
        let asked = Mutex<[RepeatedMutation]>([])
        store.askBeforeRepeats { (mutation, next, context) async throws(ObjectStoreError) in
            let count = asked.withLock { asked in
                asked.append(mutation)
                return asked.count
            }
            if count == 1 { throw failure(.serverError) }
            if count == 4 {
                // The store below, without retries.
                _ = try await next.head(ObjectKey("look"), context)
            }
            if count == 5 { throw failure(.fenced) }
        }
        _ = try await put(store, "a", .none)
        #expect(scripted.requests == ["PUT k", "PUT k", "PUT k"])
        #expect(asked.withLock { $0.map(\.wasUnanswered) } == [false, false, true])
        #expect(asked.withLock { $0.map(\.failedAt) } == [.zero, .milliseconds(200), .milliseconds(600)])
        #expect(asked.withLock { $0.map(\.lastUnknownAt) } == [nil, nil, nil])
        await #expect {
            _ = try await store.delete([key], .foreground)
        } throws: { error in
            guard let error = error as? ObjectStoreError else { return false }
            return error.code == .fenced && error.outcomeIsUnknown
        }
        #expect(scripted.requests.suffix(2) == ["DELETE", "HEAD look"])
        _ = try await store.head(key, .foreground)
        #expect(asked.withLock { $0.count } == 5)
        // The DELETE: its first attempt may still be carried out, the failures after it are none that may.
        #expect(asked.withLock { $0.suffix(2).map(\.lastUnknownAt) } == [.milliseconds(1400), .milliseconds(1400)])
    }

    @Test("cancelling ends a pause at once")
    func isCancellable() throws {
        let timeline = ManualTimeline()
        let scripted = ScriptedStore(Array(repeating: .fail(failure(.timedOut, isUnknown: true)), count: 100))
        let store = RetryingObjectStore(
            over: scripted, policy: RetryPolicy(initialPause: .seconds(10), totalPauseMax: .seconds(100)), isSigned: true,
            timeline: timeline, jitter: { 0 }, logger: silent)
        let key = key
        let caught = try SimulationExecutor(seed: 1).run(on: timeline, stepsMax: 1000) {
            await withTaskGroup(of: ObjectStoreError?.self) { group in
                group.addTask {
                    do throws(ObjectStoreError) {
                        _ = try await store.delete([key], .foreground)
                        return nil
                    } catch {
                        return error
                    }
                }
                try? await timeline.sleep(until: .seconds(3))
                group.cancelAll()
                return await group.next() ?? nil
            }
        }
        #expect(caught?.code == .cancelled)
        #expect(caught?.outcomeIsUnknown == true)
        #expect(timeline.now == .seconds(3))
    }
}

/// Collects log lines: level and message.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(lines: self) }
        logger.logLevel = .debug
        return logger
    }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .debug
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            lines.lines.withLock { $0.append("\(event.level) \(event.message)") }
        }
    }
}
