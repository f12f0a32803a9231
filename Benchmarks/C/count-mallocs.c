// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// Counts allocations: LD_PRELOAD it; the count goes to the file that COUNT_MALLOCS_FILE names when the process ends.
//
//   cc -O2 -shared -fPIC -o count-mallocs.so count-mallocs.c

#define _GNU_SOURCE
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_memalign(size_t, size_t);
static atomic_ulong count;

void *malloc(size_t n) { count++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { count++; return __libc_calloc(n, m); }
void *aligned_alloc(size_t a, size_t n) { count++; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) { count++; return (*p = __libc_memalign(a, n)) ? 0 : 12; }

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("COUNT_MALLOCS_FILE");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) { fprintf(file, "%lu\n", atomic_load(&count)); fclose(file); }
}
