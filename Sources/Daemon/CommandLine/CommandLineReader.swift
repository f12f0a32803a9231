// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// What a command line says, as words: config files are spliced in, `-o` lists taken apart, names and forms checked.
struct CommandLineWords: Equatable {
    /// The options of the table, in the order given, as `--NAME` or `--NAME=VALUE`.
    var options: [String] = []
    /// Bucket (or directory) and mount point, in this order.
    var positionals: [String] = []
    /// Words of `-o` lists that FUSE has to understand; with the escapes that a list needs.
    var fuseOptions: [String] = []
    /// Whether `-o ro` was given.
    var isReadOnly = false
    /// `-f` or `-d`: stay in the foreground.
    var isForeground = false
    /// `-d`: also let FUSE log each request.
    var isFUSEDebug = false
    /// `-s`: one thread.
    var isSingleThreaded = false
    /// Whether help was asked for.
    var wantsHelp = false
    /// Whether the version was asked for.
    var wantsVersion = false
    /// Lines for the user about what was taken, but perhaps not meant.
    var warnings: [String] = []
}

extension CommandLineWords: CustomStringConvertible, CustomReflectable {
    /// The options and what they are for, with asterisks in the place of secrets.
    var description: String { (shownOptions + positionals + fuseOptions).joined(separator: " ") }

    /// What the description shows: no dump may show a secret.
    var customMirror: Mirror {
        Mirror(self, children: ["options": shownOptions, "positionals": positionals, "fuseOptions": fuseOptions])
    }

    private var shownOptions: [String] {
        options.map { word in
            let name = splitAtEquals(word).name
            return OptionTable.option(named: String(name.dropFirst(2)))?.isSecret == true ? "\(name)=****" : word
        }
    }
}

/// Reads a command line by the rules of libfuse's parser, which the C program uses: a value is attached with `=`, names are
/// exact, options and positional arguments mix, the last occurrence wins.
///
/// It stands in front of ArgumentParser, which knows neither `-o` lists nor arguments spliced in from files.
///
/// - Source: libfuse, fuse_opt.h.
struct CommandLineReader {
    /// A word, and where it stands.
    private struct Word {
        let text: String
        /// `FILE:LINE: ` in a config file, else empty.
        let origin: String
    }

    private let readFile: (String) throws(UserError) -> [ConfigFile.Line]
    /// What has not been read yet, the next word last.
    private var pending: [Word]
    private var substitutionCount = 0
    private var optionsHaveEnded = false
    private var words = CommandLineWords()

    private init(_ arguments: [String], readFile: @escaping (String) throws(UserError) -> [ConfigFile.Line]) {
        self.readFile = readFile
        pending = arguments.reversed().map { Word(text: $0, origin: "") }
    }

    /// Reads a command line.
    ///
    /// - Parameters:
    ///   - arguments: The words after the program's name.
    ///   - readFile: Gives the arguments in a config file.
    /// - Throws: The first thing that is wrong: an unknown option, a missing value, an unreadable config file ...
    static func read(
        _ arguments: [String], readFile: @escaping (String) throws(UserError) -> [ConfigFile.Line] = ConfigFile.read
    ) throws(UserError) -> CommandLineWords {
        var reader = CommandLineReader(arguments, readFile: readFile)
        while let word = reader.pending.popLast() { try reader.take(word) }
        return reader.words
    }

    private mutating func take(_ word: Word) throws(UserError) {
        let text = word.text
        if optionsHaveEnded || text == "-" || !text.hasPrefix("-") {
            words.positionals.append(text)
        } else if text == "--" {
            optionsHaveEnded = true
        } else if text.hasPrefix("--") {
            try take(option: String(text.dropFirst(2)), as: "\"--\(splitAtEquals(text).name.dropFirst(2))\"", at: word)
        } else {
            try take(short: word)
        }
    }

    private mutating func take(short word: Word) throws(UserError) {
        switch word.text {
        case "-h", "-?": words.wantsHelp = true
        case "-v": words.wantsVersion = true
        case "-f": words.isForeground = true
        case "-s": words.isSingleThreaded = true
        case "-d":
            words.isForeground = true
            words.isFUSEDebug = true
            words.options.append("--\(OptionDescription.debug.name)")
        case let text where text.hasPrefix("-F"):
            try splice(try value(of: "-F", attached: String(text.dropFirst(2)), word), at: word)
        case let text where text.hasPrefix("-o"):
            try take(list: try value(of: "-o", attached: String(text.dropFirst(2)), word), at: word)
        default:
            // Without what stands behind the "=": it may be a secret, meant for an option with two dashes.
            let name = splitAtEquals(word.text).name
            throw UserError("\(word.origin)unknown option \"\(name)\"; \"s3backer --help\" lists the options")
        }
    }

    /// The value of a short option: in the same word, or the next word.
    private mutating func value(of name: String, attached: String, _ word: Word) throws(UserError) -> String {
        if !attached.isEmpty { return attached }
        guard let next = pending.popLast() else {
            throw UserError("\(word.origin)cannot use \"\(name)\": its value is missing")
        }
        return next.text
    }

    private mutating func take(list: String, at word: Word) throws(UserError) {
        let items = splitOptionList(list)
        for (index, item) in items.enumerated() {
            let (name, value) = splitAtEquals(item.word)
            if name == OptionDescription.configFile.name, value != nil {
                // The rest of the list comes after what the file holds.
                let rest = items[(index + 1)...].map(\.written).joined(separator: ",")
                if !rest.isEmpty { pending += [Word(text: rest, origin: word.origin), Word(text: "-o", origin: word.origin)] }
                return try take(option: item.word, as: "\"-o \(name)\"", at: word)
            }
            if OptionTable.option(named: name) != nil || OptionTable.correction(of: name) != nil {
                try take(option: item.word, as: "\"-o \(name)\"", at: word)
            } else if let option = MountOption(word: item.word) {
                if option == .readOnly { words.isReadOnly = true }
            } else {
                words.fuseOptions.append(escapeForOptionList(item.word))
            }
        }
    }

    private mutating func take(option text: String, as written: String, at word: Word) throws(UserError) {
        let (name, value) = splitAtEquals(text)
        guard let option = OptionTable.option(named: name) else {
            let hint = OptionTable.correction(of: name).map { "; did you mean \"--\($0)\"?" }
            throw UserError(
                "\(word.origin)unknown option \(written)\(hint ?? "; \"s3backer --help\" lists the options")")
        }
        guard option.section != .later else {
            throw UserError(
                "\(word.origin)cannot use \(written): \(option.help) is not in this version yet; leave it out, or use the C program"
            )
        }
        do {
            if let warning = try option.check(value: value) { words.warnings.append(word.origin + warning) }
        } catch {
            throw UserError(word.origin + error.message)
        }
        switch option.name {
        case OptionDescription.configFile.name: try splice(value ?? "", at: word)
        case OptionDescription.help.name: words.wantsHelp = true
        case OptionDescription.version.name: words.wantsVersion = true
        default: words.options.append("--\(text)")
        }
    }

    private mutating func splice(_ path: String, at word: Word) throws(UserError) {
        substitutionCount += 1
        guard substitutionCount <= ConfigFile.substitutionsMax else {
            throw UserError(
                "\(word.origin)cannot read config file \"\(path)\": too many levels of \"--configFile\" nesting; "
                    + "does a file include itself?")
        }
        for line in try readFile(path).reversed() {
            pending.append(Word(text: line.argument, origin: "\(path):\(line.number): "))
        }
    }
}
