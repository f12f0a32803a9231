// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

#ifndef S3BACKER_CZLIB_H
#define S3BACKER_CZLIB_H

#include <zlib.h>

#endif
