// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

/// The files of the package, as they are on disk; found from this file's own path.
enum SourceTree {
    /// The directory of Package.swift.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// All files below `folder` with one of these extensions, in order.
    static func files(in folder: String, _ extensions: String...) throws -> [SourceFile] {
        try paths(in: folder).filter { path in extensions.contains { path.hasSuffix("." + $0) } }.map(SourceFile.init(path:))
    }

    /// The paths of all files below `folder`, counted from the root; hidden folders are left out.
    static func paths(in folder: String) throws -> [String] {
        let base = root.appending(path: folder)
        guard
            let walker = FileManager.default.enumerator(
                at: base, includingPropertiesForKeys: [.isRegularFileKey], options: [.skipsHiddenFiles])
        else { throw CocoaError(.fileReadNoSuchFile) }
        let prefix = root.path + "/"
        var found: [String] = []
        for case let file as URL in walker {
            if file.lastPathComponent == "checkouts" || file.lastPathComponent == "results" { walker.skipDescendants() }
            guard try file.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true else { continue }
            found.append(String(file.path.dropFirst(prefix.count)))
        }
        return found.sorted()
    }

    /// Whether there is such a file or folder, counted from the root.
    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).path)
    }
}

/// One file of the package.
struct SourceFile {
    /// Where it is, counted from the root.
    let path: String
    /// Its lines, as they are.
    let lines: [String]

    init(path: String) throws {
        self.path = path
        let text = try String(contentsOf: SourceTree.root.appending(path: path), encoding: .utf8)
        var lines = text.components(separatedBy: "\n")
        if lines.last == "" { lines.removeLast() }
        self.lines = lines
    }

    /// The whole text.
    var text: String { lines.joined(separator: "\n") }

    /// The second part of the path: the target, for a file below Sources or Tests.
    var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }

    /// The lines without comments and without what stands between quotes, with their numbers from 1.
    var code: [(number: Int, text: String)] {
        var isInsideText = false
        return lines.enumerated().map { index, line in
            let fences = line.components(separatedBy: "\"\"\"").count - 1
            defer { if fences % 2 == 1 { isInsideText.toggle() } }
            guard !isInsideText, fences == 0 else { return (index + 1, "") }
            return (index + 1, Self.withoutCommentsAndTexts(line))
        }
    }

    private static func withoutCommentsAndTexts(_ line: String) -> String {
        var result = ""
        var isInsideQuotes = false
        var previous: Character = " "
        for character in line {
            if character == "\"", previous != "\\" { isInsideQuotes.toggle() }
            if !isInsideQuotes {
                if character == "/", previous == "/" { return String(result.dropLast()) }
                result.append(character)
            }
            // A backslash that is itself escaped does not escape what follows.
            previous = previous == "\\" && character == "\\" ? " " : character
        }
        return result
    }
}

/// What a check has found: one line for each place.
struct Findings {
    private(set) var lines: [String] = []

    mutating func add(_ file: SourceFile, _ number: Int, _ text: String) { lines.append("\(file.path):\(number): \(text)") }
    mutating func add(_ text: String) { lines.append(text) }

    /// Fails the test if there is any.
    func expectNone(sourceLocation: SourceLocation = #_sourceLocation) {
        guard !lines.isEmpty else { return }
        Issue.record("\(lines.count) found:\n\(lines.joined(separator: "\n"))", sourceLocation: sourceLocation)
    }
}
