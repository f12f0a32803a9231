// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// Compares the way of a written block through the codecs of a volume with the sum of its calls of zlib, zstd and OpenSSL, on one
// core. See Benchmarks/compare-codec.sh, which builds it so that it may reach the codecs.

import BlockStores
import Cryptography
import DataPath
import Glibc
@testable import Volumes

struct Case {
    let name: String
    let compression: Compression?
    let encryption: (any BlockEncryption)?
    let bare: (BareCalls.Compressor, BareCalls.Cipher)
}

/// Half noise, half small numbers, in runs of 64 bytes; the same at each run.
func makeBlock(count: Int) -> BufferSlice {
    var state: UInt64 = 1
    let bytes = (0..<count).map { index -> UInt8 in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let byte = UInt8(truncatingIfNeeded: state >> 33)
        return index & 64 == 0 ? byte : byte & 3
    }
    return BufferSlice(Buffer(copying: bytes))
}

func microseconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) * 1e6 + Double(duration.components.attoseconds) / 1e12
}

func makeCases() -> [Case] {
    let compatible = CompatibleEncryption(
        cipher: .aes128CBC, keyCount: nil, password: SecretBytes(Array("benchmark".utf8)), salt: "bucket/")
    let gcm = GCMEncryption(
        volumeKey: VolumeKey(id: [UInt8](repeating: 1, count: 16), key: SecretBytes([UInt8](repeating: 2, count: 32))))
    return [
        Case(name: "deflate 1", compression: .deflate(level: 1), encryption: nil, bare: (.deflate(level: 1), .none)),
        Case(name: "zstd 1", compression: .zstd(level: 1), encryption: nil, bare: (.zstd(level: 1), .none)),
        Case(
            name: "deflate 1, AES-128-CBC", compression: .deflate(level: 1), encryption: compatible,
            bare: (.deflate(level: 1), .aes128CBC)),
        Case(
            name: "zstd 1, AES-128-CBC", compression: .zstd(level: 1), encryption: compatible, bare: (.zstd(level: 1), .aes128CBC)
        ),
        Case(name: "zstd 1, AES-256-GCM", compression: .zstd(level: 1), encryption: gcm, bare: (.zstd(level: 1), .aes256GCM)),
        Case(name: "AES-256-GCM", compression: nil, encryption: gcm, bare: (.none, .aes256GCM)),
    ]
}

/// How much of a processor this thread takes for `body`: other programs on the machine do not count.
func processorTime(of body: () -> Void) -> Duration {
    func now() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
    let start = now()
    body()
    return now() - start
}

/// The best of several rounds of each, in turn, for one block.
func measure(_ item: Case, blockSize: Int) -> (codec: Duration, bare: Duration) {
    let block = makeBlock(count: blockSize)
    let codec = CodecStack(
        compression: item.compression, encryption: item.encryption, defaultEncoding: nil, blockSize: blockSize,
        pool: BufferPool(retainedBytesMax: 64 << 20))
    let bare = BareCalls(item.bare.0, item.bare.1, blockSize: blockSize)
    let count = max(4, (8 << 20) / blockSize)
    var best = (codec: Duration.seconds(1000), bare: Duration.seconds(1000))
    for _ in 0..<15 {
        let one = processorTime {
            for index in 0..<count { _ = codec.encode(block, of: BlockNumber(rawValue: UInt32(index))) }
        }
        let other = processorTime {
            for _ in 0..<count { block.withBytes { bare.run($0) } }
        }
        best = (min(best.codec, one / count), min(best.bare, other / count))
    }
    return best
}

/// With an argument, only the form of this name: for a profiler.
func run(only name: String?) {
    print("| block | form | codecs, us | bare calls, us | ratio |\n|---|---|---|---|---|")
    for blockSize in [4096, 128 << 10, 1 << 20] {
        for item in makeCases() where name == nil || item.name == name {
            let best = measure(item, blockSize: blockSize)
            let figures = [microseconds(best.codec), microseconds(best.bare)].map { ($0 * 100).rounded() / 100 }
            let ratio = (best.codec / best.bare * 100).rounded() / 100
            print("| \(blockSize >> 10) KiB | \(item.name) | \(figures[0]) | \(figures[1]) | \(ratio) |")
        }
    }
}

run(only: CommandLine.arguments.dropFirst().first)
