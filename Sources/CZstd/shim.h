// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

#ifndef S3BACKER_CZSTD_H
#define S3BACKER_CZSTD_H

#include <zstd.h>

#endif
