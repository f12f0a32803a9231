// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// mount(8) and /etc/fstab.
    ///
    /// The helper has to be in /sbin. The script therefore runs in a mount namespace of its own, with an overlay over /usr/sbin.
    @Suite struct MountCommandTests {
        private static let namespace = """
            work=$1 binary=$(readlink -f "$2") point=$3 bucket=$4 options=$5 pattern=$6
            mkdir "$work/sbin"
            ln -s "$binary" "$work/sbin/mount.fuse.s3backer"
            mount -t overlay overlay -o lowerdir="$work/sbin:/usr/sbin" /usr/sbin
            running() { for exe in /proc/[0-9]*/exe; do [ "$(readlink "$exe")" != "$binary" ] || return 0; done; return 1; }
            gone() { for i in $(seq 200); do running || return 0; sleep 0.1; done; return 1; }
            served() { [ -f "$point/file" ]; }

            """

        private func run(_ script: String, bucket: Bucket, mountOptions: String, in workspace: Workspace) throws -> CommandResult
        {
            let pattern = try Pattern(in: workspace, count: 300_000)
            let access = try workspace.write("\(bucket.gateway.accessID):\(bucket.gateway.secret)\n", to: "access")
            let options = "baseURL=\(bucket.gateway.endpoint)/,accessFile=\(access),\(mountOptions)"
            return try Command.attempt(
                "unshare",
                [
                    "-m", "bash", "-euo", "pipefail", "-c", Self.namespace + script, "bash", workspace.path, Mount.binary,
                    try workspace.directory("point"), bucket.name, options, pattern.path,
                ], seconds: 90)
        }

        @Test(
            "mount -t fuse.s3backer and an fstab line mount a volume, with the generic options in between",
            .needs(.root, .fuse, .gateway, .curl, .overlay))
        func mountAndFstab() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let script = """
                    mount -t fuse.s3backer -o "rw,size=8m,blockSize=64k,$options" "$bucket/sub dir" "$point"
                    served
                    dd if="$pattern" of="$point/file" bs=64k conv=notrunc,fsync status=none
                    umount "$point"; gone
                    echo "$bucket/sub\\\\040dir $point fuse.s3backer \
                    rw,_netdev,noauto,nofail,user,x-systemd.automount,x-systemd.requires=network-online.target,$options 0 0" \
                    >"$work/fstab"
                    cat "$work/fstab"
                    mount -T "$work/fstab" "$point"
                    served
                    stat -c %s "$point/file"
                    cmp -n 300000 "$pattern" "$point/file"
                    grep " $point " /proc/self/mounts
                    umount "$point"; gone
                    """
                let result = try run(script, bucket: bucket, mountOptions: "nosuid,nodev", in: workspace)
                #expect(result.status == 0, "\(result)")
                #expect(result.output.contains("\n\(8 << 20)\n"), "\(result)")
                #expect(result.output.contains("fuse.s3backer"), "\(result)")
                #expect(try bucket.keys().allSatisfy { $0.hasPrefix("sub dir/0000000") })
            }
        }

        @Test(
            "mount(8) fails with the program's own message when the volume cannot be mounted",
            .needs(.root, .fuse, .gateway, .curl, .overlay))
        func failureReachesMount() throws {
            try withWorkspace { workspace in
                let bucket = try Bucket(in: workspace)
                let script = "mount -t fuse.s3backer -o \"size=8m,$options\" no-such-bucket-here \"$point\""
                let result = try run(script, bucket: bucket, mountOptions: "rw", in: workspace)
                #expect(result.status != 0 && !result.timedOut, "\(result)")
                #expect(result.errorOutput.contains("NoSuchBucket"), "\(result)")
            }
        }
    }
}
