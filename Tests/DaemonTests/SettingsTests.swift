// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

@testable import Daemon

private func bucket(_ settings: Settings) throws -> BucketSettings {
    guard case .s3(let bucket) = settings.store else { throw UserError("no bucket") }
    return bucket
}

@Suite("Settings")
struct SettingsTests {
    @Test("the defaults are those of the C program")
    func defaults() throws {
        let settings = try settings("bucket", "/mnt")
        let bucket = try bucket(settings)
        guard case .mount(at: "/mnt") = settings.command else { throw UserError("not a mount") }
        #expect(settings.layout == LayoutSettings(prefix: "", isHashed: false))
        #expect(settings.codec.compression == nil && settings.codec.encryption == nil && settings.consistency == nil)
        #expect(settings.codec.defaultContentEncoding == nil)
        #expect(settings.geometry == GeometrySettings(sizeBytes: nil, blockSize: nil, isAutoDetected: true, isForced: false))
        #expect(bucket.baseURL == "http://s3.amazonaws.com/" && !bucket.isVirtualHost && bucket.region == "us-east-1")
        #expect(bucket.signature == .aws4)
        #expect(bucket.credentials == CredentialSettings(accessID: "AKID", accessKey: Secret("default-secret")))
        #expect(bucket.connection.timeout == .seconds(30) && bucket.connection.verifiesPeer)
        #expect(bucket.connection.initialRetryPause == .milliseconds(200))
        #expect(bucket.connection.totalRetryPauseMax == .seconds(30))
        #expect(bucket.objects.accessType == "private" && bucket.objects.storageClass == nil)
        #expect(settings.fileSystem.fileName == "file" && settings.fileSystem.statisticsFileName == "stats")
        #expect(settings.fileSystem.fileMode == 0o600 && settings.fileSystem.userID == 7 && settings.fileSystem.groupID == 8)
        #expect(
            try Daemon.Settings(try CommandLineReader.read(["b", "/m", "-o", "ro"]), in: surroundings()).fileSystem.fileMode
                == 0o400)
        #expect(settings.warnings.isEmpty)
    }

    @Test("a copy of the statistics is asked for by its path, and made each second unless told otherwise")
    func mirror() throws {
        #expect(try settings("b", "/m").fileSystem.statisticsMirror == nil)
        let copy = try settings("b", "/m", "--statsFileMirror=/run/s").fileSystem.statisticsMirror
        #expect(copy == StatisticsMirrorSettings(path: "/run/s", interval: .seconds(1)))
        let often = try settings("b", "/m", "--statsFileMirror=/s", "--statsFileMirrorInterval=50")
        #expect(often.fileSystem.statisticsMirror?.interval == .milliseconds(50))
        #expect(try settings("b", "/m", "--statsFileMirrorInterval=50").warnings.count == 1)
    }

    @Test("paths are made absolute before the process leaves its directory; a directory that is missing is told")
    func paths() throws {
        let path = try settings("--test", "/", "/m", "--statsFileMirror=/tmp/../stats").withAbsolutePaths()
        #expect(path.fileSystem.statisticsMirror?.path == "/stats")
        let relative = try settings("--test", ".", "/m", "--statsFileMirror=stats").withAbsolutePaths()
        #expect(relative.fileSystem.statisticsMirror?.path.hasPrefix("/") == true)
        #expect { try settings("--test", "/", "/m", "--statsFileMirror=/nowhere/s").withAbsolutePaths() } throws: { error in
            "\(error)".hasPrefix("cannot copy the statistics to \"/nowhere/s\": /nowhere: No such file or directory")
        }
    }

    @Test("asking for the headers of requests is asking for the log of requests")
    func debugHTTP() throws {
        #expect(try settings("b", "/m", "--debug-http").process.isDebug)
        #expect(try !settings("b", "/m").process.isDebug)
    }

    @Test("the configuration in the log has no secrets")
    func given() throws {
        let settings = try settings("b", "/m", "--accessKey=hunter2", "--size=1m", "--ssl")
        #expect(settings.given.map { "\($0.name): \($0.value)" } == ["accessKey: ****", "size: 1m", "ssl: true"])
    }

    @Test(
        "the volume is described by its URL",
        arguments: [
            (["b/dir", "/m", "--baseURL=http://127.0.0.1:80/"], "http://127.0.0.1:80/b/dir/"),
            (["b", "/m", "--prefix=p"], "http://s3.amazonaws.com/b/p"),
            (["b", "/m", "--region=eu-west-1"], "http://b.s3.eu-west-1.amazonaws.com/"),
            (["b", "/m", "--region=us-east-1", "--ssl"], "https://b.s3.amazonaws.com/"),
            (["b", "/m", "--region=eu-west-1", "--no-vhost"], "http://s3.eu-west-1.amazonaws.com/b/"),
            (["--test", "/dir", "/m", "--prefix=p"], "file:///dir/p"),
        ])
    func description(arguments: [String], expected: String) throws {
        #expect(try Settings(try CommandLineReader.read(arguments), in: surroundings()).volumeDescription == expected)
    }

    @Test(
        "what contradicts itself is refused in one line, before anything is touched",
        arguments: [
            (["b"], "no mount point was given"),
            ([], "no S3 bucket was given"),
            (["--test"], "no directory was given"),
            (["", "/m"], "invalid S3 bucket \"\""),
            (["/b", "/m"], "invalid S3 bucket \"/b\""),
            (["b/", "/m"], "invalid S3 bucket/prefix \"b/\""),
            (["b//c", "/m"], "invalid S3 bucket/prefix \"b//c\""),
            (["b/c/", "/m"], "invalid S3 bucket/prefix \"b/c/\""),
            (["b/c", "/m", "--prefix=x"], "together with \"--prefix\""),
            (["b", "/m", "third"], "unexpected argument \"third\""),
            (["b", "/m", "--reset-mounted-flag"], "nothing is mounted"),
            (["b", "/m", "--authVersion=aws3"], "use one of aws2, aws4"),
            (["b", "/m", "--storageClass=X"], "invalid value \"X\" for \"--storageClass\""),
            (["b", "/m", "--accessType=X"], "use one of private, public-read"),
            (["b", "/m", "--sse=aws:kms"], "it needs a key"),
            (["b", "/m", "--sse=AES"], "use one of AES256, aws:kms"),
            (["b", "/m", "--baseURL=ftp://h/"], "must start with http:// or https://"),
            (["b", "/m", "--baseURL=http://h"], "must end with a slash"),
            (["b", "/m", "--baseURL=http:///"], "the host is missing"),
            (["b", "/m", "--baseURL=http://h/", "--ssl"], "not an https URL"),
            (["b", "/m", "--ipTOS=256"], "invalid value \"256\" for \"--ipTOS\""),
            (["b", "/m", "--initialRetryPause=10", "--maxRetryPause=9"], "longer than \"--maxRetryPause=9\""),
            (["b", "/m", "--timeout=0"], "cannot use \"--timeout=0\""),
            (["b", "/m", "--blockSize=3k"], "must be a power of two"),
            (["b", "/m", "--blockSize=4g"], "invalid block size \"4g\": it is too large"),
            (["b", "/m", "--blockSize=4k", "--size=5000"], "must be a multiple of the block size 4k"),
            (["b", "/m", "--blockSize=1k", "--size=4t"], "more than 2^32 blocks"),
            (["b", "/m", "--noAutoDetect"], "use \"--size\""),
            (["b", "/m", "--maxUploadSpeed=8k", "--blockSize=1m"], "at the max upload speed of 8192 bits per second within 30s"),
            (["b", "/m", "--filename=a/b"], "for \"--filename\""),
            (["b", "/m", "--filename="], "for \"--filename\""),
            (["b", "/m", "--statsFilename=file"], "for the disk and for the statistics"),
            (["b", "/m", "--statsFileMirror="], "give the path of a file"),
            (["b", "/m", "--statsFileMirror=/tmp/"], "give the path of a file"),
            (["b", "/m", "--statsFileMirrorInterval=0"], "give milliseconds"),
        ])
    func contradictions(arguments: [String], expected: String) throws {
        let line = try #require(failure(arguments))
        #expect(line.contains(expected), "\(line)")
        #expect(!line.contains("\n"))
    }

    @Test(
        "what is plain is accepted, and what is odd, too",
        arguments: [
            ["b", "/m", "--blockCacheSize=0"], ["b", "--reset-mounted-flag"], ["b", "/m", "--statsFilename="],
            ["b", "/m", "--ipTOS=0x10"], ["b", "/m", "--ipTOS=lowdelay"], ["b", "/m", "--size=3", "--blockSize=1"],
        ])
    func accepted(arguments: [String]) {
        #expect(failure(arguments) == nil)
    }
}

@Suite("Credentials")
struct CredentialTests {
    private static let file = "# note\n ignored:line\nnocolon\nFIRST:one:two  \nSECOND:three\n"

    private func find(_ arguments: [String], file: String? = file, variables: [String: String] = [:]) throws
        -> CredentialSettings?
    {
        let around = surroundings(accessFile: file, variables: variables)
        return try bucket(try Settings(try CommandLineReader.read(["b", "/m"] + arguments), in: around)).credentials
    }

    @Test("the first usable line of the access file counts; a secret may hold colons")
    func firstLine() throws {
        #expect(try find([]) == CredentialSettings(accessID: "FIRST", accessKey: Secret("one:two")))
        #expect(try find(["--accessId=SECOND"])?.accessKey == Secret("three"))
        #expect(try find(["--accessFile=keys", "--accessId=SECOND"])?.accessKey == Secret("three"))
    }

    @Test("options win over the file")
    func options() throws {
        #expect(try find(["--accessId=ME", "--accessKey=k"]) == CredentialSettings(accessID: "ME", accessKey: Secret("k")))
        #expect(try find(["--accessKey=k"]) == CredentialSettings(accessID: "FIRST", accessKey: Secret("k")))
        #expect(try find(["--accessId=ME", "--accessKeyEnv=K"], variables: ["K": "v"])?.accessKey == Secret("v"))
    }

    @Test("an empty id means anonymous, and so does nothing at all, with a warning where it is dangerous")
    func anonymous() throws {
        #expect(try find(["--accessId="]) == nil)
        #expect(try find([], file: nil) == nil)
        let around = surroundings(accessFile: nil)
        #expect(try settings("b", "/m", in: around).warnings.count == 2)
        #expect(try settings("b", "/m", "--readOnly", in: around).warnings.isEmpty)
        #expect(try settings("b", "/m", "--baseURL=http://h/", in: around).warnings.isEmpty)
        #expect(try settings("--test", "d", "/m", in: around).warnings.isEmpty)
    }

    @Test(
        "what cannot be found is said, never the secret",
        arguments: [
            (["--accessId=OTHER"], "cannot sign requests as \"OTHER\""),
            (["--accessKey=hunter2", "--accessKeyEnv=K"], "exclude each other"),
            (["--accessKeyEnv=NONE"], "no environment variable"),
            (["--accessId=", "--accessKey=hunter2"], "without an \"accessId\""),
            (["--accessFile=missing"], "cannot read access file \"missing\""),
        ])
    func failures(arguments: [String], expected: String) throws {
        let line = try #require(failure(["b", "/m"] + arguments, in: surroundings(accessFile: Self.file)))
        #expect(line.contains(expected))
        #expect(!line.contains("hunter2"))
    }
}
