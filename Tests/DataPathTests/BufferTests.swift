// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Testing

@Suite("Buffers")
struct BufferTests {
    @Test("isAllZero finds a single byte at every place of every small size")
    func findsEveryByte() {
        for count in 0...40 {
            var bytes = [UInt8](repeating: 0, count: count)
            #expect(bytes.withUnsafeBytes { isAllZero($0) })
            for index in bytes.indices {
                bytes[index] = 1
                #expect(!bytes.withUnsafeBytes { isAllZero($0) }, "byte \(index) of \(count)")
                bytes[index] = 0
            }
        }
    }

    @Test("isAllZero works at every alignment, and sees nothing outside of its bytes")
    func ignoresNeighbours() {
        for start in 0..<16 {
            var bytes = [UInt8](repeating: 0xff, count: 4096 + 32)
            for index in start..<start + 4096 { bytes[index] = 0 }
            #expect(bytes.withUnsafeBytes { isAllZero(UnsafeRawBufferPointer(rebasing: $0[start..<start + 4096])) })
            #expect(!bytes.withUnsafeBytes { isAllZero(UnsafeRawBufferPointer(rebasing: $0[start..<start + 4097])) })
        }
    }

    @Test("a slice of a slice counts from the slice's own start")
    func slicesNest() {
        let slice = BufferSlice(Buffer(copying: Array(UInt8(0)..<100)))
        #expect(slice.count == 100)
        let inner = slice.slice(10..<50).slice(5..<8)
        #expect(inner.bytes == [15, 16, 17])
        #expect(inner.range == 15..<18)
        #expect(slice.slice(3..<3).bytes == [])
        #expect(slice.slice(3..<3).isAllZeros)
        #expect(slice.slice(0..<1).isAllZeros)
        #expect(!slice.isAllZeros)
    }

    @Test("a buffer has the bytes that were frozen, and starts at a page")
    func freezes() {
        let pool = BufferPool(retainedBytesMax: 1 << 20)
        let writer = pool.writer(count: 5000)
        #expect(writer.capacity == 5000)
        writer.withMutableBytes { bytes in
            #expect(bytes.count == 5000)
            for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index) }
        }
        let buffer = writer.freeze(count: 4097)
        #expect(buffer.count == 4097)
        #expect(BufferSlice(buffer).bytes == (0..<4097).map { UInt8(truncatingIfNeeded: $0) })
        #expect(UInt(bitPattern: buffer.unsafeBytes.baseAddress) % 4096 == 0)
    }

    @Test("a copy does not change with its source")
    func copies() {
        var source = [UInt8](repeating: 3, count: 10)
        let buffer = source.withUnsafeBytes { BufferPool(retainedBytesMax: 0).copy($0) }
        source[0] = 4
        #expect(BufferSlice(buffer).bytes == [UInt8](repeating: 3, count: 10))
        #expect(Buffer(copying: []).count == 0)
    }
}

@Suite("BufferPool")
struct BufferPoolTests {
    @Test("memory given back is lent again")
    func reuses() {
        let pool = BufferPool(retainedBytesMax: 1 << 20)
        var addresses: Set<UnsafeRawPointer?> = []
        for _ in 0..<100 { addresses.insert(pool.writer(count: 4096).freeze(count: 4096).unsafeBytes.baseAddress) }
        #expect(addresses.count == 1)
        #expect(pool.retainedBytes == 4096)
    }

    @Test("a buffer is not given back while anything refers to it")
    func keepsWhatIsUsed() {
        let pool = BufferPool(retainedBytesMax: 1 << 20)
        var slice: BufferSlice? = BufferSlice(pool.writer(count: 4096).freeze(count: 4096)).slice(0..<1)
        #expect(pool.retainedBytes == 0)
        #expect(slice?.count == 1)
        slice = nil
        #expect(pool.retainedBytes == 4096)
    }

    @Test("no more is retained than was asked for")
    func isBounded() {
        let pool = BufferPool(retainedBytesMax: 3 * 4096)
        var buffers = (0..<10).map { _ in pool.writer(count: 100).freeze(count: 100) }
        #expect(buffers.count == 10)
        buffers = []
        #expect(pool.retainedBytes == 3 * 4096)
    }

    @Test(
        "sizes are rounded up to powers of two, from one page on",
        arguments: [
            (0, 4096), (1, 4096), (4096, 4096), (4097, 8192), (65536, 65536), (65537, 131072), (16 << 20, 16 << 20),
        ])
    func hasClasses(count: Int, retained: Int) {
        let pool = BufferPool(retainedBytesMax: 64 << 20)
        do { _ = pool.writer(count: count).freeze(count: 0) }
        #expect(pool.retainedBytes == retained)
    }

    @Test("what is larger than the largest class is allocated and freed")
    func leavesTheHugeAlone() {
        let pool = BufferPool(retainedBytesMax: 64 << 20)
        do {
            let buffer = pool.writer(count: BufferPool.largestPooled + 1).freeze(count: 7)
            #expect(buffer.count == 7)
        }
        #expect(pool.retainedBytes == 0)
    }

    @Test("threads may share a pool")
    func isThreadSafe() async {
        let pool = BufferPool(retainedBytesMax: 1 << 20)
        await withTaskGroup { group in
            for worker in UInt8(1)...8 {
                group.addTask {
                    for _ in 0..<50 {
                        let writer = pool.writer(count: 4096)
                        writer.withMutableBytes { bytes in
                            for index in bytes.indices { bytes[index] = worker }
                        }
                        let slice = BufferSlice(writer.freeze(count: 4096))
                        #expect(slice.bytes.allSatisfy { $0 == worker })
                    }
                }
            }
        }
    }
}
