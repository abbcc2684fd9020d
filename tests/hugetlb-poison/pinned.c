// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hugepage that a driver holds across the error: no CPU reaches it through a
 * mapping all the same, the handler says that somebody holds it, and when that
 * ends nothing is lost.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED	0x911

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
};

#define VARIANT(sz, backing_name, backing_id, holder_name, holder_id)		\
	FIXTURE_VARIANT_ADD(pinned, sz##_##backing_name##_##holder_name) {	\
		.size = HP_##sz, .backing = backing_id, .holder = holder_id,	\
	}

VARIANT(2M, memfd, HP_MEMFD, pipe, PIPE);
VARIANT(2M, memfd, HP_MEMFD, io_uring, FIXED_BUFFER);
VARIANT(2M, private, HP_PRIVATE, pipe, PIPE);
VARIANT(2M, private, HP_PRIVATE, io_uring, FIXED_BUFFER);
VARIANT(1G, memfd, HP_MEMFD, pipe, PIPE);

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
	ASSERT_EQ(0, hp_test_begin(&self->test));
	hp_catch_sigbus();
	self->fd[0] = -1;
	self->fd[1] = -1;
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->head = hp_pfn(self->map.addr);
	self->node = hp_pfn_node(self->head);
	ASSERT_EQ(0, hold(variant->holder, self->fd, self->map.addr + 16 * HP_BASE));
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

/* The ring's release is the work of a kernel thread: give it time. */
static int unpoison_when_released(unsigned long pfn)
{
	int ret;

	for (int ms = 0; ms < 3000; ms += 20) {
		ret = hp_unpoison(pfn);
		if (ret != -EBUSY)
			break;
		usleep(20 * 1000);
	}
	return ret;
}

TEST_F_TIMEOUT(pinned, blocked_not_leaked, 60)
{
	unsigned long raw = self->head + 16;
	struct hp_sigbus bus;
	struct hp_state want;

	hp_read_state(&want);
	EXPECT_EQ(-EBUSY, hp_inject(raw));

	expect_pinned(self, variant->size, &want);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_NE(NULL, hp_log_find(&self->test.log, "%#lx: still referenced by", raw));
	for (unsigned long offset = 0; offset <= 16 * HP_BASE; offset += 16 * HP_BASE) {
		bus = hp_touch(self->map.addr + offset, HP_READ);
		EXPECT_EQ(BUS_MCEERR_AR, bus.code);
		EXPECT_EQ(__builtin_ctzl(variant->size), bus.lsb);
	}
	EXPECT_EQ(HP_NO_PFN, hp_pfn(self->map.addr));

	/* Without any mapping it is still the holder's. */
	hp_map_free(&self->map);
	EXPECT_EQ(-EBUSY, hp_unpoison(raw));
	EXPECT_NE(0, hp_pageflags(raw) & HP_KPF_HWPOISON);

	let_go(self->fd);
	EXPECT_EQ(0, unpoison_when_released(raw));
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
}

TEST_HARNESS_MAIN
