// SPDX-License-Identifier: GPL-2.0-only
/*
 * An error in a hugepage that is neither free nor in use: a page fault is filling
 * it, or it is on its way to another node. The handler cannot get hold of it. When
 * it comes into use the raw page has to be out of everybody's reach soon, and
 * nothing else; who has its copy by then loses nothing.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SOON_MS		2000	/* after the fault, until the error is contained */
#define MOVED		40	/* hugepages at once: the last one waits for long */
#define TIMES		5
#define RAW		77	/* which base page of the last one is hit */

FIXTURE(late) {
	struct hp_test test;
	struct hp_map map;
	unsigned long pfn;
	bool filled;
};

FIXTURE_VARIANT(late) {
	enum hp_backing backing;
	unsigned long size;
	unsigned long raw;	/* which base page is hit */
	unsigned int into_us;	/* the fault, when the error comes */
};

#define LATE(sz, name, id, page, us)						\
	FIXTURE_VARIANT_ADD(late, sz##_##name) {				\
		.backing = id, .size = HP_##sz, .raw = page, .into_us = us,	\
	}

/* A small one is filled so soon that the error may come before, or after. */
LATE(2M, memfd, HP_MEMFD, 77, 1500);
LATE(2M, private, HP_PRIVATE, 77, 1500);
LATE(1G, memfd, HP_MEMFD, 33 * 512 + 77, 50000);
LATE(1G, anon, HP_ANON, 33 * 512 + 77, 50000);
LATE(1G, private, HP_PRIVATE, 33 * 512 + 77, 50000);

FIXTURE_SETUP(late)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	hp_place_on(variant->size, 1, 1);
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, 1));
}

FIXTURE_TEARDOWN(late)
{
	hp_place_anywhere();
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static void *fill(void *arg)
{
	FIXTURE_DATA(late) *self = arg;

	hp_touch(self->map.addr, HP_WRITE);
	__atomic_store_n(&self->filled, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* How many of the pages that are looked at are lost: all around the raw one. */
static unsigned long count_lost(const struct hp_map *map, unsigned long raw)
{
	unsigned long lost = 0;

	for (unsigned long i = 0; i < map->size / HP_BASE; i += i / 512 == raw / 512 ? 1 : 512)
		lost += !!hp_touch(map->addr + i * HP_BASE, HP_WRITE).code;
	return lost;
}

TEST_F_TIMEOUT(late, contained_when_in_use, 240)
{
	char *raw = self->map.addr + variant->raw * HP_BASE;
	struct hp_sigbus bus = { };
	unsigned long head;
	pthread_t thread;
	bool during, hit;
	int ret, ms;

	head = hp_find_free(variant->size, 1);
	ASSERT_NE(HP_NO_PFN, head);
	self->pfn = head + variant->raw;

	ASSERT_EQ(0, pthread_create(&thread, NULL, fill, self));
	usleep(variant->into_us);
	ret = hp_inject(self->pfn);
	during = !__atomic_load_n(&self->filled, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);

	/* the hugepage was free still: the fault got another one */
	EXPECT_EQ(0, hp_touch(self->map.addr, HP_READ).code);
	hit = hp_pfn(self->map.addr) == head;
	TH_LOG("the handler said %d%s%s", ret, during ? ", while the fault went on" : "",
	       hit ? "" : "; the fault got another hugepage");
	ASSERT_TRUE(hit || variant->size == HP_2M);

	for (ms = 0; hit && ms < SOON_MS && bus.code != BUS_MCEERR_AR; ms += 20) {
		bus = hp_touch(raw, HP_READ);
		usleep(20000);
	}
	if (hit) {
		TH_LOG("contained after %d ms", ms);
		EXPECT_EQ(BUS_MCEERR_AR, bus.code);
		EXPECT_EQ(12, bus.lsb);
		EXPECT_EQ(HP_NO_PFN, hp_pfn(raw));
	}
	EXPECT_EQ(hit, count_lost(&self->map, variant->raw));
	EXPECT_EQ(self->test.before.v[HP_CORRUPTED][0][0] + (long)(HP_BASE >> 10),
		  hp_meminfo_kb("HardwareCorrupted"));

	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* --- on the way to another node ------------------------------------------------ */

FIXTURE(moved) {
	struct hp_test test;
	struct hp_map map;
	int to;
	bool done;
};

FIXTURE_VARIANT(moved) {
	enum hp_backing backing;
};

FIXTURE_VARIANT_ADD(moved, memfd) { .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(moved, private) { .backing = HP_PRIVATE };

FIXTURE_SETUP(moved)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	hp_place_on(HP_2M, 0, MOVED);
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, HP_2M, MOVED));
	for (unsigned int i = 0; i < MOVED; i++)
		ASSERT_EQ(0, hp_stamp(self->map.addr + i * HP_2M, HP_2M, i));
	hp_place_anywhere();
}

FIXTURE_TEARDOWN(moved)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* All are isolated first, and then moved one by one. */
static void *move(void *arg)
{
	FIXTURE_DATA(moved) *self = arg;
	unsigned long node = 1UL << self->to;

	syscall(__NR_mbind, self->map.addr, MOVED * HP_2M, 2 /* MPOL_BIND */, &node, 8,
		2 /* MPOL_MF_MOVE */);
	__atomic_store_n(&self->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void move_first(FIXTURE_DATA(moved) *self, pthread_t *thread)
{
	unsigned long pfn = hp_pfn(self->map.addr);

	self->to = !hp_pfn_node(pfn);
	self->done = false;
	if (pthread_create(thread, NULL, move, self))
		exit(EXIT_FAILURE);
	while (hp_pfn(self->map.addr) == pfn && !__atomic_load_n(&self->done, __ATOMIC_SEQ_CST))
		;
}

/* The error comes while the last one waits: it is moved, or contained before. */
TEST_F_TIMEOUT(moved, raw_page_at_most, 120)
{
	char *last = self->map.addr + (MOVED - 1) * HP_2M;
	unsigned long pfn;
	pthread_t thread;
	long damage;
	int ret;

	for (int i = 0; i < TIMES; i++) {
		pfn = hp_pfn(last) + RAW;
		move_first(self, &thread);
		ret = hp_inject(pfn);
		pthread_join(thread, NULL);
		TH_LOG("the handler said %d", ret);
		EXPECT_GE(1, hp_lost(last, HP_2M, MOVED - 1, &damage));
		EXPECT_EQ(0, damage);
		ASSERT_EQ(0, hp_unpoison_soon(pfn));
		ASSERT_EQ(0, hp_stamp(last, HP_2M, MOVED - 1));
	}
}

/* --- narrowed before its turn ---------------------------------------------------- */

static void survive(int number)
{
	(void)number;
}

/* The handler is given a reference, so does not ask whether the hugepage is isolated. */
static int inject_held(char *addr)
{
	struct sigaction action = { .sa_handler = survive }, before;
	int ret;

	sigaction(SIGBUS, &action, &before);
	ret = madvise(addr, HP_BASE, MADV_HWPOISON) ? -errno : 0;
	sigaction(SIGBUS, &before, NULL);
	return ret;
}

/* Touches the healthy pages of the last hugepage for as long as others are moved. */
static void touch_while_moving(FIXTURE_DATA(moved) *self, char *last)
{
	do {
		for (unsigned long i = 0; i < HP_2M / HP_BASE; i++)
			if (i != RAW)
				hp_touch(last + i * HP_BASE, HP_READ);
	} while (!__atomic_load_n(&self->done, __ATOMIC_SEQ_CST));
}

/* To the other node, whoever has it mapped besides. */
static int move_page(char *addr)
{
	int status = -1, node = !hp_pfn_node(hp_pfn(addr));
	void *page = addr;

	if (syscall(__NR_move_pages, 0, 1, &page, &node, &status, 4 /* MPOL_MF_MOVE_ALL */))
		return -errno;
	return status;
}

/*
 * The last hugepage waits to be moved, and is narrowed before its turn. It is left
 * where it is, then and whenever somebody asks again.
 */
TEST_F_TIMEOUT(moved, stays_once_narrowed, 120)
{
	char *last = self->map.addr + (MOVED - 1) * HP_2M;
	unsigned long pfn;
	pthread_t thread;
	long damage;

	for (int i = 0; i < TIMES; i++) {
		move_first(self, &thread);
		ASSERT_EQ(0, inject_held(last + RAW * HP_BASE));
		touch_while_moving(self, last);
		pthread_join(thread, NULL);
		EXPECT_EQ(1, hp_lost(last, HP_2M, MOVED - 1, &damage));
		EXPECT_EQ(0, damage);
		EXPECT_EQ(-EBUSY, move_page(last));
		EXPECT_EQ(1, hp_lost(last, HP_2M, MOVED - 1, &damage));
		EXPECT_EQ(0, damage);
		pfn = hp_pfn(last) + RAW;
		ASSERT_EQ(0, hp_unpoison_soon(pfn));
		ASSERT_EQ(0, hp_stamp(last, HP_2M, MOVED - 1));
	}
}

TEST_HARNESS_MAIN
