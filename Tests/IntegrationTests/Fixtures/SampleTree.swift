// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// A tree of files to copy: deterministic, of all sizes, with links and with odd names.
struct SampleTree {
    /// Its root.
    let path: String

    /// Writes the tree.
    ///
    /// - Parameter fileCount: Sizes are spread from 0 to 64 KiB with a mean of about 7 KiB; one file is 2 MiB.
    init(in workspace: Workspace, name: String = "tree", fileCount: Int = 1_500, seed: UInt64 = 1) throws {
        path = try workspace.directory(name)
        var generator = SplitMix(seed: seed)
        for index in 0..<fileCount {
            let folder = "\(path)/d\(index % 37)/e\(index % 5)"
            if index < 185 {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            }
            let size = Int(generator.next() % 65_536) >> Int(generator.next() % 8)
            try Self.bytes(size, from: &generator).write(to: URL(fileURLWithPath: "\(folder)/file \(index) é+"))
        }
        try Self.bytes(2 << 20, from: &generator).write(to: URL(fileURLWithPath: "\(path)/large"))
        try FileManager.default.createSymbolicLink(atPath: "\(path)/link", withDestinationPath: "d1/e1/nowhere")
        try FileManager.default.linkItem(atPath: "\(path)/large", toPath: "\(path)/large-again")
    }

    /// Copies the tree into a mounted file system.
    func copy(to directory: String, seconds: Int = 120) throws {
        try Command.run("cp", ["-a", path, directory + "/"], seconds: seconds)
    }

    /// Compares names, kinds and bytes with a copy.
    ///
    /// - Throws: `FixtureError` with the differences.
    func compare(with directory: String, seconds: Int = 120) throws {
        let name = URL(fileURLWithPath: path).lastPathComponent
        try Command.run("diff", ["-r", "--no-dereference", path, "\(directory)/\(name)"], seconds: seconds)
    }

    private static func bytes(_ count: Int, from generator: inout SplitMix) -> Data {
        var data = Data(capacity: count + 8)
        while data.count < count { withUnsafeBytes(of: generator.next()) { data.append(contentsOf: $0) } }
        return data.prefix(count)
    }
}

/// A small generator of pseudo-random numbers with a seed.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    /// Starts the sequence of this seed.
    init(seed: UInt64) { state = seed }

    /// The next number.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
