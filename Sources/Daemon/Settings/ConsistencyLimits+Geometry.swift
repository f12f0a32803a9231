// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import ObjectStores
internal import Volumes

extension ConsistencyLimits {
    /// Refuses limits under which a volume of these sizes would come to a standstill: what is remembered for ever must have room
    /// for every block.
    ///
    /// - Throws: `.geometry`.
    func check(_ geometry: BlockGeometry) throws(VolumeError) {
        guard keptFor == nil, UInt64(objectsMax) < UInt64(geometry.blockCount) else { return }
        throw VolumeError(
            .geometry,
            "cannot use \"--md5CacheSize=\(objectsMax)\" without \"--md5CacheTime\": the volume has \(geometry.blockCount) blocks, "
                + "and writes would wait for ever once \(objectsMax) are remembered; give a time, or a size of \(geometry.blockCount)"
        )
    }

    /// A line for the user when more blocks are to be remembered than there are; nil when not.
    func warning(_ geometry: BlockGeometry) -> String? {
        guard UInt64(objectsMax) > UInt64(geometry.blockCount) else { return nil }
        return "\"--md5CacheSize=\(objectsMax)\" is more than the \(geometry.blockCount) blocks of the volume; reduced to that"
    }
}
