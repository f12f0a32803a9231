// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Glibc
import Testing

/// A port of loopback whose queue of connections is full: the kernel drops whoever else knocks, as a dead host does.
struct FullListener {
    /// Where it listens.
    let port: UInt16
    private let descriptors: [Int32]

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var count = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, count) == 0 && listen(listener, 0) == 0 && getsockname(listener, address, &count) == 0
            }
        }
        try #require(isListening, "cannot listen on loopback: \(String(cString: strerror(errno)))")
        port = UInt16(bigEndian: address.sin_port)
        // A queue of length 0 holds one connection; the others of these are dropped already.
        let callers = (0..<3).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0) }
        for caller in callers {
            _ = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(caller, $0, count) }
            }
        }
        descriptors = [listener] + callers
    }

    /// Closes everything.
    func close() {
        for descriptor in descriptors { Glibc.close(descriptor) }
    }
}
