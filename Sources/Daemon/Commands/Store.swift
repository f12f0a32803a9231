// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import BlockStores
internal import DataPath
internal import Glibc
internal import Logging
internal import ObjectStores
internal import S3
internal import Volumes

/// The object store that the settings name, open, and how the layers over it are set.
struct Store {
    /// Requests in flight at most. At 30 ms an answer this is 2,000 requests a second; on a slow line the limit adapts.
    static let requestsMax = 64
    /// How many of these are kept for system calls that wait.
    static let foregroundReserve = 16
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
    /// - Throws: When the directory cannot be used, or curl cannot start.
    static func open(
        _ settings: Settings, pool: BufferPool, timeline: any Timeline, logger: Logger
    ) throws(UserError) -> Store {
        let isReadOnly = settings.fileSystem.isReadOnly && settings.command != .resetMountToken
        switch settings.store {
        case .directory(let path):
            let objects: DirectoryObjectStore
            do {
                objects = try DirectoryObjectStore(
                    directory: path, pool: pool, isReadOnly: isReadOnly, undescribed: DirectVolume.blockMetadata)
            } catch {
                throw UserError(error.message)
            }
            return Store(
                objects: objects, client: nil,
                stackSettings: StackSettings(
                    retry: nil, consistency: nil, verifiesBodies: false, limits: nil, fanOutMax: fanOutMax,
                    isChecked: settings.process.isDebug),
                volumeOptions: options(settings, isReadOnly: isReadOnly, isAnonymous: false, attemptTimeout: .seconds(1)))
        case .s3(let bucket):
            let client = try S3Client.open(bucket, pool: pool, timeline: timeline, logger: logger)
            let policy = RetryPolicy(
                initialPause: bucket.connection.initialRetryPause, totalPauseMax: bucket.connection.totalRetryPauseMax)
            return Store(
                objects: client, client: client,
                stackSettings: StackSettings(
                    retry: policy, consistency: nil, verifiesBodies: true,
                    limits: RequestLimits(requestsMax: requestsMax, foregroundReserve: foregroundReserve),
                    fanOutMax: fanOutMax, isChecked: settings.process.isDebug),
                volumeOptions: options(
                    settings, isReadOnly: isReadOnly, isAnonymous: bucket.credentials == nil,
                    attemptTimeout: bucket.connection.timeout))
        }
    }

    private static func options(
        _ settings: Settings, isReadOnly: Bool, isAnonymous: Bool, attemptTimeout: Duration
    ) -> VolumeOptions {
        VolumeOptions(
            description: settings.volumeName,
            keys: BlockKeyScheme(prefix: settings.layout.prefix, isHashed: settings.layout.isHashed),
            codec: .plain,
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

extension S3Client {
    /// Makes a client from settings.
    ///
    /// - Throws: When the base URL is not one, or curl cannot start.
    static func open(
        _ bucket: BucketSettings, pool: BufferPool, timeline: any Timeline, logger: Logger
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
        settings.serverSideEncryption = bucket.objects.encryption
        do {
            let transport = try CurlTransport(
                settings: TransportSettings(bucket.connection), pool: pool, timeline: timeline, logger: logger)
            return S3Client(settings: settings, transport: transport, pool: pool, timeline: timeline, logger: logger)
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
