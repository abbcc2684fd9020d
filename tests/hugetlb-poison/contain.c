// SPDX-License-Identifier: GPL-2.0-only
/*
 * An error in a mapped hugepage: nobody reaches the raw page any more, in any
 * mapping old or new; threads that asked for early kill get a signal, the rest
 * goes on as before, and every counter has the memory out of use. That is the
 * raw page alone, where the mapping can be narrowed; else, and where the policy
 * says so, the hugepage.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED		0x1234
#define SEED_AFTER	0x4321

/* The mappers at the time of the error; nobody maps a private one anew. */
enum { SELF, INHERITED, ANEW, MAPPERS };

FIXTURE(contain) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper mapper[MAPPERS];
	int mappers;
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
	bool wide;		/* policy: containment hugepage */
};

#define VARIANT(sz, backing_name, backing_id, place_name, place_id, kill, is_early)	\
	FIXTURE_VARIANT_ADD(contain, sz##_##backing_name##_##place_name##_##kill) {	\
		.size = HP_##sz, .backing = backing_id,					\
		.place = place_id, .early = is_early,					\
	}
#define WIDE(sz, backing_name, backing_id, place_name, place_id, kill, is_early)	\
	FIXTURE_VARIANT_ADD(contain, sz##_##backing_name##_##place_name##_##kill##_wide) { \
		.size = HP_##sz, .backing = backing_id,					\
		.place = place_id, .early = is_early, .wide = true,			\
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

#define WIDE_PLACES(sz, backing_name, backing_id)					\
	WIDE(sz, backing_name, backing_id, head, HP_HEAD, early, true);			\
	WIDE(sz, backing_name, backing_id, middle, HP_MIDDLE, early, true);		\
	WIDE(sz, backing_name, backing_id, tail, HP_TAIL, late, false)

BACKINGS(2M);
BACKINGS(1G);

WIDE_PLACES(2M, anon, HP_ANON);
WIDE_PLACES(2M, file, HP_FILE);
WIDE_PLACES(2M, shm, HP_SHM);
WIDE_PLACES(2M, memfd, HP_MEMFD);
WIDE(1G, anon, HP_ANON, middle, HP_MIDDLE, early, true);
WIDE(1G, file, HP_FILE, head, HP_HEAD, late, false);
WIDE(1G, shm, HP_SHM, middle, HP_MIDDLE, late, false);
WIDE(1G, memfd, HP_MEMFD, tail, HP_TAIL, early, true);
WIDE(2M, private, HP_PRIVATE, head, HP_HEAD, early, true);
WIDE(2M, private, HP_PRIVATE, tail, HP_TAIL, late, false);
WIDE(1G, private, HP_PRIVATE, middle, HP_MIDDLE, late, false);

#define SHARED(variant)	((variant)->backing != HP_PRIVATE)
#define NARROW(variant)	(!(variant)->wide)
#define STAYS(variant)	(SHARED(variant) || NARROW(variant))

/* A GiB takes a while to be cleared: neighbours of that size in few variants. */
static unsigned long hugepages(const FIXTURE_VARIANT(contain) *variant)
{
	if (variant->size == HP_2M)
		return 4;
	return variant->place == HP_MIDDLE ? 2 : 1;
}

/* Errors alternate between the nodes, so that none is right by chance. */
FIXTURE_SETUP(contain)
{
	unsigned long nr = hugepages(variant);
	int node = variant->place == HP_TAIL ? hp_nodes() - 1 : 0;
	char *at;

	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_set_containment(variant->wide ? "hugepage" : "page"));
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
	for (int i = INHERITED; i < self->mappers; i++)
		hp_mapper_stop(&self->mapper[i]);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* The harness's arguments of a test, for its parts. */
#define UNUSED		__attribute__((unused))
#define TEST_ARGS	UNUSED struct __test_metadata *_metadata,	\
			UNUSED FIXTURE_DATA(contain) *self,		\
			UNUSED const FIXTURE_VARIANT(contain) *variant
#define PASS_ARGS	_metadata, self, variant

/* si_addr_lsb of the loss. */
static int lsb(const FIXTURE_VARIANT(contain) *variant)
{
	return __builtin_ctzl(NARROW(variant) ? HP_BASE : variant->size);
}

/* This process and its children: inherited at the same address, anew at another. */
static void start_mappers(TEST_ARGS)
{
	enum hp_op op = variant->early ? HP_OP_KILL_EARLY : HP_OP_KILL_LATE;

	self->mappers = SHARED(variant) ? MAPPERS : ANEW;
	hp_mapper_self(&self->mapper[SELF], &self->map);
	for (int i = INHERITED; i < self->mappers; i++)
		ASSERT_EQ(0, hp_mapper_start(&self->mapper[i], &self->map, i == ANEW));

	for (int i = 0; i < self->mappers; i++) {
		struct hp_mapper *mapper = &self->mapper[i];

		self->base[i] = (char *)hp_ask(mapper, HP_OP_ADDR, NULL, 0).value;
		for (unsigned long j = 0; j < self->map.nr; j++)
			ASSERT_EQ(0, hp_ask(mapper, HP_OP_DAMAGE,
					    self->base[i] + j * variant->size,
					    SEED + j).value);
		ASSERT_EQ((long)self->pfn,
			  hp_ask(mapper, HP_OP_PFN, self->base[i] + self->offset, 0).value);
		self->told[i] = hp_ask(mapper, op, NULL, 0).value;
	}
	ASSERT_EQ(self->base[SELF], self->base[INHERITED]);
}

/* Early: one signal, with the raw page's own address, for the thread that asked. */
static void check_told(TEST_ARGS)
{
	for (int i = 0; i < self->mappers; i++) {
		struct hp_answer answer;

		if (!variant->early) {
			EXPECT_EQ(0, hp_ask(&self->mapper[i], HP_OP_SIGNALS, NULL, 0).value);
			continue;
		}
		answer = hp_await_signals(&self->mapper[i], 1);
		EXPECT_EQ(1, answer.value);
		EXPECT_EQ(BUS_MCEERR_AO, answer.bus.code);
		EXPECT_EQ(self->base[i] + self->offset, answer.bus.addr);
		EXPECT_EQ(lsb(variant), answer.bus.lsb);
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
		EXPECT_EQ(lsb(variant), bus.lsb);
	}
	EXPECT_EQ(-EFAULT, hp_ask(mapper, HP_OP_SYS_READ, at, 0).value);
	EXPECT_EQ(-EFAULT, hp_ask(mapper, HP_OP_SYS_WRITE, at, 0).value);
	EXPECT_EQ((long)HP_NO_PFN, hp_ask(mapper, HP_OP_PFN, at, 0).value);
}

/* First, raw and last page of a blocked hugepage. */
static void check_wide(TEST_ARGS, struct hp_mapper *mapper, char *base)
{
	char *hugepage = base + self->victim * variant->size;

	check_blocked_at(PASS_ARGS, mapper, hugepage);
	check_blocked_at(PASS_ARGS, mapper, base + self->offset);
	check_blocked_at(PASS_ARGS, mapper, hugepage + variant->size - HP_BASE);
}

/* The raw page, whichever of its bytes is touched. */
static void check_raw(TEST_ARGS, struct hp_mapper *mapper, char *raw)
{
	check_blocked_at(PASS_ARGS, mapper, raw);
	check_blocked_at(PASS_ARGS, mapper, raw + 123);
	check_blocked_at(PASS_ARGS, mapper, raw + HP_BASE - 1);
}

/* A neighbour of the raw page, if it is of the same hugepage. */
static void check_next_to_raw(TEST_ARGS, struct hp_mapper *mapper, char *base, long pages)
{
	char *at = base + self->offset + pages * (long)HP_BASE;
	char *hugepage = base + self->victim * variant->size;

	if (at < hugepage || at >= hugepage + variant->size)
		return;
	at += HP_BASE / 2;		/* where no stamp is */
	EXPECT_EQ(0, hp_ask(mapper, HP_OP_SYS_READ, at, 0).value);
	EXPECT_EQ(0, hp_ask(mapper, HP_OP_SYS_WRITE, at, 0).value);
	EXPECT_EQ(0, hp_ask(mapper, HP_OP_WRITE, at, 0).bus.code);
	if (SHARED(variant))	/* else the first writer makes a copy */
		EXPECT_EQ((long)self->pfn + pages, hp_ask(mapper, HP_OP_PFN, at, 0).value);
}

static void check_healthy(TEST_ARGS, struct hp_mapper *mapper, char *base, unsigned int seed)
{
	struct hp_answer answer = hp_ask(mapper, HP_OP_LOST,
					 base + self->victim * variant->size, seed);

	EXPECT_EQ(1, answer.value);
	EXPECT_EQ(0, answer.damage);
}

/* The raw page alone is blocked; the order of mappers and pages must not matter. */
static void check_narrow(TEST_ARGS, struct hp_mapper *mapper, char *base)
{
	if (mapper != &self->mapper[INHERITED])
		check_raw(PASS_ARGS, mapper, base + self->offset);
	check_healthy(PASS_ARGS, mapper, base, SEED + self->victim);
	check_next_to_raw(PASS_ARGS, mapper, base, -1);
	check_next_to_raw(PASS_ARGS, mapper, base, 1);
	check_raw(PASS_ARGS, mapper, base + self->offset);
}

static void check_blocked(TEST_ARGS, struct hp_mapper *mapper, char *base)
{
	if (NARROW(variant))
		check_narrow(PASS_ARGS, mapper, base);
	else
		check_wide(PASS_ARGS, mapper, base);
}

/* A mapping made after the error finds the hugepage in the file. */
static void check_new_mapping(TEST_ARGS)
{
	struct hp_map again;
	struct hp_mapper mapper;

	ASSERT_EQ(0, hp_map_again(&self->map, &again));
	hp_mapper_self(&mapper, &again);
	check_blocked(PASS_ARGS, &mapper, again.addr);
	for (unsigned long i = 0; i < self->map.nr; i++)
		if (i != self->victim)
			EXPECT_EQ(0, hp_damage(again.addr + i * variant->size,
					       variant->size, SEED + i));
	hp_unmap(&again);
}

/* All mappers can read a mapper's writes to the healthy pages. */
static void check_coherent(TEST_ARGS)
{
	for (int i = 0; i < self->mappers; i++) {
		char *hugepage = self->base[i] + self->victim * variant->size;
		unsigned int seed = SEED_AFTER + i;

		EXPECT_EQ(1, hp_ask(&self->mapper[i], HP_OP_STAMP, hugepage, seed).value);
		for (int j = 0; j < self->mappers; j++)
			check_healthy(PASS_ARGS, &self->mapper[j], self->base[j], seed);
	}
}

/* The other hugepages have their contents, for all, and take new ones. */
static void check_neighbours(TEST_ARGS)
{
	for (unsigned long i = 0; i < self->map.nr; i++) {
		unsigned long offset = i * variant->size;
		unsigned int seed = SEED + i;

		if (i == self->victim)
			continue;
		EXPECT_EQ(0, hp_damage(self->base[SELF] + offset, variant->size, seed));
		/* This would copy a GiB. */
		if (variant->backing == HP_PRIVATE && variant->size == HP_1G)
			continue;
		hp_stamp(self->base[SELF] + offset, variant->size, SEED_AFTER);
		EXPECT_EQ(0, hp_damage(self->base[SELF] + offset, variant->size, SEED_AFTER));
		if (SHARED(variant))
			seed = SEED_AFTER;
		for (int j = INHERITED; j < self->mappers; j++)
			EXPECT_EQ(0, hp_ask(&self->mapper[j], HP_OP_DAMAGE,
					    self->base[j] + offset, seed).value);
	}
}

/*
 * A hugepage stays in its file, or its mappers keep it. A private one that is
 * lost as a whole is free, and the pool has another one.
 */
static void expect_counters(TEST_ARGS, struct hp_state *want)
{
	if (NARROW(variant)) {
		hp_expect_narrowed(want, variant->size, self->node, true);
	} else if (SHARED(variant)) {
		hp_expect_contained(want, variant->size, self->node);
	} else {
		hp_add(want, HP_BAD, variant->size, self->node, 1);
		hp_add(want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
		hp_add(want, HP_MF_TOTAL, 0, self->node, 1);
		hp_add(want, HP_MF_RECOVERED, 0, self->node, 1);
		hp_add(want, HP_POISONED, variant->size, self->node, 1);
		hp_expect_released(want, variant->size, self->node);
	}
}

/* The worker logs narrowed mappings a moment later. */
static void check_log(TEST_ARGS)
{
	const char *what = NARROW(variant) ? "narrowed" :
			   SHARED(variant) ? "contained" : "without users";

	EXPECT_NE(NULL, hp_log_find(&self->test.log,
				    "Memory failure: %#lx: recovery action for huge page: Recovered",
				    self->pfn));
	EXPECT_NE(NULL, hp_log_find(&self->test.log,
				    "hugepoison: %#lx: %lu kB hugepage on node %d: %s, ",
				    self->pfn, variant->size >> 10, self->node, what));
}

/*
 * Memory out of use is marked. While it is a hugepage, kpageflags shows the
 * folio's mark for all its pages: check_undone() sees which are bad.
 */
static void check_marks(TEST_ARGS)
{
	unsigned long nr = variant->size / HP_BASE;
	unsigned long head = self->pfn & -nr;

	EXPECT_EQ(STAYS(variant) ? nr : 1, hp_count_flagged(head, nr, HP_KPF_HWPOISON));
	EXPECT_NE(0, hp_pageflags(self->pfn) & HP_KPF_HWPOISON);
	EXPECT_EQ(STAYS(variant), !!(hp_pageflags(self->pfn) & HP_KPF_HUGE));
}

/*
 * After the last user has left, the healthy pages are back in use, also those
 * out of use before; the raw page is once it is unpoisoned.
 */
static void check_undone(TEST_ARGS)
{
	unsigned long nr = variant->size / HP_BASE;
	struct hp_state want = self->test.before;

	for (int i = INHERITED; i < self->mappers; i++)
		EXPECT_EQ(0, hp_mapper_stop(&self->mapper[i]));
	hp_map_free(&self->map);
	expect_counters(PASS_ARGS, &want);
	if (STAYS(variant))
		hp_expect_released(&want, variant->size, self->node);
	if (SHARED(variant) && variant->wide)
		hp_expect_back(&want, variant->size, self->node, nr - 1);
	hp_add(&want, HP_FREE, variant->size, self->node, -1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(1, hp_count_flagged(self->pfn & -nr, nr, HP_KPF_HWPOISON));
	EXPECT_EQ(HP_KPF_HWPOISON,
		  hp_pageflags(self->pfn) & (HP_KPF_HWPOISON | HP_KPF_HUGE));

	EXPECT_EQ(0, hp_unpoison(self->pfn));
	want = self->test.before;
	hp_expect_lost(&want, variant->size, self->node);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_pageflags(self->pfn) & HP_KPF_HWPOISON);
}

TEST_F_TIMEOUT(contain, everywhere, 120)
{
	struct hp_state want;

	start_mappers(PASS_ARGS);
	hp_read_state(&want);
	hp_log_forget(&self->test.log);

	ASSERT_EQ(0, hp_inject(self->pfn));

	check_log(PASS_ARGS);
	expect_counters(PASS_ARGS, &want);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	check_marks(PASS_ARGS);
	check_told(PASS_ARGS);
	for (int i = 0; i < self->mappers; i++)
		check_blocked(PASS_ARGS, &self->mapper[i], self->base[i]);
	if (SHARED(variant))
		check_new_mapping(PASS_ARGS);
	if (NARROW(variant) && SHARED(variant))
		check_coherent(PASS_ARGS);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	check_neighbours(PASS_ARGS);
	check_told(PASS_ARGS);		/* no signal more by now */
	check_undone(PASS_ARGS);
}

TEST_HARNESS_MAIN
