// SPDX-License-Identifier: GPL-2.0-only
/*
 * Callers whose faults cannot narrow, as they must not drop mmap_lock: drivers
 * that pin memory for devices (VFIO), ptrace and /proc/PID/mem, faults that may
 * not wait (KVM's asynchronous ones). A worker narrows for them, soon after the
 * error, without a touch.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <mm/gup_test.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

#define FOLL_WRITE	(1 << 0)
#define FOLL_NOWAIT	(1 << 4)

FIXTURE(eager) {
	struct hp_narrowed n;
	struct hp_mapper other;	/* maps it elsewhere, and sleeps */
	char *base;		/* there */
	int gup;		/* /sys/kernel/debug/gup_test */
};

FIXTURE_VARIANT(eager) {
	unsigned long size, nr;
	enum hp_backing backing;
};

FIXTURE_VARIANT_ADD(eager, 2M_memfd) { .size = HP_2M, .nr = 3, .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(eager, 2M_shm) { .size = HP_2M, .nr = 3, .backing = HP_SHM };
FIXTURE_VARIANT_ADD(eager, 1G_memfd) { .size = HP_1G, .nr = 1, .backing = HP_MEMFD };

FIXTURE_SETUP(eager)
{
	struct hp_narrowed *n = &self->n;

	self->gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->gup) {
		TH_LOG("needs CONFIG_GUP_TEST");
	}
	ASSERT_EQ(0, hp_narrowed_make(n, variant->backing, variant->size, variant->nr));
	ASSERT_EQ(0, hp_mapper_start(&self->other, &n->map, true));
	self->base = (char *)hp_ask(&self->other, HP_OP_ADDR, NULL, 0).value;
	EXPECT_EQ(0, hp_ask(&self->other, HP_OP_READ, self->base + n->raw, 0).bus.code);
}

FIXTURE_TEARDOWN(eager)
{
	hp_mapper_stop(&self->other);
	close(self->gup);
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/*
 * How many pages from @at on can be pinned one by one, with mmap_lock held all
 * the time; unpins them at once.
 */
static long get_pages(int gup, unsigned long how, unsigned int flags, char *at, unsigned long nr)
{
	struct gup_test get = {
		.addr = (unsigned long)at, .size = nr * HP_BASE,
		.nr_pages_per_call = 1, .gup_flags = flags,
	};

	return ioctl(gup, how, &get) ? -errno : (long)(get.size / HP_BASE);
}

static int inject(struct hp_narrowed *n)
{
	n->hit = true;
	return hp_inject(n->pfn);
}

/* --- nobody touches it ----------------------------------------------------------- */

static bool is_narrowed(pid_t pid, const char *at)
{
	struct hp_vma vma;

	return !hp_vma_at(pid, at, &vma) && !hp_vma_flag(&vma, "ht");
}

/* All of its mappers, asleep or stopped; a child that inherits it later as well. */
TEST_F(eager, without_touch)
{
	struct hp_narrowed *n = &self->n;
	char *there = self->base + n->victim * n->map.size;

	kill(self->other.pid, SIGSTOP);
	ASSERT_EQ(0, inject(n));
	EXPECT_TRUE(hp_await(is_narrowed(getpid(), hp_narrowed_victim(n)),
			     "the worker narrows for the test"));
	EXPECT_TRUE(hp_await(is_narrowed(self->other.pid, there),
			     "the worker narrows for a stopped process"));
	kill(self->other.pid, SIGCONT);
	EXPECT_EQ(1, hp_ask(&self->other, HP_OP_LOST, there, n->seed + n->victim).value);
	EXPECT_RIGHT(n);
}

/* --- pins ------------------------------------------------------------------------- */

static void expect_pins(META, FIXTURE_DATA(eager) *self, unsigned long how, unsigned int flags)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);

	ASSERT_EQ(0, inject(n));
	EXPECT_TRUE(hp_await(get_pages(self->gup, how, flags, raw + HP_BASE, 64) == 64,
			     "healthy pages can be pinned"));
	EXPECT_EQ(64, get_pages(self->gup, how, flags, victim + n->map.size - 64 * HP_BASE, 64));
	/* up to the raw page */
	EXPECT_EQ(5, get_pages(self->gup, how, flags, raw - 5 * HP_BASE, 64));
	EXPECT_EQ(0, get_pages(self->gup, how, flags, raw, 1));
	EXPECT_RIGHT(n);
}

/* As VFIO does for a device, and io_uring and RDMA in older kernels. */
TEST_F(eager, longterm_pin)
{
	expect_pins(_metadata, self, PIN_LONGTERM_BENCHMARK, FOLL_WRITE);
}

TEST_F(eager, reference)
{
	expect_pins(_metadata, self, GUP_BASIC_TEST, 0);
}

/* The fault is given up, with the lock kept: lockdep sees if it is not. */
TEST_F(eager, no_wait)
{
	expect_pins(_metadata, self, GUP_BASIC_TEST, FOLL_WRITE | FOLL_NOWAIT);
}

/* --- another process's memory -------------------------------------------------------- */

/* One byte of another process; 0 or the errno. */
static int peek(pid_t pid, char *at)
{
	char path[64], byte;
	int fd, error;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	error = said(pread(fd, &byte, 1, (off_t)at));
	close(fd);
	return error;
}

TEST_F(eager, proc_mem)
{
	struct hp_narrowed *n = &self->n;
	char *raw = self->base + n->raw;
	int error = -1;

	ASSERT_EQ(0, inject(n));
	EXPECT_TRUE(hp_await((error = peek(self->other.pid, raw + HP_BASE)) != EIO,
			     "a healthy page can be read through /proc/PID/mem"));
	EXPECT_EQ(0, error);
	EXPECT_EQ(EIO, peek(self->other.pid, raw));
	EXPECT_EQ(1, hp_ask(&self->other, HP_OP_LOST, self->base + n->victim * n->map.size,
			    n->seed + n->victim).value);
}

/* --- a pin that was there before -------------------------------------------------------- */

/*
 * The device goes on with the healthy pages it has; the hugepage is released
 * when the device unpins them.
 */
TEST_F(eager, pinned_before)
{
	struct hp_narrowed *n = &self->n;
	char *pinned = hp_narrowed_raw(n) + 9 * HP_BASE, copy[2 * HP_BASE];
	struct pin_longterm_test pin = {
		.addr = (unsigned long)pinned, .size = sizeof(copy),
		.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE,
	};
	unsigned long to = (unsigned long)copy;
	long released;

	ASSERT_EQ(0, ioctl(self->gup, PIN_LONGTERM_TEST_START, &pin));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_RIGHT(n);
	pinned[100] = 'x';
	EXPECT_EQ(0, ioctl(self->gup, PIN_LONGTERM_TEST_READ, &to));
	EXPECT_EQ(0, memcmp(copy, pinned, sizeof(copy)));

	released = hp_read_long(HP_SYSFS "hugepages-%lukB/released", n->map.size >> 10);
	hp_mapper_stop(&self->other);
	hp_map_free(&n->map);
	usleep(1500 * 1000);
	EXPECT_EQ(released,
		  hp_read_long(HP_SYSFS "hugepages-%lukB/released", n->map.size >> 10));
	EXPECT_EQ(-EBUSY, hp_unpoison(n->pfn));
	EXPECT_EQ(0, ioctl(self->gup, PIN_LONGTERM_TEST_STOP, 0));
}

TEST_HARNESS_MAIN
