// SPDX-License-Identifier: GPL-2.0-only
/*
 * An error in a free hugepage: it leaves its pool and is never handed out. A
 * fresh one takes its place. pool.c also tests errors without a fresh hugepage,
 * and of reserved ones.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"

#define FREE_ON_1 "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages"

/* The page frame that the handler reports an error of a kind in. */
static unsigned long reported_pfn(struct hp_log *log, const char *kind)
{
	const char *at = hp_log_find(log, "recovery action for %s: Recovered", kind);
	const char *name = "Memory failure: ";

	if (!at)
		return HP_NO_PFN;
	while (at > log->text && at[-1] != '\n')
		at--;
	at = strstr(at, name);
	return at ? strtoul(at + strlen(name), NULL, 0) : HP_NO_PFN;
}

/* Take all free hugepages of a size, one mapping. */
static int map_pool(struct hp_map *map, unsigned long size)
{
	struct hp_state now;

	hp_read_state(&now);
	return hp_map(map, HP_MEMFD, size, *hp_at(&now, HP_FREE, size, HP_ALL));
}

/* Hands out every hugepage of the pool and looks for a page frame among them. */
static long handed_out(unsigned long size, unsigned long pfn)
{
	unsigned long head = pfn & -(size / HP_BASE);
	struct hp_map all;
	long found = 0;

	if (map_pool(&all, size))
		return -1;
	for (unsigned long i = 0; i < all.nr; i++) {
		char *at = all.addr + i * size;

		if (hp_touch(at, HP_WRITE).code)
			found = -1;
		else if (hp_pfn(at) == head)
			found++;
	}
	hp_map_free(&all);
	return found;
}

/* --- free and not reserved ------------------------------------------------ */

FIXTURE(spare) {
	struct hp_test test;
	unsigned long pfn;
};

enum via { CORRUPT_FREE, CORRUPT_PFN };

FIXTURE_VARIANT(spare) {
	unsigned long size;
	int node;
	enum hp_place place;
	enum via via;
};

#define SPARE(sz, nid, place_name, place_id)					\
	FIXTURE_VARIANT_ADD(spare, sz##_node##nid##_##place_name##_by_size) {	\
		.size = HP_##sz, .node = nid, .place = place_id,		\
		.via = CORRUPT_FREE,						\
	};									\
	FIXTURE_VARIANT_ADD(spare, sz##_node##nid##_##place_name##_by_pfn) {	\
		.size = HP_##sz, .node = nid, .place = place_id,		\
		.via = CORRUPT_PFN,						\
	}

SPARE(2M, 0, head, HP_HEAD);
SPARE(2M, 1, middle, HP_MIDDLE);
SPARE(2M, 0, tail, HP_TAIL);
SPARE(1G, 1, head, HP_HEAD);
SPARE(1G, 0, middle, HP_MIDDLE);
SPARE(1G, 1, tail, HP_TAIL);

FIXTURE_SETUP(spare)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(spare)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static int inject(const FIXTURE_VARIANT(spare) *variant)
{
	unsigned long subpage = hp_subpage(variant->size, variant->place);
	unsigned long head;

	if (variant->via == CORRUPT_FREE)
		return hp_inject_free(variant->size, variant->node, subpage);
	head = hp_find_free(variant->size, variant->node);
	return head == HP_NO_PFN ? -ENOENT : hp_inject(head + subpage);
}

TEST_F_TIMEOUT(spare, leaves_pool, 120)
{
	struct hp_state want = self->test.before;
	unsigned long nr = variant->size / HP_BASE;

	ASSERT_EQ(0, inject(variant));

	self->pfn = reported_pfn(&self->test.log, "free huge page");
	ASSERT_NE(HP_NO_PFN, self->pfn);
	hp_note_poisoned(self->pfn);
	EXPECT_EQ(hp_subpage(variant->size, variant->place), self->pfn % nr);
	EXPECT_EQ(variant->node, hp_pfn_node(self->pfn));

	hp_expect_lost(&want, variant->size, variant->node);
	hp_add(&want, HP_BAD, variant->size, variant->node, 1);
	if (variant->size == HP_1G)
		hp_add(&want, HP_DEQUEUED, HP_1G, variant->node, 1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	hp_add(&want, HP_MF_TOTAL, 0, variant->node, 1);
	hp_add(&want, HP_MF_RECOVERED, 0, variant->node, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	/* Only the raw page is out of use, the rest is ordinary memory. */
	EXPECT_EQ(1, hp_count_flagged(self->pfn & -nr, nr, HP_KPF_HWPOISON));
	EXPECT_EQ(HP_KPF_HWPOISON,
		  hp_pageflags(self->pfn) & (HP_KPF_HWPOISON | HP_KPF_HUGE));
	EXPECT_EQ(0, handed_out(variant->size, self->pfn));

	EXPECT_EQ(0, hp_unpoison(self->pfn));
	hp_add(&want, HP_BAD, variant->size, variant->node, -1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, -(long)(HP_BASE >> 10));
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_pageflags(self->pfn) & HP_KPF_HWPOISON);
}

/* --- free, but reserved --------------------------------------------------- */

FIXTURE(promised) {
	struct hp_test test;
	struct hp_map all;	/* reserves every free hugepage, touches none */
	unsigned long pfn;
};

FIXTURE_SETUP(promised)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_1G));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(promised)
{
	hp_map_free(&self->all);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* A fresh hugepage replaces a small one: the reservation holds. */
TEST_F(promised, 2M_is_replaced)
{
	struct hp_state want;
	int touched = 0;

	ASSERT_EQ(0, hp_set_replace(true));
	ASSERT_EQ(0, map_pool(&self->all, HP_2M));
	hp_read_state(&want);
	ASSERT_EQ(*hp_at(&want, HP_FREE, HP_2M, HP_ALL), *hp_at(&want, HP_RESV, HP_2M, HP_ALL));

	ASSERT_EQ(0, hp_inject_free(HP_2M, 1, 5));

	self->pfn = reported_pfn(&self->test.log, "free huge page");
	ASSERT_NE(HP_NO_PFN, self->pfn);
	hp_note_poisoned(self->pfn);
	hp_add(&want, HP_REPLACED, HP_2M, 1, 1);
	hp_add(&want, HP_BAD, HP_2M, 1, 1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	hp_add(&want, HP_MF_TOTAL, 0, 1, 1);
	hp_add(&want, HP_MF_RECOVERED, 0, 1, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	for (unsigned long i = 0; i < self->all.nr; i++)
		touched += !hp_touch(self->all.addr + i * HP_2M, HP_WRITE).code;
	EXPECT_EQ(self->all.nr, touched);

	hp_map_free(&self->all);
	EXPECT_EQ(0, hp_unpoison(self->pfn));
}

/* A process that touches its reserved hugepage a moment after @go. */
static pid_t start_toucher(char *addr, int *go, int delay)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	do {
		delay -= __atomic_load_n(go, __ATOMIC_ACQUIRE);
	} while (delay >= 0);
	_exit(hp_touch(addr, HP_WRITE).code);
}

/*
 * The only hugepage goes bad while its owner touches it for the first time. In
 * either order the owner gets a hugepage.
 */
TEST_F_TIMEOUT(promised, 2M_touched_meanwhile, 120)
{
	int *go = mmap(NULL, HP_BASE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, ret, hits = 0, lost = 0;
	struct hp_map map;
	pid_t pid;

	ASSERT_EQ(0, hp_set_replace(true));
	ASSERT_EQ(0, hp_set_pool(HP_2M, 0, 0));
	ASSERT_EQ(0, hp_set_pool(HP_2M, 1, 1));
	for (int i = 0; i < 60; i++) {
		ASSERT_EQ(0, hp_map(&map, HP_MEMFD, HP_2M, 1));
		hp_log_forget(&self->test.log);
		__atomic_store_n(go, 0, __ATOMIC_RELEASE);
		pid = start_toucher(map.addr, go, i * 1000);
		usleep(1000);
		__atomic_store_n(go, 1, __ATOMIC_RELEASE);
		ret = hp_inject_free(HP_2M, 1, 5);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		lost += !!status;
		hp_map_free(&map);
		if (!ret) {
			hits++;
			EXPECT_EQ(0, hp_unpoison(reported_pfn(&self->test.log, "free huge page")));
		}
		EXPECT_TRUE(hp_await(hp_read_long(FREE_ON_1) == 1,
				     "node 1 has its hugepage again"));
	}
	EXPECT_LT(0, hits);
	EXPECT_EQ(0, lost);
	munmap(go, HP_BASE);
}

/*
 * Without a fresh hugepage the pool is one smaller, and reservations exceed
 * hugepages: nobody gets a new reservation, all but one of the old ones hold.
 */
TEST_F_TIMEOUT(promised, 1G_is_not, 60)
{
	struct hp_state want;
	struct hp_map more;
	unsigned long touched = 0;

	ASSERT_EQ(0, map_pool(&self->all, HP_1G));
	ASSERT_LE(2, self->all.nr);
	hp_read_state(&want);

	ASSERT_EQ(0, hp_inject_free(HP_1G, 1, 7));

	self->pfn = reported_pfn(&self->test.log, "free huge page");
	ASSERT_NE(HP_NO_PFN, self->pfn);
	hp_note_poisoned(self->pfn);
	EXPECT_NE(NULL, hp_log_find(&self->test.log, "one smaller: replace is off"));
	hp_expect_lost(&want, HP_1G, 1);
	hp_add(&want, HP_DEQUEUED, HP_1G, 1, 1);
	hp_add(&want, HP_BAD, HP_1G, 1, 1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	hp_add(&want, HP_MF_TOTAL, 0, 1, 1);
	hp_add(&want, HP_MF_RECOVERED, 0, 1, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	EXPECT_EQ(-ENOMEM, hp_map(&more, HP_MEMFD, HP_1G, 1));
	hp_map_free(&more);
	for (unsigned long i = 0; i < self->all.nr; i++)
		touched += !hp_touch(self->all.addr + i * HP_1G, HP_WRITE).code;
	EXPECT_EQ(self->all.nr - 1, touched);

	hp_map_free(&self->all);
	EXPECT_EQ(0, hp_unpoison(self->pfn));
}

/*
 * --- free, and about to be dissolved ----------------------------------------
 */

FIXTURE(leaving) {
	struct hp_test test;
	pthread_t thread;
	bool stop;
};

FIXTURE_SETUP(leaving)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
}

/* Undo every error that the handler reported since the beginning. */
static void undo_reported(struct hp_log *log)
{
	const char *name = "Memory failure: ";
	const char *at = hp_log_find(log, "%s", name);

	while (at) {
		hp_note_poisoned(strtoul(at, NULL, 0));
		at = strstr(at, name);
		if (at)
			at += strlen(name);
	}
}

FIXTURE_TEARDOWN(leaving)
{
	undo_reported(&self->test.log);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static void *resize(void *arg)
{
	FIXTURE_DATA(leaving) *self = arg;
	long nr = *hp_at(&self->test.before, HP_NR, HP_2M, 1);

	for (int i = 0; !__atomic_load_n(&self->stop, __ATOMIC_RELAXED); i++)
		hp_set_pool(HP_2M, 1, i % 2 ? nr : 1);
	return NULL;
}

static long count_outcome(enum hp_what what)
{
	struct hp_state now;

	hp_read_state(&now);
	return *hp_at(&now, what, HP_2M, HP_ALL);
}

/*
 * Errors in free hugepages while the pool shrinks and grows. The kernel handles
 * each, wherever the hugepage is by then. An earlier kernel died of a hugepage
 * that was dissolved after the handler found it and before it took it.
 */
TEST_F_TIMEOUT(leaving, pool_is_resized, 240)
{
	long failed = count_outcome(HP_FAILED);
	time_t end = time(NULL) + 60;
	int errors = 0, none = 0, other = 0;

	ASSERT_EQ(0, hp_set_replace(false));
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, resize, self));
	while (errors < 100 && time(NULL) < end) {
		int ret = hp_inject_free(HP_2M, 1, errors % 512);

		errors += !ret;
		none += ret == -ENOENT;
		other += ret && ret != -ENOENT;
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	pthread_join(self->thread, NULL);
	TH_LOG("%d errors, %d times none was free, %d others", errors, none, other);
	EXPECT_LT(20, errors);
	EXPECT_EQ(0, other);
	EXPECT_EQ(failed, count_outcome(HP_FAILED));
	EXPECT_EQ(0, hp_log_complaints(&self->test.log));
}

TEST_HARNESS_MAIN
