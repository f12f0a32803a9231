// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import ObjectStores
import Testing

@testable import Volumes

@Suite("Deciding on the sizes")
struct GeometryDecisionTests {
    struct Row: Sendable {
        let probe: ProbeResult?
        var blockSize: Int?
        var diskSize: UInt64?
        var isForced = false
        /// Block size and block count; nil when the volume is refused.
        let outcome: (Int, Int)?
        /// The notice, or the error's message.
        let text: String
        var warningCount = 0
    }

    static let found = BlockGeometry(blockSize: 4096, blockCount: 512).map { ProbeResult.found($0) }
    static let others = ProbeResult.absent(.example(ObjectKey("vm/00000007")))
    static let plain = ProbeResult.absent(.otherNames(ObjectKey("vm/00000007"), areHashed: false))
    static let hashed = ProbeResult.absent(.otherNames(ObjectKey("vm/d211cad9-00000001"), areHashed: true))
    static let rows = [
        Row(probe: found, outcome: (4096, 512), text: "auto-detected block size 4k and total size 2m"),
        Row(
            probe: found, blockSize: 4096, diskSize: 2 << 20, outcome: (4096, 512),
            text: "auto-detected block size 4k and total size 2m"),
        Row(
            probe: found, blockSize: 8192, outcome: nil,
            text: "cannot open the volume: configured block size 8k is not the volume's 4k; leave out --blockSize and --size "
                + "to take the volume's own, or use --force to override"),
        Row(
            probe: found, blockSize: 8192, diskSize: 1 << 20, outcome: nil,
            text: "cannot open the volume: configured block size 8k is not the volume's 4k, and configured size 1m is not the "
                + "volume's 2m; leave out --blockSize and --size to take the volume's own, or use --force to override"),
        Row(
            probe: found, diskSize: 4 << 20, isForced: true, outcome: (4096, 1024),
            text: "auto-detected block size 4k and total size 2m", warningCount: 2),
        Row(
            probe: found, blockSize: 8192, isForced: true, outcome: (8192, 256),
            text: "auto-detected block size 4k and total size 2m", warningCount: 2),
        Row(
            probe: found, diskSize: 5000, isForced: true, outcome: nil,
            text: "cannot use size 5000: it is not a multiple of the block size 4k; change --size or --blockSize"),
        Row(
            probe: .damaged("s3backer-blocksize is zero"), diskSize: 1 << 20, isForced: true, outcome: nil,
            text: "cannot detect the volume's sizes: the metadata of the volume's first block does not tell its sizes "
                + "(s3backer-blocksize is zero); please specify both --blockSize and --size, as the volume was made"),
        Row(
            probe: .damaged("s3backer-blocksize is zero"), blockSize: 4096, diskSize: 1 << 20, outcome: (4096, 256),
            text: "auto-detection failed; using configured block size 4k and total size 1m", warningCount: 1),
        Row(
            probe: others, outcome: nil,
            text: "cannot detect the volume's sizes: the volume's first block has no object, but others exist "
                + "(\"vm/00000007\"); please specify both --blockSize and --size, as the volume was made"),
        Row(
            probe: others, diskSize: 1 << 20, outcome: nil,
            text: "cannot detect the volume's sizes: the volume's first block has no object, but others exist "
                + "(\"vm/00000007\"); please specify both --blockSize and --size, as the volume was made"),
        Row(
            probe: others, blockSize: 65536, diskSize: 1 << 20, outcome: (65536, 16),
            text: "auto-detection failed; using configured block size 64k and total size 1m", warningCount: 1),
        Row(
            probe: .absent(.unknown("403")), diskSize: 1 << 20, outcome: nil,
            text: "cannot detect the volume's sizes: the volume's first block has no object, and whether others exist is not "
                + "known (403); please specify both --blockSize and --size, as the volume was made"),
        Row(
            probe: plain, blockSize: 4096, diskSize: 1 << 20, outcome: nil,
            text: "cannot open the volume: its blocks have no hash in their names (\"vm/00000007\"), and --blockHashPrefix was "
                + "given; leave out --blockHashPrefix, or give a new volume a --prefix of its own"),
        Row(
            probe: hashed, diskSize: 1 << 20, isForced: true, outcome: nil,
            text: "cannot open the volume: its blocks have a hash in their names (\"vm/d211cad9-00000001\"), and "
                + "--blockHashPrefix was not given; use --blockHashPrefix, or give a new volume a --prefix of its own"),
        Row(
            probe: hashed, blockSize: 4096, diskSize: 1 << 20, isForced: true, outcome: (4096, 256),
            text: "auto-detection failed; using configured block size 4k and total size 1m", warningCount: 1),
        Row(
            probe: .absent(.none), outcome: nil,
            text: "cannot open the volume: no block of it has an object yet; to make it, give --size"),
        Row(
            probe: .absent(.none), diskSize: 1 << 40, outcome: (4096, 1 << 28),
            text: "auto-detection failed; using default block size 4k and total size 1t"),
        Row(
            probe: .absent(.none), blockSize: 4096, diskSize: 1 << 20, outcome: (4096, 256),
            text: "auto-detection failed; using configured block size 4k and total size 1m"),
        Row(
            probe: nil, blockSize: 4096, outcome: nil,
            text: "cannot open the volume: its size is not known and not asked for; give --size"),
        Row(
            probe: nil, diskSize: 1 << 20, outcome: nil,
            text: "cannot open the volume: its block size is not known and not asked for; give --blockSize"),
        Row(
            probe: nil, blockSize: 4096, diskSize: 1 << 20, outcome: (4096, 256),
            text: "auto-detection disabled; using configured block size 4k and total size 1m"),
        Row(
            probe: nil, blockSize: 4096, diskSize: 1 << 44, outcome: nil,
            text: "cannot use size 16t: it means 2^32 blocks or more; decrease --size or increase --blockSize"),
        Row(
            probe: nil, blockSize: 5000, diskSize: 5000, outcome: nil,
            text: "cannot use block size 5000: it is not a power of two; change --blockSize"),
        Row(
            probe: nil, blockSize: 4096, diskSize: 0, outcome: nil,
            text: "cannot use size 0: it is not a multiple of the block size 4k; change --size or --blockSize"),
    ]

    @Test("the table of decisions", arguments: rows)
    func decide(row: Row) throws {
        let configured = ConfiguredSizes(blockSize: row.blockSize, diskSize: row.diskSize)
        do {
            let decision = try GeometryDecision.decide(
                probe: row.probe, configured: configured, detectsSizes: row.probe != nil, isForced: row.isForced)
            let (blockSize, blockCount) = try required(row.outcome)
            #expect(decision.geometry == BlockGeometry(blockSize: blockSize, blockCount: blockCount))
            #expect(decision.notice == row.text)
            #expect(decision.warnings.count == row.warningCount)
        } catch let error as VolumeError {
            #expect(row.outcome == nil)
            #expect(error.code == .geometry)
            #expect(error.message == row.text)
        }
    }
}
