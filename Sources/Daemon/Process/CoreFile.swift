// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

internal import CLinux

/// The core file that a crash leaves.
enum CoreFile {
    /// Lets this process, and those it forks, leave none, whatever the limits and the system's pattern say.
    ///
    /// Passwords and keys are kept out of it one by one, but the schedules of ciphers lie in libcrypto's memory, and the blocks
    /// themselves in the buffers: a core file would have what the volume was encrypted for. Debuggers need root from then on.
    ///
    /// - Source: 'man 2 PR_SET_DUMPABLE'.
    static func forbid() {
        // Cannot fail with this value.
        _ = linux_set_dumpable(0)
    }
}
