// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import DataPath
import Glibc
import S3
import Testing

@Suite("curl transport: TLS")
struct CurlTLSTests {
    @Test(
        "a certificate that nobody vouches for is refused, with the option that helps",
        .enabled(if: TLSServer.isPossible || TLSServer.mustBePossible))
    func untrusted() async throws {
        let server = try TLSServer(subject: "127.0.0.1")
        defer { server.stop() }
        let error = try await refusal(server) { _ in }
        #expect(error.kind == .connectionLost && !error.mayHaveBeenSent)
        #expect(error.description.contains("--cacert"))
    }

    @Test(
        "a certificate file makes it trusted, and so does not asking",
        .enabled(if: TLSServer.isPossible || TLSServer.mustBePossible))
    func trusted() async throws {
        let server = try TLSServer(subject: "127.0.0.1")
        defer { server.stop() }
        #expect(try await status(server) { $0.caFile = server.certificate } == 200)
        #expect(try await status(server) { $0.isInsecure = true } == 200)
    }

    @Test(
        "the name in the certificate is checked even when nobody vouches for it",
        .enabled(if: TLSServer.isPossible || TLSServer.mustBePossible))
    func otherName() async throws {
        let server = try TLSServer(subject: "127.0.0.2")
        defer { server.stop() }
        #expect(try await refusal(server) { $0.isInsecure = true }.kind == .connectionLost)
        #expect(try await refusal(server) { $0.caFile = server.certificate }.kind == .connectionLost)
        #expect(try await refusal(server) { $0.caFile = "/nonexistent" }.kind == .connectionLost)
    }

    private func status(_ server: TLSServer, _ change: (inout TransportSettings) -> Void) async throws -> Int {
        let transport = try CurlFixture.transport(change)
        defer { transport.shutdown() }
        let url = "https://127.0.0.1:\(server.port)/answer"
        return try await transport.send(
            HTTPRequest(method: .get, url: url, headers: [], body: nil, answerSizeMax: 1 << 20)
        ).status
    }

    private func refusal(
        _ server: TLSServer, _ change: (inout TransportSettings) -> Void
    ) async throws -> HTTPTransportError {
        do {
            let status = try await status(server, change)
            Issue.record("an error was due, not \(status)")
            throw S3ClientFixture.MissingError()
        } catch let error as HTTPTransportError {
            return error
        }
    }
}

/// OpenSSL's test server, which answers `GET /answer` with a file.
struct TLSServer {
    static let isPossible = access("/usr/bin/openssl", X_OK) == 0
    /// Whether a machine without it is a failure.
    static let mustBePossible = RealStore.variable("CI") == "true"

    let port: UInt16
    let certificate: String
    private let directory: String
    private let process: pid_t

    struct Failed: Error { let step: String }

    /// Starts a server whose certificate is for an address, signed by itself.
    init(subject: String) throws {
        var template = Array("/tmp/s3-tls-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failed(step: "mkdtemp") }
        let directory = template.withUnsafeBufferPointer { String(cString: $0.baseAddress.unsafelyUnwrapped) }
        self.directory = directory
        certificate = directory + "/cert.pem"
        // A port in the upper range, by the process and the moment; s_server fails if it is taken, and the next is tried.
        for attempt in 0..<20 {
            let port = UInt16(20_000 + (Int(getpid()) * 7 + attempt * 131 + Int(clock() % 977)) % 12_000)
            let made =
                "cd \(directory) && { [ -e cert.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
                + " -nodes -days 2 -keyout key.pem -out cert.pem"
                + " -subj /CN=test -addext subjectAltName=IP:\(subject) 2>/dev/null; }"
                + " && printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok' > answer"
                + " && exec openssl s_server -accept 127.0.0.1:\(port) -cert cert.pem -key key.pem -HTTP >/dev/null 2>&1"
            guard let process = Self.spawn(made) else { throw Failed(step: "posix_spawn") }
            if Self.awaitListener(port, process) {
                self.port = port
                self.process = process
                return
            }
        }
        throw Failed(step: "no port is free")
    }

    func stop() {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
        for name in ["cert.pem", "key.pem", "answer"] { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }

    private static func spawn(_ script: String) -> pid_t? {
        var process: pid_t = 0
        var arguments = ["sh", "-c", script].map { (word: String) in strdup(word) } + [nil]
        defer { for argument in arguments { free(argument) } }
        return posix_spawn(&process, "/bin/sh", nil, nil, &arguments, environ) == 0 ? process : nil
    }

    /// Waits until somebody listens, or the process has ended.
    private static func awaitListener(_ port: UInt16, _ process: pid_t) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        while waitpid(process, nil, WNOHANG) == 0 {
            let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            let isConnected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            if isConnected { return true }
            poll(nil, 0, 10)
        }
        return false
    }
}
