// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// A construct that the compiler cannot check, or that the rules forbid, and that stands in the source all the same.
struct Exception: Hashable {
    /// What is excepted.
    enum Construct: String, CaseIterable {
        /// A type says by itself that it may be shared.
        case uncheckedSendable = "@unchecked Sendable"
        /// A variable is shared without a check.
        case unsafeIsolation = "nonisolated(unsafe)"
        /// A task that nobody waits for by structure.
        case unstructuredTask = "unstructured task"
        /// An error that is dropped.
        case droppedError = "try?"
        /// A cast, or a conversion, that ends the process.
        case forcedCast = "as!"

        /// Finds the construct in a line of code.
        var pattern: Regex<Substring> {
            switch self {
            case .uncheckedSendable: /@unchecked\s+Sendable/
            case .unsafeIsolation: /nonisolated\(unsafe\)/
            case .unstructuredTask: /\bTask(?:\.detached|\.immediate|\.immediateDetached)?\s*(?:<[^>]*>)?\s*(?:\([^)]*\)\s*)?\{/
            case .droppedError: /\btry\?/
            case .forcedCast: /\bas!/
            }
        }
    }

    let construct: Construct
    /// The file, counted from the root.
    let file: String
    /// How often it stands there.
    let count: Int
    /// Why it may.
    let reason: String

    init(_ construct: Construct, in file: String, count: Int = 1, _ reason: String) {
        self.construct = construct
        self.file = file
        self.count = count
        self.reason = reason
    }

    /// All there are.
    static let all: [Exception] = [
        Exception(
            .uncheckedSendable, in: "Sources/DataPath/Buffer.swift",
            "written only through its one BufferWriter before it is published, read only afterwards"),
        Exception(
            .uncheckedSendable, in: "Sources/DataPath/BufferPool.swift",
            "a pointer to idle memory, which has no other owner; it stays under the pool's lock"),
        Exception(
            .uncheckedSendable, in: "Sources/BlockStores/Cache/MemoryCacheStorage.swift",
            "a mapping of which each call touches its own range; who may touch which is the rule of CacheStorage"),
        Exception(
            .uncheckedSendable, in: "Sources/BlockStores/Cache/AdaptiveMutex.swift",
            "a state that is touched between lock and unlock of a pthread mutex only"),
        Exception(
            .uncheckedSendable, in: "Sources/Cryptography/Digest.swift",
            "algorithms that OpenSSL has fetched are immutable and counted by OpenSSL itself"),
        Exception(
            .uncheckedSendable, in: "Sources/Cryptography/SecretBytes.swift",
            "memory that only init and deinit write, which have it alone"),
        Exception(
            .uncheckedSendable, in: "Sources/Daemon/Process/IOPool.swift",
            "the queue of jobs, touched only under its pthread mutex; its threads wait on a condition, which Mutex has not"),
        Exception(
            .uncheckedSendable, in: "Sources/Daemon/Process/RunBlocking.swift",
            "one value, touched only under its pthread mutex; main waits for it on a condition, which Mutex has not"),
        Exception(
            .unstructuredTask, in: "Sources/Daemon/Process/RunBlocking.swift",
            "the one bridge from main into tasks; main waits for its end"),
        Exception(
            .uncheckedSendable, in: "Sources/Cryptography/MAC.swift",
            "a context of OpenSSL that is only copied, which OpenSSL allows several threads at once"),
        Exception(
            .uncheckedSendable, in: "Sources/Cryptography/ContextPool.swift",
            "a context of OpenSSL: idle under the pool's mutex, or lent to the one call that took it off"),
        Exception(
            .uncheckedSendable, in: "Sources/Cryptography/CipherAlgorithm.swift",
            "a cipher that OpenSSL has fetched is immutable and counted by OpenSSL itself"),
        Exception(
            .uncheckedSendable, in: "Sources/Volumes/Codec/Deflate.swift", count: 2,
            "the state of a zlib stream, which WorkspacePool gives to one user at a time"),
        Exception(
            .uncheckedSendable, in: "Sources/Volumes/Codec/Zstd.swift", count: 2,
            "the tables of zstd, which WorkspacePool gives to one user at a time"),
        Exception(
            .uncheckedSendable, in: "Sources/S3/Curl/CurlThread.swift",
            "libcurl's multi handle and what belongs to it: reached by the curl thread alone"),
        Exception(
            .uncheckedSendable, in: "Sources/S3/Curl/CurlTransfer.swift",
            "handed over to the curl thread through a mutex, and touched by that thread alone afterwards"),
        Exception(
            .uncheckedSendable, in: "Sources/FUSE/FUSERequest.swift",
            "a request of libfuse, which any thread may answer; one owner at a time"),
        Exception(
            .uncheckedSendable, in: "Sources/FUSE/FUSESession.swift",
            "the session of libfuse, which any thread may call; destroyed when nobody does any more"),
        Exception(
            .uncheckedSendable, in: "Sources/FUSE/Monitor.swift",
            "a state touched only under its pthread mutex; threads wait on a condition, which Mutex has not"),
        Exception(
            .uncheckedSendable, in: "Sources/FUSE/ZeroPages.swift",
            "a read-only mapping of zeros that nobody can write to"),
        Exception(
            .unstructuredTask, in: "Sources/FUSE/FileSystem.swift",
            "the bridge from a request of the kernel into tasks; the session counts them and waits for the last"),
        Exception(
            .unstructuredTask, in: "Sources/FUSE/FUSESession+Serving.swift",
            "the flush of a session that shall stop; the state machine waits for its end"),
        Exception(
            .unstructuredTask, in: "Sources/StoreTesting/SimulationExecutor.swift",
            "the root of a simulation; the caller runs its jobs until it has ended"),
        Exception(
            .droppedError, in: "Sources/Daemon/CommandLine/ByteSize.swift",
            "ArgumentParser's protocol asks for nil; the error was told when the command line was read"),
    ]
}
