// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

public import ArgumentParser
internal import Glibc

/// A text that must not reach a log, a message or a dump: its description is `****`.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The text itself. Whoever reads it passes it on to nobody but the signature.
    public let revealed: String

    /// Takes the text into custody.
    public init(_ text: String) { revealed = text }

    /// Four asterisks.
    public var description: String { "****" }
    /// Four asterisks.
    public var debugDescription: String { "****" }
}

extension Secret: CustomReflectable {
    /// No parts: `dump` and string interpolation of an enclosing value show nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension Secret: ExpressibleByArgument {
    /// Takes any text into custody.
    public init?(argument: String) { self.init(argument) }
}

/// Secrets among the arguments of the process, which ps(1) shows to everybody.
enum SecretArguments {
    /// Overwrites the values of secret options in `memory`, the arguments one after the other, each ended by a zero byte.
    ///
    /// The length of a value stays visible, as nothing can move in there.
    static func mask(_ memory: UnsafeMutableRawBufferPointer, names: [String] = OptionTable.secretNames) {
        var start = 0
        while start < memory.count {
            let end = memory[start...].firstIndex(of: 0) ?? memory.count
            mask(argument: UnsafeMutableRawBufferPointer(rebasing: memory[start..<end]), names: names)
            start = end + 1
        }
    }

    /// Overwrites the secrets in this process's own arguments; does nothing where the kernel does not say where they are.
    ///
    /// To be called before there are threads, and after Swift has copied the arguments.
    ///
    /// - Source: 'man 5 proc', /proc/pid/stat, fields 48 and 49: arg_start and arg_end.
    static func maskOwn() {
        guard case .success(let bytes) = readWholeFile(path: "/proc/self/stat", bytesMax: 1 << 14) else { return }
        // The second field may hold blanks and parentheses; the third starts after the last ")".
        let text = String(decoding: bytes, as: UTF8.self)
        guard let parenthesis = text.lastIndex(of: ")") else { return }
        let fields = text[text.index(after: parenthesis)...].split(separator: " ")
        guard fields.count > 46, let start = UInt(fields[45]), let end = UInt(fields[46]), start > 0, start < end else { return }
        // Proof that this memory may be written: the kernel put the arguments there, on this process's own stack, for it to
        // use as it likes ('man 2 execve'), and nobody else runs yet.
        mask(UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(bitPattern: start), count: Int(end - start)))
    }

    private static func mask(argument: UnsafeMutableRawBufferPointer, names: [String]) {
        for name in names {
            let pattern = Array("\(name)=".utf8)
            guard argument.count > pattern.count else { continue }
            for index in 0...(argument.count - pattern.count) where argument[index..<index + pattern.count].elementsEqual(pattern)
            {
                let before = index == 0 ? nil : argument[index - 1]
                guard before == nil || before == UInt8(ascii: ",") || before == UInt8(ascii: "-") || before == UInt8(ascii: "o")
                else { continue }
                // A long option is a secret to its end; in a list the value ends at the next comma that is not escaped.
                let isLong = index == 2 && argument[0] == UInt8(ascii: "-") && argument[1] == UInt8(ascii: "-")
                var isEscaped = false
                for position in (index + pattern.count)..<argument.count {
                    if !isLong, !isEscaped, argument[position] == UInt8(ascii: ",") { break }
                    isEscaped = !isEscaped && argument[position] == UInt8(ascii: "\\")
                    argument[position] = UInt8(ascii: "*")
                }
            }
        }
    }
}
