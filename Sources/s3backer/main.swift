// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Daemon
import Glibc

exit(runS3Backer(program: CommandLine.arguments.first ?? "s3backer", arguments: Array(CommandLine.arguments.dropFirst())))
