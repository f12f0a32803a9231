// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// The judges of the kill rig, alone: what they let pass, and what not.
    @Suite struct StampTests {
        private static let stamp = SectorStamp(seed: 7)

        /// Contents of a sector, with what must be said of it.
        private func identified(_ sector: Int, _ generation: UInt64, _ change: (UnsafeMutableRawBufferPointer) -> Void = { _ in })
            -> SectorStamp.Contents
        {
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: SectorStamp.size, alignment: 4096)
            defer { bytes.deallocate() }
            Self.stamp.fill(bytes, sector: sector, generation: generation)
            change(bytes)
            return Self.stamp.identify(UnsafeRawBufferPointer(bytes), sector: 5)
        }

        @Test("a stamped sector tells its generation, and every changed byte is noticed")
        func everyByteCounts() {
            #expect(identified(5, 9) == .generation(9))
            #expect(identified(6, 9) == .misplaced(sector: 6, generation: 9))
            #expect(identified(5, 9) { $0.initializeMemory(as: UInt8.self, repeating: 0) } == .zero)
            for position in 0..<SectorStamp.size {
                let changed = identified(5, 9) { $0[position] ^= 0x10 }
                #expect(changed != .generation(9) && changed != .zero, "byte \(position)")
                let nearlyZero = identified(5, 9) { bytes in
                    bytes.initializeMemory(as: UInt8.self, repeating: 0)
                    bytes[position] = 1
                }
                guard case .damaged = nearlyZero else {
                    Issue.record("byte \(position) of zeros: \(nearlyZero)")
                    continue
                }
            }
        }

        @Test("a sector of two generations is a mix, wherever the one ends and the other begins")
        func mixes() {
            let other = UnsafeMutableRawBufferPointer.allocate(byteCount: SectorStamp.size, alignment: 4096)
            defer { other.deallocate() }
            Self.stamp.fill(other, sector: 5, generation: 8)
            for border in stride(from: 512, to: SectorStamp.size, by: 512) {
                let mixed = identified(5, 9) { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: bytes[border...]).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(other)[border...]))
                }
                guard case .damaged = mixed else {
                    Issue.record("border \(border): \(mixed)")
                    continue
                }
            }
        }

        @Test("after a crash the last fsynced value and later ones are legal, in flight or not; older ones and others are not")
        func legalValues() {
            // Generations 1 to 3 are fsynced, 4 is zeros, 5 is acknowledged, 6 is in flight.
            let found: [(SectorStamp.Contents, StampModel.Violation.Kind?)] = [
                (.generation(1), .older), (.generation(2), .older), (.generation(3), nil), (.zero, nil),
                (.generation(4), .unexpected),
                (.generation(5), nil), (.generation(6), nil), (.generation(7), .unexpected),
                (.misplaced(sector: 1, generation: 3), .misplaced), (.damaged(""), .mix),
            ]
            for (contents, kind) in found {
                var model = StampModel(sectorCount: 1)
                for generation in 1...6 {
                    #expect(model.issue(0..<1, isZero: generation == 4) == [UInt64(generation)])
                    if generation < 6 { model.acknowledge(0..<1) }
                    if generation == 3 { model.synced(model.snapshot()) }
                }
                #expect(model.checkAfterCrash(contents, of: 0)?.kind == kind, "\(contents)")
            }
        }

        @Test("an fsync covers what was acknowledged before it began, and nothing that came while it ran")
        func coverage() {
            var model = StampModel(sectorCount: 2)
            _ = model.issue(0..<2, isZero: false)
            model.acknowledge(0..<2)
            _ = model.issue(1..<2, isZero: false)
            let snapshot = model.snapshot()
            model.acknowledge(1..<2)
            _ = model.issue(0..<1, isZero: false)
            model.acknowledge(0..<1)
            model.synced(snapshot)
            var copy = model
            #expect(model.checkAfterCrash(.zero, of: 0)?.kind == .zeros)
            #expect(model.checkAfterCrash(.generation(1), of: 0) == nil)
            #expect(model.checkAfterCrash(.generation(1), of: 1) == nil)
            copy.demandAcknowledged()
            #expect(copy.checkAfterCrash(.generation(1), of: 0)?.kind == .older)
            #expect(copy.checkAfterCrash(.generation(2), of: 1) == nil)
        }

        @Test("what a crash has lost does not come back, and what it left may be lost by the next one until an fsync")
        func nextCrash() {
            var model = StampModel(sectorCount: 1)
            for _ in 1...3 {
                _ = model.issue(0..<1, isZero: false)
                model.acknowledge(0..<1)
            }
            #expect(model.checkAfterCrash(.generation(2), of: 0) == nil)
            #expect(model.checkCurrent(.generation(2), of: 0) == nil)
            #expect(model.checkCurrent(.generation(1), of: 0) != nil)
            var copy = model
            #expect(copy.checkAfterCrash(.generation(3), of: 0)?.kind == .unexpected)
            #expect(copy.checkAfterCrash(.zero, of: 0) == nil)
            model.synced(model.snapshot())
            #expect(model.checkAfterCrash(.zero, of: 0)?.kind == .zeros)
            #expect(model.issue(0..<1, isZero: false) == [4])
        }
    }
}
