// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import Logging
import StoreTesting
import Synchronization

@testable import ObjectStores

/// Says nothing.
let silent = Logger(label: "silent") { _ in SwiftLogNoOpLogHandler() }

/// A directory of its own, removed at the end of its life.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        // In memory where there is such a place: an fsync costs nothing there, and no test cuts the power.
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var template = Array("\(parent)/s3backer-test-XXXXXX".utf8CString)
        guard let path = mkdtemp(&template) else { fatalError("mkdtemp: errno \(errno)") }
        self.path = String(cString: path)
    }

    deinit { Self.remove(path) }

    /// The names of all files below, sorted.
    func files() -> [String] { Self.files(path).map { String($0.dropFirst(path.count + 1)) }.sorted() }

    /// Puts a file there, without the store.
    func write(_ name: String, _ bytes: [UInt8]) {
        let file = open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0o666)
        precondition(file >= 0 && Glibc.write(file, bytes, bytes.count) == bytes.count && close(file) == 0)
    }

    private static func entries(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(path + "/" + name) }
        }
        return names
    }

    private static func files(_ path: String) -> [String] {
        entries(path).flatMap { entry in
            var status = stat()
            guard lstat(entry, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return [entry] }
            return files(entry)
        }
    }

    private static func remove(_ path: String) {
        for entry in entries(path) where unlink(entry) != 0 { remove(entry) }
        rmdir(path)
    }
}

/// A store or stack of layers that passes the contract, made anew for each case.
enum TestedStore: String, CaseIterable, Sendable, CustomStringConvertible {
    case memory
    case directory
    case checkedOverMemory
    case checkedOverDirectory
    case limitedOverMemory
    case retryingOverMemory
    case retryingOverLimited
    case limitedOverRetrying
    case checkedOverRetrying
    case retryingOverChecked
    case limitedOverChecked
    case checkedOverLimited
    case faultyWithoutFaults
    case retryingOverFaulty
    case guardOverMemory
    case guardOverVerifying
    case verifyingOverMemory
    case retryingOverGuard
    case checkedGuardOverChecked
    case guardOverLimited
    case staleWithoutStaleness

    var description: String { rawValue }

    /// Makes an empty store; `directory` is removed with the last reference to the second value.
    func make() throws -> (store: any ObjectStore, directory: TemporaryDirectory?) {
        let directory = rawValue.lowercased().hasSuffix("directory") ? TemporaryDirectory() : nil
        return (try make(directory), directory)
    }

    private func make(_ directory: TemporaryDirectory?) throws -> any ObjectStore {
        let memory = MemoryObjectStore()
        switch self {
        case .memory: return memory
        case .directory: return try Self.open(directory)
        case .checkedOverMemory: return Self.checked(memory)
        case .checkedOverDirectory: return Self.checked(try Self.open(directory))
        case .limitedOverMemory: return Self.limited(memory)
        case .retryingOverMemory: return Self.retrying(memory)
        case .retryingOverLimited: return Self.retrying(Self.limited(memory))
        case .limitedOverRetrying: return Self.limited(Self.retrying(memory))
        case .checkedOverRetrying: return Self.checked(Self.retrying(memory))
        case .retryingOverChecked: return Self.retrying(Self.checked(memory))
        case .limitedOverChecked: return Self.limited(Self.checked(memory))
        case .checkedOverLimited: return Self.checked(Self.limited(memory))
        case .faultyWithoutFaults:
            return FaultyObjectStore(over: memory, plan: ObjectFaultPlan(), seed: 1, timeline: ManualTimeline())
        case .guardOverMemory: return Self.guarding(memory)
        case .guardOverVerifying: return Self.guarding(Self.verifying(memory))
        case .verifyingOverMemory: return Self.verifying(memory)
        case .retryingOverGuard: return Self.retrying(Self.guarding(Self.verifying(Self.limited(memory))))
        case .checkedGuardOverChecked: return Self.checked(Self.guarding(Self.checked(Self.verifying(Self.checked(memory)))))
        case .guardOverLimited: return Self.guarding(Self.limited(memory))
        case .staleWithoutStaleness:
            let plan = StalenessPlan(staleAnswers: 0, convergenceMax: nil, truthfulConditions: 0.5)
            return StaleObjectStore(over: memory, plan: plan, seed: 1, timeline: ManualTimeline())
        case .retryingOverFaulty:
            // Only faults before the work: after it, a second attempt is not what the contract's cases expect of versions.
            // And few enough: of the hundreds of requests of a case none may meet nine faults in a row.
            var plan = ObjectFaultPlan()
            plan.refused = 0.1
            plan.slowDown = 0.05
            let faulty = FaultyObjectStore(over: Self.checked(memory), plan: plan, seed: 1, timeline: ManualTimeline())
            return Self.retrying(Self.limited(faulty))
        }
    }

    private static func open(_ directory: TemporaryDirectory?) throws -> DirectoryObjectStore {
        try DirectoryObjectStore(
            directory: directory?.path ?? "", pool: BufferPool(retainedBytesMax: 1 << 20), isReadOnly: false,
            undescribed: ObjectMetadata())
    }

    private static func checked(_ next: any ObjectStore) -> any ObjectStore { CheckedObjectStore(over: next, logger: silent) }

    private static func verifying(_ next: any ObjectStore) -> any ObjectStore {
        VerifyingObjectStore(over: next, logger: silent)
    }

    /// Room for fewer objects than most cases have, so that changes wait for it.
    private static func guarding(_ next: any ObjectStore) -> any ObjectStore {
        ConsistencyGuard(
            over: next, limits: ConsistencyLimits(objectsMax: 4, keptFor: .seconds(10), minWriteDelay: .milliseconds(500)),
            guards: { _ in true }, timeline: HurriedTimeline(), logger: silent)
    }

    private static func limited(_ next: any ObjectStore) -> any ObjectStore {
        LimitedObjectStore(over: next, limits: RequestLimits(requestsMax: 3, foregroundReserve: 1), logger: silent)
    }

    private static func retrying(_ next: any ObjectStore) -> any ObjectStore {
        RetryingObjectStore(
            over: next, policy: RetryPolicy(initialPause: .milliseconds(200), totalPauseMax: .seconds(30)), isSigned: true,
            timeline: HurriedTimeline(), jitter: { 0 }, logger: silent)
    }
}

/// A clock that jumps to every deadline: pauses take no time.
final class HurriedTimeline: Timeline {
    private let reading = Mutex<Duration>(.zero)

    var now: Duration { reading.withLock { $0 } }
    var unixTime: Duration { now }

    func sleep(until deadline: Duration) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        reading.withLock { $0 = max($0, deadline) }
    }
}
