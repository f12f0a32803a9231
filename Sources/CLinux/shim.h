// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// Linux interfaces that the Glibc module leaves out, because it is built without _GNU_SOURCE.
#ifndef S3BACKER_CLINUX_H
#define S3BACKER_CLINUX_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <linux/falloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// lseek(2): only visible with _GNU_SOURCE.
#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif

// open(2): only visible with _GNU_SOURCE; the value differs between processors.
#ifndef O_DIRECT
#define O_DIRECT __O_DIRECT
#endif

// prctl(2), Linux 5.6.
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

// renameat2(2): refuse to replace an existing file.
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

// prctl(2) is variadic in C, which Swift cannot call.
static inline int linux_set_io_flusher(int on) { return prctl(PR_SET_IO_FLUSHER, on, 0, 0, 0); }

// Whether the kernel may write a core file, and others of the same user may look into the memory.
static inline int linux_set_dumpable(int on) { return prctl(PR_SET_DUMPABLE, on, 0, 0, 0); }
static inline int linux_get_dumpable(void) { return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0); }

// Sets the name that ps(1) shows for the calling thread; at most 15 bytes count.
static inline int linux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

// sched_setattr(2), which glibc 2.36 does not have: tells the scheduler that the calling thread runs for `nanoseconds` at a time, so that it
// gets the processor sooner after a wait, and no more of it. Linux 6.12; an older one takes no notice.
static inline int linux_set_time_slice(uint64_t nanoseconds) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return -1;
    attributes.runtime = nanoseconds;
    return (int)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

// renameat2(2) on absolute paths; the libc wrapper needs _GNU_SOURCE.
static inline int linux_rename_no_replace(const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

// fallocate(2): the prototype needs _GNU_SOURCE.
static inline int linux_fallocate(int fd, int mode, int64_t offset, int64_t length) {
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

// sync_file_range(2), whose prototype needs _GNU_SOURCE: has the kernel begin to write all dirty pages of a file, and waits for none.
static inline int linux_start_writing(int fd) {
    const unsigned int write = 2;  // SYNC_FILE_RANGE_WRITE
    return (int)syscall(SYS_sync_file_range, fd, (int64_t)0, (int64_t)0, write);
}

#endif
