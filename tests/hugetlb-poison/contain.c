// SPDX-License-Identifier: GPL-2.0-only
/*
 * An error in a mapped hugepage: nobody reaches that hugepage any more, in any
 * mapping old or new; whoever asked is told, all else goes on as before, and
 * every counter says what is out of use.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED		0x1234
#define SEED_AFTER	0x4321
#define MAPPERS		2

FIXTURE(contain) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper mapper[MAPPERS];
	char *base[MAPPERS];		/* where each has the mapping */
	pid_t told[MAPPERS];		/* the thread that wants to know early */
	unsigned long victim;		/* which hugepage */
	unsigned long offset;		/* of the raw page, in bytes */
	unsigned long pfn;		/* of the raw page */
	int node;
};

FIXTURE_VARIANT(contain) {
	unsigned long size;
	enum hp_backing backing;
	enum hp_place place;
	bool early;
};

#define VARIANT(sz, backing_name, backing_id, place_name, place_id, kill, is_early)	\
	FIXTURE_VARIANT_ADD(contain, sz##_##backing_name##_##place_name##_##kill) {	\
		.size = HP_##sz, .backing = backing_id,					\
		.place = place_id, .early = is_early,					\
	}
#define EARLY_LATE(sz, backing_name, backing_id, place_name, place_id)			\
	VARIANT(sz, backing_name, backing_id, place_name, place_id, early, true);	\
	VARIANT(sz, backing_name, backing_id, place_name, place_id, late, false)
#define PLACES(sz, backing_name, backing_id)						\
	EARLY_LATE(sz, backing_name, backing_id, head, HP_HEAD);			\
	EARLY_LATE(sz, backing_name, backing_id, middle, HP_MIDDLE);			\
	EARLY_LATE(sz, backing_name, backing_id, tail, HP_TAIL)
#define BACKINGS(sz)									\
	PLACES(sz, anon, HP_ANON);							\
	PLACES(sz, file, HP_FILE);							\
	PLACES(sz, shm, HP_SHM);							\
	PLACES(sz, memfd, HP_MEMFD);							\
	PLACES(sz, private, HP_PRIVATE)

BACKINGS(2M);
BACKINGS(1G);

#define SHARED(variant)	((variant)->backing != HP_PRIVATE)

/* Errors alternate between the nodes, so that none is right by chance. */
FIXTURE_SETUP(contain)
{
	unsigned long nr = variant->size == HP_1G ? 2 : 4;
	int node = variant->place == HP_TAIL ? hp_nodes() - 1 : 0;
	char *at;

	ASSERT_EQ(0, hp_test_begin(&self->test));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, nr)) {
		TH_LOG("no mapping of %lu free hugepages", nr);
	}
	hp_place_on(variant->size, node, nr);
	for (unsigned long i = 0; i < nr; i++)
		hp_stamp(self->map.addr + i * variant->size, variant->size, SEED + i);
	hp_place_anywhere();

	self->victim = nr / 2;
	self->offset = self->victim * variant->size +
		       hp_subpage(variant->size, variant->place) * HP_BASE;
	at = self->map.addr + self->offset;
	self->pfn = hp_pfn(at);
	ASSERT_NE(HP_NO_PFN, self->pfn);
	self->node = hp_pfn_node(self->pfn);
	ASSERT_LE(0, self->node);
}

FIXTURE_TEARDOWN(contain)
{
	hp_mapper_stop(&self->mapper[1]);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* What the harness hands to a test, for the parts of it. */
#define UNUSED		__attribute__((unused))
#define TEST_ARGS	UNUSED struct __test_metadata *_metadata,	\
			UNUSED FIXTURE_DATA(contain) *self,		\
			UNUSED const FIXTURE_VARIANT(contain) *variant
#define PASS_ARGS	_metadata, self, variant

/* This process and a child: the same address if inherited, another if not. */
static void start_mappers(TEST_ARGS)
{
	bool anew = variant->backing != HP_ANON && variant->backing != HP_PRIVATE;
	enum hp_op op = variant->early ? HP_OP_KILL_EARLY : HP_OP_KILL_LATE;
	unsigned long nr = self->map.nr;

	hp_mapper_self(&self->mapper[0], &self->map);
	ASSERT_EQ(0, hp_mapper_start(&self->mapper[1], &self->map, anew));
	for (int i = 0; i < MAPPERS; i++) {
		struct hp_mapper *mapper = &self->mapper[i];

		self->base[i] = (char *)hp_ask(mapper, HP_OP_ADDR, NULL, 0).value;
		for (unsigned long j = 0; j < nr; j++)
			ASSERT_EQ(0, hp_ask(mapper, HP_OP_DAMAGE,
					    self->base[i] + j * variant->size,
					    SEED + j).value);
		self->told[i] = hp_ask(mapper, op, NULL, 0).value;
	}
	ASSERT_EQ((long)self->pfn,
		  hp_ask(&self->mapper[1], HP_OP_PFN, self->base[1] + self->offset, 0).value);
}

/* Signals come in their own time, but not after a second. */
static struct hp_answer signals_of(struct hp_mapper *mapper)
{
	struct hp_answer answer;

	for (int ms = 0; ms < 1000; ms += 10) {
		answer = hp_ask(mapper, HP_OP_SIGNALS, NULL, 0);
		if (answer.value)
			break;
		usleep(10 * 1000);
	}
	return answer;
}

/* Early: one signal, with the raw page's own address, for the thread that asked. */
static void check_told(TEST_ARGS)
{
	for (int i = 0; i < MAPPERS; i++) {
		struct hp_answer answer;

		if (!variant->early) {
			EXPECT_EQ(0, hp_ask(&self->mapper[i], HP_OP_SIGNALS, NULL, 0).value);
			continue;
		}
		answer = signals_of(&self->mapper[i]);
		EXPECT_EQ(1, answer.value);
		EXPECT_EQ(BUS_MCEERR_AO, answer.bus.code);
		EXPECT_EQ(self->base[i] + self->offset, answer.bus.addr);
		EXPECT_EQ(__builtin_ctzl(variant->size), answer.bus.lsb);
		EXPECT_EQ(self->told[i], answer.bus.tid);
	}
}

static void check_blocked_at(TEST_ARGS, struct hp_mapper *mapper, char *at)
{
	struct hp_sigbus bus;

	for (enum hp_op op = HP_OP_READ; op <= HP_OP_WRITE; op++) {
		bus = hp_ask(mapper, op, at, 0).bus;
		EXPECT_EQ(BUS_MCEERR_AR, bus.code);
		EXPECT_EQ(at, bus.addr);
		EXPECT_EQ(__builtin_ctzl(variant->size), bus.lsb);
	}
	EXPECT_EQ(-EFAULT, hp_ask(mapper, HP_OP_SYS_READ, at, 0).value);
	EXPECT_EQ(-EFAULT, hp_ask(mapper, HP_OP_SYS_WRITE, at, 0).value);
	EXPECT_EQ((long)HP_NO_PFN, hp_ask(mapper, HP_OP_PFN, at, 0).value);
}

/* First, raw and last page of the hugepage: all of it is blocked. */
static void check_blocked(TEST_ARGS, struct hp_mapper *mapper, char *base)
{
	char *hugepage = base + self->victim * variant->size;

	check_blocked_at(PASS_ARGS, mapper, hugepage);
	check_blocked_at(PASS_ARGS, mapper, base + self->offset);
	check_blocked_at(PASS_ARGS, mapper, hugepage + variant->size - HP_BASE);
}

/* A mapping made after the error finds the hugepage in the file. */
static void check_new_mapping(TEST_ARGS)
{
	struct hp_map again;
	struct hp_mapper mapper;

	ASSERT_EQ(0, hp_map_again(&self->map, &again));
	hp_mapper_self(&mapper, &again);
	check_blocked(PASS_ARGS, &mapper, again.addr);
	EXPECT_EQ(0, hp_damage(again.addr, variant->size, SEED));
	hp_unmap(&again);
}

/* The other hugepages have their contents, for all, and take new ones. */
static void check_neighbours(TEST_ARGS)
{
	for (unsigned long i = 0; i < self->map.nr; i++) {
		unsigned long offset = i * variant->size;
		unsigned int seed = SEED + i;

		if (i == self->victim)
			continue;
		EXPECT_EQ(0, hp_damage(self->base[0] + offset, variant->size, seed));
		/* This would copy a GiB. */
		if (variant->backing == HP_PRIVATE && variant->size == HP_1G)
			continue;
		hp_stamp(self->base[0] + offset, variant->size, SEED_AFTER);
		EXPECT_EQ(0, hp_damage(self->base[0] + offset, variant->size, SEED_AFTER));
		if (SHARED(variant))
			seed = SEED_AFTER;
		EXPECT_EQ(0, hp_ask(&self->mapper[1], HP_OP_DAMAGE,
				    self->base[1] + offset, seed).value);
	}
}

/* What is out of use: all of a file's hugepage, one raw page of a private one. */
static unsigned long pages_lost(const FIXTURE_VARIANT(contain) *variant)
{
	return SHARED(variant) ? variant->size / HP_BASE : 1;
}

/*
 * The hugepage in a file stays in the file. The private one has lost its last
 * user: its healthy pages went back to the buddy allocator and the pool has
 * one hugepage less.
 */
static void expect_counters(TEST_ARGS, struct hp_state *want)
{
	long lost = pages_lost(variant);

	hp_add(want, HP_BAD, variant->size, self->node, lost);
	hp_add(want, HP_CORRUPTED, 0, HP_ALL, lost * (HP_BASE >> 10));
	hp_add(want, HP_MF_TOTAL, 0, self->node, 1);
	hp_add(want, HP_MF_RECOVERED, 0, self->node, 1);
	if (SHARED(variant)) {
		hp_add(want, HP_CONTAINED, variant->size, self->node, 1);
		hp_add(want, HP_POISONED, variant->size, self->node, 1);
	} else {
		hp_add(want, HP_RELEASED, variant->size, self->node, 1);
		hp_add(want, HP_NR, variant->size, self->node, -1);
	}
}

static void check_marks(TEST_ARGS)
{
	unsigned long nr = variant->size / HP_BASE;
	unsigned long head = self->pfn & -nr;

	EXPECT_EQ(pages_lost(variant), hp_count_flagged(head, nr, HP_KPF_HWPOISON));
	EXPECT_NE(0, hp_pageflags(self->pfn) & HP_KPF_HWPOISON);
	EXPECT_EQ(SHARED(variant), !!(hp_pageflags(self->pfn) & HP_KPF_HUGE));
}

/* The last user gone, the hugepage is still held back; unpoisoned, it is not. */
static void check_undone(TEST_ARGS)
{
	struct hp_state want = self->test.before;
	long lost = pages_lost(variant);

	EXPECT_EQ(0, hp_mapper_stop(&self->mapper[1]));
	hp_map_free(&self->map);
	hp_add(&want, HP_FREE, variant->size, self->node, -1);
	if (!SHARED(variant))
		hp_add(&want, HP_NR, variant->size, self->node, -1);
	else
		hp_add(&want, HP_POISONED, variant->size, self->node, 1);
	hp_add(&want, HP_BAD, variant->size, self->node, lost);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, lost * (HP_BASE >> 10));
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));

	EXPECT_EQ(0, hp_unpoison(self->pfn));
	hp_add(&want, HP_BAD, variant->size, self->node, -lost);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, -lost * (long)(HP_BASE >> 10));
	if (SHARED(variant)) {
		hp_add(&want, HP_FREE, variant->size, self->node, 1);
		hp_add(&want, HP_POISONED, variant->size, self->node, -1);
	}
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_count_flagged(self->pfn, 1, HP_KPF_HWPOISON));
}

TEST_F_TIMEOUT(contain, everywhere, 120)
{
	struct hp_state want;

	start_mappers(PASS_ARGS);
	hp_read_state(&want);
	hp_log_forget(&self->test.log);

	ASSERT_EQ(0, hp_inject(self->pfn));

	EXPECT_NE(NULL, hp_log_find(&self->test.log,
				    "Memory failure: %#lx: recovery action for huge page: Recovered",
				    self->pfn));
	expect_counters(PASS_ARGS, &want);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	check_marks(PASS_ARGS);
	check_told(PASS_ARGS);
	for (int i = 0; i < MAPPERS; i++)
		check_blocked(PASS_ARGS, &self->mapper[i], self->base[i]);
	if (SHARED(variant))
		check_new_mapping(PASS_ARGS);
	check_neighbours(PASS_ARGS);
	check_told(PASS_ARGS);		/* no signal more by now */
	check_undone(PASS_ARGS);
}

TEST_HARNESS_MAIN
