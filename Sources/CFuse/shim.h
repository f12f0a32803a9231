// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

#ifndef S3BACKER_CFUSE_H
#define S3BACKER_CFUSE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#endif
