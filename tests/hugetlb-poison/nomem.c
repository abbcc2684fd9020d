// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages while allocations fail. An error costs what it costs with
 * memory, as long as the kernel's reserve lasts; then all of its hugepage is out of reach
 * until there is memory, and never the raw page in anybody's. A mapper whose page tables
 * or VMAs cannot be had loses nothing for good.
 *
 * Needs a kernel that lets allocations fail (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC), so
 * it is not among what ./run runs: the debug kernel does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED		0x0e0e
#define FAULTS		"/sys/kernel/debug/%s/%s"
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define RAW		77	/* which base page of a hugepage is hit */
#define SOME		40	/* allocations: more than a page fault narrows with */

/* --- failing allocations ---------------------------------------------------------- */

enum which { SLAB, PAGES, WHICH };

static const char *const names[WHICH] = { "failslab", "fail_page_alloc" };

static int set(enum which which, const char *file, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), FAULTS, names[which], file);
	return hp_write(path, "%s", value);
}

static bool can_fail(void)
{
	struct stat st;

	return !stat("/sys/kernel/debug/failslab", &st) &&
	       !stat("/sys/kernel/debug/fail_page_alloc", &st);
}

/* Allocations of @which fail from now on: @times of them, -1 for all. */
static void begin_to_fail(enum which which, bool of_task, int times)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", times);
	set(which, "verbose", "0");
	set(which, "interval", "1");
	set(which, "space", "0");
	set(which, "task-filter", of_task ? "Y" : "N");
	set(which, "ignore-gfp-wait", "N");
	if (which == PAGES) {
		set(which, "min-order", "0");
		set(which, "ignore-gfp-highmem", "N");
	}
	set(which, "times", text);
	set(which, "probability", "100");
}

static void fail_no_more(void)
{
	for (int i = 0; i < WHICH; i++)
		set(i, "probability", "0");
	set(SLAB, "cache-filter", "N");
}

/* --- errors, with all that needs memory done before -------------------------------- */

struct injector {
	int fail;		/* /proc/self/make-it-fail */
	int inject;
};

static int injector_open(struct injector *in)
{
	in->fail = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	in->inject = open(HP_DEBUGFS "corrupt-pfn", O_WRONLY | O_CLOEXEC);
	return in->fail < 0 || in->inject < 0 ? -errno : 0;
}

static void injector_close(struct injector *in)
{
	close(in->fail);
	close(in->inject);
}

static void let_me_fail(struct injector *in, bool fail)
{
	if (write(in->fail, fail ? "1" : "0", 1) != 1)
		printf("# make-it-fail: %s\n", strerror(errno));
}

/* Returns 0 or -errno. */
static int inject(struct injector *in, unsigned long pfn)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%#lx", pfn);

	hp_note_poisoned(pfn);
	return write(in->inject, text, len) == len ? 0 : -errno;
}

static int inject_failing(struct injector *in, unsigned long pfn)
{
	int ret;

	let_me_fail(in, true);
	ret = inject(in, pfn);
	let_me_fail(in, false);
	return ret;
}

/* --- one error, and the reserve ----------------------------------------------------- */

FIXTURE(nomem) {
	struct hp_test test;
	struct hp_map map;
	struct injector in;
	char *raw;
	unsigned long pfn;
};

FIXTURE_VARIANT(nomem) {
	enum hp_backing backing;
	unsigned long size;
};

#define NOMEM(sz, name, id)							\
	FIXTURE_VARIANT_ADD(nomem, sz##_##name) { .backing = id, .size = HP_##sz }

NOMEM(2M, memfd, HP_MEMFD);
NOMEM(2M, anon, HP_ANON);
NOMEM(2M, private, HP_PRIVATE);

FIXTURE_SETUP(nomem)
{
	if (!can_fail())
		SKIP(return, "this kernel does not let allocations fail");
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, injector_open(&self->in));
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, variant->size, 1));
	ASSERT_EQ(0, hp_stamp(self->map.addr, variant->size, SEED));
	self->raw = self->map.addr + RAW * HP_BASE;
	self->pfn = hp_pfn(self->raw);
	ASSERT_NE(HP_NO_PFN, self->pfn);
}

FIXTURE_TEARDOWN(nomem)
{
	if (!can_fail())
		return;
	fail_no_more();
	injector_close(&self->in);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* The pages that are lost, all others as they were; the worker may still be at it. */
static bool loses(char *hugepage, unsigned long size, unsigned int seed, long nr)
{
	long damage = 0;

	return hp_await(hp_lost(hugepage, size, seed, &damage) == nr && !damage,
			"%ld pages are lost", nr);
}

/* No allocation of the handler's succeeds: with the reserve that is no loss. */
TEST_F_TIMEOUT(nomem, error, 60)
{
	struct hp_state want;

	hp_read_state(&want);
	begin_to_fail(SLAB, true, -1);
	begin_to_fail(PAGES, true, -1);
	EXPECT_EQ(0, inject_failing(&self->in, self->pfn));
	fail_no_more();
	EXPECT_TRUE(loses(self->map.addr, variant->size, SEED, 1));
	hp_expect_narrowed(&want, variant->size, hp_pfn_node(self->pfn), true);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(NULL, hp_log_has(&self->test.log, "for want of memory"));
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* The same of the second one: what is known of the first stays. */
TEST_F_TIMEOUT(nomem, second, 60)
{
	EXPECT_EQ(0, hp_inject(self->pfn));
	EXPECT_TRUE(loses(self->map.addr, variant->size, SEED, 1));
	begin_to_fail(SLAB, true, -1);
	begin_to_fail(PAGES, true, -1);
	EXPECT_EQ(0, inject_failing(&self->in, self->pfn + 5));
	fail_no_more();
	EXPECT_TRUE(loses(self->map.addr, variant->size, SEED, 2));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->raw + 5 * HP_BASE, HP_READ).code);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn + 5));
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/*
 * A mapper gets no memory to narrow when it touches the hugepage: right after the error,
 * before the worker has been there. The raw page is never there; with memory the healthy
 * ones are.
 */
static void touch_failing(struct __test_metadata *_metadata, FIXTURE_DATA(nomem) *self,
			  unsigned long size, enum which which)
{
	struct hp_sigbus bus;

	ASSERT_EQ(0, inject(&self->in, self->pfn));
	begin_to_fail(which, true, SOME);
	let_me_fail(&self->in, true);
	bus = hp_touch(self->map.addr, HP_READ);
	/* without memory a signal says nothing but that it came */
	EXPECT_EQ(getpid(), hp_touch(self->raw, HP_READ).tid);
	let_me_fail(&self->in, false);
	fail_no_more();
	if (bus.tid)
		TH_LOG("while allocations failed: SIGBUS %d, %d", bus.code, bus.lsb);
	EXPECT_TRUE(loses(self->map.addr, size, SEED, 1));
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

TEST_F_TIMEOUT(nomem, touch_without_slab, 60)
{
	touch_failing(_metadata, self, variant->size, SLAB);
}

TEST_F_TIMEOUT(nomem, touch_without_pages, 60)
{
	touch_failing(_metadata, self, variant->size, PAGES);
}

/* A hole that is to heal needs memory: without it nothing is changed, and the log says so. */
TEST_F_TIMEOUT(nomem, heal, 60)
{
	int ret;

	if (variant->backing != HP_MEMFD)
		SKIP(return, "only the owner of a file heals");
	ASSERT_EQ(0, inject(&self->in, self->pfn));
	ASSERT_EQ(0, inject(&self->in, self->pfn + 5));
	EXPECT_TRUE(loses(self->map.addr, variant->size, SEED, 2));
	for (int which = 0; which < WHICH; which++) {
		begin_to_fail(which, true, -1);
		let_me_fail(&self->in, true);
		ret = fallocate(self->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				RAW * HP_BASE, HP_BASE) ? errno : 0;
		let_me_fail(&self->in, false);
		fail_no_more();
		TH_LOG("without %s: %s", names[which], ret ? strerror(ret) : "healed");
		EXPECT_TRUE(!ret || ret == ENOMEM);
		EXPECT_TRUE(!ret || loses(self->map.addr, variant->size, SEED, 2));
	}
	EXPECT_EQ(0, fallocate(self->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       RAW * HP_BASE, HP_BASE));
	EXPECT_EQ(0, hp_touch(self->raw, HP_READ).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->raw + 5 * HP_BASE, HP_READ).code);
}

/*
 * A fresh hugepage could only be had by reclaim: the handler does not wait for that, and
 * the worker gets it for the pool.
 */
TEST_F_TIMEOUT(nomem, fresh, 60)
{
	long pool = hp_read_long(POOL "nr_hugepages");

	hp_map_free(&self->map);
	begin_to_fail(PAGES, true, -1);
	set(PAGES, "ignore-gfp-wait", "Y");
	set(PAGES, "min-order", "9");
	EXPECT_EQ(0, inject_failing(&self->in, self->pfn));
	fail_no_more();
	EXPECT_NE(NULL, hp_log_has(&self->test.log, "a fresh one is being looked for"));
	EXPECT_TRUE(hp_await(hp_read_long(POOL "nr_hugepages") == pool,
			     "the pool has a fresh hugepage"));
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* --- more errors than the reserve lasts for ------------------------------------------ */

#define RESERVED	32	/* records, see mm/hugepoison/reserve.c */
#define BEYOND		4
#define NR		(1 + RESERVED + BEYOND)

/*
 * Where records are allocated from, and not much else is: were it all memory, the kernel
 * could not make the threads of its workers either, and narrowing waits for those.
 */
#define CACHE		"/sys/kernel/slab/kmalloc-128/failslab"

FIXTURE(beyond) {
	struct hp_test test;
	struct hp_map map;
	struct injector in;
	unsigned long pfn[NR];
};

FIXTURE_VARIANT(beyond) {
	enum hp_backing backing;
};

FIXTURE_VARIANT_ADD(beyond, memfd) { .backing = HP_MEMFD };
FIXTURE_VARIANT_ADD(beyond, private) { .backing = HP_PRIVATE };

FIXTURE_SETUP(beyond)
{
	if (!can_fail())
		SKIP(return, "this kernel does not let allocations fail");
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	hp_kill_late();
	ASSERT_EQ(0, injector_open(&self->in));
	ASSERT_EQ(0, hp_map(&self->map, variant->backing, HP_2M, NR));
	for (int i = 0; i < NR; i++) {
		ASSERT_EQ(0, hp_stamp(self->map.addr + i * HP_2M, HP_2M, i));
		self->pfn[i] = hp_pfn(self->map.addr + i * HP_2M + RAW * HP_BASE);
	}
}

FIXTURE_TEARDOWN(beyond)
{
	if (!can_fail())
		return;
	hp_write(CACHE, "0");
	fail_no_more();
	injector_close(&self->in);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/*
 * The last hugepages are out of reach as a whole, and never the raw page in it. As soon as
 * there is memory the file has their healthy pages again; a private one was taken apart.
 */
TEST_F_TIMEOUT(beyond, the_reserve, 120)
{
	const bool file = variant->backing == HP_MEMFD;
	long damage, lost;
	int wide = 0;

	/* narrowing needs what is switched on by the first error after a while */
	ASSERT_EQ(0, inject(&self->in, self->pfn[0]));
	EXPECT_TRUE(loses(self->map.addr, HP_2M, 0, 1));
	ASSERT_EQ(0, hp_write(CACHE, "1"));
	ASSERT_EQ(0, set(SLAB, "cache-filter", "Y"));
	begin_to_fail(SLAB, false, -1);
	for (int i = 1; i < NR; i++)
		EXPECT_EQ(0, inject(&self->in, self->pfn[i]));
	for (int i = 0; i < NR; i++) {
		char *at = self->map.addr + i * HP_2M;

		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(at + RAW * HP_BASE, HP_READ).code);
		wide += hp_touch(at, HP_READ).lsb == 21;
	}
	hp_write(CACHE, "0");
	fail_no_more();
	TH_LOG("%d errors cost all of their hugepages", wide);
	EXPECT_LE(1, wide) {
		TH_LOG("are records still allocated where " CACHE " is?");
	}
	EXPECT_GE(2 * BEYOND, wide);
	EXPECT_NE(NULL, hp_log_has(&self->test.log, "no memory for a record of it"));
	EXPECT_EQ(self->test.before.v[HP_CORRUPTED][0][0] +
		  (long)NR * (long)(HP_BASE >> 10),
		  hp_meminfo_kb("HardwareCorrupted"));

	for (int i = 0; file && i < NR; i++)
		EXPECT_TRUE(loses(self->map.addr + i * HP_2M, HP_2M, i, 1));
	for (int i = 0; !file && i < NR; i++) {
		lost = hp_lost(self->map.addr + i * HP_2M, HP_2M, i, &damage);
		EXPECT_TRUE(lost == 1 || lost == HP_2M / HP_BASE);
		EXPECT_EQ(0, damage);
	}
	for (int i = 0; i < NR; i++)
		EXPECT_EQ(0, hp_unpoison_soon(self->pfn[i]));
}

TEST_HARNESS_MAIN
