// SPDX-License-Identifier: Apache-2.0
// Copyright (c) the s3backer authors

// The least that a program can do for a read: the same libfuse calls, open flags, capabilities and threads as the project's
// FUSE library, and a reply from a page of zeros. What is slower than this is ours.
//
//   cc -O2 -o fuse-null fuse-null.c $(pkg-config --cflags --libs fuse3);  ./fuse-null MOUNTPOINT [BYTES]

#define FUSE_USE_VERSION 314
#define _GNU_SOURCE
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>

#define FOREVER 31536000.0

static off_t size_bytes = 1L << 30;
static const char zeros[1 << 20];

static void fill(fuse_ino_t ino, struct stat *st) {
    memset(st, 0, sizeof *st);
    st->st_ino = ino;
    st->st_mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0600;
    st->st_nlink = ino == 1 ? 2 : 1;
    st->st_size = ino == 1 ? 0 : size_bytes;
    st->st_blksize = 4096;
    st->st_blocks = ino == 1 ? 0 : size_bytes / 512;
}

static void op_init(void *data, struct fuse_conn_info *conn) {
    conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS);
    conn->max_write = 1 << 20;
    conn->max_background = 1024;
    conn->congestion_threshold = 768;
    conn->time_gran = 1;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct fuse_entry_param e;
    memset(&e, 0, sizeof e);
    e.entry_timeout = e.attr_timeout = FOREVER;
    if (parent == 1 && strcmp(name, "file") == 0) {
        e.ino = 2;
        fill(2, &e.attr);
    }
    fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct stat st;
    fill(ino, &st);
    fuse_reply_attr(req, &st, FOREVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct fuse_open_out out;
    memset(&out, 0, sizeof out);
    out.open_flags = FOPEN_KEEP_CACHE | ((fi->flags & O_ACCMODE) == O_RDONLY ? FOPEN_NOFLUSH : 0);
    fuse_reply_buf(req, (const char *)&out, sizeof out);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    if (off >= size_bytes) size = 0;
    else if (size > (size_t)(size_bytes - off)) size = size_bytes - off;
    fuse_reply_buf(req, zeros, size);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino) {
    struct statvfs st;
    memset(&st, 0, sizeof st);
    st.f_bsize = st.f_frsize = 4096;
    st.f_blocks = size_bytes / 4096;
    fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops ops = {
    .init = op_init, .lookup = op_lookup, .getattr = op_getattr, .open = op_open, .read = op_read, .statfs = op_statfs,
};

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) return 1;
    if (argc == 3) size_bytes = atoll(argv[2]);
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    fuse_opt_add_arg(&args, "fuse-null");
    fuse_opt_add_arg(&args, "-ofsname=zeros,subtype=s3backer,default_permissions,nodev,nosuid,allow_other");
    struct fuse_session *se = fuse_session_new(&args, &ops, sizeof ops, NULL);
    if (!se || fuse_session_mount(se, argv[1])) return 1;
    long threads = 2 * sysconf(_SC_NPROCESSORS_ONLN);
    if (threads < 4) threads = 4;
    if (threads > 16) threads = 16;
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, threads);
    fuse_loop_cfg_set_idle_threads(config, threads);
    int status = fuse_session_loop_mt(se, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(se);
    fuse_session_destroy(se);
    fuse_opt_free_args(&args);
    return status != 0;
}
