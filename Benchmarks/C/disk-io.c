// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// Reads and writes a disk with contents that can be checked, and counts what a store has to do for it: each 4 KiB sector begins
// with its number, and is not zero.
//
//   disk-io write FILE BYTES                     in order, 1 MiB each, then fsync
//   disk-io read FILE BYTES                      in order, 1 MiB each
//   disk-io random-read FILE BYTES BLOCK DEPTH COUNT     one sector of COUNT blocks, each block at most once; direct
//   disk-io random-write FILE BYTES BLOCK DEPTH SECONDS WINDOW_MS [TRACE]      any sectors; direct; then fsync
//
// Prints "key value" lines. A random write that ends at t falls into window t / WINDOW_MS; `pairs` counts the different
// (block, window). TRACE gets a line for each write: microseconds of its start and end, sector.
//
//   cc -O2 -o disk-io disk-io.c

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { sector = 4096, chunk = 1 << 20, depth_max = 1024 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static uint64_t random_state = 88172645463325252;

static uint64_t random_below(uint64_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

static char *buffer_of(size_t size) {
    void *bytes;
    if (posix_memalign(&bytes, sector, size)) fail("posix_memalign");
    for (size_t i = 0; i < size / 8; i++) ((uint64_t *)bytes)[i] = random_below(UINT64_MAX) | 1;
    return bytes;
}

static void stamp(char *bytes, uint64_t number) { memcpy(bytes, &number, sizeof number); }

static void check(const char *bytes, uint64_t number) {
    if (memcmp(bytes, &number, sizeof number) == 0) return;
    fprintf(stderr, "disk-io: sector %llu is not what was written\n", (unsigned long long)number);
    exit(1);
}

static void in_order(int file, uint64_t size, int writes) {
    char *bytes = buffer_of(chunk);
    double begun = now();
    for (uint64_t offset = 0; offset < size; offset += chunk) {
        for (int i = 0; writes && i < chunk; i += sector) stamp(bytes + i, (offset + i) / sector);
        for (size_t done = 0; done < chunk;) {
            ssize_t count = writes ? pwrite(file, bytes + done, chunk - done, offset + done)
                                   : pread(file, bytes + done, chunk - done, offset + done);
            if (count <= 0) fail(writes ? "write" : "read");
            done += count;
        }
        for (int i = 0; !writes && i < chunk; i += sector) check(bytes + i, (offset + i) / sector);
    }
    double written = now();
    if (writes && fsync(file)) fail("fsync");
    printf("accepted %.3f\nseconds %.3f\n", written - begun, now() - begun);
}

struct operation {
    struct iocb control;
    char *bytes;
    uint64_t sector;
    double begun;
};

static struct operation operations[depth_max];
static aio_context_t context;

static void submit(int file, int index, uint64_t number, int opcode) {
    struct operation *operation = &operations[index];
    struct iocb *list[] = {&operation->control};
    operation->control = (struct iocb){.aio_data = index, .aio_fildes = file, .aio_lio_opcode = opcode,
                                       .aio_buf = (uintptr_t)operation->bytes, .aio_nbytes = sector,
                                       .aio_offset = number * sector};
    operation->sector = number;
    if (opcode == IOCB_CMD_PWRITE) stamp(operation->bytes, number);
    operation->begun = now();
    if (syscall(SYS_io_submit, context, 1, list) != 1) fail("io_submit");
}

/// Waits for some; each must have been whole.
static int completed(struct io_event *events) {
    int count = syscall(SYS_io_getevents, context, 1, depth_max, events, NULL);
    if (count < 1) fail("io_getevents");
    for (int i = 0; i < count; i++) {
        if (events[i].res == sector) continue;
        errno = events[i].res < 0 ? -events[i].res : EIO;
        fail("request");
    }
    return count;
}

static void begin(int depth) {
    if (depth < 1 || depth > depth_max || syscall(SYS_io_setup, depth_max, &context)) fail("io_setup");
    for (int i = 0; i < depth; i++) operations[i].bytes = buffer_of(sector);
}

static void random_read(int file, uint64_t size, uint64_t block, int depth, uint64_t count) {
    uint64_t blocks = size / block, issued = 0, done = 0;
    uint64_t *order = malloc(blocks * sizeof *order);
    for (uint64_t i = 0; i < blocks; i++) order[i] = i;
    for (uint64_t i = blocks - 1; i > 0; i--) {
        uint64_t other = random_below(i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    if (count > blocks) count = blocks;
    struct io_event events[depth_max];
    begin(depth);
    double begun = now();
    for (; issued < count && issued < (uint64_t)depth; issued++)
        submit(file, issued, order[issued] * (block / sector) + random_below(block / sector), IOCB_CMD_PREAD);
    while (done < count) {
        for (int i = completed(events); i-- > 0; done++) {
            struct operation *operation = &operations[events[i].data];
            check(operation->bytes, operation->sector);
            if (issued == count) continue;
            submit(file, events[i].data, order[issued++] * (block / sector) + random_below(block / sector), IOCB_CMD_PREAD);
        }
    }
    double seconds = now() - begun;
    printf("requests %llu\nseconds %.3f\niops %.1f\n", (unsigned long long)count, seconds, count / seconds);
}

struct counts {
    uint64_t writes, blocks, pairs;
};

/// Counts one write; `last` has, for each block, its last window plus one.
static void count_write(struct counts *counts, uint32_t *last, uint64_t block, uint32_t window) {
    counts->writes++;
    if (last[block] == 0) counts->blocks++;
    if (last[block] != window + 1) counts->pairs++;
    last[block] = window + 1;
}

static void random_write(int file, uint64_t size, uint64_t block, int depth, double limit, double window, FILE *trace) {
    struct counts counts = {0};
    uint32_t *last = calloc(size / block, sizeof *last);
    struct io_event events[depth_max];
    begin(depth);
    double begun = now(), ended = begun;
    int in_flight = depth;
    for (int i = 0; i < depth; i++) submit(file, i, random_below(size / sector), IOCB_CMD_PWRITE);
    while (in_flight > 0) {
        int count = completed(events);
        ended = now();
        for (int i = 0; i < count; i++) {
            struct operation *operation = &operations[events[i].data];
            count_write(&counts, last, operation->sector / (block / sector), (ended - begun) / window);
            if (trace) fprintf(trace, "%.0f %.0f %llu\n", (operation->begun - begun) * 1e6, (ended - begun) * 1e6,
                               (unsigned long long)operation->sector);
            if (ended - begun < limit) submit(file, events[i].data, random_below(size / sector), IOCB_CMD_PWRITE);
            else in_flight--;
        }
    }
    if (fsync(file)) fail("fsync");
    printf("requests %llu\nseconds %.3f\niops %.1f\nflushed %.3f\nblocks %llu\npairs %llu\n", (unsigned long long)counts.writes,
           ended - begun, counts.writes / (ended - begun), now() - begun, (unsigned long long)counts.blocks,
           (unsigned long long)counts.pairs);
}

int main(int count, char **words) {
    const char *verb = count > 3 ? words[1] : "";
    int is_random = strncmp(verb, "random-", 7) == 0;
    int writes = strcmp(verb, "write") == 0 || strcmp(verb, "random-write") == 0;
    int has_all = count == 4 ? !is_random : writes ? count >= 8 : count == 7;
    if (!has_all || (!writes && strcmp(verb + (is_random ? 7 : 0), "read") != 0)) {
        fprintf(stderr, "usage: disk-io write|read FILE BYTES | random-read FILE BYTES BLOCK DEPTH COUNT |\n"
                        "       random-write FILE BYTES BLOCK DEPTH SECONDS WINDOW_MS [TRACE]\n");
        return 2;
    }
    int file = open(words[2], (writes ? O_RDWR : O_RDONLY) | (is_random ? O_DIRECT : 0));
    if (file < 0) fail(words[2]);
    uint64_t size = strtoull(words[3], NULL, 10), block = is_random ? strtoull(words[4], NULL, 10) : 0;
    if (!is_random) {
        in_order(file, size, writes);
    } else if (!writes) {
        random_read(file, size, block, atoi(words[5]), strtoull(words[6], NULL, 10));
    } else {
        FILE *trace = count > 8 ? fopen(words[8], "w") : NULL;
        random_write(file, size, block, atoi(words[5]), atof(words[6]), atof(words[7]) / 1000, trace);
        if (trace && fclose(trace)) fail(words[8]);
    }
    if (close(file)) fail("close");
    return 0;
}
