// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations: userfaultfd. A process has one; a thread of its own answers faults, each
 * in a way that the fault's number decides, so nobody waits for long.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	unsigned long mode;
	long updated;
};

#define UFFDIO_POISON	_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON	(1 << 14)
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM	(1 << 12)
#endif

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static int uffd = -1;
static char zeros[HP_2M] __attribute__((aligned(HP_2M)));

/* Wakes who waits at a hugepage, one way or another. */
static long answer(unsigned long at, struct rng *rng, bool poison)
{
	unsigned long size = size_at(at);
	struct uffdio_range range = { at & -size, size };
	struct uffdio_copy copy = {
		.dst = range.start, .src = (unsigned long)zeros, .len = HP_2M,
		.mode = rnd(rng, 4) ? 0 : UFFDIO_COPY_MODE_WP,
	};
	struct uffdio_continue more = { .range = range };
	struct uffdio_writeprotect protect = { .range = range, .mode = rnd(rng, 2) };
	struct uffdio_poison bad = { .range = range };
	long ret;

	switch (rnd(rng, 6)) {
	case 0:
	case 1:
		/* there are no zeros for a GiB */
		ret = size == HP_2M ? ioctl(uffd, UFFDIO_COPY, &copy) :
				      ioctl(uffd, UFFDIO_WAKE, &range);
		break;
	case 2:
		ret = ioctl(uffd, UFFDIO_CONTINUE, &more);
		break;
	case 3:
		ret = ioctl(uffd, UFFDIO_WRITEPROTECT, &protect);
		break;
	case 4:
		ret = poison ? ioctl(uffd, UFFDIO_POISON, &bad) :
			       ioctl(uffd, UFFDIO_WAKE, &range);
		break;
	default:
		ret = ioctl(uffd, UFFDIO_UNREGISTER, &range);
	}
	return ret < 0 ? -errno : 0;
}

static bool may_poison(void)
{
	int op = op_find("uffd-poison");

	return op >= 0 && !ops[op].off;
}

/* A second answer that always helps. */
static void *answer_all(void *arg)
{
	struct rng rng = { fz->seed + (unsigned long)arg };
	struct uffd_msg message;

	lane = (unsigned long)arg;
	while (!stopped()) {
		struct pollfd poll_one = { .fd = uffd, .events = POLLIN };
		struct uffdio_range range;

		if (poll(&poll_one, 1, 50) <= 0 ||
		    read(uffd, &message, sizeof(message)) != sizeof(message) ||
		    message.event != UFFD_EVENT_PAGEFAULT)
			continue;
		answer(message.arg.pagefault.address, &rng, may_poison());
		range.len = size_at(message.arg.pagefault.address);
		range.start = message.arg.pagefault.address & -range.len;
		ioctl(uffd, UFFDIO_UNREGISTER, &range);
		ioctl(uffd, UFFDIO_WAKE, &range);
	}
	return NULL;
}

static int open_uffd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_POISON,
	};
	pthread_t thread;
	int fd = syscall(__NR_userfaultfd,
			 O_CLOEXEC | O_NONBLOCK | (me.root ? 0 : UFFD_USER_MODE_ONLY));

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -EINVAL;
	}
	uffd = fd;
	if (pthread_create(&thread, NULL, answer_all, (void *)(long)lane)) {
		close(fd);
		uffd = -1;
		return -EAGAIN;
	}
	return 0;
}

/* In a child nobody answers, and nobody needs to: it inherits no registration. */
static int need_uffd(void)
{
	int ret = 0;

	pthread_mutex_lock(&opening);
	if (uffd < 0)
		ret = open_uffd();
	pthread_mutex_unlock(&opening);
	return ret;
}

/*
 * Others read zeros where it serves pages, so models only know that both may
 * be.
 */
static long op_uffd_register(struct rng *rng)
{
	static const int modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, UFFDIO_REGISTER_MODE_MINOR,
		UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_register reg = { .mode = modes[rnd(rng, 4)] };
	struct slot *slot;
	unsigned int from;
	int ret = need_uffd();

	if (ret)
		return ret;
	slot = slot_take(rng, true, true);
	if (!slot)
		return SKIPPED;
	from = rnd(rng, slot->nr);
	reg.range.start = (unsigned long)slot->addr + from * slot_thing(slot)->size;
	reg.range.len = (1 + rnd(rng, slot->nr - from)) * slot_thing(slot)->size;
	slot->watched = true;
	slot_thing(slot)->wide = true;
	if (slot->file >= 0)
		fz->thing[slot->file].wide = true;
	ret = ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
	slot_drop(slot);
	return ret;
}

static long op_uffd_ioctl(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	long ret = SKIPPED;

	if (!slot)
		return SKIPPED;
	if (uffd >= 0 && slot->watched)
		ret = answer((unsigned long)slot->addr + rnd(rng, slot_len(slot)), rng, false);
	slot_drop(slot);
	return ret;
}

static long op_uffd_poison(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	struct uffdio_poison bad = { };
	long ret = SKIPPED;

	if (!slot)
		return SKIPPED;
	if (uffd >= 0 && slot->watched) {
		bad.range.len = slot_thing(slot)->size;
		bad.range.start = (unsigned long)slot->addr + rnd(rng, slot->nr) * bad.range.len;
		ret = ioctl(uffd, UFFDIO_POISON, &bad) ? -errno : 0;
	}
	slot_drop(slot);
	return ret;
}

const struct op ops_uffd[] = {
	{ "uffd-register", 8, op_uffd_register, true },
	{ "uffd-ioctl", 12, op_uffd_ioctl, true },
	{ "uffd-poison", 4, op_uffd_poison, true },
	{ }
};
