// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// The directory of one test: whatever the test mounts, attaches or starts names a path below it, so that
/// everything can be found and removed, also by a later run after a run that was killed.
///
/// - Concurrency: for one thread.
final class Workspace {
    /// The absolute path, without links.
    let path: String

    private static let root = "/tmp/s3backer-integration"

    /// Removes what runs that were killed have left; once per run.
    private static let leftoversAreRemoved: Bool = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        for name in names {
            let owner = name.split(separator: "-").first.flatMap { pid_t($0) }
            if let owner, kill(owner, 0) == 0 || errno == EPERM { continue }
            Sweep.removeEverything(below: "\(root)/\(name)")
        }
        return true
    }()

    /// Makes an empty directory.
    init() throws {
        _ = Self.leftoversAreRemoved
        path = "\(Self.root)/\(getpid())-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// Unmounts, detaches, ends and deletes everything below the directory.
    func remove() {
        Sweep.removeEverything(below: path)
        // Goes only when it is empty: other runs may have theirs there.
        rmdir(Self.root)
    }

    /// The path of a file in it; the file need not be there.
    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a directory in it and returns its path.
    func directory(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: file(name), withIntermediateDirectories: true)
        return file(name)
    }

    /// Writes a file for nobody else's eyes and returns its path.
    func write(_ text: String, to name: String) throws -> String {
        guard
            FileManager.default.createFile(atPath: file(name), contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw FixtureError("cannot write \(file(name))") }
        return file(name)
    }
}

/// Runs a test in a workspace that is removed afterwards, also when the test fails.
func withWorkspace(_ body: (Workspace) throws -> Void) throws {
    let workspace = try Workspace()
    defer { workspace.remove() }
    try body(workspace)
}
