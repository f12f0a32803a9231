// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Logging

extension CacheFilePlace {
    /// The file that the settings name.
    init(_ file: CacheFileSettings, volume: String, isForced: Bool, logger: Logger) {
        let refusal = BlockStoreError(.io, "cannot use cache file \"\(file.path)\": it is not in this build")
        self.init(
            path: file.path, open: { _, _, _ throws(BlockStoreError) in throw refusal },
            inspect: { () throws(BlockStoreError) in throw refusal },
            setAside: { () throws(BlockStoreError) in throw refusal })
    }
}
