// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// Finds out who keeps a mount busy, in words for the log.
///
/// Looks only at what the kernel shows of others, never into the mount itself. What belongs to other users stays unseen
/// without root.
enum MountHolders {
    /// Names loop devices on files below `mountPoint`, and processes that have files or their directory there; at most ten.
    static func descriptions(below mountPoint: String) -> [String] {
        Array((loopDevices(below: mountPoint) + processes(below: mountPoint)).prefix(10))
    }

    private static func loopDevices(below mountPoint: String) -> [String] {
        names(in: "/sys/block").filter { $0.hasPrefix("loop") }.compactMap { name in
            guard let file = contents(of: "/sys/block/\(name)/loop/backing_file"), file.hasPrefix(mountPoint + "/") else {
                return nil
            }
            return "/dev/\(name)"
        }
    }

    private static func processes(below mountPoint: String) -> [String] {
        let own = String(getpid())
        return names(in: "/proc").filter { $0 != own && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }.compactMap {
            process in
            let directory = "/proc/\(process)"
            let links = ["\(directory)/cwd"] + names(in: "\(directory)/fd").map { "\(directory)/fd/\($0)" }
            let isHolder = links.contains { link in
                guard let target = target(ofLink: link) else { return false }
                return target == mountPoint || target.hasPrefix(mountPoint + "/")
            }
            guard isHolder else { return nil }
            let name = contents(of: "\(directory)/comm")?.split(separator: "\n").first.map(String.init) ?? "?"
            return "process \(process) (\(name))"
        }
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private static func target(ofLink path: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4097) { buffer in
            guard let base = buffer.baseAddress else { return nil }
            let count = readlink(path, base, buffer.count)
            guard count >= 0 else { return nil }
            return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}
