// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import ObjectStores
import Testing
import Volumes

@Suite("The names of objects")
struct BlockKeySchemeTests {
    static let hashes: [(UInt32, String)] = [
        (0, "c448b72c"), (1, "d211cad9"), (2, "7183baa1"), (0x1ff, "a6cb90c7"), (0x1234, "b74e46df"),
        (0xffff_ffff, "0f447858"),
    ]

    @Test("the hash of a block number is the one of the C program", arguments: hashes)
    func hash(number: UInt32, expected: String) {
        let key = BlockKeyScheme(prefix: "vec-hash/", isHashed: true).key(of: BlockNumber(rawValue: number))
        #expect(key.name == "vec-hash/\(expected)-\(BlockNumber(rawValue: number))")
    }

    @Test("a plain name is the prefix and eight digits")
    func plain() {
        #expect(BlockKeyScheme(prefix: "a b+ü", isHashed: false).key(of: 0x1ff).name == "a b+ü000001ff")
        #expect(BlockKeyScheme(prefix: "", isHashed: true).mountTokenKey.name == "s3backer-mounted")
    }

    @Test("a listed name is parsed back to its block", arguments: [false, true], ["", "vm/", "ü "])
    func parse(isHashed: Bool, prefix: String) {
        let keys = BlockKeyScheme(prefix: prefix, isHashed: isHashed)
        for (number, _) in Self.hashes {
            let block = BlockNumber(rawValue: number)
            #expect(keys.block(named: keys.key(of: block)) == block)
        }
    }

    @Test(
        "any other name is no block",
        arguments: [
            "vm/", "vm/0000000", "vm/000000000", "vm/0000000A", "vm/0000000g", "vm/s3backer-mounted", "wm/00000000",
            "00000000", "vm/c448b72c-00000000", "vm/00000000/", "vm/+0000001",
        ])
    func noBlock(name: String) {
        #expect(BlockKeyScheme(prefix: "vm/", isHashed: false).block(named: ObjectKey(name)) == nil)
    }

    @Test(
        "a hashed name with a wrong hash is no block",
        arguments: ["00000000", "c448b72d-00000000", "c448b72c_00000000", "C448B72C-00000000", "c448b72c-0000000"])
    func wrongHash(name: String) {
        #expect(BlockKeyScheme(prefix: "", isHashed: true).block(named: ObjectKey(name)) == nil)
    }
}
