// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import StoreTesting
import Synchronization

@testable import BlockStores

extension CacheFileSimulation {
    /// What a disk would be like after a crash.
    enum Crash: Sendable {
        /// What was written is there.
        case kill
        /// Of what was not made durable, each disk sector is there with this probability.
        case powerLoss(Double)
    }

    func someCrash() -> Crash {
        state.withLock { state in
            let survivals: [Double] = [0, 0.1, 0.5, 0.9, 1]
            let survival = survivals[Int(state.generator.next() % 5)]
            return state.generator.chance(0.4) ? .kill : .powerLoss(survival)
        }
    }

    /// The disk after a crash now.
    func image(after crash: Crash) -> [UInt8] {
        state.withLock { state in
            switch crash {
            case .kill: state.medium.bytes
            case .powerLoss(let survival):
                state.medium.image(survival: survival, &state.generator)
            }
        }
    }

    /// Looks at what a start would find on `image`, and whether it may find that.
    ///
    /// - Returns: The stamps of all units.
    func look(at image: [UInt8], after crash: Crash) throws -> [UInt64] {
        let found = try contents(of: image)
        let fault = state.withLock { state in
            switch crash {
            case .kill: state.model.fault(in: found, state.model.killFloor(sector: 4096 / Self.unit))
            case .powerLoss: state.model.fault(in: found, state.model.durableFloor)
            }
        }
        if let fault { throw violation("a start after \(crash): \(fault)") }
        return found
    }

    static func open(_ disk: any CacheFileDisk, _ form: Form) throws -> CacheFile {
        guard let header = try CacheFileHeader.read(from: disk) else { throw SimulationViolation(description: "no good header") }
        let seal = try CacheFile.makeSeal(header, options(form), "file")
        let scan = try CacheFileScan(of: header, on: disk, seal: seal)
        guard scan.damageCount == 0 else { throw SimulationViolation(description: "damaged descriptors") }
        guard header.token == 7 else { throw SimulationViolation(description: "the token is \(header.token)") }
        return CacheFile(disk: disk, header: header, seal: seal, scan: scan, logger: quietLogger)
    }

    /// What the volume comes to: the store's blocks, and over them what the file holds.
    private func contents(of image: [UInt8]) throws -> [UInt64] {
        let file = try Self.open(CacheFileSimulationMedium(image, count: 0), form)
        let (blocks, zeros) = try file.restore()
        var objects = state.withLock { $0.bucket.objects }
        let inStore = objects
        note("a start would find zeros \(zeros.ranges), and in the store \(inStore.map { "\($0.tag) \($0.stamps)" })")
        for block in zeros.blocks { objects[Int(block.rawValue)].stamps = Array(repeating: 0, count: Self.unitsPerBlock) }
        for found in blocks {
            let block = Int(found.block.rawValue)
            guard found.isZeroElsewhere == zeros.contains(found.block) else {
                throw violation("block \(block): zeros elsewhere, or not?")
            }
            let version = file.version(of: found.block, in: found.slot)
            let isCurrent = version == inStore[block].tag && version != .unknown
            note("... and \(block) \(version) in \(found.slot.rawValue): valid \(found.valid), dirty \(found.dirty)")
            for sector in 0..<Self.blockSize / 4096 where found.valid[0] >> UInt64(sector) & 1 == 1 {
                let isDirty = found.dirty[0] >> UInt64(sector) & 1 == 1
                let units = sector * 2..<sector * 2 + 2
                guard let stamps = try stamps(in: file, found, sector) else {
                    if isDirty { throw violation("block \(block), sector \(sector): dirty, and its check fails") }
                    continue
                }
                if isDirty || !form.settings.verifiesRestored {
                    objects[block].stamps.replaceSubrange(units, with: stamps)
                } else if isCurrent, stamps != Array(inStore[block].stamps[units]) {
                    throw violation(
                        "block \(block), sector \(sector): \(stamps) counts as clean, the store has \(inStore[block].stamps)")
                }
            }
        }
        return objects.flatMap(\.stamps)
    }

    private func stamps(in file: CacheFile, _ found: RestoredBlock, _ sector: Int) throws -> [UInt64]? {
        var bytes = [UInt8](repeating: 0xee, count: 4096)
        do {
            try bytes.withUnsafeMutableBytes { bytes in
                try file.read(sector * 4096..<(sector + 1) * 4096, of: found.block, in: found.slot, into: bytes)
            }
        } catch let error as BlockStoreError where error.code == .corrupt {
            return nil
        }
        guard let stamps = Self.stamps(bytes) else { throw violation("\(found.block), sector \(sector): a mix within a unit") }
        return stamps
    }
}
