// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private hugepages narrow in place, whoever shares them and whatever memory is
 * short: each process keeps all but the raw page, in the hugepage that it had.
 */
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"

#include "hp_child.h"
#include "hp_limits.h"

#ifndef __maybe_unused
#define __maybe_unused	__attribute__((unused))
#endif

#define SEED		0x1e97
#define MOST_SHARERS	59	/* besides the one that mapped it */
#define PIN		12	/* base pages from the raw one to the pinned one */

enum sharing { ALONE, SHARED_BY_2, SHARED_BY_60, FORKED_AFTER };
enum shortage { NOTHING, MEMCG_FULL, STRICT, MLOCKED, SHORTAGES };

static const char *const shortage_names[] = {
	"nothing is short", "the memory cgroup is full", "strict overcommit", "all is locked",
};

FIXTURE(matrix) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper sharer[MOST_SHARERS];
	int sharers;
	char *raw;
	unsigned long pfn;	/* of the raw page */
	int ring;		/* what pins a page, 0 for nothing */
	struct strict strict;
};

FIXTURE_VARIANT(matrix) {
	unsigned long size;
	bool file;		/* a private mapping of a file, else anonymous */
	enum sharing sharing;
};

#define VARIANT(sz, backing, is_file, name, id)					\
	FIXTURE_VARIANT_ADD(matrix, sz##_##backing##_##name) {			\
		.size = HP_##sz, .file = is_file, .sharing = id,		\
	}
#define BACKINGS(sz, name, id)							\
	VARIANT(sz, anon, false, name, id);					\
	VARIANT(sz, file, true, name, id)
#define SHARINGS(sz)								\
	BACKINGS(sz, alone, ALONE);						\
	BACKINGS(sz, shared_by_2, SHARED_BY_2);					\
	BACKINGS(sz, shared_by_60, SHARED_BY_60);				\
	BACKINGS(sz, forked_after, FORKED_AFTER)

SHARINGS(2M);
SHARINGS(1G);

FIXTURE_SETUP(matrix)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(matrix)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

#define TEST_ARGS	struct __test_metadata *_metadata __maybe_unused,	\
			FIXTURE_DATA(matrix) *self __maybe_unused,		\
			const FIXTURE_VARIANT(matrix) *variant __maybe_unused
#define PASS_ARGS	_metadata, self, variant

static int map_file(struct hp_map *map, unsigned long size)
{
	int fd = memfd_create("inplace", MFD_HUGETLB | __builtin_ctzl(size) << MFD_HUGE_SHIFT);

	if (fd < 0 || ftruncate(fd, size))
		return -errno;
	*map = (struct hp_map){ .backing = HP_PRIVATE, .size = size, .nr = 1, .fd = -1 };
	map->addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	return map->addr == MAP_FAILED ? -errno : 0;
}

static int pin(char *addr)
{
	struct io_uring_params params = { .flags = 0 };
	struct iovec buffer = { .iov_base = addr, .iov_len = HP_BASE };
	int fd = syscall(__NR_io_uring_setup, 1, &params);

	if (fd >= 0 && syscall(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1))
		return -errno;
	return fd < 0 ? -errno : fd;
}

/* Who forks from a pinned hugepage has a copy of its own from then on. */
static bool has_copies(TEST_ARGS)
{
	return self->ring && variant->sharing != FORKED_AFTER;
}

static void start_sharers(TEST_ARGS)
{
	int nr = variant->sharing == SHARED_BY_60 ? MOST_SHARERS : 1;

	for (self->sharers = 0; self->sharers < nr; self->sharers++)
		ASSERT_EQ(0, hp_mapper_start(&self->sharer[self->sharers], &self->map, false));
}

static void begin_shortage(TEST_ARGS, enum shortage shortage)
{
	const long room = (1 + self->sharers) * 256 * 1024L;

	if (shortage == MEMCG_FULL)
		ASSERT_EQ(0, hp_write(CGROUP "/memory.max", "%ld",
				      hp_read_long(CGROUP "/memory.current") + room));
	if (shortage == STRICT)
		ASSERT_EQ(0, forbid_overcommit(&self->strict));
}

static void end_shortage(TEST_ARGS, enum shortage shortage)
{
	if (shortage == MEMCG_FULL)
		leave_cgroup();
	if (shortage == STRICT)
		allow_overcommit(_metadata, &self->strict);
	if (shortage == MLOCKED)
		EXPECT_EQ(0, munlockall());
}

/* All of a GiB takes 60 processes long: some pages of it tell as well. */
static void check_some(TEST_ARGS, struct hp_mapper *who)
{
	const long pages[] = { -512, -1, 1, 512 };

	EXPECT_EQ(BUS_MCEERR_AR, hp_ask(who, HP_OP_READ, self->raw, 0).bus.code);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		EXPECT_EQ(0, hp_ask(who, HP_OP_READ, self->raw + pages[i] * HP_BASE,
				    0).bus.code);
}

static void check_sharers(TEST_ARGS)
{
	for (int i = 0; i < self->sharers; i++) {
		struct hp_mapper *who = &self->sharer[i];
		struct hp_answer answer;

		if (variant->size == HP_1G && self->sharers > 1) {
			check_some(PASS_ARGS, who);
			continue;
		}
		answer = hp_ask(who, HP_OP_LOST, self->map.addr, SEED);
		EXPECT_EQ(has_copies(PASS_ARGS) ? 0 : 1, answer.value);
		EXPECT_EQ(0, answer.damage);
	}
}

/* Whether a page that a fork has unmapped is written in place. */
static bool is_in_place(TEST_ARGS, unsigned long before_raw)
{
	char *other = self->raw - before_raw * HP_BASE;
	pid_t pid = fork();
	bool same;

	if (!pid)
		_exit(0);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	other[100] = 1;
	same = hp_pfn(other) == self->pfn - before_raw;
	other[100] = 0;
	return same;
}

/*
 * With nobody left to share it the hugepage is written in place, where it is
 * mapped anew: as it is after a fork. While the worker looks at it, a moment of
 * its passes, a page is copied instead: then the next one tells.
 */
static void check_in_place(TEST_ARGS)
{
	unsigned long page = 7;
	bool same;

	hp_await((same = is_in_place(PASS_ARGS, page)) || ++page == 90,
		 "a page before 0x%lx is written in place", self->pfn);
	EXPECT_TRUE(same);
}

static void make(TEST_ARGS, bool pinned)
{
	ASSERT_EQ(0, variant->file ? map_file(&self->map, variant->size) :
				     hp_map(&self->map, HP_PRIVATE, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->raw = self->map.addr + variant->size / 2 + 100 * HP_BASE;
	self->ring = pinned ? pin(self->raw + PIN * HP_BASE) : 0;
	ASSERT_LE(0, self->ring);
	self->pfn = hp_pfn(self->raw);
	self->sharers = 0;
}

static void one_case(TEST_ARGS, bool pinned, enum shortage shortage)
{
	char *shared;
	long damage;

	if (shortage == MEMCG_FULL)
		enter_cgroup("memory");
	make(PASS_ARGS, pinned);
	/* before a fork: locking memory makes copies of what is shared */
	if (shortage == MLOCKED)
		ASSERT_EQ(0, mlockall(MCL_CURRENT));
	shared = self->raw + 3 * HP_BASE;
	if (variant->sharing == SHARED_BY_2 || variant->sharing == SHARED_BY_60)
		start_sharers(PASS_ARGS);
	begin_shortage(PASS_ARGS, shortage);

	EXPECT_EQ(0, hp_inject(self->pfn));
	/* a child has all of a pinned one's pages once the parent is narrowed */
	if (variant->sharing == FORKED_AFTER && pinned)
		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->raw, HP_READ).code);
	if (variant->sharing == FORKED_AFTER)
		start_sharers(PASS_ARGS);

	EXPECT_EQ(1, hp_lost(self->map.addr, variant->size, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->raw, HP_WRITE).code);
	check_sharers(PASS_ARGS);
	shared[100] = 42;
	check_sharers(PASS_ARGS);
	shared[100] = 0;
	while (self->sharers)
		EXPECT_EQ(0, hp_mapper_stop(&self->sharer[--self->sharers]));
	end_shortage(PASS_ARGS, shortage);
	if (!pinned)
		check_in_place(PASS_ARGS);

	if (self->ring)
		close(self->ring);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
}

/*
 * Strict overcommit refuses a fork. A pin makes fork copy all at once: 60 hugepages
 * are not there for that, nor is there a second GiB, nor room below a cgroup's limit.
 */
static bool is_possible(const FIXTURE_VARIANT(matrix) *variant, bool pinned,
			enum shortage shortage)
{
	if (shortage == STRICT && variant->sharing == FORKED_AFTER)
		return false;
	if (!pinned || variant->sharing == ALONE)
		return true;
	if (variant->sharing == SHARED_BY_60 || variant->size == HP_1G)
		return false;
	return shortage != MEMCG_FULL;
}

TEST_F_TIMEOUT(matrix, keeps_all_but_the_raw_page, 600)
{
	for (int pinned = 0; pinned < 2; pinned++) {
		for (enum shortage shortage = 0; shortage < SHORTAGES; shortage++) {
			if (!is_possible(variant, pinned, shortage))
				continue;
			one_case(PASS_ARGS, pinned, shortage);
			ASSERT_EQ(1, __test_passed(_metadata)) {
				TH_LOG("%s, %s", pinned ? "pinned" : "not pinned",
				       shortage_names[shortage]);
			}
		}
	}
}

/* What fork copies for a child it charges to the parent: no limit is got around. */
TEST(fork_is_charged)
{
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper child;
	char *raw;
	long before;
	int ring;

	ASSERT_EQ(0, hp_test_begin(&test, HP_2M));
	hp_catch_sigbus();
	enter_cgroup("memory");
	ASSERT_EQ(0, hp_map(&map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(map.addr, HP_2M, SEED);
	raw = map.addr + 100 * HP_BASE;
	ring = pin(raw + PIN * HP_BASE);
	ASSERT_LE(0, ring);
	ASSERT_EQ(0, hp_inject(hp_pfn(raw)));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(raw, HP_READ).code);

	before = hp_read_long(CGROUP "/memory.current");
	ASSERT_EQ(0, hp_mapper_start(&child, &map, false));
	EXPECT_LE(before + (long)HP_2M - (long)HP_BASE, hp_read_long(CGROUP "/memory.current"));
	EXPECT_EQ(0, hp_mapper_stop(&child));
	close(ring);
	hp_map_free(&map);
	leave_cgroup();
	EXPECT_EQ(0, hp_test_end(&test));
}

TEST_HARNESS_MAIN
