/* SPDX-License-Identifier: GPL-2.0-only */
/* An io_uring with one request at a time, without a library. */
#ifndef HP_RING_H
#define HP_RING_H

#include <linux/io_uring.h>
#include <stddef.h>
#include <sys/types.h>

struct hp_ring {
	int fd;
	char *queues;		/* both rings */
	size_t queues_len;
	struct io_uring_sqe *entries;
	struct io_uring_params params;
};

int hp_ring_open(struct hp_ring *ring);
void hp_ring_close(struct hp_ring *ring);
int hp_ring_register(struct hp_ring *ring, void *addr, size_t len);
int hp_ring_unregister(struct hp_ring *ring);
ssize_t hp_ring_do(struct hp_ring *ring, const struct io_uring_sqe *request);

#endif /* HP_RING_H */
