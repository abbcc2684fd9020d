// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hugepage that a driver holds across the error: no CPU reaches the error
 * through a mapping all the same. That costs a shared hugepage its raw page, and
 * the driver goes on with the others. Of one that cannot be narrowed the handler
 * says that somebody holds it. When that ends nothing else is lost.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED	0x911
#define RAW	16		/* which base page the holder has, and the error */
#define HELD_MS	1500		/* longer than anything in the kernel waits */

enum holder { PIPE, FIXED_BUFFER };

FIXTURE(pinned) {
	struct hp_test test;
	struct hp_map map;
	int fd[2];		/* of a pipe, or [0] of an io_uring */
	unsigned long head;
	int node;
};

FIXTURE_VARIANT(pinned) {
	unsigned long size;
	enum hp_backing backing;
	enum holder holder;
	const char *containment;
};

#define VARIANT(sz, backing_name, backing_id, holder_name, holder_id, policy)	\
	FIXTURE_VARIANT_ADD(pinned,						\
			    sz##_##backing_name##_##holder_name##_##policy) {	\
		.size = HP_##sz, .backing = backing_id, .holder = holder_id,	\
		.containment = #policy,						\
	}

VARIANT(2M, memfd, HP_MEMFD, pipe, PIPE, page);
VARIANT(2M, memfd, HP_MEMFD, io_uring, FIXED_BUFFER, page);
VARIANT(1G, memfd, HP_MEMFD, pipe, PIPE, page);
VARIANT(2M, private, HP_PRIVATE, pipe, PIPE, page);
VARIANT(2M, private, HP_PRIVATE, io_uring, FIXED_BUFFER, page);
VARIANT(2M, memfd, HP_MEMFD, pipe, PIPE, hugepage);
VARIANT(2M, memfd, HP_MEMFD, io_uring, FIXED_BUFFER, hugepage);
VARIANT(1G, memfd, HP_MEMFD, pipe, PIPE, hugepage);
VARIANT(2M, private, HP_PRIVATE, pipe, PIPE, hugepage);
VARIANT(2M, private, HP_PRIVATE, io_uring, FIXED_BUFFER, hugepage);

#define SHARED(variant)	((variant)->backing != HP_PRIVATE)
#define NARROW(variant)	(!strcmp((variant)->containment, "page"))

/* The pipe refers to the page itself until it is read. */
static int hold_by_pipe(int fd[2], char *addr)
{
	struct iovec page = { .iov_base = addr, .iov_len = HP_BASE };

	if (pipe(fd))
		return -errno;
	return vmsplice(fd[1], &page, 1, 0) == (ssize_t)HP_BASE ? 0 : -errno;
}

/* A long-term pin, as a network card or a virtual machine's device has it. */
static int hold_by_ring(int fd[2], char *addr)
{
	struct io_uring_params params = { .flags = 0 };
	struct iovec buffer = { .iov_base = addr, .iov_len = 4 * HP_BASE };

	fd[0] = syscall(__NR_io_uring_setup, 1, &params);
	if (fd[0] < 0)
		return -errno;
	if (syscall(__NR_io_uring_register, fd[0], IORING_REGISTER_BUFFERS, &buffer, 1))
		return -errno;
	return 0;
}

static int hold(enum holder holder, int fd[2], char *addr)
{
	return holder == PIPE ? hold_by_pipe(fd, addr) : hold_by_ring(fd, addr);
}

static void let_go(int fd[2])
{
	for (int i = 0; i < 2; i++) {
		if (fd[i] > 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

FIXTURE_SETUP(pinned)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	self->fd[0] = -1;
	self->fd[1] = -1;
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->head = hp_pfn(self->map.addr);
	self->node = hp_pfn_node(self->head);
	ASSERT_EQ(0, hold(variant->holder, self->fd, self->map.addr + RAW * HP_BASE));
}

FIXTURE_TEARDOWN(pinned)
{
	let_go(self->fd);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* It is marked and counted as a whole: who knows what the holder does. */
static void expect_pinned(FIXTURE_DATA(pinned) *self, unsigned long size,
			  struct hp_state *want)
{
	long lost = size / HP_BASE;

	hp_add(want, HP_PINNED, size, self->node, 1);
	hp_add(want, HP_POISONED, size, self->node, 1);
	hp_add(want, HP_BAD, size, self->node, lost);
	hp_add(want, HP_CORRUPTED, 0, HP_ALL, lost * (long)(HP_BASE >> 10));
	hp_add(want, HP_MF_TOTAL, 0, self->node, 1);
	hp_add(want, HP_MF_FAILED, 0, self->node, 1);
}

#define TEST_ARGS	struct __test_metadata *_metadata,	\
			FIXTURE_DATA(pinned) *self,		\
			const FIXTURE_VARIANT(pinned) *variant

static void check_blocked(TEST_ARGS)
{
	unsigned long raw = self->head + RAW;
	struct hp_sigbus bus;
	struct hp_state want;

	hp_read_state(&want);
	EXPECT_EQ(-EBUSY, hp_inject(raw));

	expect_pinned(self, variant->size, &want);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_NE(NULL, hp_log_find(&self->test.log, "%#lx: still referenced by", raw));
	for (unsigned long offset = 0; offset <= RAW * HP_BASE; offset += RAW * HP_BASE) {
		bus = hp_touch(self->map.addr + offset, HP_READ);
		EXPECT_EQ(BUS_MCEERR_AR, bus.code);
		EXPECT_EQ(__builtin_ctzl(variant->size), bus.lsb);
	}
	EXPECT_EQ(HP_NO_PFN, hp_pfn(self->map.addr));
}

static void check_narrowed(TEST_ARGS)
{
	char *raw = self->map.addr + RAW * HP_BASE;
	struct hp_sigbus bus;
	struct hp_state want;
	long damage;

	hp_read_state(&want);
	EXPECT_EQ(0, hp_inject(self->head + RAW));

	hp_expect_narrowed(&want, variant->size, self->node, true);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(1, hp_lost(self->map.addr, variant->size, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(1, hp_stamp(self->map.addr, variant->size, SEED + 1));
	bus = hp_touch(raw, HP_READ);
	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(raw, bus.addr);
	EXPECT_EQ(__builtin_ctzl(HP_BASE), bus.lsb);
}

TEST_F_TIMEOUT(pinned, blocked_not_leaked, 60)
{
	unsigned long raw = self->head + RAW;
	struct hp_state held, want = self->test.before;

	if (NARROW(variant))
		check_narrowed(_metadata, self, variant);
	else
		check_blocked(_metadata, self, variant);

	/* Without any mapping it is still the holder's. */
	hp_map_free(&self->map);
	hp_read_state(&held);
	EXPECT_EQ(-EBUSY, hp_unpoison(raw));
	usleep(HELD_MS * 1000);
	EXPECT_EQ(-EBUSY, hp_unpoison(raw));
	EXPECT_EQ(0, hp_check(&held, HP_EVERYTHING));
	EXPECT_NE(0, hp_pageflags(self->head) & HP_KPF_HWPOISON);
	EXPECT_NE(0, hp_pageflags(self->head) & HP_KPF_HUGE);

	/* The ring's release is the work of a kernel thread: it takes its time. */
	let_go(self->fd);
	if (SHARED(variant) || NARROW(variant)) {
		hp_expect_lost(&want, variant->size, self->node);
		hp_expect_back(&want, variant->size, self->node, -1);
		EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	}
	EXPECT_EQ(0, hp_unpoison_soon(raw));
	hp_refill(&self->test.before);
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
}

/*
 * A private hugepage stays where it is: the device and the process see the same
 * page. A child sees what there was when it was made, and never the device.
 */
TEST(device_and_process_share)
{
	struct hp_test test;
	struct hp_map map;
	int fd[2] = { -1, -1 }, status;
	unsigned long pfn, pinned;
	long damage;
	pid_t pid;

	ASSERT_EQ(0, hp_test_begin(&test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(map.addr, HP_2M, SEED);
	pfn = hp_pfn(map.addr + HP_BASE);
	pinned = hp_pfn(map.addr + RAW * HP_BASE);
	ASSERT_EQ(0, hold_by_ring(fd, map.addr + RAW * HP_BASE));
	EXPECT_EQ(0, hp_inject(pfn));
	EXPECT_NE(NULL, hp_log_find(&test.log, "%#lx: pinned: a device may still reach", pfn));
	EXPECT_EQ(1, hp_lost(map.addr, HP_2M, SEED, &damage));
	EXPECT_EQ(pinned, hp_pfn(map.addr + RAW * HP_BASE));

	pid = fork();
	if (!pid) {
		long lost;

		usleep(HELD_MS * 1000);
		lost = hp_lost(map.addr, HP_2M, SEED, &damage);
		_exit(lost != 1 || damage || hp_pfn(map.addr + RAW * HP_BASE) == pinned);
	}
	EXPECT_EQ(1, hp_stamp(map.addr, HP_2M, SEED + 1));
	EXPECT_EQ(pinned, hp_pfn(map.addr + RAW * HP_BASE));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);

	let_go(fd);
	EXPECT_EQ(1, hp_lost(map.addr, HP_2M, SEED + 1, &damage));
	EXPECT_EQ(0, damage);
	hp_map_free(&map);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	EXPECT_EQ(0, hp_test_end(&test));
}

TEST_HARNESS_MAIN
