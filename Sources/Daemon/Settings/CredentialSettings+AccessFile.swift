// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Glibc

extension CredentialSettings {
    /// Finds out who asks: options first, then the access file.
    ///
    /// - Parameter warnings: Gets a line when the default access file exists and cannot be read.
    /// - Returns: Nil when nothing names an access key: requests go unsigned.
    /// - Throws: What contradicts itself, and a key that cannot be found.
    static func find(
        _ options: ParsedOptions, in surroundings: Surroundings, warnings: inout [String]
    ) throws(UserError) -> CredentialSettings? {
        let givenKey = try secretKey(options, in: surroundings)
        if let givenID = options.accessId, let givenKey, !givenID.isEmpty {
            return CredentialSettings(accessID: givenID, accessKey: Secret(givenKey))
        }
        if options.accessId == "" {
            guard givenKey == nil else { throw keyWithoutID }
            return nil
        }
        let entries = try accessFileEntries(options, in: surroundings, warnings: &warnings)
        guard let id = options.accessId ?? entries.first?.accessID else {
            guard givenKey == nil else { throw keyWithoutID }
            return nil
        }
        if let givenKey { return CredentialSettings(accessID: id, accessKey: Secret(givenKey)) }
        guard let entry = entries.first(where: { $0.accessID == id }) else {
            throw UserError(
                "cannot sign requests as \"\(id)\": no secret for it is known; add a line \(id):SECRET to the access file, "
                    + "or use \"--accessKeyEnv\"")
        }
        return entry
    }

    /// The lines `ID:SECRET` of an access file. A line that starts with white space or `#`, or has no colon, is skipped.
    static func entries(of file: [UInt8]) -> [CredentialSettings] {
        file.split(separator: 10).compactMap { line in
            guard let first = line.first, first != UInt8(ascii: "#"), !isBlank(first) else { return nil }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            let end = line.lastIndex { !isBlank($0) }.map { $0 + 1 } ?? line.endIndex
            guard colon > line.startIndex, colon + 1 < end else { return nil }
            return CredentialSettings(
                accessID: String(decoding: line[..<colon], as: UTF8.self),
                accessKey: Secret(String(decoding: line[(colon + 1)..<end], as: UTF8.self)))
        }
    }

    private static var keyWithoutID: UserError {
        UserError("cannot sign requests: an \"accessKey\" was given without an \"accessId\"; use \"--accessId\"")
    }

    private static func secretKey(
        _ options: ParsedOptions, in surroundings: Surroundings
    ) throws(UserError) -> String? {
        guard let name = options.accessKeyEnv else { return options.accessKey?.revealed }
        guard options.accessKey == nil else {
            throw UserError("cannot use \"--accessKey\" and \"--accessKeyEnv\" together: they exclude each other; give one")
        }
        guard let key = surroundings.variable(name) else {
            throw UserError("cannot use \"--accessKeyEnv=\(name)\": there is no environment variable of that name")
        }
        return key
    }

    private static func accessFileEntries(
        _ options: ParsedOptions, in surroundings: Surroundings, warnings: inout [String]
    ) throws(UserError) -> [CredentialSettings] {
        let home = surroundings.variable("HOME")
        guard let path = options.accessFile ?? home.map({ $0 + "/.s3backer_passwd" }) else { return [] }
        switch surroundings.readAccessFile(path) {
        case .success(let bytes):
            return entries(of: bytes)
        case .failure(let failure):
            guard options.accessFile == nil else {
                throw UserError("cannot read access file \"\(path)\": \(failure.description); check \"--accessFile\"")
            }
            if failure.code != ENOENT { warnings.append("warning: cannot read access file \"\(path)\": \(failure.description)") }
            return []
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
}
