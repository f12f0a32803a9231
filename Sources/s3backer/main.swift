// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Daemon
import Glibc

exit(runS3Backer(arguments: Array(CommandLine.arguments.dropFirst())))
