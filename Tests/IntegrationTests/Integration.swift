// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

import Testing

/// All tests on real parts. One after the other: they share the loop devices, two cores and the clock.
@Suite(
    .serialized, .timeLimit(.minutes(Effort.minutesPerTest)),
    .enabled("set S3BACKER_INTEGRATION=1 to run the tests on real parts") { Prerequisite.testsAreRequested })
enum Integration {}
