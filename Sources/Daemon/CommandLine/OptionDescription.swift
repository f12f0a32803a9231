// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import ArgumentParser

/// One option of the command line, described once: parsing, help text, secrecy and the man page all follow from it.
struct OptionDescription: Sendable {
    /// What stands behind the `=`.
    enum Form: Sendable, Equatable {
        /// Nothing: the option is a switch, and a value is an error.
        case flag
        /// Any text; the word that stands for it in the help.
        case text(String)
        /// A text that may be left out together with its `=`, but is not empty; the word that stands for it in the help.
        case optionalText(String)
        /// A whole number, as ``WholeNumber``; the word that stands for it in the help.
        case number(String)
        /// A number of bytes or bits, as ``ByteSize``; what is measured, for messages.
        case size(String)
        /// Octal permissions, as ``FileMode``.
        case fileMode
    }

    /// The name, exact in case, without dashes: `NAME` stands for `--NAME` and for the word in a `-o` list.
    let name: String
    /// What stands behind the `=`.
    let form: Form
    /// Where help and man page list it.
    let section: OptionSection
    /// What it does, in a line.
    let help: String
    /// What holds without it, as the help shows it; nil when there is nothing to say.
    let defaultText: String?
    /// Whether the value must not be seen in the list of processes.
    let isSecret: Bool

    init(
        name: String, _ form: Form, _ section: OptionSection, _ help: String, default defaultText: String? = nil,
        isSecret: Bool = false
    ) {
        self.name = name
        self.form = form
        self.section = section
        self.help = help
        self.defaultText = defaultText
        self.isSecret = isSecret
    }

    /// The option as one types it: `--size=SIZE`.
    var usage: String {
        switch form {
        case .flag: "--\(name)"
        case .text(let word), .number(let word): "--\(name)=\(word)"
        case .optionalText(let word): "--\(name)[=\(word)]"
        case .size: "--\(name)=SIZE"
        case .fileMode: "--\(name)=MODE"
        }
    }
}

/// The groups of options, in the order in which help and man page list them.
enum OptionSection: String, CaseIterable, Sendable {
    case credentials = "Credentials"
    case endpoint = "Endpoint and requests"
    case objects = "Objects"
    case codec = "Compression and encryption"
    case consistency = "Eventually consistent stores"
    case survey = "Survey of blocks"
    case geometry = "Geometry"
    case cache = "Block cache"
    case fileSystem = "File system"
    case modes = "Modes"
    /// Options of the C program that this version refuses.
    case later = "Not in this version"
}

extension Option {
    /// Declares an option with a value, as described in the table.
    init<T: ExpressibleByArgument>(_ description: OptionDescription) where Value == T? {
        self.init(
            name: .customLong(description.name), parsing: .unconditional,
            help: ArgumentHelp(stringLiteral: description.help))
    }
}

extension Flag where Value == Bool {
    /// Declares a switch, as described in the table.
    init(_ description: OptionDescription) {
        self.init(
            wrappedValue: false, name: .customLong(description.name), help: ArgumentHelp(stringLiteral: description.help))
    }
}
