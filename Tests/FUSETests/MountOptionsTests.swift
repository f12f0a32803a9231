// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import FUSE

@Suite("Mount options")
struct MountOptionsTests {
    @Test("without options the names and attributes are believed for a year, and many requests may be in flight")
    func defaults() throws {
        let options = try MountOptions(parsing: [])
        #expect(options.entryTimeout == 31_536_000 && options.negativeTimeout == 31_536_000)
        #expect(options.attributeTimeout == 31_536_000)
        #expect(options.maxBackground >= 1024)
        #expect(options.maxWrite == 1 << 20)
        #expect(options.keepsCache && !options.isDirectIO)
    }

    @Test("a list is cut at its commas, but not at escaped ones")
    func split() {
        #expect(MountOptions.split(#"ro,fsname=a\,b,"#) == ["ro", "fsname=a,b", ""])
        #expect(MountOptions.split(MountOptions.escape(#"x\,y"#)) == [#"x\,y"#])
    }

    @Test("options of fuse(8) are acted on here, those of the kernel handed on in order")
    func sorting() throws {
        let options = try MountOptions(parsing: [
            "ro,attr_timeout=0,entry_timeout=1.5", "negative_timeout=2", "uid=7,gid=8,umask=022,direct_io,auto_cache",
            "max_background=64,congestion_threshold=32,max_write=131072,max_readahead=0,max_threads=3,debug",
            "context=a:b", "kernel_cache,intr,noforget,use_ino",
        ])
        #expect(options.kernelOptions == ["ro", "context=a:b"])
        #expect(options.attributeTimeout == 0 && options.entryTimeout == 1.5 && options.negativeTimeout == 2)
        #expect(options.userID == 7 && options.groupID == 8 && options.umask == 0o22)
        #expect(options.isDirectIO && !options.keepsCache && options.isDebug)
        #expect(options.maxBackground == 64 && options.congestionThreshold == 32 && options.maxWrite == 131072)
        #expect(options.maxReadahead == 0 && options.threadCountMax == 3)
    }

    @Test(
        "an unknown option, or a value that makes no sense, is named in the error",
        arguments: [
            "bogus", "bogus=1", "attr_timeout=x", "attr_timeout=-1", "attr_timeout=inf", "umask=9", "uid=-1", "attr_timeout",
            "max_background=0", "max_background=65536", "max_write=1", "rw=1", "fsname", "blkdev", "fd=3",
        ])
    func unknown(option: String) {
        let error = #expect(throws: FUSEError.self) { try MountOptions(parsing: ["ro", option]) }
        #expect(error?.code == .badOption)
        #expect(error?.message.contains("\"\(option.prefix { $0 != "=" })") == true)
    }

    @Test("the value of an unknown option is not shown: it may be a misspelt password")
    func secretValue() {
        let error = #expect(throws: FUSEError.self) { try MountOptions(parsing: ["pasword=geheim"]) }
        #expect(
            error?.message == "cannot use the mount option \"pasword=...\": there is no such option; see s3backer(1) and fuse(8)")
    }

    @Test("libfuse gets the fixed options first, the user's after them, and ro last for a disk that may only be read")
    func arguments() throws {
        let options = try MountOptions(parsing: ["fsname=mine", "rw,suid"])
        #expect(
            options.arguments(sourceName: "http://x/a,b", isReadOnly: true) == [
                "s3backer", "-o",
                #"fsname=http://x/a\,b,subtype=s3backer,default_permissions,nodev,nosuid,allow_other,fsname=mine,rw,suid,ro"#,
            ])
        let forRoot = try MountOptions(parsing: ["allow_root"])
        #expect(!forRoot.arguments(sourceName: "x", isReadOnly: false)[2].contains("allow_other"))
    }

    @Test(
        "a file name with a slash, an empty one for the disk, and one for both are refused",
        arguments: [("a/b", "stats"), ("", "stats"), ("file", "a/b"), ("same", "same"), ("..", "stats")])
    func names(disk: String, statistics: String) {
        let settings = FUSESettings(
            mountPoint: "/", sourceName: "", options: [], fileName: disk, statisticsFileName: statistics, fileMode: 0o600,
            userID: 0, groupID: 0, isDirectIO: false, isDebug: false)
        let error = #expect(throws: FUSEError.self) { try settings.validate() }
        #expect(error?.code == .badOption)
    }
}
