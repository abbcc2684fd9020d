// SPDX-License-Identifier: GPL-2.0-only
/* Operations: ways into memory that hold it for a while. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"
#include "../hugetlb-poison/hp_ring.h"

#define RINGS	2

/* A child may lose all of a private hugepage that is pinned: documented. */
static __thread struct hp_ring ring;
static __thread bool ring_is_open, ring_has_buffer;
static __thread unsigned long ring_buffer;

/* A child has what its parent's thread had, and may have it alone. */
static long op_ring(struct rng *rng)
{
	struct slot *slot;
	unsigned long from;
	long ret;

	if (!ring_is_open) {
		ret = hp_ring_open(&ring);
		ring_is_open = !ret;
		ring_has_buffer = false;
		return ret;
	}
	if (ring_has_buffer && rnd(rng, 2)) {
		ring_has_buffer = false;
		return hp_ring_unregister(&ring);
	}
	if (!rnd(rng, 8)) {
		hp_ring_close(&ring);
		ring_is_open = false;
		return 0;
	}
	slot = slot_take(rng, false, true);
	if (!slot)
		return SKIPPED;
	from = rnd(rng, slot_len(slot) / HP_BASE) * HP_BASE;
	ret = hp_ring_register(&ring, slot->addr + from, HP_BASE * (1 + rnd(rng, 16)));
	ring_has_buffer = ret == 0;
	ring_buffer = (unsigned long)slot->addr + from;
	slot_drop(slot);
	return ret;
}

/* Through the registered buffer, to a pipe. */
static long op_ring_write(struct rng *rng)
{
	struct io_uring_sqe request = {
		.opcode = ring_has_buffer ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE, .len = 64,
	};
	struct slot *slot;
	int pipes[2];
	long ret;

	if (!ring_is_open)
		return SKIPPED;
	slot = slot_take(rng, false, true);
	if (!slot)
		return SKIPPED;
	if (pipe2(pipes, O_NONBLOCK | O_CLOEXEC)) {
		slot_drop(slot);
		return -errno;
	}
	request.fd = pipes[1];
	request.addr = ring_has_buffer ? ring_buffer :
		       (unsigned long)slot_page(slot, rnd(rng, slot->nr), rnd(rng, WATCHED));
	ret = hp_ring_do(&ring, &request);
	close(pipes[0]);
	close(pipes[1]);
	slot_drop(slot);
	return ret < 0 ? ret : 0;
}

/* A pipe keeps pages for some operations. */
static __thread int kept[2] = { -1, -1 };

static long op_vmsplice(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	struct iovec part;
	long ret;

	if (!slot)
		return SKIPPED;
	if (kept[0] < 0 && pipe2(kept, O_NONBLOCK | O_CLOEXEC)) {
		slot_drop(slot);
		return -errno;
	}
	part.iov_base = slot_page(slot, rnd(rng, slot->nr), rnd(rng, WATCHED));
	part.iov_len = 1 + rnd(rng, HP_BASE);
	ret = vmsplice(kept[1], &part, 1, SPLICE_F_NONBLOCK | (rnd(rng, 2) ? SPLICE_F_GIFT : 0));
	slot_drop(slot);
	return ret < 0 ? -errno : 0;
}

static long op_drain(struct rng *rng)
{
	char buffer[HP_BASE];

	if (kept[0] < 0)
		return SKIPPED;
	if (rnd(rng, 2)) {
		while (read(kept[0], buffer, sizeof(buffer)) > 0)
			;
		return 0;
	}
	close(kept[0]);
	close(kept[1]);
	kept[0] = -1;
	return 0;
}

/* From memory to a file and back, around the page cache where that can be had. */
static long op_direct(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | (rnd(rng, 2) ? O_DIRECT : 0), 0600);
	char *at;
	long ret;

	if (!slot || fd < 0) {
		ret = slot ? -errno : SKIPPED;
		goto out;
	}
	at = slot_page(slot, rnd(rng, slot->nr), rnd(rng, WATCHED));
	ret = pwrite(fd, at, HP_BASE, 0) < 0 ? -errno : 0;
	/* into the unused part of the page */
	if (!ret && ftruncate(fd, 0) == 0 && ftruncate(fd, HP_BASE) == 0)
		ret = pread(fd, at + 512, 512, 512) < 0 ? -errno : 0;
out:
	if (fd >= 0)
		close(fd);
	if (slot)
		slot_drop(slot);
	return ret;
}

const struct op ops_pin[] = {
	{ "ring", 10, op_ring, true },
	{ "ring-write", 8, op_ring_write, true },
	{ "vmsplice", 10, op_vmsplice },
	{ "drain", 8, op_drain },
	{ "direct", 8, op_direct },
	{ }
};
