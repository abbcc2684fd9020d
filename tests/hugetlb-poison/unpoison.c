// SPDX-License-Identifier: GPL-2.0-only
/*
 * Undoing injected errors: by any raw page, one by one, never while the
 * hugepage is in use, and always in step with the counters.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>

#include "kselftest_harness.h"

#include "hp.h"

#define KB_PER_PAGE	((long)(HP_BASE >> 10))

/* --- one hugepage --------------------------------------------------------- */

FIXTURE(undo) {
	struct hp_test test;
	struct hp_map map;
	unsigned long head;	/* its first page frame */
	int node;
};

FIXTURE_VARIANT(undo) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(undo, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(undo, 1G) { .size = HP_1G };

FIXTURE_SETUP(undo)
{
	ASSERT_EQ(0, hp_test_begin(&self->test));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	ASSERT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	self->head = hp_pfn(self->map.addr);
	ASSERT_NE(HP_NO_PFN, self->head);
	self->node = hp_pfn_node(self->head);
}

FIXTURE_TEARDOWN(undo)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* How it is with the hugepage out of use and out of its file. */
static struct hp_state held_back(const struct hp_state *before, unsigned long size, int node)
{
	struct hp_state want = *before;
	long lost = size / HP_BASE;

	hp_add(&want, HP_FREE, size, node, -1);
	hp_add(&want, HP_BAD, size, node, lost);
	hp_add(&want, HP_POISONED, size, node, 1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, lost * KB_PER_PAGE);
	return want;
}

static void undo_by(struct __test_metadata *_metadata, FIXTURE_DATA(undo) *self,
		    enum hp_place place)
{
	unsigned long size = self->map.size;
	unsigned long raw = self->head + hp_subpage(size, place);
	struct hp_state want = held_back(&self->test.before, size, self->node);

	ASSERT_EQ(0, hp_inject(raw));
	EXPECT_EQ(-EBUSY, hp_unpoison(raw)) {
		TH_LOG("unpoisoned in the page cache");
	}
	hp_unmap(&self->map);
	EXPECT_EQ(-EBUSY, hp_unpoison(raw)) {
		TH_LOG("unpoisoned in the page cache of an unmapped file");
	}
	EXPECT_EQ(size / HP_BASE, hp_count_flagged(self->head, size / HP_BASE, HP_KPF_HWPOISON));
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));

	EXPECT_EQ(0, hp_unpoison(raw));
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
	EXPECT_EQ(0, hp_count_flagged(self->head, size / HP_BASE, HP_KPF_HWPOISON));
	/* There is nothing left to undo. */
	EXPECT_EQ(-EBUSY, hp_unpoison(raw));
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
}

TEST_F(undo, by_head)
{
	undo_by(_metadata, self, HP_HEAD);
}

TEST_F(undo, by_middle)
{
	undo_by(_metadata, self, HP_MIDDLE);
}

TEST_F(undo, by_tail)
{
	undo_by(_metadata, self, HP_TAIL);
}

/* Several errors: the hugepage comes back with the last one undone. */
static void undo_several(struct __test_metadata *_metadata, FIXTURE_DATA(undo) *self, int nr)
{
	unsigned long size = self->map.size;
	struct hp_state want = held_back(&self->test.before, size, self->node);
	unsigned long raw[] = {
		self->head + hp_subpage(size, HP_MIDDLE),
		self->head + hp_subpage(size, HP_TAIL),
		self->head + 1,
	};

	EXPECT_EQ(0, hp_inject(raw[0]));
	for (int i = 1; i < nr; i++)
		EXPECT_EQ(-EHWPOISON, hp_inject(raw[i]));
	/* All of it is out of use already: the others change no gauge. */
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));

	for (int i = 0; i < nr - 1; i++) {
		EXPECT_EQ(0, hp_unpoison(raw[i]));
		EXPECT_EQ(0, hp_check(&want, HP_GAUGES)) {
			TH_LOG("after %d of %d", i + 1, nr);
		}
	}
	EXPECT_EQ(0, hp_unpoison(raw[nr - 1]));
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
	EXPECT_EQ(0, hp_count_flagged(self->head, size / HP_BASE, HP_KPF_HWPOISON));
}

TEST_F(undo, two_errors)
{
	undo_several(_metadata, self, 2);
}

TEST_F(undo, three_errors)
{
	undo_several(_metadata, self, 3);
}

/* The hugepage that comes back is handed out again, and works. */
TEST_F_TIMEOUT(undo, usable_again, 60)
{
	unsigned long raw = self->head + hp_subpage(variant->size, HP_MIDDLE);
	struct hp_state now;
	struct hp_map all;
	int seen = 0;

	EXPECT_EQ(0, hp_inject(raw));
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison(raw));

	hp_read_state(&now);
	ASSERT_EQ(0, hp_map(&all, HP_MEMFD, variant->size,
			    *hp_at(&now, HP_FREE, variant->size, HP_ALL)));
	for (unsigned long i = 0; i < all.nr; i++) {
		char *at = all.addr + i * variant->size;

		ASSERT_EQ(0, hp_touch(at, HP_WRITE).code);
		if (hp_pfn(at) != self->head)
			continue;
		seen++;
		hp_stamp(at, variant->size, 77);
		EXPECT_EQ(0, hp_damage(at, variant->size, 77));
	}
	EXPECT_EQ(1, seen);
	hp_map_free(&all);
}

/* Nothing happened there: nothing is undone, and nothing done. */
TEST_F(undo, healthy)
{
	unsigned long free = hp_find_free(HP_2M, 0);
	struct hp_state want;

	hp_read_state(&want);
	EXPECT_EQ(-EBUSY, hp_unpoison(self->head));
	EXPECT_EQ(-EBUSY, hp_unpoison(self->head + 3));
	ASSERT_NE(HP_NO_PFN, free);
	EXPECT_EQ(-EBUSY, hp_unpoison(free));
	EXPECT_EQ(-EBUSY, hp_unpoison(free + 3));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
}

/* --- in the midst of new errors ------------------------------------------- */

/*
 * Each round has fresh hugepages. First all threads but the last hit all of
 * them at once. Then the hugepages leave their file, and while those threads
 * undo their errors the last one hits each again: where it comes late the
 * hugepage is free by then, and dissolved. Never more than one error at a time
 * may find a hugepage free, for the next would hit whoever got its memory.
 */
#define ROUNDS		200
#define THREADS		4
#define HUGEPAGES	4

FIXTURE(race) {
	struct hp_test test;
	struct hp_map map;
};

struct racer {
	pthread_t thread;
	int self;
	int failed;		/* unexpected results */
};

static unsigned long heads[HUGEPAGES];
static pthread_barrier_t hit, leave, undo;

static unsigned long raw_of(int hugepage, int thread)
{
	return heads[hugepage] + 100 * thread + 10 + hugepage;
}

static void *race(void *arg)
{
	struct racer *me = arg;
	bool last = me->self == THREADS - 1;
	int ret;

	pthread_barrier_wait(&hit);
	for (int i = 0; i < HUGEPAGES && !last; i++) {
		ret = hp_inject(raw_of((i + me->self) % HUGEPAGES, me->self));
		me->failed += ret != 0 && ret != -EHWPOISON;
	}
	pthread_barrier_wait(&leave);
	pthread_barrier_wait(&undo);
	for (int i = 0; i < HUGEPAGES; i++) {
		unsigned long raw = raw_of((i + me->self) % HUGEPAGES, me->self);

		ret = last ? hp_inject(raw) : hp_unpoison(raw);
		me->failed += ret != 0 && !(last && ret == -EHWPOISON);
	}
	return NULL;
}

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, hp_test_begin(&self->test));
	pthread_barrier_init(&hit, NULL, THREADS);
	pthread_barrier_init(&leave, NULL, THREADS + 1);
	pthread_barrier_init(&undo, NULL, THREADS + 1);
}

FIXTURE_TEARDOWN(race)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* Returns how many results were unexpected. */
static int one_round(struct hp_map *map)
{
	struct racer racer[THREADS];
	int failed = 0;

	if (hp_map(map, HP_MEMFD, HP_2M, HUGEPAGES))
		return -1;
	for (int i = 0; i < HUGEPAGES; i++) {
		map->addr[i * HP_2M] = 1;
		heads[i] = hp_pfn(map->addr + i * HP_2M);
	}
	for (int i = 0; i < THREADS; i++) {
		racer[i] = (struct racer) { .self = i };
		pthread_create(&racer[i].thread, NULL, race, &racer[i]);
	}
	pthread_barrier_wait(&leave);
	hp_map_free(map);
	pthread_barrier_wait(&undo);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(racer[i].thread, NULL);
		failed += racer[i].failed;
	}
	for (int i = 0; i < HUGEPAGES; i++)
		failed += !!hp_unpoison(raw_of(i, THREADS - 1));
	return failed;
}

TEST_F_TIMEOUT(race, counters_pair, 300)
{
	const char *rounds = getenv("HP_ROUNDS");
	int nr = rounds ? atoi(rounds) : ROUNDS;

	for (int i = 0; i < nr; i++) {
		ASSERT_EQ(0, one_round(&self->map)) {
			TH_LOG("in round %d", i);
		}
		hp_refill(&self->test.before);
		ASSERT_EQ(0, hp_check(&self->test.before, HP_GAUGES)) {
			TH_LOG("in round %d", i);
		}
	}
}

TEST_HARNESS_MAIN
