// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Foundation
import Testing

extension Integration {
    /// A store that does not know what newer ones do.
    @Suite struct OldStoreTests {
        @Test(
            "a store that ignores conditions and knows only version 1 lists serves a disk, and refuses its second mount",
            .needs(.root, .fuse))
        func mountsWithoutConditions() throws {
            try withWorkspace { workspace in
                let store = try OldStore()
                defer { store.stop() }
                let access = try workspace.write("id:secret\n", to: "access")
                let flags = ["--baseURL=\(store.baseURL)", "--accessFile=\(access)", "bucket/vm"]
                let first = try Mount(["--size=4m", "--blockSize=64k"] + flags, in: workspace)
                try first.start()
                #expect(store.ignoredConditionCount > 0)

                let second = try Mount(["--size=4m", "--blockSize=64k"] + flags, in: workspace, name: "second")
                try second.attempt().expectFailure(mentioning: "already mounted", "--reset-mounted-flag")
                let pattern = try Pattern(in: workspace, count: 200_000)
                try pattern.write(to: first.file, at: 70_001)
                try first.unmount()
                #expect(!store.paths.contains("/bucket/vm/s3backer-mounted"))

                let again = try Mount(flags, in: workspace, name: "again")
                try again.start()
                #expect(try again.size() == 4 << 20)
                try pattern.compare(with: again.file, at: 70_001)
                // No batch delete either: the objects go one by one.
                try Command.run("fallocate", ["-p", "-o", "0", "-l", "4m", again.file], seconds: 60)
                try again.unmount()
                #expect(store.paths == ["/bucket/vm/00000000"])
            }
        }
    }
}
