// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

#ifndef S3BACKER_CCRYPTO_H
#define S3BACKER_CCRYPTO_H

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#endif
