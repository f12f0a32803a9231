// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import Cryptography
internal import Volumes

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
            return try Self.askTwice(
                "New password: ", "New password again: ",
                orFail: "cannot change the password: the two new ones differ; try again",
                in: surroundings)
        }
    }

    /// Fetches the password of a volume that may be a new one: typed ones are asked for twice.
    ///
    /// - Throws: As ``read(in:)``, and when the two differ.
    func readForNewVolume(in surroundings: Surroundings) throws(UserError) -> SecretBytes {
        guard case .terminal = self else { return try read(in: surroundings) }
        return try Self.askTwice(
            "Password: ", "Password again, as \"--size\" may make a new volume: ",
            orFail: "cannot mount: the two passwords differ; try again", in: surroundings)
    }

    private static func askTwice(
        _ question: String, _ again: String, orFail message: String, in surroundings: Surroundings
    ) throws(UserError) -> SecretBytes {
        let first = try surroundings.askPassword(question)
        let second = try surroundings.askPassword(again)
        guard first.withBytes({ first in second.withBytes { isEqualInConstantTime(first, $0) } }) else {
            throw UserError(message)
        }
        return first
    }

    private static func read(_ path: String) throws(UserError) -> SecretBytes {
        let file = try PasswordFile.read(path: path)
        for warning in file.warnings { Console.say(warning) }
        return file.password
    }
}

extension EncryptionSettings {
    /// Fetches the password for a mount.
    ///
    /// A slip of the finger in the password of a new volume would be found by the next mount, when nobody knows it any more. Only
    /// with `--size` can a volume be new. The compatible scheme asks once all the same, as the C program does, whose prompt
    /// scripts answer.
    ///
    /// - Throws: As ``PasswordSource/readForNewVolume(in:)``.
    func password(in surroundings: Surroundings, _ settings: Settings) throws(UserError) -> SecretBytes {
        let mayBeNew = settings.geometry.sizeBytes != nil && !settings.fileSystem.isReadOnly
        guard mayBeNew, case .aes256GCM = scheme else { return try password.read(in: surroundings) }
        return try password.readForNewVolume(in: surroundings)
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
