// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

#ifndef S3BACKER_CCRYPTO_H
#define S3BACKER_CCRYPTO_H

#include <openssl/evp.h>

#endif
