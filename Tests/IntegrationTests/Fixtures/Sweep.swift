// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation

/// Removes what a test has left in the kernel and among the processes, found by paths below its directory.
enum Sweep {
    /// Ends processes, unmounts file systems, detaches loop devices, and deletes the directory.
    ///
    /// The daemons die first: then no unmount can wait for them. Only processes with the directory in their command line are
    /// ended; its name holds a random part, so they are the test's own.
    static func removeEverything(below directory: String) {
        for pid in processes(naming: directory) { kill(pid, SIGKILL) }
        // First the devices: once the mount under their file is gone, the kernel no longer tells the file's whole path. A
        // device in use is detached by its last user.
        for device in loopDevices(below: directory) {
            _ = try? Command.attempt("losetup", ["-d", device], seconds: 10)
        }
        for _ in 0..<50 {
            for point in mountPoints(below: directory).reversed() {
                _ = try? Command.attempt("umount", ["-l", point], seconds: 10)
            }
            if mountPoints(below: directory).isEmpty { break }
            usleep(100_000)
        }
        guard mountPoints(below: directory).isEmpty else { return }
        _ = try? Command.attempt("rm", ["-rf", "--one-file-system", directory], seconds: 60)
    }

    /// The ids of the processes, apart from this one, with this text in an argument.
    static func processes(naming text: String) -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { pid in
            guard pid != getpid(), let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            return line.range(of: Data(text.utf8)) != nil
        }
    }

    /// The mount points in or below a directory, in the order in which they were mounted.
    static func mountPoints(below directory: String) -> [String] {
        let table = (try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? ""
        return table.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 4 else { return nil }
            let point = unescaped(String(fields[4]))
            return point == directory || point.hasPrefix(directory + "/") ? point : nil
        }
    }

    /// The loop devices whose file lies below a directory.
    static func loopDevices(below directory: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/block")) ?? []
        return names.filter { $0.hasPrefix("loop") }.compactMap { name in
            let file = try? String(contentsOfFile: "/sys/block/\(name)/loop/backing_file", encoding: .utf8)
            guard let file, file.hasPrefix(directory + "/") else { return nil }
            return "/dev/\(name)"
        }
    }

    /// Replaces the octal escapes of blanks in /proc/self/mountinfo (man 5 proc).
    private static func unescaped(_ text: String) -> String {
        text.replacingOccurrences(of: "\\040", with: " ").replacingOccurrences(of: "\\134", with: "\\")
    }
}
