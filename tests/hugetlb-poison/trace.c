// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace events: a listener gets one event for each step after an error,
 * with the page frame, the hugepage's size and node, the outcome and the
 * duration.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"

/*
 * An instance of our own: nobody's events but ours are in its buffer. It does not
 * note names of processes: that would patch the scheduler's own tracepoints at each
 * test, and an emulator may run what it translated a moment before.
 */
#define INSTANCE	"/sys/kernel/tracing/instances/hugetlb-poison"
#define RECORD_CMD	"/sys/kernel/tracing/options/record-cmd"
#define EVENTS		INSTANCE "/events/hugepoison/"
#define MAX_MAP_COUNT	"/proc/sys/vm/max_map_count"
#define ROUNDED		0.000001	/* seconds, in what is printed */
#define FORMAT \
	"%lf: hugepoison_%31[a-z]: pfn=%lx size=%lukB node=%d outcome=%31s duration=%lluns"

/* --- listening --------------------------------------------------------------- */

struct event {
	char name[32], outcome[32];
	unsigned long pfn, kb;
	int node;
	unsigned long long ns;
	double end;		/* seconds on the clock of now() */
};

struct listener {
	struct hp_narrowed n;
	unsigned long head;	/* of the hugepage with the raw page */
	double begin;		/* as the events' end */
	bool is_patient;	/* leaves out tries to promote that failed */
	struct event events[64];
	int nr;
};

/* Seconds on the clock that the instance goes by. */
static double now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static int listen_on(struct listener *l)
{
	if (hp_write(RECORD_CMD, "0"))
		return -ENODATA;
	if (mkdir(INSTANCE, 0700) && errno != EEXIST)
		return -errno;
	if (hp_write(INSTANCE "/trace_clock", "mono"))
		return -ENODATA;
	hp_write(INSTANCE "/trace", "\n");
	l->begin = now();
	return hp_write(EVENTS "enable", "1");
}

static void listen_off(void)
{
	hp_write(EVENTS "enable", "0");
	rmdir(INSTANCE);
	hp_write(RECORD_CMD, "1");
}

/* TASK-PID [CPU] flags SECONDS: EVENT */
static bool parse(const char *line, struct event *e)
{
	const char *at = strstr(line, ": hugepoison_");

	while (at && at > line && at[-1] != ' ')
		at--;
	return at && sscanf(at, FORMAT, &e->end, e->name, &e->pfn, &e->kb, &e->node, e->outcome,
			    &e->ns) == 7;
}

/*
 * A worker may still be at what a test before left to it: another size's hugepage,
 * or something that began before this test listened.
 */
static bool is_ours(const struct listener *l, const struct event *e)
{
	return e->kb == l->n.map.size >> 10 && e->end + ROUNDED - e->ns / 1e9 > l->begin;
}

/*
 * On a busy host the narrow worker may still have a reference of the hugepage when the
 * owner touches it again. This try to promote fails, the next one promotes.
 */
static bool is_early_try(const struct listener *l, const struct event *e)
{
	return l->is_patient && !strcmp(e->name, "promote") && !strcmp(e->outcome, "failed");
}

/* All there was until now. A line that is not as it should be is none. */
static void hear(struct listener *l)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	char line[512];

	l->nr = 0;
	if (!file)
		return;
	while (fgets(line, sizeof(line), file) && l->nr < (int)ARRAY_SIZE(l->events)) {
		if (line[0] == '#')
			continue;
		if (!parse(line, &l->events[l->nr]))
			printf("# what is this: %s", line);
		else if (is_ours(l, &l->events[l->nr]) && !is_early_try(l, &l->events[l->nr]))
			l->nr++;
	}
	fclose(file);
}

static int count(struct listener *l, const char *name)
{
	int found = 0;

	for (int i = 0; i < l->nr; i++)
		found += !name || !strcmp(l->events[i].name, name);
	return found;
}

/* Events of workers come some time later. Returns how many there are. */
static int await(struct listener *l, const char *name, int nr)
{
	hp_await((hear(l), count(l, name) >= nr), "%d events %s of %lu kB", nr, name,
		 l->n.map.size >> 10);
	return count(l, name);
}

static void show(struct listener *l)
{
	for (int i = 0; i < l->nr; i++) {
		struct event *e = &l->events[i];

		printf("# %s pfn %#lx %lu kB node %d %s %llu ns\n", e->name, e->pfn, e->kb,
		       e->node, e->outcome, e->ns);
	}
}

/* The one event of a name says just that. Returns its page frame. */
static unsigned long expect_event(META, struct listener *l, const char *name,
				  const char *outcome)
{
	struct event *e = l->events;

	if (await(l, name, 1) != 1) {
		show(l);
		EXPECT_EQ(1, count(l, name)) TH_LOG("%s", name);
		return HP_NO_PFN;
	}
	while (strcmp(e->name, name))
		e++;
	EXPECT_STREQ(outcome, e->outcome) TH_LOG("%s", name);
	EXPECT_EQ(l->n.map.size >> 10, e->kb) TH_LOG("%s", name);
	EXPECT_EQ(e->pfn ? hp_pfn_node(e->pfn) : -1, e->node) TH_LOG("%s", name);
	EXPECT_LT(0, e->ns) TH_LOG("%s", name);
	EXPECT_GT(now(), e->end) TH_LOG("%s", name);
	return e->pfn;
}

/* Nothing is said that is not expected: @nr events in all. */
static void expect_no_more(META, struct listener *l, int nr)
{
	hear(l);
	EXPECT_EQ(nr, l->nr);
	if (l->nr != nr)
		show(l);
}

/*
 * The hugepage has left its pool. Where 1 GiB is not replaced, as the tests have
 * it, the event says which one is missing.
 */
static void expect_replaced(META, struct listener *l)
{
	unsigned long pfn;

	if (l->n.map.size == HP_1G) {
		EXPECT_EQ(l->head, expect_event(_metadata, l, "replace", "failed"));
		return;
	}
	pfn = expect_event(_metadata, l, "replace", "replaced");
	EXPECT_NE(l->head, pfn);
	EXPECT_EQ(HP_KPF_HUGE, hp_pageflags(pfn) & (HP_KPF_HUGE | HP_KPF_HWPOISON));
}

/* --- a hugepage in use -------------------------------------------------------- */

FIXTURE(used) {
	struct listener l;
};

FIXTURE_VARIANT(used) {
	enum hp_backing backing;
	unsigned long size, nr;
};

FIXTURE_VARIANT_ADD(used, 2M_shared) { .backing = HP_MEMFD, .size = HP_2M, .nr = 3 };
FIXTURE_VARIANT_ADD(used, 1G_shared) { .backing = HP_MEMFD, .size = HP_1G, .nr = 1 };
FIXTURE_VARIANT_ADD(used, 2M_private) { .backing = HP_PRIVATE, .size = HP_2M, .nr = 3 };
FIXTURE_VARIANT_ADD(used, 1G_private) { .backing = HP_PRIVATE, .size = HP_1G, .nr = 1 };

FIXTURE_SETUP(used)
{
	struct listener *l = &self->l;

	ASSERT_EQ(0, hp_narrowed_make(&l->n, variant->backing, variant->size, variant->nr));
	l->head = l->n.pfn & -(variant->size / HP_BASE);
	ASSERT_EQ(0, listen_on(l));
}

FIXTURE_TEARDOWN(used)
{
	listen_off();
	hp_map_free(&self->l.n.map);
	EXPECT_EQ(0, hp_test_end(&self->l.n.test));
}

static bool is_private(struct listener *l)
{
	return l->n.map.backing == HP_PRIVATE;
}

/* An error, and a touch: contained and narrowed. */
static void expect_narrowed(META, struct listener *l)
{
	EXPECT_EQ(0, hp_narrowed_hit(&l->n));
	EXPECT_EQ(l->n.pfn, expect_event(_metadata, l, "contain", "narrowed"));
	EXPECT_EQ(l->head, expect_event(_metadata, l, "narrow", "narrowed"));
}

/* The last user has left the hugepage. */
static void expect_released(META, struct listener *l)
{
	EXPECT_EQ(l->head, expect_event(_metadata, l, "release", "released"));
	expect_replaced(_metadata, l);
}

/* From the error until the last user has left. */
TEST_F_TIMEOUT(used, released, 120)
{
	struct listener *l = &self->l;

	expect_narrowed(_metadata, l);
	hp_map_free(&l->n.map);
	expect_released(_metadata, l);
	expect_no_more(_metadata, l, 4);
}

/* From the error until the owner has discarded what was lost. */
TEST_F_TIMEOUT(used, healed, 120)
{
	struct listener *l = &self->l;
	char *raw = hp_narrowed_raw(&l->n);
	int nr = 4;

	expect_narrowed(_metadata, l);
	l->is_patient = true;
	if (is_private(l)) {
		ASSERT_EQ(0, madvise(raw, HP_BASE, MADV_DONTNEED));
	} else {
		ASSERT_EQ(0, madvise(raw, HP_BASE, MADV_REMOVE));
		EXPECT_EQ(l->n.pfn, expect_event(_metadata, l, "heal", "healed"));
		EXPECT_EQ(l->head, expect_event(_metadata, l, "release", "released"));
		nr++;
	}
	EXPECT_TRUE(hp_all_zero(raw));
	EXPECT_EQ(hp_pfn(hp_narrowed_victim(&l->n)),
		  expect_event(_metadata, l, "promote", "promoted"));
	if (is_private(l)) {
		expect_released(_metadata, l);
		nr++;
	} else if (l->n.map.size == HP_1G) {
		/* a free one of the pool took its place there */
		expect_replaced(_metadata, l);
		nr++;
	}
	expect_no_more(_metadata, l, nr);
}

/* The owner has the contents elsewhere. */
TEST_F_TIMEOUT(used, refilled, 120)
{
	struct listener *l = &self->l;
	char *raw = hp_narrowed_raw(&l->n);
	int own = open("/proc/hugepoison/own", O_RDWR | O_CLOEXEC);
	char page[HP_BASE];

	ASSERT_LE(0, own);
	memcpy(page, raw, HP_BASE);
	expect_narrowed(_metadata, l);
	EXPECT_EQ((long)HP_BASE, pwrite(own, page, HP_BASE, (off_t)(unsigned long)raw));
	EXPECT_EQ(l->n.pfn, expect_event(_metadata, l, "refill", "refilled"));
	EXPECT_EQ(-1, pwrite(own, page, HP_BASE, (off_t)(unsigned long)raw));
	EXPECT_EQ(0, close(own));
	EXPECT_EQ(0, memcmp(page, raw, HP_BASE));
}

/* A closed listener gets no more events. */
TEST_F_TIMEOUT(used, unheard, 120)
{
	struct listener *l = &self->l;

	ASSERT_EQ(0, hp_write(EVENTS "enable", "0"));
	EXPECT_EQ(0, hp_narrowed_hit(&l->n));
	expect_no_more(_metadata, l, 0);
}

/* --- a private hugepage with a page that a pipe holds ------------------------------ */

#define TOUCHED	16	/* pages that the owner discards and touches again */

FIXTURE(held) {
	struct listener l;
};

FIXTURE_SETUP(held)
{
	struct listener *l = &self->l;

	ASSERT_EQ(0, hp_narrowed_make(&l->n, HP_PRIVATE, HP_2M, 3));
	l->head = l->n.pfn & -(HP_2M / HP_BASE);
	ASSERT_EQ(0, listen_on(l));
}

FIXTURE_TEARDOWN(held)
{
	listen_off();
	hp_map_free(&self->l.n.map);
	EXPECT_EQ(0, hp_test_end(&self->l.n.test));
}

static void discard_and_touch(META, char *raw)
{
	ASSERT_EQ(0, madvise(raw, TOUCHED * HP_BASE, MADV_DONTNEED));
	for (int i = 0; i < TOUCHED; i++)
		EXPECT_EQ(0, hp_touch(raw + i * HP_BASE, HP_WRITE).code);
}

static bool is_promoted(struct listener *l)
{
	hear(l);
	for (int i = 0; i < l->nr; i++)
		if (!strcmp(l->events[i].name, "promote") &&
		    !strcmp(l->events[i].outcome, "promoted"))
			return true;
	return false;
}

/*
 * The range cannot be a hugepage again, for which each try takes one out of the pool and
 * waits for all CPUs: a fault tries once after a discard, however many there are, and a
 * task that computes some seconds later.
 */
TEST_F_TIMEOUT(held, tried_once, 120)
{
	struct listener *l = &self->l;
	struct iovec page = { .iov_base = hp_narrowed_victim(&l->n), .iov_len = HP_BASE };
	char *raw = hp_narrowed_raw(&l->n);
	double give_up;
	int fd[2];

	expect_narrowed(_metadata, l);
	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(fd[1], &page, 1, 0));
	discard_and_touch(_metadata, raw);
	EXPECT_LE(1, await(l, "promote", 1));
	EXPECT_GE(2, count(l, "promote"));
	EXPECT_FALSE(is_promoted(l));

	close(fd[0]);
	close(fd[1]);
	discard_and_touch(_metadata, raw);
	give_up = now() + 60;
	while (!is_promoted(l) && now() < give_up)
		;
	EXPECT_TRUE(is_promoted(l));
	EXPECT_GE(4, count(l, "promote"));
	expect_released(_metadata, l);
}

/* --- what fails, and what is gone ------------------------------------------------ */

FIXTURE(split) {
	struct listener l;
	long limit;
};

FIXTURE_SETUP(split)
{
	struct listener *l = &self->l;

	self->limit = hp_read_long(MAX_MAP_COUNT);
	ASSERT_EQ(0, hp_narrowed_make(&l->n, HP_MEMFD, HP_2M, 3));
	l->head = l->n.pfn & -(HP_2M / HP_BASE);
	ASSERT_EQ(0, listen_on(l));
}

FIXTURE_TEARDOWN(split)
{
	EXPECT_EQ(0, hp_write(MAX_MAP_COUNT, "%ld", self->limit));
	listen_off();
	hp_map_free(&self->l.n.map);
	EXPECT_EQ(0, hp_test_end(&self->l.n.test));
}

/* The first event of the name; NULL for none. */
static const struct event *first(struct listener *l, const char *name)
{
	await(l, name, 1);
	for (int i = 0; i < l->nr; i++)
		if (!strcmp(l->events[i].name, name))
			return &l->events[i];
	return NULL;
}

/* A mapping that cannot be split now; the worker may have tried as well. */
TEST_F(split, failed)
{
	struct listener *l = &self->l;
	char *victim = hp_narrowed_victim(&l->n);
	const struct event *e;

	ASSERT_EQ(0, hp_write(MAX_MAP_COUNT, "1"));
	EXPECT_EQ(0, hp_inject(l->n.pfn));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(victim, HP_READ).code);
	EXPECT_EQ(0, hp_write(MAX_MAP_COUNT, "%ld", self->limit));
	EXPECT_EQ(0, hp_touch(victim, HP_READ).code);
	e = first(l, "narrow");
	ASSERT_NE(NULL, e);
	EXPECT_STREQ("failed", e->outcome);
	EXPECT_EQ(l->head, e->pfn);
	while (strcmp(e->name, "narrow") || strcmp(e->outcome, "narrowed"))
		ASSERT_GT(l->events + l->nr, ++e);
	EXPECT_EQ(l->head, e->pfn);
}

/* A file that is cut off: what is promoted then has no page frame. */
TEST_F(split, truncated)
{
	struct listener *l = &self->l;
	char *victim = hp_narrowed_victim(&l->n);

	EXPECT_EQ(0, hp_narrowed_hit(&l->n));
	ASSERT_EQ(0, ftruncate(l->n.map.fd, 0));
	EXPECT_EQ(l->head, expect_event(_metadata, l, "release", "released"));
	ASSERT_EQ(0, ftruncate(l->n.map.fd, 3 * HP_2M));
	EXPECT_EQ(0, hp_touch(victim, HP_READ).code);
	EXPECT_EQ(0, expect_event(_metadata, l, "promote", "promoted"));
}

#define PUNCHES	40	/* in vain */
#define LIMIT	(PUNCHES / 2)	/* events of them: one in five seconds */

static int count_heals_of(struct listener *l, unsigned long pfn)
{
	int found = 0;

	for (int i = 0; i < l->nr; i++)
		found += !strcmp(l->events[i].name, "heal") && l->events[i].pfn == pfn;
	return found;
}

/*
 * Heals that fail, as often as the owner likes, do not flood a listener, and the listener hears
 * of another hugepage meanwhile.
 */
TEST_F_TIMEOUT(split, not_healed, 120)
{
	struct listener *l = &self->l;
	char *raw = hp_narrowed_raw(&l->n);
	char *other = l->n.map.addr + (l->n.victim ? 0 : HP_2M) + HP_BASE;
	struct iovec held[] = {
		{ .iov_base = hp_narrowed_victim(&l->n), .iov_len = HP_BASE },
		{ .iov_base = other + HP_BASE, .iov_len = HP_BASE },
	};
	unsigned long pfn = hp_pfn(other);
	int fd[2];

	expect_narrowed(_metadata, l);
	ASSERT_EQ(0, hp_inject(pfn));
	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ(2 * (ssize_t)HP_BASE, vmsplice(fd[1], held, 2, 0));
	for (int i = 0; i < PUNCHES; i++) {
		EXPECT_EQ(-1, madvise(raw, HP_BASE, MADV_REMOVE));
		if (i == PUNCHES / 2)
			EXPECT_EQ(-1, madvise(other, HP_BASE, MADV_REMOVE));
	}
	EXPECT_LE(2, await(l, "heal", 2));
	EXPECT_EQ(1, count_heals_of(l, pfn));
	EXPECT_LE(1, count_heals_of(l, l->n.pfn));
	EXPECT_GE(LIMIT, count(l, "heal"));
	close(fd[0]);
	close(fd[1]);
}

/* --- a free one ------------------------------------------------------------------ */

FIXTURE(unused) {
	struct listener l;
};

FIXTURE_VARIANT(unused) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(unused, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(unused, 1G) { .size = HP_1G };

FIXTURE_SETUP(unused)
{
	ASSERT_EQ(0, hp_test_begin(&self->l.n.test, variant->size));
	self->l.n.map.size = variant->size;
	ASSERT_EQ(0, listen_on(&self->l));
}

FIXTURE_TEARDOWN(unused)
{
	listen_off();
	EXPECT_EQ(0, hp_test_end(&self->l.n.test));
}

TEST_F_TIMEOUT(unused, replaced, 120)
{
	struct listener *l = &self->l;

	l->head = hp_find_free(variant->size, 1);
	ASSERT_NE(HP_NO_PFN, l->head);
	l->n.pfn = l->head + hp_subpage(variant->size, HP_TAIL);
	ASSERT_EQ(0, hp_inject(l->n.pfn));
	EXPECT_EQ(l->n.pfn, expect_event(_metadata, l, "contain",
					 variant->size == HP_1G ? "dequeued" : "replaced"));
	EXPECT_EQ(l->head, expect_event(_metadata, l, "release", "released"));
	expect_replaced(_metadata, l);
	expect_no_more(_metadata, l, 3);
}

TEST_HARNESS_MAIN
