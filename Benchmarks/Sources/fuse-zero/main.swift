// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// Mounts a disk of zeros through the project's FUSE library: fuse-zero [--task] MOUNTPOINT
// With --task reads go through the asynchronous path, as if the disk could not answer at once.

import Glibc

let arguments = CommandLine.arguments.dropFirst()
guard let mountPoint = arguments.last, !mountPoint.hasPrefix("-") else {
    print("usage: fuse-zero [--task] MOUNTPOINT")
    exit(1)
}
exit(serveZeros(on: mountPoint, answersNow: !arguments.contains("--task")))
