// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

@Suite("Values of options")
struct ValueTests {
    @Test(
        "a size has an optional suffix in either case",
        arguments: [
            ("1", 1), ("4096", 4096), ("4k", 4096), ("4K", 4096), ("1m", 1 << 20), ("2g", 2 << 30), ("3T", 3 << 40),
            ("1p", 1 << 50),
            ("7e", 7 << 60), ("0010k", 10240), ("18446744073709551615", UInt64.max),
        ] as [(String, UInt64)])
    func sizes(text: String, count: UInt64) throws {
        #expect(try ByteSize(parsing: text).count == count)
    }

    @Test(
        "what is no positive number with at most one suffix is no size",
        arguments: [
            "", "0", "0k", "k", "-1", "+1", "1kk", "1mb", "4KiB", "1.5k", " 1k", "1k ", "0x10", "1_000", "٤k",
        ])
    func malformedSizes(text: String) {
        #expect(throws: ByteSize.Fault.malformed) { try ByteSize(parsing: text) }
    }

    @Test("a size of more than 64 bits is told apart", arguments: ["16e", "1z", "1y", "18446744073709551616", "17179869184g"])
    func hugeSizes(text: String) {
        #expect(throws: ByteSize.Fault.tooLarge) { try ByteSize(parsing: text) }
    }

    @Test(
        "a size is printed with the largest suffix that divides it",
        arguments: [
            (4096, "4k"), (1 << 20, "1m"), (20 << 20, "20m"), (5120, "5k"), (1000, "1000"), (1 << 60, "1e"), (1, "1"),
        ] as [(UInt64, String)])
    func printedSizes(count: UInt64, text: String) {
        #expect(ByteSize(count: count).description == text)
    }

    @Test("a secret shows itself to nobody")
    func secrets() {
        struct Outer { let secret = Secret("hunter2") }
        var dumped = ""
        dump(Outer(), to: &dumped)
        for text in ["\(Outer())", "\(Secret("hunter2"))", String(reflecting: Outer()), dumped] {
            #expect(!text.contains("hunter2"))
        }
    }

    @Test("secrets of a command line show in no dump of it, before it is parsed and after")
    func secretOptions() throws {
        let words = try readWords(["-o", "password=hunter2,size=1m", "--accessKey=hunter2", "bucket", "/mnt"])
        let options = try ParsedOptions.read(words.options)
        #expect(options.password?.revealed == "hunter2" && options.accessKey?.revealed == "hunter2")
        var dumped = ""
        dump(words, to: &dumped)
        dump(options, to: &dumped)
        for text in ["\(words)", String(reflecting: words), "\(options)", String(reflecting: options), dumped] {
            #expect(!text.contains("hunter2"))
        }
        #expect(words.description == "--password=**** --size=1m --accessKey=**** bucket /mnt")
    }

    @Test(
        "secret arguments are overwritten in place, everything else stays",
        arguments: [
            ("--accessKey=abc", "--accessKey=***"), ("--accessKey=a,b", "--accessKey=***"),
            ("--accessKeyEnv=abc", "--accessKeyEnv=abc"),
            ("size=1m,accessKey=ab\\,c,ssl", "size=1m,accessKey=*****,ssl"), ("-oaccessKey=x", "-oaccessKey=*"),
            ("--password=p", "--password=*"), ("-opassword=a b,ssl", "-opassword=***,ssl"),
            ("encrypt,password=p\\054q", "encrypt,password=******"), ("--passwordFile=abc", "--passwordFile=abc"),
            ("--newPasswordFile=abc", "--newPasswordFile=abc"), ("--prefix=accessKey", "--prefix=accessKey"),
        ])
    func masking(argument: String, expected: String) {
        var memory = Array("s3backer\0\(argument)\0end".utf8)
        memory.withUnsafeMutableBytes { SecretArguments.mask($0) }
        #expect(String(decoding: memory, as: UTF8.self) == "s3backer\0\(expected)\0end")
    }
}
