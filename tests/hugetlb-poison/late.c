// SPDX-License-Identifier: GPL-2.0-only
/*
 * An error in a hugepage that is neither free nor in use yet: a page fault is
 * filling it. The handler cannot get hold of it. When it comes into use the raw
 * page has to be out of everybody's reach soon, and nothing else.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SOON_MS		2000	/* after the fault, until the error is contained */

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

TEST_HARNESS_MAIN
