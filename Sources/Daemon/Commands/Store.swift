// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import Cryptography
internal import DataPath
internal import Glibc
internal import Logging
internal import ObjectStores
internal import S3
internal import Volumes

/// The object store that the settings name, open, and how the layers over it are set.
struct Store {
    /// Requests in flight at most. At 30 ms an answer this is 4,000 requests a second; on a slow line the limit adapts.
    static let requestsMax = 128
    /// How many of these are kept for system calls that wait.
    static let foregroundReserve = 32
    /// How many more requests than uploads there must be room for: those that are kept for system calls, and some to read ahead.
    static let requestsBesideUploads = 48
    /// Blocks of one request of the kernel under way at once: a read of 1 MiB of 64 KiB blocks is one round trip.
    static let fanOutMax = 64

    /// The store.
    let objects: any ObjectStore
    /// The same, when it is S3.
    let client: S3Client?
    /// How the layers over it are set.
    let stackSettings: StackSettings
    /// How the volume in it is opened.
    let volumeOptions: VolumeOptions

    /// Opens the store; asks nothing of the network.
    ///
    /// - Parameters:
    ///   - password: What blocks are encrypted with; nil where no block is read or written, or none is encrypted.
    ///   - process: Its memory, threads, clocks and log.
    /// - Throws: When the directory cannot be used, or curl cannot start.
    static func open(
        _ settings: Settings, password: SecretBytes?, _ process: ServingProcess
    ) throws(UserError) -> Store {
        // A command that writes one object of its own is not stopped by options of the mount, as a line of fstab may hold them.
        let isReadOnly = settings.fileSystem.isReadOnly && settings.command.isMount
        switch settings.store {
        case .directory(let path):
            let objects: DirectoryObjectStore
            do {
                objects = try DirectoryObjectStore(
                    directory: path, pool: process.bufferPool, isReadOnly: isReadOnly, undescribed: DirectVolume.blockMetadata)
            } catch {
                throw UserError(error.message)
            }
            return Store(
                objects: objects, client: nil,
                stackSettings: StackSettings(
                    retry: nil, consistency: settings.consistency?.limits, verifiesBodies: false, limits: nil,
                    cache: settings.cache, surveyRequestsMax: settings.survey?.requestsMax, fanOutMax: fanOutMax,
                    isChecked: settings.process.isDebug),
                volumeOptions: options(
                    settings,
                    codec: settings.codec.options(
                        password, salt: "/" + settings.layout.prefix, computing: process.ioPool.computing),
                    isReadOnly: isReadOnly, isAnonymous: false, attemptTimeout: .seconds(1)))
        case .s3(let bucket):
            let client = try S3Client.open(
                bucket, acceptEncoding: settings.codec.acceptEncoding, process)
            let policy = RetryPolicy(
                initialPause: bucket.connection.initialRetryPause, totalPauseMax: bucket.connection.totalRetryPauseMax)
            return Store(
                objects: client, client: client,
                stackSettings: StackSettings(
                    retry: policy, consistency: settings.consistency?.limits,
                    // An encrypted block proves by itself that it is whole.
                    verifiesBodies: settings.codec.encryption == nil,
                    limits: limits(settings.cache), cache: settings.cache, surveyRequestsMax: settings.survey?.requestsMax,
                    fanOutMax: fanOutMax, isChecked: settings.process.isDebug, computing: process.ioPool.computing),
                volumeOptions: options(
                    settings,
                    codec: settings.codec.options(
                        password, salt: bucket.bucket + "/" + settings.layout.prefix, computing: process.ioPool.computing),
                    isReadOnly: isReadOnly, isAnonymous: bucket.credentials == nil,
                    attemptTimeout: bucket.connection.timeout))
        }
    }

    /// As many requests as uploads are wanted at once, and others beside them.
    static func limits(_ cache: BlockCacheSettings?) -> RequestLimits {
        let uploads = cache?.behaviour.uploadsMax ?? 0
        return RequestLimits(requestsMax: max(requestsMax, uploads + requestsBesideUploads), foregroundReserve: foregroundReserve)
    }

    /// Lets no answer of the store take more memory than the object of a block may: no encoding makes a block much larger, and
    /// no other object of a volume is as large as a megabyte.
    func limitObjects(toBlocksOf blockSize: Int) { client?.limitObjects(to: 2 * blockSize + (1 << 20)) }

    private static func options(
        _ settings: Settings, codec: CodecOptions, isReadOnly: Bool, isAnonymous: Bool, attemptTimeout: Duration
    ) -> VolumeOptions {
        VolumeOptions(
            description: settings.volumeName,
            keys: BlockKeyScheme(prefix: settings.layout.prefix, isHashed: settings.layout.isHashed),
            codec: codec,
            sizes: ConfiguredSizes(blockSize: settings.geometry.blockSize, diskSize: settings.geometry.sizeBytes),
            detectsSizes: settings.geometry.isAutoDetected, isReadOnly: isReadOnly, isForced: settings.geometry.isForced,
            usesMountToken: true, isAnonymous: isAnonymous, hostName: hostName,
            limits: SettlementLimits(attemptTimeout: attemptTimeout))
    }

    /// The name of this machine, for the mount token.
    private static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        // See: 'man 2 gethostname'; a name that does not fit may lack its zero.
        guard gethostname(&name, name.count - 1) == 0 else { return "unknown" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension ConsistencySettings {
    /// The same, as the guard wants it.
    var limits: ConsistencyLimits {
        ConsistencyLimits(objectsMax: blocksMax, keptFor: keptFor, minWriteDelay: minWriteDelay)
    }
}

extension CodecSettings {
    /// The settings of codecs, as the volume wants them.
    ///
    /// - Parameters:
    ///   - password: Nil leaves encryption out: for what touches no block.
    ///   - salt: Where the volume is, `BUCKET/PREFIX`; a local directory has no bucket.
    ///   - computing: Where the codecs run; nil for the executor of the caller.
    func options(_ password: SecretBytes?, salt: String, computing: (any TaskExecutor)? = nil) -> CodecOptions {
        var encrypted: EncryptionOptions?
        if let encryption, let password {
            encrypted = EncryptionOptions(scheme: encryption.scheme, password: password, salt: salt)
        }
        var options = CodecOptions(
            compression: compression, encryption: encrypted, defaultContentEncoding: defaultContentEncoding)
        options.computing = computing
        return options
    }

    /// The encodings that a block may have, as a request's Accept-Encoding lists them.
    ///
    /// - Source: RFC 9110 section 12.5.3; Docs/Formats/Direct.md.
    var acceptEncoding: String {
        (Compression.Kind.allCases.map(\.rawValue) + (encryption.map { ["encrypt-" + $0.scheme.cipherName] } ?? []))
            .joined(separator: ", ")
    }
}

extension S3Client {
    /// Makes a client from settings.
    ///
    /// - Parameters:
    ///   - acceptEncoding: The encodings that blocks may have.
    ///   - process: Its memory, threads, clocks and log.
    /// - Throws: When the base URL is not one, or curl cannot start.
    static func open(
        _ bucket: BucketSettings, acceptEncoding: String, _ process: ServingProcess
    ) throws(UserError) -> S3Client {
        let endpoint: Endpoint
        do {
            endpoint = try Endpoint(
                baseURL: bucket.baseURL, bucket: bucket.bucket, addressing: bucket.isVirtualHost ? .virtualHost : .path,
                region: bucket.region)
        } catch {
            throw UserError("cannot use \"--baseURL\": \(error.description)")
        }
        let credentials = bucket.credentials.map {
            Credentials(accessID: $0.accessID, secretKey: $0.accessKey.revealed, sessionToken: nil)
        }
        var settings = S3Settings(endpoint: endpoint, credentials: credentials)
        settings.signatureVersion = bucket.signature == .aws2 ? .v2 : .v4
        settings.accessType = AccessType(rawValue: bucket.objects.accessType)
        settings.storageClass = bucket.objects.storageClass
        settings.acceptEncoding = acceptEncoding
        settings.serverSideEncryption = bucket.objects.encryption
        settings.computing = process.ioPool.computing
        do {
            let transport = try CurlTransport(
                settings: TransportSettings(bucket.connection), pool: process.bufferPool, timeline: process.timeline,
                logger: process.logger)
            return S3Client(
                settings: settings, transport: transport, pool: process.bufferPool, timeline: process.timeline,
                logger: process.logger)
        } catch {
            throw UserError("cannot talk to the store: \(error)")
        }
    }
}

extension TransportSettings {
    /// The settings of connections, as the transport wants them.
    init(_ connection: ConnectionSettings) {
        self.init(timeout: connection.timeout, userAgent: "s3backer/\(Version.number)")
        uploadBitsPerSecondMax = connection.uploadBytesPerSecond.map { Int(clamping: $0 * 8) }
        downloadBitsPerSecondMax = connection.downloadBytesPerSecond.map { Int(clamping: $0 * 8) }
        isHTTP11Only = connection.usesHTTP11
        reusesConnections = connection.reusesConnections
        typeOfService = connection.typeOfService.map { UInt8(clamping: $0) }
        caFile = connection.authorityFile
        isInsecure = !connection.verifiesPeer
        isDumped = connection.logsHTTP
        idleHandlesMax = Store.requestsMax
    }
}

extension ObjectSettings {
    /// The encryption at the server, as the client wants it.
    var encryption: ServerSideEncryption? {
        switch serverSideEncryption {
        case "AES256": .aes256
        case "aws:kms": .kms(keyID: serverSideEncryptionKeyID ?? "")
        default: nil
        }
    }
}
