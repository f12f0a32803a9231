// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The calling convention of mount(8) for its external programs: `mount.fuse.s3backer SOURCE DIR [-sfnv] [-o LIST] [-t TYPE]`.
///
/// mount(8) asked for the type `fuse.s3backer` looks for /sbin/mount.fuse.s3backer first, which is a link to this program, and
/// only then for mount.fuse, which starts `s3backer SOURCE DIR -o LIST` itself; both ways end in the same command line.
///
/// - Source: 'man 8 mount' "EXTERNAL HELPERS"; 'man 8 mount.fuse3'.
struct MountProgramCall: Equatable {
    /// The command line that s3backer itself would have got.
    var arguments: [String] = []
    /// `mount -f`: everything but the mount.
    var isRehearsal = false

    /// Translates the call.
    ///
    /// - Parameters:
    ///   - program: The name the program was called by, with or without its folder.
    ///   - words: The words after it.
    /// - Returns: Nil when the program was called by an ordinary name.
    /// - Throws: `-N`: the mount would have to happen in another name space.
    static func translate(program: String, _ words: [String]) throws(UserError) -> MountProgramCall? {
        let name = program.split(separator: "/").last ?? ""
        guard name.hasPrefix("mount.") else { return nil }
        var call = MountProgramCall()
        var rest = words[...]
        while let word = rest.popFirst() {
            switch word {
            case "-t": _ = rest.popFirst()
            case "-N": throw UserError("cannot use \"-N\": mounting in another mount namespace is not supported; use nsenter(1)")
            case "-o":
                call.arguments.append(word)
                if let list = rest.popFirst() { call.arguments.append(list) }
            case let flags where flags.count > 1 && flags.hasPrefix("-") && flags.dropFirst().allSatisfy({ "sfnv".contains($0) }):
                if flags.contains("f") { call.isRehearsal = true }
            default: call.arguments.append(word)
            }
        }
        return call
    }
}
