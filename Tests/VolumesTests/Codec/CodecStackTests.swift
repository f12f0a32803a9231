// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import BlockStores
import Cryptography
import DataPath
import ObjectStores
import StoreTesting
import Testing
@testable import Volumes

@Suite("Codecs of a volume")
struct CodecStackTests {
    @Test("what is written is read back, in every form, also when it does not get smaller", arguments: CodecFixture.all)
    func roundTrip(fixture: CodecFixture) throws {
        var random = SeededGenerator(seed: 3)
        for plain in [fixture.block(), random.bytes(count: 512), [UInt8](repeating: 0, count: 512)] {
            for block in [0, 5, 0xffff_fffe] as [BlockNumber] {
                let form = fixture.object(plain, of: block)
                #expect(try form.decoded(by: fixture.codec, as: block) == plain)
            }
        }
    }

    @Test("a codec says what it does")
    func traits() {
        let names = CodecFixture.all.map { $0.object($0.block(), of: 1).contentEncoding }
        #expect(
            names == [
                nil, "deflate", "zstd", "deflate, encrypt-AES-128-CBC", "zstd, encrypt-AES-256-CBC",
                "deflate, encrypt-DES-EDE3-CBC", "deflate, encrypt-ARIA-192-CBC", "encrypt-AES-256-GCM",
                "zstd, encrypt-AES-256-GCM", "deflate, encrypt-AES-256-GCM",
            ])
        #expect(CodecFixture.all.map(\.codec.isIdentity) == [true] + [Bool](repeating: false, count: 9))
        #expect(CodecFixture.all.map(\.codec.isAuthenticating) == [false, false, false] + [Bool](repeating: true, count: 7))
    }

    @Test("a plain block is not copied, neither way")
    func identity() throws {
        let codec = CodecFixture("plain").codec
        let bytes = slice([UInt8](repeating: 9, count: 512))
        let form = codec.encode(bytes, of: 1)
        #expect(form.body.buffer === bytes.buffer)
        let metadata = ObjectMetadata(contentEncoding: form.contentEncoding)
        #expect(codec.isPlain(metadata))
        #expect(try codec.decode(form.body, metadata, of: 1).buffer === bytes.buffer)
    }

    @Test("compressed blocks are read whatever is written, with blanks or without, in any case of letters")
    func mixed() throws {
        let plain = CodecFixture.all[0].block()
        for writer in CodecFixture.all.prefix(3) {
            for reader in CodecFixture.all.prefix(3) {
                var form = writer.object(plain, of: 7)
                for spelling in [
                    form.contentEncoding, form.contentEncoding?.uppercased(), form.contentEncoding.map { " \($0),\t" },
                ] {
                    form.contentEncoding = spelling
                    #expect(try form.decoded(by: reader.codec, as: 7) == plain, "\(writer) by \(reader)")
                }
            }
        }
        for spelling in ["", " ", "identity", "Identity"] {
            let form = StoredForm(body: plain, contentEncoding: spelling, user: [:])
            #expect(try form.decoded(by: CodecFixture.all[1].codec, as: 7) == plain)
        }
    }

    @Test("an encrypted list is read with blanks or without", arguments: CodecFixture.encrypted)
    func blanks(fixture: CodecFixture) throws {
        var form = fixture.object(fixture.block(), of: 7)
        let text = try required(form.contentEncoding)
        for spelling in [text.replacing(", ", with: ","), text.replacing(", ", with: "\t,  "), "\t\(text) "] {
            form.contentEncoding = spelling
            #expect(try form.decoded(by: fixture.codec, as: 7) == fixture.block(), "\(spelling)")
        }
    }

    @Test("a cipher's alias in an object names the cipher", arguments: ["AES256", "AES-256-CBC"])
    func aliases(name: String) throws {
        let fixture = CodecFixture("", nil, CodecFixture.compatible(.aes256CBC))
        var form = fixture.object(fixture.block(), of: 7)
        form.contentEncoding = "deflate, encrypt-\(name)"
        #expect(try form.decoded(by: fixture.codec, as: 7) == fixture.block())
        form.contentEncoding = "deflate, encrypt-\(name.lowercased())"
        #expect(form.failure(in: fixture.codec, as: 7)?.kind == .unknownEncoding)
    }

    @Test("the default stands for a header that is missing or empty, and for no other")
    func defaultEncoding() throws {
        let fixture = CodecFixture("", nil, CodecFixture.compatible(.aes256CBC))
        let plain = fixture.block()
        let stack = { (text: String, encryption: (any BlockEncryption)?) in
            CodecStack(
                compression: nil, encryption: encryption, defaultEncoding: ContentEncoding(parsing: text), blockSize: 512,
                pool: CodecFixture.pool)
        }
        var form = fixture.object(plain, of: 7)
        form.contentEncoding = nil
        #expect(try form.decoded(by: stack("Deflate, encrypt-aes256", fixture.encryption), as: 7) == plain)
        form.contentEncoding = ""
        #expect(try form.decoded(by: stack("deflate,encrypt-AES-256-CBC", fixture.encryption), as: 7) == plain)
        form = CodecFixture.all[1].object(plain, of: 7)
        form.contentEncoding = nil
        #expect(try form.decoded(by: stack("DEFLATE", nil), as: 7) == plain)
        #expect(!stack("DEFLATE", nil).isPlain(form.metadata))
        form = StoredForm(body: plain, contentEncoding: "identity", user: [:])
        #expect(try form.decoded(by: stack("deflate", nil), as: 7) == plain)
        form.contentEncoding = nil
        #expect(form.failure(in: stack("gzip", nil), as: 7)?.kind == .unknownEncoding)
    }

    @Test("an object that is encrypted otherwise is refused, and the message names what to mount with")
    func otherEncryption() {
        let plain = CodecFixture("plain")
        let aes = CodecFixture.encrypted[0]
        let gcm = CodecFixture.encrypted[4]
        let foreign = aes.object(aes.block(), of: 7)
        let sealed = gcm.object(gcm.block(), of: 7)
        let bare = plain.object(plain.block(), of: 7)
        for (form, reader, kind, words) in [
            (foreign, plain, CodecError.Kind.otherEncryption, "mount with --encrypt=AES-128-CBC and its password"),
            (sealed, plain, .otherEncryption, "mount with --encrypt=AES-256-GCM and its password"),
            (foreign, gcm, .otherEncryption, "it is encrypted with AES-128-CBC and not with AES-256-GCM"),
            (sealed, aes, .otherEncryption, "mount with --encrypt=AES-256-GCM"),
            (bare, aes, .notEncrypted, "mount without --encrypt"), (bare, gcm, .notEncrypted, "mount without --encrypt"),
        ] {
            let error = form.failure(in: reader.codec, as: 7)
            #expect(error?.kind == kind)
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "none")")
        }
    }

    @Test(
        "a list that no writer makes is refused in words that may be logged",
        arguments: [
            "gzip", "zstd, deflate", "deflate, deflate", "deflate, encrypt-AES-128-CBC, zstd", "deflate, gzip",
            "encrypt-AES-128-CBC, encrypt-AES-128-CBC", "deflate, encrypt-CAMELLIA-256-CBC", "defl\u{e4}te", "deflate\u{7}",
            "encrypt-", "deflate, encrypt-AES-128-GCM",
        ])
    func refused(text: String) {
        for fixture in CodecFixture.all {
            let form = StoredForm(body: fixture.block(), contentEncoding: text, user: [:])
            let error = form.failure(in: fixture.codec, as: 7)
            #expect(error != nil, "\(fixture)")
            #expect(error?.message.utf8.allSatisfy { (0x20...0x7e).contains($0) } == true, "\(fixture)")
        }
    }

    @Test("the key may be longer than the cipher's, as the C program's --keyLength", arguments: [16, 17, 24, 64])
    func keyCount(count: Int) throws {
        let encryption = CodecFixture.compatible(.aes128CBC, keyCount: count)
        #expect(encryption.key.count == count && encryption.vectorKey.count == count)
        let writer = CodecFixture("", nil, encryption)
        let form = writer.object(writer.block(), of: 7)
        #expect(try form.decoded(by: writer.codec, as: 7) == writer.block())
        let others = [16, 17, 24, 64].filter { $0 != count }
        for other in others {
            let reader = CodecFixture("", nil, CodecFixture.compatible(.aes128CBC, keyCount: other))
            #expect(form.failure(in: reader.codec, as: 7)?.kind == .notAuthentic)
        }
        // PBKDF2 gives its bytes in order, so a longer key starts like a shorter one of the same digest blocks.
        let natural = CodecFixture.compatible(.aes128CBC)
        #expect(natural.key.withBytes { Array($0) } == encryption.key.withBytes { Array($0.prefix(16)) })
    }

    @Test("another password is told as such, and never mistaken for data")
    func password() {
        for fixture in [BlockCipher.aes128CBC, .aes256CBC, .desEDE3CBC, .aria256CBC].map({ cipher in
            (cipher, CodecFixture("", nil, CodecFixture.compatible(cipher)))
        }) {
            let form = fixture.1.object(fixture.1.block(), of: 7)
            let other = CodecFixture("", nil, CodecFixture.compatible(fixture.0, password: "hunter3"))
            let error = form.failure(in: other.codec, as: 7)
            #expect(error?.kind == .notAuthentic)
            #expect(error?.message == "its HMAC does not match: another password, or the object was changed")
        }
    }

    @Test("an object that has no encoding and is too short may have lost it, and the message names the cure")
    func lostEncoding() throws {
        let fixture = CodecFixture("", .deflate(level: 9))
        var form = fixture.object(fixture.block(), of: 7)
        form.contentEncoding = nil
        let error = form.failure(in: CodecFixture("").codec, as: 7)
        #expect(error?.message.hasSuffix("if the object has lost its Content-Encoding, use --defaultContentEncoding") == true)
    }

    @Test("two objects of the same block differ under AES-256-GCM, and are equal under the compatible scheme")
    func determinism() {
        for fixture in CodecFixture.encrypted {
            let isEqual = fixture.object(fixture.block(), of: 7) == fixture.object(fixture.block(), of: 7)
            #expect(isEqual == (fixture.encryption is CompatibleEncryption), "\(fixture)")
        }
    }

    @Test("many threads' blocks do not meet", arguments: CodecFixture.all)
    func parallel(fixture: CodecFixture) async {
        let codec = fixture.codec
        await withTaskGroup(of: Bool.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    for round in 0..<50 {
                        let plain = fixture.block(seed: UInt64(worker * 1000 + round))
                        let block = BlockNumber(rawValue: UInt32(worker * 100 + round))
                        let form = fixture.codec.encode(slice(plain), of: block)
                        let metadata = ObjectMetadata(contentEncoding: form.contentEncoding, user: form.user)
                        guard (try? codec.decode(form.body, metadata, of: block).bytes) == plain else { return false }
                    }
                    return true
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }
}
