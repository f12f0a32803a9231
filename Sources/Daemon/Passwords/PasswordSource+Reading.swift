// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography

extension PasswordSource {
    /// Fetches the password.
    ///
    /// To be called before the process goes into the background, where there is no terminal.
    ///
    /// - Throws: When the file cannot be read or holds none, or nobody can be asked.
    func read(in surroundings: Surroundings) throws(UserError) -> SecretBytes {
        switch self {
        case .given(let password): return try password.checked
        case .file(let path): return try Self.read(path)
        case .terminal: return try surroundings.askPassword("Password: ")
        }
    }

    /// Fetches a password that is to come into force; typed ones are asked for twice.
    ///
    /// - Throws: As ``read(in:)``, and when the two differ.
    func readNew(in surroundings: Surroundings) throws(UserError) -> SecretBytes {
        switch self {
        case .given(let password): return try password.checked
        case .file(let path): return try Self.read(path)
        case .terminal:
            let first = try surroundings.askPassword("New password: ")
            let second = try surroundings.askPassword("New password again: ")
            guard first.withBytes({ first in second.withBytes { isEqualInConstantTime(first, $0) } }) else {
                throw UserError("cannot change the password: the two new ones differ; try again")
            }
            return first
        }
    }

    private static func read(_ path: String) throws(UserError) -> SecretBytes {
        let file = try PasswordFile.read(path: path)
        for warning in file.warnings { Console.say(warning) }
        return file.password
    }
}

extension SecretBytes {
    /// The same bytes, if there are any.
    fileprivate var checked: SecretBytes {
        get throws(UserError) {
            guard count > 0 else { throw UserError("cannot use \"--password=\": the password is empty; give one") }
            return self
        }
    }
}
