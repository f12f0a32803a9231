// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

/// The table of all options: the one place that knows which there are.
///
/// A new option is a line in one of the `Options+X.swift` files, a property of ``ParsedOptions``, its use in `Settings`, and a
/// paragraph of the man page; tests find what was forgotten.
enum OptionTable {
    /// Every option in force, section by section.
    static let supported: [OptionDescription] =
        OptionDescription.credentialsOptions + OptionDescription.endpointOptions + OptionDescription.objectsOptions
        + OptionDescription.codecOptions + OptionDescription.consistencyOptions + OptionDescription.surveyOptions
        + OptionDescription.geometryOptions + OptionDescription.cacheOptions + OptionDescription.fileSystemOptions
        + OptionDescription.modesOptions

    private static let byName: [String: OptionDescription] = Dictionary(
        uniqueKeysWithValues: (supported + OptionDescription.laterOptions).map { ($0.name, $0) })

    /// The option of that exact name, also one that this version refuses.
    static func option(named name: String) -> OptionDescription? { byName[name] }

    /// The name that was probably meant: the same letters in another case.
    static func correction(of name: String) -> String? {
        supported.map(\.name).first { $0.lowercased() == name.lowercased() }
    }

    /// The names whose values are secrets, in force or not.
    static let secretNames: [String] = byName.values.filter(\.isSecret).map(\.name).sorted()
}
