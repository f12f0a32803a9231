// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

/// Runs s3backer.
///
/// - Parameters:
///   - program: The name it was called by; as `mount.fuse.s3backer` it follows the conventions of mount(8).
///   - arguments: The words after it.
/// - Returns: The exit status: 0 done, 1 any configuration or start error, each told in one line on standard error.
/// - Concurrency: to be called from the main thread, before there is any other.
public func runS3Backer(program: String, arguments: [String]) -> Int32 {
    openStandardStreams()
    SecretArguments.maskOwn()
    do {
        return try run(program: program, arguments: arguments)
    } catch {
        Console.say(error.message)
        return 1
    }
}

private func run(program: String, arguments: [String]) throws(UserError) -> Int32 {
    let call = try MountProgramCall.translate(program: program, arguments)
    let words = try CommandLineReader.read(call?.arguments ?? arguments)
    guard !words.wantsHelp else {
        Console.write(HelpText.text)
        return 0
    }
    guard !words.wantsVersion else {
        Console.write(Version.text)
        return 0
    }
    let surroundings = Surroundings.ofProcess
    let settings = try Settings(words, in: surroundings).withAbsolutePaths()
    for warning in settings.warnings { Console.say(warning) }
    if settings.codec.encryption != nil { CoreFile.forbid() }
    switch settings.command {
    case .resetMountToken: return try ResetMountToken(settings).run()
    case .mount(let mountPoint):
        let mount = try Mount(settings, at: mountPoint)
        // A rehearsal asks nobody for a password: the mount itself would ask again.
        guard call?.isRehearsal != true else { return 0 }
        return try mount.run(password: try settings.codec.encryption?.password(in: surroundings, settings))
    case .changePassword(let new):
        guard let old = settings.codec.encryption?.password else {
            preconditionFailure("without encryption there is no password")
        }
        return try ChangePassword(settings).run(
            from: try old.read(in: surroundings), to: try new.readNew(in: surroundings))
    }
}

/// Opens /dev/null in place of a standard stream that is closed: else the next file opened would take its number, and messages
/// would be written into it.
private func openStandardStreams() {
    while true {
        let descriptor = open("/dev/null", O_RDWR)
        guard descriptor >= 0, descriptor <= STDERR_FILENO else {
            if descriptor >= 0 { close(descriptor) }
            return
        }
    }
}
