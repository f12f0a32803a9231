// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Cryptography
import Testing
import Volumes

@testable import Daemon

private func codec(_ arguments: [String]) throws(UserError) -> CodecSettings {
    try Settings(try CommandLineReader.read(["b", "/m"] + arguments), in: surroundings()).codec
}

@Suite("Compression")
struct CompressionSettingsTests {
    @Test(
        "an algorithm is named in any case, by its absence, or by the level that once stood in its place",
        arguments: [
            (["--compress"], .deflate(level: -1)), (["-o", "compress"], .deflate(level: -1)),
            (["--compress=deflate"], .deflate(level: -1)), (["--compress=Zstd"], .zstd(level: 3)),
            (["-o", "compress=ZSTD,ssl"], .zstd(level: 3)), (["--compress=9"], .deflate(level: 9)),
            (["--compress=-1"], .deflate(level: -1)), (["--compress=0"], .deflate(level: 0)),
            (["--compress", "--compress-level=5"], .deflate(level: 5)),
            (["--compress=deflate", "--compress-level=-1"], .deflate(level: -1)),
            (["--compress=zstd", "--compress-level=22"], .zstd(level: 22)),
            (["--compress=zstd", "--compress-level=-131072"], .zstd(level: -131_072)),
            (["--compress=4", "--compress-level=4"], .deflate(level: 4)), ([], nil),
            (["--encrypt"], .deflate(level: -1)), (["--encrypt", "--compress-level=1"], .deflate(level: 1)),
            (["--encrypt", "--compress=zstd"], .zstd(level: 3)), (["--encrypt=AES-256-GCM"], nil),
            (["--encrypt=AES-256-GCM", "--compress"], .deflate(level: -1)),
        ] as [([String], Compression?)])
    func compression(arguments: [String], expected: Compression?) throws {
        #expect(try codec(arguments).compression == expected)
    }

    @Test(
        "what makes no sense is refused in one line",
        arguments: [
            (["--compress=gzip"], "invalid compression \"gzip\" for \"--compress\": use one of deflate, zstd"),
            (["--compress=10"], "invalid compression level \"10\": deflate takes a number from -1 to 9"),
            (["--compress", "--compress-level=10"], "invalid compression level \"10\": deflate takes a number from -1 to 9"),
            (["--compress", "--compress-level=best"], "invalid compression level \"best\": deflate takes a number from -1 to 9"),
            (
                ["--compress=zstd", "--compress-level=23"],
                "invalid compression level \"23\": zstd takes a number from -131072 to 22"
            ),
            (["--compress-level=5"], "cannot use \"--compress-level=5\" without compression: add \"--compress\""),
            (
                ["--encrypt=AES-256-GCM", "--compress-level=5"],
                "cannot use \"--compress-level=5\" without compression: add \"--compress\""
            ),
            (
                ["--compress=5", "--compress-level=6"],
                "cannot use \"--compress=5\" with \"--compress-level=6\": both are levels; give one"
            ),
            (
                ["--defaultContentEncoding=deflate,gzip"],
                "invalid encoding \"deflate,gzip\" for \"--defaultContentEncoding\": \"gzip\" is not known there; give a "
                    + "compression, an encryption, or both, such as \"deflate\" or \"deflate,encrypt-AES-128-CBC\""
            ),
        ])
    func refusals(arguments: [String], expected: String) {
        #expect(failure(["b", "/m"] + arguments) == expected)
    }

    @Test("the default encoding is a list, in all three syntaxes")
    func defaultEncoding() throws {
        let expected = ContentEncoding(elements: ["deflate", "encrypt-AES-128-CBC"])
        #expect(try codec(["--defaultContentEncoding=deflate, encrypt-AES-128-CBC"]).defaultContentEncoding == expected)
        #expect(try codec(["-o", "defaultContentEncoding=deflate\\,encrypt-AES-128-CBC"]).defaultContentEncoding == expected)
    }

    @Test("requests name the encodings that blocks may have")
    func acceptEncoding() throws {
        #expect(try codec([]).acceptEncoding == "deflate, zstd")
        #expect(try codec(["--encrypt=aes256"]).acceptEncoding == "deflate, zstd, encrypt-AES-256-CBC")
        #expect(try codec(["--encrypt=aes-256-gcm"]).acceptEncoding == "deflate, zstd, encrypt-AES-256-GCM")
    }
}

@Suite("Encryption")
struct EncryptionSettingsTests {
    @Test(
        "a cipher is named in any case, by an alias, or by its absence; keys may be longer than it needs",
        arguments: [
            (["--encrypt"], .compatible(.aes128CBC, keyCount: nil)),
            (["-o", "encrypt,ssl"], .compatible(.aes128CBC, keyCount: nil)),
            (["--encrypt=aes-256-cbc"], .compatible(.aes256CBC, keyCount: nil)),
            (["--encrypt=aes256"], .compatible(.aes256CBC, keyCount: nil)),
            (["-o", "encrypt=DES3"], .compatible(.desEDE3CBC, keyCount: nil)),
            (["--encrypt", "--keyLength=0"], .compatible(.aes128CBC, keyCount: nil)),
            (["--encrypt", "--keyLength=16"], .compatible(.aes128CBC, keyCount: 16)),
            (["--encrypt=aria192", "--keyLength=64"], .compatible(.aria192CBC, keyCount: 64)),
            (["--encrypt=AES-256-GCM"], .aes256GCM), (["--encrypt=aes-256-gcm"], .aes256GCM),
        ] as [([String], EncryptionOptions.Scheme)])
    func schemes(arguments: [String], expected: EncryptionOptions.Scheme) throws {
        #expect(try codec(arguments).encryption?.scheme == expected)
    }

    private static let ciphers =
        "AES-128-CBC, AES-192-CBC, AES-256-CBC, DES-EDE3-CBC, ARIA-128-CBC, ARIA-192-CBC, ARIA-256-CBC, AES-256-GCM"

    @Test(
        "what makes no sense is refused in one line",
        arguments: [
            (["--encrypt=AES-128-CTR"], "invalid cipher \"AES-128-CTR\" for \"--encrypt\": use one of \(ciphers)"),
            (["--encrypt=BF-CBC"], "invalid cipher \"BF-CBC\" for \"--encrypt\": use one of \(ciphers)"),
            (["--encrypt=rot13"], "invalid cipher \"rot13\" for \"--encrypt\": use one of \(ciphers)"),
            (
                ["--encrypt", "--keyLength=15"],
                "invalid key length 15 for \"--keyLength\": AES-128-CBC takes 16 to 64, or 0 for its own"
            ),
            (
                ["--encrypt=aes256", "--keyLength=65"],
                "invalid key length 65 for \"--keyLength\": AES-256-CBC takes 32 to 64, or 0 for its own"
            ),
            (
                ["--encrypt=AES-256-GCM", "--keyLength=32"],
                "cannot use \"--keyLength\" with \"--encrypt=AES-256-GCM\": its keys have one length; leave it out"
            ),
            (
                ["--encrypt", "--password=hunter2", "--passwordFile=f"],
                "cannot use \"--password\" and \"--passwordFile\" together: they exclude each other; give one"
            ),
            (
                ["--encrypt", "--password=hunter2\u{FFFD}"],
                "cannot use \"--password\": it is not UTF-8; use \"--passwordFile\", which takes any bytes"
            ),
            (["--encrypt", "--blockSize=8"], "invalid block size \"8\": encrypted blocks have at least 16 bytes"),
        ])
    func refusals(arguments: [String], expected: String) {
        #expect(failure(["b", "/m"] + arguments) == expected)
    }

    @Test(
        "what has no effect without encryption is told, and without its value",
        arguments: [("--password=hunter2", "password"), ("--passwordFile=f", "passwordFile"), ("--keyLength=16", "keyLength")])
    func unexpected(argument: String, name: String) throws {
        let settings = try settings("b", "/m", argument)
        #expect(settings.codec.encryption == nil)
        #expect(settings.warnings == ["warning: unexpected flag \"--\(name)\" (\"--encrypt\" was not specified)"])
    }

    @Test("the password stands in no setting, warning, dump or log of the configuration")
    func secrecy() throws {
        for arguments in [["--password=hunter2"], ["-o", "password=hunter2"], ["--encrypt", "-opassword=hunter2"]] {
            let settings = try Settings(try CommandLineReader.read(["b", "/m"] + arguments), in: surroundings())
            var dumped = ""
            dump(settings, to: &dumped)
            for text in [dumped, "\(settings)", String(reflecting: settings), "\(settings.given)", "\(settings.warnings)"] {
                #expect(!text.contains("hunter2"))
            }
            #expect(settings.given.contains(GivenOption(word: "--password=other")))
        }
    }

    @Test("the salt is where the volume is, and without a password nothing is encrypted")
    func options() throws {
        let settings = try codec(["--encrypt=aes256", "--keyLength=40"])
        let options = settings.options(SecretBytes(Array("p".utf8)), salt: "b/p/")
        #expect(options.encryption?.salt == "b/p/")
        #expect(options.encryption?.scheme == .compatible(.aes256CBC, keyCount: 40))
        #expect(options.compression == .deflate(level: -1))
        #expect(settings.options(nil, salt: "b/p/").encryption == nil)
    }
}

@Suite("Changing the password, on the command line")
struct ChangePasswordSettingsTests {
    @Test("it means AES-256-GCM, needs no mount point and no size")
    func command() throws {
        let plain = try settings("b", "--changePassword")
        guard case .changePassword(to: .terminal) = plain.command else { throw UserError("another command") }
        #expect(plain.codec.encryption?.scheme == .aes256GCM && !plain.command.isMount)
        let full = try settings("b", "--changePassword", "--encrypt=AES-256-GCM", "--newPasswordFile=new", "--passwordFile=old")
        guard case .changePassword(to: .file("new")) = full.command, case .file("old") = full.codec.encryption?.password else {
            throw UserError("another password")
        }
        #expect(full.warnings.isEmpty)
    }

    @Test(
        "what makes no sense is refused in one line",
        arguments: [
            (
                ["b", "/m", "--changePassword"],
                "cannot use mount point \"/m\" with \"--changePassword\": nothing is mounted; leave it out"
            ),
            (
                ["b", "--changePassword", "--encrypt"],
                "cannot use \"--changePassword\" with \"--encrypt\": the password of AES-128-CBC is its key; only volumes of "
                    + "AES-256-GCM can change theirs"
            ),
            (
                ["b", "--changePassword", "--reset-mounted-flag"],
                "cannot use \"--reset-mounted-flag\" and \"--changePassword\" together: give one after the other"
            ),
        ])
    func refusals(arguments: [String], expected: String) {
        #expect(failure(arguments) == expected)
    }

    @Test("a new password that nothing uses is told")
    func unused() throws {
        #expect(
            try settings("b", "/m", "--newPasswordFile=f").warnings == [
                "warning: \"--newPasswordFile\" has no effect without \"--changePassword\""
            ])
    }
}
