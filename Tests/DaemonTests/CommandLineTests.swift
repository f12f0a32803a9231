// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

/// Reads a command line against config files that exist only here.
func readWords(_ arguments: [String], files: [String: String] = [:]) throws(UserError) -> CommandLineWords {
    try CommandLineReader.read(arguments) { path throws(UserError) in
        guard let text = files[path] else { throw UserError("cannot read config file \"\(path)\": No such file or directory") }
        return try ConfigFile.arguments(in: Array(text.utf8), path: path)
    }
}

/// The line that the user gets for a command line.
func message(_ arguments: [String], files: [String: String] = [:]) -> String? {
    do {
        _ = try readWords(arguments, files: files)
        return nil
    } catch { return error.message }
}

@Suite("Reading the command line")
struct CommandLineTests {
    /// A value that an option takes.
    private static func sample(_ option: OptionDescription) -> String? {
        switch option.form {
        case .flag: nil
        case .text, .optionalText: "text"
        case .number: "7"
        case .size: "64k"
        case .fileMode: "0640"
        }
    }

    private static let ordinary = OptionTable.supported.filter { !["help", "version", "configFile"].contains($0.name) }

    @Test(
        "every option is understood as --NAME, in a -o list and in a config file, and reaches its property", arguments: ordinary)
    func threeSyntaxes(option: OptionDescription) throws {
        let word = option.name + (Self.sample(option).map { "=\($0)" } ?? "")
        let expected = ["--" + word]
        #expect(try readWords(["--" + word]).options == expected)
        #expect(try readWords(["-o", word]).options == expected)
        #expect(try readWords(["-o\(word)"]).options == expected)
        #expect(try readWords(["-F", "f"], files: ["f": "--\(word)\n"]).options == expected)
        // Throws when the typed declaration is missing, or disagrees about the form.
        let parsed = try ParsedOptions.read(expected)
        let given = Mirror(reflecting: parsed).children.filter { child in
            let text = "\(child.value)"
            return text.contains("text") || text.contains("7") || text.contains("64k") || text.contains("416")
                || text.contains("true") || text.contains("****")
        }
        #expect(given.count == 1)
    }

    @Test(
        "an option whose value may be left out is understood without one in all syntaxes, and is not mistaken for the word behind it",
        arguments: OptionTable.supported.filter { if case .optionalText = $0.form { true } else { false } })
    func optionalValues(option: OptionDescription) throws {
        let expected = ["--" + option.name]
        #expect(try readWords(["--" + option.name, "bucket"]).options == expected)
        #expect(try readWords(["--" + option.name, "bucket"]).positionals == ["bucket"])
        #expect(try readWords(["-o", option.name + ",ssl"]).options == expected + ["--ssl"])
        #expect(try readWords(["-F", "f"], files: ["f": "--\(option.name)\n"]).options == expected)
        let parsed = try ParsedOptions.read(expected + ["--ssl"])
        #expect(parsed.ssl && (parsed.compress == "" || parsed.encrypt == ""))
        #expect(try ParsedOptions.read(["--compress=zstd", "--compress"]).compress == "")
        #expect(try ParsedOptions.read(["--compress", "--compress=zstd"]).compress == "zstd")
    }

    @Test("an option of the C program that this version has not is refused by name", arguments: OptionDescription.laterOptions)
    func laterOptions(option: OptionDescription) throws {
        let line = try #require(message(["--\(option.name)"]))
        #expect(line.hasPrefix("cannot use \"--\(option.name)\": "))
        #expect(line.hasSuffix("is not in this version yet; leave it out, or use the C program"))
        #expect(message(["-o", "\(option.name)=1"]) != nil)
    }

    @Test("help, version and the short forms are recognised")
    func shortOptions() throws {
        for word in ["-h", "-?", "--help"] { #expect(try readWords([word]).wantsHelp) }
        for word in ["-v", "--version"] { #expect(try readWords([word]).wantsVersion) }
        #expect(try readWords(["-f"]).isForeground)
        #expect(try readWords(["-s"]).isSingleThreaded)
        let debug = try readWords(["-d"])
        #expect(debug.isForeground && debug.options == ["--debug"])
    }

    @Test("options and positional arguments mix, and the last occurrence wins")
    func mixed() throws {
        let words = try readWords(["--size=1m", "bucket", "-f", "--size=2m", "/mnt", "-o", "size=3m,ssl"])
        #expect(words.positionals == ["bucket", "/mnt"])
        #expect(try ParsedOptions.read(words.options).size == ByteSize(parsing: "3m"))
        #expect(try ParsedOptions.read(words.options).ssl)
    }

    @Test("nothing after -- is an option")
    func doubleDash() throws {
        #expect(try readWords(["--", "-f", "--size"]).positionals == ["-f", "--size"])
    }

    @Test("a value may be empty, and may hold = and blanks")
    func values() throws {
        let words = try readWords(["--accessId=", "--prefix=a=b c"])
        let options = try ParsedOptions.read(words.options)
        #expect(options.accessId == "")
        #expect(options.prefix == "a=b c")
    }

    @Test(
        "what is wrong is said in one line, in the user's own words",
        arguments: [
            (["--bogus"], "unknown option \"--bogus\"; \"s3backer --help\" lists the options"),
            (["--bogus=1"], "unknown option \"--bogus\"; \"s3backer --help\" lists the options"),
            (["-password=hunter2"], "unknown option \"-password\"; \"s3backer --help\" lists the options"),
            (["--Password=hunter2"], "unknown option \"--Password\"; did you mean \"--password\"?"),
            (["--password", "hunter2"], "cannot use \"--password\": its value is missing; write \"--password=PASSWORD\""),
            (["--compress="], "cannot use \"--compress=\": its value is missing; write \"--compress\" or \"--compress=ALG\""),
            (["-x"], "unknown option \"-x\"; \"s3backer --help\" lists the options"),
            (["--blocksize=4k"], "unknown option \"--blocksize\"; did you mean \"--blockSize\"?"),
            (["-o", "readonly"], "unknown option \"-o readonly\"; did you mean \"--readOnly\"?"),
            (["--size", "4k"], "cannot use \"--size\": its value is missing; write \"--size=SIZE\""),
            (["--force=true"], "cannot use \"--force=...\": the option takes no value; write \"--force\""),
            (["--timeout=abc"], "invalid number \"abc\" in \"--timeout\": give a whole number below 2^32"),
            (["--timeout=-1"], "invalid number \"-1\" in \"--timeout\": give a whole number below 2^32"),
            (["--fileMode=89"], "invalid file mode \"89\" in \"--fileMode\": give octal permissions such as 0600"),
            (["--size=1mb"], "invalid file size \"1mb\": give a positive number with an optional suffix such as k, m, g or t"),
            (["--blockSize=0"], "invalid block size \"0\": give a positive number with an optional suffix such as k, m, g or t"),
            (["--size=16e"], "invalid file size \"16e\": 64 bits cannot hold it; give a smaller one"),
            (["-o"], "cannot use \"-o\": its value is missing"),
            (["-F", "nowhere"], "cannot read config file \"nowhere\": No such file or directory"),
        ])
    func messages(arguments: [String], expected: String) {
        #expect(message(arguments) == expected)
    }

    @Test("a number with garbage behind it is taken as the C program takes it, with a warning")
    func scanfNumbers() throws {
        let words = try readWords(["--timeout=30s"])
        #expect(words.warnings == ["warning: of \"--timeout=30s\" only the number 30 is used"])
        #expect(try ParsedOptions.read(words.options).timeout?.value == 30)
    }

    @Test("options of mount(8) are accepted, ro is ours, and the rest is FUSE's")
    func mountOptions() throws {
        let words = try readWords([
            "-o", "rw,_netdev,noauto,user,user=joe,x-systemd.automount,comment=a,ro,uid=5,fsname=a\\,b",
        ])
        #expect(words.isReadOnly)
        #expect(words.options.isEmpty)
        #expect(words.fuseOptions == ["uid=5", "fsname=a\\,b"])
    }

    @Test("a backslash in a -o list takes away the meaning of a comma, or starts an octal byte")
    func escapes() throws {
        #expect(splitOptionList("a\\,b,c\\054d,,e").map(\.word) == ["a,b", "c,d", "e"])
    }
}

@Suite("Config files")
struct ConfigFileTests {
    @Test("a line is an argument; blanks around it, empty lines and comments do not count")
    func lines() throws {
        let words = try readWords(
            ["a", "--configFile=f", "b"], files: ["f": "  # note\n\n --prefix=x y \t\r\n-o\nsize=1m\nmiddle\n"])
        #expect(words.positionals == ["a", "middle", "b"])
        #expect(words.options == ["--prefix=x y", "--size=1m"])
    }

    @Test("arguments are spliced in where the option stands, also within a -o list")
    func position() throws {
        let words = try readWords(["-o", "size=1m,configFile=f,ssl"], files: ["f": "--size=2m"])
        #expect(words.options == ["--size=1m", "--size=2m", "--ssl"])
    }

    @Test("a mistake in a file is told with file and line")
    func lineNumbers() {
        #expect(
            message(["-F", "f"], files: ["f": "--ssl\n\n--bogus\n"])
                == "f:3: unknown option \"--bogus\"; \"s3backer --help\" lists the options")
        #expect(message(["-F", "f"], files: ["f": "-F\ng", "g": "\n--size"])?.hasPrefix("g:2: cannot use \"--size\"") == true)
    }

    @Test("a line of 1022 bytes is read, one of 1023 is refused")
    func longLines() {
        let longest = "--prefix=" + String(repeating: "x", count: 1013)
        #expect(message(["-F", "f"], files: ["f": longest]) == nil)
        #expect(
            message(["-F", "f"], files: ["f": "\n" + longest + "x"])
                == "cannot read config file: f:2: line too long; at most 1022 bytes")
    }

    @Test("100 substitutions are made, the 101st is refused")
    func nesting() {
        let many = (0..<100).map { _ in "--configFile=e" }
        #expect(message(many, files: ["e": ""]) == nil)
        #expect(message(many + ["-Fe"], files: ["e": ""])?.contains("too many levels of \"--configFile\" nesting") == true)
        #expect(message(["-F", "f"], files: ["f": "-F\nf"])?.contains("too many levels") == true)
    }
}

@Suite("The calling convention of mount(8)")
struct MountProgramTests {
    @Test("mount.fuse.s3backer drops what belongs to mount(8)")
    func translation() throws {
        let call = try #require(
            try MountProgramCall.translate(
                program: "/sbin/mount.fuse.s3backer", ["bucket", "/mnt", "-sn", "-v", "-o", "rw,size=1m", "-t", "fuse.s3backer"]))
        #expect(call == MountProgramCall(arguments: ["bucket", "/mnt", "-o", "rw,size=1m"], isRehearsal: false))
        #expect(try MountProgramCall.translate(program: "mount.fuse.s3backer", ["b", "/m", "-f"])?.isRehearsal == true)
        #expect(try MountProgramCall.translate(program: "/usr/bin/s3backer", ["-f", "b", "/m"]) == nil)
    }

    @Test("another mount namespace is refused")
    func namespace() {
        #expect(throws: UserError.self) {
            try MountProgramCall.translate(program: "mount.x", ["b", "/m", "-N", "/proc/1/ns/mnt"])
        }
    }
}
