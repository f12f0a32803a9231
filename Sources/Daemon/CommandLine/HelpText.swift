// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The text of `--help`, made from the option table.
enum HelpText {
    /// The column in which the explanations start.
    private static let column = 32

    /// The whole text, several lines, with an end of line.
    static var text: String {
        var lines = [
            "Usage:",
            "    s3backer [options] BUCKET[/SUBDIR] MOUNTPOINT",
            "    s3backer --test [options] DIRECTORY MOUNTPOINT",
            "    s3backer --reset-mounted-flag [options] BUCKET[/SUBDIR]",
            "    s3backer --changePassword [options] BUCKET[/SUBDIR]",
        ]
        for section in OptionSection.allCases where section != .later {
            lines += ["", "\(section.rawValue):"]
            lines += OptionTable.supported.filter { $0.section == section }.map(line(for:))
        }
        lines += [
            "", "Running:",
            padded("-f") + "Stay in the foreground",
            padded("-d") + "Stay in the foreground and log every request",
            padded("-s") + "Serve with one thread",
            padded("-o NAME[=VALUE],...") + "Any of the above, or an option of mount(8) or FUSE",
            "", "A value is attached with \"=\". Sizes take a suffix k, m, g, t, p or e. See s3backer(1).",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func line(for option: OptionDescription) -> String {
        let hint = option.defaultText.map { " [\($0)]" } ?? ""
        return padded(option.usage) + option.help + hint
    }

    private static func padded(_ usage: String) -> String {
        let start = "    " + usage
        return start + String(repeating: " ", count: max(1, column - start.count))
    }
}
