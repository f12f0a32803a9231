// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

#ifndef S3BACKER_CCURL_H
#define S3BACKER_CCURL_H

#include <curl/curl.h>

#endif
