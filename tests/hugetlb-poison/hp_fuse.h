/* SPDX-License-Identifier: GPL-2.0-only */
/* A FUSE file that never answers a read, served by an unprivileged user. */
#ifndef HP_FUSE_H
#define HP_FUSE_H

#include <sys/types.h>

struct hp_fuse {
	pid_t server;		/* its end frees everybody who waits */
	pid_t reader;		/* has a page locked, until then */
	int fd;			/* mmap() of it waits for that page */
};

int hp_fuse_start(struct hp_fuse *fuse);
void hp_fuse_stop(struct hp_fuse *fuse);
int hp_fuse_hold_mmap_lock(const struct hp_fuse *fuse);

#endif /* HP_FUSE_H */
