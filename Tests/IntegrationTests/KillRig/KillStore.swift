// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// The store under the kill rig: a directory, or a bucket behind a proxy that can be taken down.
///
/// - Concurrency: for one thread, except ``comeBack(after:)``.
final class KillStore {
    /// The options and the name that every mount of it needs.
    let arguments: [String]
    /// The directory; nil is a bucket.
    let directory: String?
    private let proxy: TCPProxy?

    /// A fresh store.
    init(in workspace: Workspace, name: String, isBucket: Bool) throws {
        if isBucket {
            let bucket = try Bucket(in: workspace)
            let proxy = try TCPProxy(to: bucket.gateway.port)
            self.proxy = proxy
            directory = nil
            arguments = try bucket.flags(port: proxy.port) + [bucket.name]
        } else {
            let directory = try workspace.directory(name)
            // In memory: only the daemon dies here, and each object of the directory costs several fsyncs.
            try Command.run("mount", ["-t", "tmpfs", "-o", "size=1g", "none", directory])
            proxy = nil
            self.directory = directory
            arguments = ["--test", directory]
        }
    }

    deinit { proxy?.close() }

    /// Cuts every connection and refuses new ones.
    func goDown() { proxy?.goDown() }

    /// Brings it back after so many microseconds.
    ///
    /// - Returns: A closure that waits until it is back, and throws when it could not come back.
    func comeBack(after microseconds: UInt32) -> () throws -> Void {
        guard let proxy else { return {} }
        let thread = ReturningThread {
            usleep(microseconds)
            try proxy.comeBack()
        }
        return { try thread.join(seconds: 60) }
    }

    /// What is done to a directory behind the daemon's back, to see that it is noticed.
    enum Damage: String, Sendable, CaseIterable {
        /// Objects are as they were at an earlier moment.
        case rolledBack
        /// Objects are gone.
        case missing
        /// Objects have some bytes of other writes.
        case mixed
        /// Objects have each other's bytes.
        case swapped

        /// What the rig must call it.
        var kind: StampModel.Violation.Kind {
            switch self {
            case .rolledBack: .older
            case .missing: .zeros
            case .mixed: .mix
            case .swapped: .misplaced
            }
        }
    }

    /// Copies the objects aside, for ``damage(_:)``.
    func keepCopy() throws {
        let copy = try path() + ".copy"
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
        for key in try keys() {
            // One that is gone meanwhile is not in the copy.
            guard let data = FileManager.default.contents(atPath: "\(try path())/\(key)") else { continue }
            try data.write(to: URL(fileURLWithPath: "\(copy)/\(key)"))
        }
    }

    /// Damages every object but block 0, which has the sizes.
    func damage(_ damage: Damage) throws {
        let directory = try path()
        let keys = try keys()
        for (index, key) in keys.enumerated() {
            let file = URL(fileURLWithPath: "\(directory)/\(key)")
            switch damage {
            case .rolledBack:
                // What came later stays: to lose it would be another kind.
                guard let copy = FileManager.default.contents(atPath: "\(directory).copy/\(key)") else { continue }
                try copy.write(to: file)
            case .missing: try FileManager.default.removeItem(at: file)
            case .mixed:
                var data = try Data(contentsOf: file)
                for start in stride(from: 512, to: data.count, by: SectorStamp.size) {
                    data.replaceSubrange(start..<start + 4, with: Data("torn".utf8))
                }
                try data.write(to: file)
            case .swapped:
                guard index % 2 == 1 else { continue }
                let neighbour = URL(fileURLWithPath: "\(directory)/\(keys[index - 1])")
                let data = try Data(contentsOf: file)
                try Data(contentsOf: neighbour).write(to: file)
                try data.write(to: neighbour)
            }
        }
    }

    private func path() throws -> String {
        guard let directory else { throw FixtureError("a bucket cannot be damaged") }
        return directory
    }

    private func keys() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path()).sorted().filter {
            $0.count == 8 && $0.allSatisfy(\.isHexDigit) && $0 != "00000000"
        }
    }
}
