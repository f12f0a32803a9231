// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import CCrypto
import CZlib
import CZstd
import DataPath

/// The calls of zlib, zstd and OpenSSL that a written block takes, with contexts made once and nothing around them: what the
/// codecs of a volume cannot be faster than.
final class BareCalls {
    enum Compressor {
        case none
        case deflate(level: Int32)
        case zstd(level: Int32)
    }
    enum Cipher {
        case none
        case aes128CBC
        case aes256GCM
    }

    private let compressor: Compressor
    private let cipher: Cipher
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private let frames = ZSTD_createCCtx()
    private let cbc = EVP_CIPHER_CTX_new()
    private let gcm = EVP_CIPHER_CTX_new()
    private let mac: OpaquePointer?
    private let target: UnsafeMutablePointer<UInt8>
    private let key = [UInt8](repeating: 3, count: 32)
    private let vector = [UInt8](repeating: 4, count: 16)
    private let data = [UInt8](repeating: 5, count: 51)

    init(_ compressor: Compressor, _ cipher: Cipher, blockSize: Int) {
        self.compressor = compressor
        self.cipher = cipher
        target = .allocate(capacity: 2 * blockSize + 4096)
        stream.initialize(to: z_stream())
        if case .deflate(let level) = compressor {
            deflateInit_(stream, level, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        }
        EVP_EncryptInit_ex(cbc, EVP_aes_128_cbc(), nil, key, vector)
        EVP_EncryptInit_ex(gcm, EVP_aes_256_gcm(), nil, key, vector)
        mac = EVP_MAC_CTX_new(EVP_MAC_fetch(nil, "HMAC", nil))
        var name = Array("SHA1".utf8CString)
        name.withUnsafeMutableBufferPointer { name in
            OSSL_MAC_PARAM_DIGEST.withCString { parameter in
                var parameters = [
                    OSSL_PARAM_construct_utf8_string(parameter, name.baseAddress, 0), OSSL_PARAM_construct_end(),
                ]
                EVP_MAC_init(mac, key, 16, &parameters)
            }
        }
    }

    /// Compresses and encrypts one block.
    func run(_ block: UnsafeRawBufferPointer) {
        guard let start = block.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        var source = start
        var count = block.count
        let packed = target + 64
        switch compressor {
        case .none: break
        case .deflate:
            deflateReset(stream)
            stream.pointee.next_in = UnsafeMutablePointer(mutating: source)
            stream.pointee.avail_in = uInt(count)
            stream.pointee.next_out = packed
            stream.pointee.avail_out = uInt(compressBound(uLong(count)))
            deflate(stream, Z_FINISH)
            count = Int(stream.pointee.total_out)
            source = UnsafePointer(packed)
        case .zstd(let level):
            count = ZSTD_compressCCtx(frames, packed, ZSTD_compressBound(count), source, count, level)
            source = UnsafePointer(packed)
        }
        switch cipher {
        case .none: break
        case .aes128CBC: encryptCBC(source, count, into: packed)
        case .aes256GCM: encryptGCM(source, count, into: packed)
        }
    }

    /// The vector, the bytes, the HMAC.
    private func encryptCBC(_ source: UnsafePointer<UInt8>, _ count: Int, into packed: UnsafeMutablePointer<UInt8>) {
        var written: Int32 = 0
        var last: Int32 = 0
        var digestCount = 0
        EVP_EncryptInit_ex(cbc, nil, nil, nil, vector)
        EVP_EncryptUpdate(cbc, target, &written, vector, 16)
        EVP_EncryptInit_ex(cbc, nil, nil, nil, vector)
        EVP_EncryptUpdate(cbc, packed, &written, source, Int32(count))
        EVP_EncryptFinal_ex(cbc, packed + Int(written), &last)
        EVP_MAC_init(mac, nil, 0, nil)
        EVP_MAC_update(mac, data, 8)
        EVP_MAC_update(mac, data, 11)
        EVP_MAC_update(mac, packed, Int(written + last))
        EVP_MAC_final(mac, target, &digestCount, 20)
    }

    /// The nonce, the key of this object (two blocks of AES), the bytes, the tag.
    private func encryptGCM(_ source: UnsafePointer<UInt8>, _ count: Int, into packed: UnsafeMutablePointer<UInt8>) {
        var written: Int32 = 0
        RAND_bytes(target, 24)
        EVP_EncryptInit_ex(cbc, nil, nil, nil, vector)
        EVP_EncryptUpdate(cbc, target + 24, &written, key, 32)
        EVP_EncryptInit_ex(gcm, nil, nil, key, vector)
        EVP_EncryptUpdate(gcm, nil, &written, data, Int32(data.count))
        EVP_EncryptUpdate(gcm, packed, &written, source, Int32(count))
        EVP_EncryptFinal_ex(gcm, packed + Int(written), &written)
        EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, 16, packed + count)
    }
}
