// SPDX-License-Identifier: GPL-2.0-only
/*
 * Undoing injected errors: by any raw page, one by one, whether the hugepage is
 * in use or was taken apart, and always in step with the counters.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_proc.h"

/* --- in a file, mapped by two processes -------------------------------------- */

#define SEED 21

FIXTURE(file) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper other;
	char *base;		/* where the other process maps the file */
	unsigned long head;	/* the hugepage's first page frame */
	int node;
};

FIXTURE_VARIANT(file) {
	unsigned long size;
	const char *containment;
};

FIXTURE_VARIANT_ADD(file, 2M_page) { .size = HP_2M, .containment = "page" };
FIXTURE_VARIANT_ADD(file, 1G_page) { .size = HP_1G, .containment = "page" };
FIXTURE_VARIANT_ADD(file, 2M_hugepage) { .size = HP_2M, .containment = "hugepage" };
FIXTURE_VARIANT_ADD(file, 1G_hugepage) { .size = HP_1G, .containment = "hugepage" };

#define NARROW(variant) (!strcmp((variant)->containment, "page"))
#define META struct __test_metadata *_metadata
#define FILE_ARGS META, FIXTURE_DATA(file) *self, const FIXTURE_VARIANT(file) *variant

FIXTURE_SETUP(file)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	ASSERT_EQ(0, hp_stamp(self->map.addr, variant->size, SEED));
	self->head = hp_pfn(self->map.addr);
	ASSERT_NE(HP_NO_PFN, self->head);
	self->node = hp_pfn_node(self->head);
	ASSERT_EQ(0, hp_mapper_start(&self->other, &self->map, true));
	self->base = (char *)hp_ask(&self->other, HP_OP_ADDR, NULL, 0).value;
	ASSERT_EQ(0, hp_ask(&self->other, HP_OP_DAMAGE, self->base, SEED).value);
}

FIXTURE_TEARDOWN(file)
{
	if (self->other.pid)
		hp_mapper_stop(&self->other);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* How many pages each of the two has lost, and nothing else is wrong. */
static void expect_lost(FILE_ARGS, long lost)
{
	struct hp_answer answer;
	long damage;

	if (lost == (long)(variant->size / HP_BASE)) {
		answer = hp_ask(&self->other, HP_OP_READ, self->base, 0);
		EXPECT_EQ(BUS_MCEERR_AR, answer.bus.code);
		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr + HP_BASE, HP_WRITE).code);
		return;
	}
	answer = hp_ask(&self->other, HP_OP_LOST, self->base, SEED);
	EXPECT_EQ(lost, hp_lost(self->map.addr, variant->size, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(lost, answer.value);
	EXPECT_EQ(0, answer.damage);
}

/* As if nothing had happened: the same data, by the same entry, movable. */
static void expect_whole(FILE_ARGS, const struct hp_state *want)
{
	unsigned long nr = variant->size / HP_BASE;
	struct hp_vma vma;

	expect_lost(_metadata, self, variant, 0);
	EXPECT_EQ(0, hp_check(want, HP_GAUGES));
	EXPECT_EQ(0, hp_count_flagged(self->head, nr, HP_KPF_HWPOISON));
	EXPECT_EQ(self->head, hp_pfn(self->map.addr));
	EXPECT_EQ(0, hp_vma_at(getpid(), self->map.addr, &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "ht"));
	EXPECT_EQ(0, hp_vma_at(self->other.pid, self->base, &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "ht"));
}

static void undo_by(FILE_ARGS, enum hp_place place)
{
	unsigned long raw = self->head + hp_subpage(variant->size, place);
	struct hp_state before;

	hp_read_state(&before);
	ASSERT_EQ(0, hp_inject(raw));
	expect_lost(_metadata, self, variant, NARROW(variant) ? 1 : variant->size / HP_BASE);

	EXPECT_EQ(0, hp_unpoison(raw));
	expect_whole(_metadata, self, variant, &before);
	/* There is nothing left to undo. */
	EXPECT_EQ(-EBUSY, hp_unpoison(raw));
	EXPECT_EQ(0, hp_check(&before, HP_GAUGES));
}

TEST_F_TIMEOUT(file, by_head, 60)
{
	undo_by(_metadata, self, variant, HP_HEAD);
}

TEST_F_TIMEOUT(file, by_middle, 60)
{
	undo_by(_metadata, self, variant, HP_MIDDLE);
}

TEST_F_TIMEOUT(file, by_tail, 60)
{
	undo_by(_metadata, self, variant, HP_TAIL);
}

/* Several errors: each is undone for itself, and with the last one all is well. */
TEST_F_TIMEOUT(file, one_by_one, 60)
{
	const unsigned long raw[] = {
		self->head + hp_subpage(variant->size, HP_MIDDLE),
		self->head + hp_subpage(variant->size, HP_TAIL),
		self->head,
	};
	int left = ARRAY_SIZE(raw);
	struct hp_state before;

	hp_read_state(&before);
	for (int i = 0; i < left; i++)
		EXPECT_EQ(NARROW(variant) || !i ? 0 : -EHWPOISON, hp_inject(raw[i]));
	while (left > 1) {
		struct hp_state want = before;
		long lost = NARROW(variant) ? left : (long)(variant->size / HP_BASE);

		hp_expect_back(&want, variant->size, self->node, -lost);
		hp_add(&want, HP_POISONED, variant->size, self->node, 1);
		EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
		expect_lost(_metadata, self, variant, lost);
		EXPECT_EQ(0, hp_unpoison(raw[--left]));
		EXPECT_EQ(-EBUSY, hp_unpoison(raw[left])) {
			TH_LOG("there is nothing left to undo");
		}
	}
	EXPECT_EQ(0, hp_unpoison(raw[0]));
	expect_whole(_metadata, self, variant, &before);
}

/* A healthy hugepage can be hit again, given back, and moved. */
TEST_F_TIMEOUT(file, usable_again, 60)
{
	unsigned long raw = self->head + 3;
	struct hp_state before;

	hp_read_state(&before);
	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(0, hp_inject(raw));
		if (round)
			expect_lost(_metadata, self, variant,
				    NARROW(variant) ? 1 : variant->size / HP_BASE);
		EXPECT_EQ(0, hp_unpoison(raw));
	}
	expect_whole(_metadata, self, variant, &before);
	EXPECT_EQ(0, hp_mapper_stop(&self->other));
	self->other.pid = 0;
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
}

/* --- after its last user has left it ----------------------------------------- */

FIXTURE(pieces) {
	struct hp_test test;
	struct hp_map map;
	unsigned long head;	/* its first page frame */
	int node;
};

FIXTURE_VARIANT(pieces) {
	unsigned long size;
	const char *containment;
};

FIXTURE_VARIANT_ADD(pieces, 2M_page) { .size = HP_2M, .containment = "page" };
FIXTURE_VARIANT_ADD(pieces, 1G_page) { .size = HP_1G, .containment = "page" };
FIXTURE_VARIANT_ADD(pieces, 2M_hugepage) { .size = HP_2M, .containment = "hugepage" };
FIXTURE_VARIANT_ADD(pieces, 1G_hugepage) { .size = HP_1G, .containment = "hugepage" };

FIXTURE_SETUP(pieces)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	ASSERT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	self->head = hp_pfn(self->map.addr);
	ASSERT_NE(HP_NO_PFN, self->head);
	self->node = hp_pfn_node(self->head);
}

FIXTURE_TEARDOWN(pieces)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* The healthy pages are back in use, and each raw page is undone for itself. */
TEST_F_TIMEOUT(pieces, one_by_one, 60)
{
	unsigned long nr = variant->size / HP_BASE;
	struct hp_state want = self->test.before;
	unsigned long raw[] = {
		self->head + hp_subpage(variant->size, HP_MIDDLE),
		self->head + hp_subpage(variant->size, HP_TAIL),
		self->head,
	};

	for (size_t i = 0; i < ARRAY_SIZE(raw); i++)
		EXPECT_EQ(NARROW(variant) || !i ? 0 : -EHWPOISON, hp_inject(raw[i]));
	hp_map_free(&self->map);
	hp_expect_lost(&want, variant->size, self->node);
	hp_expect_back(&want, variant->size, self->node, -(long)ARRAY_SIZE(raw));
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(ARRAY_SIZE(raw), hp_count_flagged(self->head, nr, HP_KPF_HWPOISON));
	hp_read_state(&want);

	for (size_t i = 0; i < ARRAY_SIZE(raw); i++) {
		EXPECT_NE(0, hp_pageflags(raw[i]) & HP_KPF_HWPOISON);
		EXPECT_EQ(0, hp_unpoison(raw[i]));
		hp_expect_back(&want, variant->size, self->node, 1);
		hp_add(&want, HP_UNPOISONED, variant->size, self->node, 1);
		EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
		EXPECT_EQ(-EBUSY, hp_unpoison(raw[i])) {
			TH_LOG("there is nothing left to undo");
		}
	}
	EXPECT_EQ(0, hp_count_flagged(self->head, nr, HP_KPF_HWPOISON));
}

/* Nothing happened there: nothing is undone, and nothing done. */
TEST_F(pieces, healthy)
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

/* --- in the midst of other errors ------------------------------------------- */

/*
 * Each round has fresh hugepages. All threads hit all of them at once. Then the
 * hugepages leave their file, and while the kernel takes them apart all threads
 * undo their errors: some find a hugepage, some what was left of it.
 */
#define ROUNDS		200
#define THREADS		4
#define HUGEPAGES	4

FIXTURE(race) {
	struct hp_test test;
	struct hp_map map;
};

FIXTURE_VARIANT(race) {
	const char *containment;
};

FIXTURE_VARIANT_ADD(race, page) { .containment = "page" };
FIXTURE_VARIANT_ADD(race, hugepage) { .containment = "hugepage" };

struct racer {
	pthread_t thread;
	int self;
	int failed;		/* unexpected results */
};

static unsigned long heads[HUGEPAGES];
static pthread_barrier_t hit, leave, undo;
static int second;	/* what an error in a poisoned hugepage returns */

static unsigned long raw_of(int hugepage, int thread)
{
	return heads[hugepage] + 100 * thread + 10 + hugepage;
}

static void *race(void *arg)
{
	struct racer *me = arg;
	int ret;

	pthread_barrier_wait(&hit);
	for (int i = 0; i < HUGEPAGES; i++) {
		ret = hp_inject(raw_of((i + me->self) % HUGEPAGES, me->self));
		me->failed += ret != 0 && ret != second;
	}
	pthread_barrier_wait(&leave);
	pthread_barrier_wait(&undo);
	for (int i = 0; i < HUGEPAGES; i++)
		me->failed += !!hp_unpoison_soon(raw_of((i + me->self) % HUGEPAGES, me->self));
	return NULL;
}

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	second = strcmp(variant->containment, "page") ? -EHWPOISON : 0;
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
