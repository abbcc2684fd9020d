// SPDX-License-Identifier: GPL-2.0-only
/* An io_uring with one request at a time, without a library. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hp.h"
#include "hp_ring.h"

static void *map_ring(const struct hp_ring *ring, size_t len, off_t what)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			ring->fd, what);

	return at == MAP_FAILED ? NULL : at;
}

/* Returns 0 or -errno. Kernels since 5.4 have both rings in one mapping. */
int hp_ring_open(struct hp_ring *ring)
{
	struct io_uring_params *p = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(__NR_io_uring_setup, 1, p);
	if (ring->fd < 0)
		return -errno;
	ring->queues_len = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	ring->queues = map_ring(ring, ring->queues_len, IORING_OFF_SQ_RING);
	ring->entries = map_ring(ring, p->sq_entries * sizeof(*ring->entries), IORING_OFF_SQES);
	if (ring->queues && ring->entries)
		return 0;
	hp_ring_close(ring);
	return -ENOMEM;
}

void hp_ring_close(struct hp_ring *ring)
{
	if (ring->queues)
		munmap(ring->queues, ring->queues_len);
	if (ring->entries)
		munmap(ring->entries, ring->params.sq_entries * sizeof(*ring->entries));
	close(ring->fd);
}

/* The only buffer, number 0: pinned for as long as it is registered. */
int hp_ring_register(struct hp_ring *ring, void *addr, size_t len)
{
	struct iovec buffer = { .iov_base = addr, .iov_len = len };

	return syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &buffer, 1) ?
	       -errno : 0;
}

int hp_ring_unregister(struct hp_ring *ring)
{
	return syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0) ?
	       -errno : 0;
}

static unsigned int *at(const struct hp_ring *ring, unsigned int offset)
{
	return (unsigned int *)(ring->queues + offset);
}

/* Submits a request and waits for it. Returns its result. */
ssize_t hp_ring_do(struct hp_ring *ring, const struct io_uring_sqe *request)
{
	const struct io_sqring_offsets *sq = &ring->params.sq_off;
	const struct io_cqring_offsets *cq = &ring->params.cq_off;
	unsigned int tail = *at(ring, sq->tail), head = *at(ring, cq->head);
	unsigned int slot = tail & *at(ring, sq->ring_mask);
	struct io_uring_cqe *done;

	ring->entries[slot] = *request;
	at(ring, sq->array)[slot] = slot;
	__atomic_store_n(at(ring, sq->tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	if (__atomic_load_n(at(ring, cq->tail), __ATOMIC_ACQUIRE) == head)
		return -EAGAIN;
	done = (struct io_uring_cqe *)(ring->queues + cq->cqes) +
	       (head & *at(ring, cq->ring_mask));
	__atomic_store_n(at(ring, cq->head), head + 1, __ATOMIC_RELEASE);
	return done->res;
}
