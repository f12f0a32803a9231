// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import DataPath
import StoreTesting
import Testing

@Suite("BlockDisk") struct BlockDiskTests {
    private func disk(
        over memory: MemoryBlockStore, fanOutMax: Int = 16, isReadOnly: Bool = false
    ) -> BlockDisk {
        BlockDisk(over: ReadModifyWrite(over: memory, pool: testPool), fanOutMax: fanOutMax, isReadOnly: isReadOnly)
    }

    @Test("a read of 1 MiB puts all its 16 blocks of 64 KiB down at once, or as many as are allowed", arguments: [16, 5, 1])
    func parallel(fanOutMax: Int) async throws {
        let gate = BlockGate { $0.verb == .read && $0.phase == .arrived }
        let memory = MemoryBlockStore(geometry: try geometry(65536, 64), answersNow: false) {
            call async throws(BlockStoreError) in
            try await gate.pass(call)
        }
        let disk = disk(over: memory, fanOutMax: fanOutMax)
        async let answer = disk.read(0..<1 << 20, .foreground)
        var remaining = 16
        await gate.waitUntilHeld(fanOutMax)
        while remaining > 0 {
            await gate.waitUntilHeld(min(fanOutMax, remaining))
            #expect(gate.held.count == min(fanOutMax, remaining))
            gate.release { _ in true }
            remaining -= 1
        }
        #expect(try await answer.count == 1 << 20)
    }

    @Test("whole blocks are zeroed with one call and the edges beside it")
    func zeroCalls() async throws {
        let gate = BlockGate { $0.phase == .arrived && $0.verb != .read }
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: false) { call async throws(BlockStoreError) in
            try await gate.pass(call)
        }
        let disk = disk(over: memory)
        async let zeroed: Void = disk.zero(32..<64 * 10 + 5, .foreground)
        await gate.waitUntilHeld(3)
        gate.open()
        try await zeroed
        #expect(memory.counts.zeros == 1 && memory.counts.zeroedBlocks == 9 && memory.counts.writes == 2)
        try await disk.zero(64..<128, .foreground)
        #expect(memory.counts.zeros == 2 && memory.counts.writes == 2)
        try await disk.zero(65..<70, .foreground)
        #expect(memory.counts.zeros == 2 && memory.counts.writes == 3)
    }

    @Test("the first error is the answer, after all that had begun has ended, and nothing more begins")
    func firstError() async throws {
        let gate = BlockGate { $0.phase == .arrived && $0.verb == .write }
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: false) { call async throws(BlockStoreError) in
            try await gate.pass(call)
        }
        let disk = disk(over: memory, fanOutMax: 3)
        let ended = BlockLog()
        async let outcome: BlockStoreError? = {
            defer { ended.add("ended") }
            do throws(BlockStoreError) {
                try await disk.write(.filled(1, count: 64 * 8), at: 0, .foreground)
                return nil
            } catch { return error }
        }()
        await gate.waitUntilHeld(3)
        gate.release(failing: BlockStoreError(.timedOut, "first"))
        while gate.held.count > 2 { await Task.yield() }
        gate.release(failing: BlockStoreError(.io, "second"))
        for _ in 0..<100 { await Task.yield() }
        #expect(ended.lines.isEmpty && memory.counts.writes == 3)
        gate.release()
        let error = await outcome
        #expect(error != nil && memory.counts.writes == 3)
    }

    @Test("a failed read ends the request and cancels the rest")
    func failedRead() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: false) { call throws(BlockStoreError) in
            if call.blocks.contains(BlockNumber(2)) { throw BlockStoreError(.corrupt, "damaged") }
        }
        let disk = disk(over: memory, fanOutMax: 2)
        let error = await #expect(throws: BlockStoreError.self) { try await disk.read(0..<64 * 16, .foreground) }
        #expect(error?.code == .corrupt && memory.counts.reads < 16)
    }

    @Test("a disk that may only be read refuses mutations, and nothing goes down")
    func readOnly() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: false, hook: nil)
        let disk = disk(over: memory, isReadOnly: true)
        let written = await #expect(throws: BlockStoreError.self) {
            try await disk.write(.filled(1, count: 9), at: 0, .foreground)
        }
        let zeroed = await #expect(throws: BlockStoreError.self) { try await disk.zero(0..<64, .foreground) }
        #expect(written?.code == .readOnly && zeroed?.code == .readOnly)
        #expect(memory.counts.writes == 0 && memory.counts.zeros == 0)
        #expect(try await disk.read(0..<9, .foreground).count == 9)
        let prompt = PromptStore(geometry: try geometry(64, 16)) { _ in true }
        let readOnly = BlockDisk(over: prompt, fanOutMax: 1, isReadOnly: true)
        #expect(!BufferSlice.filled(1, count: 9).withBytes { readOnly.writeNow($0, at: 0) })
        #expect(prompt.offers == [])
    }

    @Test("a write is offered block by block, and taken when each block takes its part")
    func writeNow() async throws {
        let prompt = PromptStore(geometry: try geometry(64, 16)) { $0 != BlockNumber(3) }
        let disk = BlockDisk(over: prompt, fanOutMax: 1, isReadOnly: false)
        let bytes = (0..<130).map { UInt8($0 + 1) }
        #expect(bytes.withUnsafeBytes { disk.writeNow($0, at: 1) })
        #expect(prompt.offers == ["00000000 1..<64", "00000001 0..<64", "00000002 0..<3"])
        #expect(try await disk.read(0..<132, .foreground).bytes == [0] + bytes + [0])
        #expect(!bytes.withUnsafeBytes { disk.writeNow($0, at: 150) })
        #expect(prompt.offers.suffix(2) == ["00000002 22..<64", "00000003 0..<64"])
        #expect(!bytes.withUnsafeBytes { disk.writeNow($0, at: 64 * 16 - 129) })
        #expect(prompt.offers.count == 5)
    }

    @Test("a flush covers the blocks that its range touches, or everything")
    func flush() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: false, hook: nil)
        let disk = disk(over: memory)
        try await disk.flush(60..<130)
        try await disk.flush(nil)
        #expect(memory.counts.flushes == [BlockSet(BlockNumber(0)..<BlockNumber(3)), nil])
    }

    @Test("a read answered at once has one run for zeros, and the runs of the blocks else")
    func readNow() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: true, hook: nil)
        let disk = disk(over: memory)
        try await disk.write(.filled(7, count: 64), at: 128, .foreground)
        let zeros = try #require(disk.readNow(3..<120))
        #expect(zeros.count == 117)
        if case .zeros(117)? = zeros.single {} else { Issue.record("zeros are one run") }
        let mixed = try #require(disk.readNow(60..<200))
        #expect(mixed.runs.map(\.count) == [68, 64, 8])
        #expect(
            mixed.bytes == [UInt8](repeating: 0, count: 68) + [UInt8](repeating: 7, count: 64) + [UInt8](repeating: 0, count: 8))
        #expect(disk.readNow(1020..<1025) == nil)
    }

    @Test("the bytes of a read are those of the block, not a copy")
    func noCopy() async throws {
        let memory = MemoryBlockStore(geometry: try geometry(64, 16), answersNow: false, hook: nil)
        let disk = disk(over: memory)
        let slice = BufferSlice.filled(7, count: 192)
        try await disk.write(slice, at: 64, .foreground)
        for run in try await disk.read(70..<250, .foreground).runs {
            guard case .bytes(let part) = run else {
                Issue.record("data became zeros")
                continue
            }
            #expect(part.buffer === slice.buffer)
        }
    }
}
