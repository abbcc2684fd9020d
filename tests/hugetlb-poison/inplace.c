// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private hugepages narrow in place, whoever shares them and whatever memory is
 * short: each process keeps all but the raw page, in the hugepage that it had.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

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
	*map = (struct hp_map){ .backing = HP_PRIVATE, .size = size, .nr = 1, .fd = fd };
	map->addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
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

/* A child forked from a pinned hugepage has its own copy from then on. */
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

/*
 * The end of a mapping, and of its error. The worker may release the hugepage before
 * the error is undone: then the pool gets another one.
 */
static void free_map(META, struct hp_test *test, struct hp_map *map, int ring,
		     unsigned long pfn)
{
	if (ring)
		close(ring);
	hp_map_free(map);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	hp_refill(&test->before);
	EXPECT_EQ(0, hp_check(&test->before, HP_GAUGES));
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

	free_map(_metadata, &self->test, &self->map, self->ring, self->pfn);
}

/*
 * Strict overcommit refuses a fork. A pin makes fork copy all at once: 59 GiB are not there
 * for that, and a full cgroup has no room for base pages.
 */
static bool is_possible(const FIXTURE_VARIANT(matrix) *variant, bool pinned,
			enum shortage shortage)
{
	if (shortage == STRICT && variant->sharing == FORKED_AFTER)
		return false;
	if (pinned && variant->sharing == SHARED_BY_60)
		return variant->size != HP_1G;
	return !pinned || variant->sharing != FORKED_AFTER || shortage != MEMCG_FULL;
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

/* Fork charges a child's copies to the parent, so nobody exceeds a limit. */
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

/* --- the file lets go meanwhile ------------------------------------------------- */

/*
 * A hole is punched into the file of a private mapping, or it is truncated, while
 * fork copies the hugepage, or faults copy or map it. Once that has returned nobody
 * reads anything of before: a hole is zero, and behind the end is SIGBUS.
 */
enum meanwhile { FORK, WRITE, READ };

#define PLACES		512	/* of a hugepage that are looked at, a page each */
#define ROUNDS_2M	15
#define ROUNDS_1G	3
#define WRITTEN		100	/* the byte that is written in a page */

FIXTURE(hole) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper sharer;
	int ring;
	char *raw;
	unsigned long pfn;		/* of the raw page */
	pthread_t thread;
	pthread_barrier_t start;
	long took_ms;			/* what goes on meanwhile, in the first round */
	unsigned int wait_us;		/* until there is a hole, from its start */
	bool truncates;			/* as the variant says, for the thread */
	int error;			/* what making the hole said */
};

FIXTURE_VARIANT(hole) {
	unsigned long size;
	bool truncates;
	enum meanwhile meanwhile;
};

#define HOLES(sz, name, id)							\
	FIXTURE_VARIANT_ADD(hole, sz##_punched_while_##name) {			\
		.size = HP_##sz, .meanwhile = id,				\
	};									\
	FIXTURE_VARIANT_ADD(hole, sz##_truncated_while_##name) {		\
		.size = HP_##sz, .meanwhile = id, .truncates = true,		\
	}

HOLES(2M, forked, FORK);
HOLES(2M, written, WRITE);
HOLES(2M, read, READ);
HOLES(1G, written, WRITE);
HOLES(1G, read, READ);

#define HOLE_ARGS	struct __test_metadata *_metadata __maybe_unused,	\
			FIXTURE_DATA(hole) *self __maybe_unused,		\
			const FIXTURE_VARIANT(hole) *variant __maybe_unused

FIXTURE_SETUP(hole)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	ASSERT_EQ(0, pthread_barrier_init(&self->start, NULL, 2));
	hp_catch_sigbus();
	self->truncates = variant->truncates;
	self->took_ms = 0;
}

FIXTURE_TEARDOWN(hole)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static void *make_hole(void *arg)
{
	FIXTURE_DATA(hole) *self = arg;
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	pthread_barrier_wait(&self->start);
	usleep(self->wait_us);
	self->error = said(self->truncates ? ftruncate(self->map.fd, 0) :
			   fallocate(self->map.fd, punch, 0, self->map.size));
	return NULL;
}

static char *place(HOLE_ARGS, int i)
{
	return self->map.addr + i * (variant->size / PLACES);
}

/* How many places are not as they are to be, but for the byte that was written. */
static int count_stale(HOLE_ARGS)
{
	static const char zeros[HP_BASE];
	int stale = 0;

	for (int i = 0; i < PLACES; i++) {
		char *page = place(PASS_ARGS, i);
		int code = hp_touch(page + WRITTEN, HP_WRITE).code;

		if (!code)
			page[WRITTEN] = 0;
		stale += variant->truncates ? code != BUS_ADRERR :
			 code || memcmp(page, zeros, HP_BASE);
	}
	return stale;
}

static void join_thread(HOLE_ARGS, long began)
{
	if (!self->took_ms)
		self->took_ms = 1 + hp_now_ms() - began;
	pthread_join(self->thread, NULL);
}

/* The child looks once there is the hole. */
static void fork_meanwhile(HOLE_ARGS)
{
	int tell[2], status = -1;
	long began = hp_now_ms();
	pid_t pid;
	char byte;

	EXPECT_EQ(0, pipe(tell));
	pid = fork();
	if (!pid) {
		close(tell[1]);
		/* the end of it, when the hole is there */
		if (read(tell[0], &byte, 1))
			_exit(1);
		_exit(count_stale(PASS_ARGS) != 0);
	}
	join_thread(PASS_ARGS, began);
	close(tell[0]);
	close(tell[1]);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

static void fault_meanwhile(HOLE_ARGS, enum hp_access access)
{
	long began = hp_now_ms();

	for (int i = 0; i < PLACES; i++)
		hp_touch(place(PASS_ARGS, i) + WRITTEN, access);
	join_thread(PASS_ARGS, began);
}

/* With a pin fork copies all; with a sharer a write copies a page. */
static void make_narrowed(HOLE_ARGS)
{
	ASSERT_EQ(0, map_file(&self->map, variant->size));
	for (int i = 0; i < PLACES; i++)
		memset(place(PASS_ARGS, i), 0xee, HP_BASE);
	self->raw = place(PASS_ARGS, PLACES / 2) + 7 * HP_BASE;
	self->ring = variant->meanwhile == FORK ? pin(self->raw + PIN * HP_BASE) : 0;
	ASSERT_LE(0, self->ring);
	self->pfn = hp_pfn(self->raw);
	ASSERT_EQ(0, hp_inject(self->pfn));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->raw, HP_READ).code);
	if (variant->meanwhile == WRITE)
		ASSERT_EQ(0, hp_mapper_start(&self->sharer, &self->map, false));
}

static void free_narrowed(HOLE_ARGS)
{
	if (variant->meanwhile == WRITE)
		EXPECT_EQ(0, hp_mapper_stop(&self->sharer));
	free_map(_metadata, &self->test, &self->map, self->ring, self->pfn);
}

static void one_hole(HOLE_ARGS)
{
	make_narrowed(PASS_ARGS);
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, make_hole, self));
	pthread_barrier_wait(&self->start);
	if (variant->meanwhile == FORK)
		fork_meanwhile(PASS_ARGS);
	else
		fault_meanwhile(PASS_ARGS, variant->meanwhile == WRITE ? HP_WRITE : HP_READ);
	EXPECT_EQ(0, self->error);
	EXPECT_EQ(0, count_stale(PASS_ARGS));
	if (variant->meanwhile == WRITE)
		EXPECT_EQ(variant->truncates ? BUS_ADRERR : 0,
			  hp_ask(&self->sharer, HP_OP_READ, self->map.addr, 0).bus.code);
	free_narrowed(PASS_ARGS);
}

TEST_F_TIMEOUT(hole, is_one, 300)
{
	int rounds = variant->size == HP_2M ? ROUNDS_2M : ROUNDS_1G;

	for (int i = 0; i < rounds; i++) {
		self->wait_us = 1000 * self->took_ms * i / rounds;
		one_hole(PASS_ARGS);
		ASSERT_EQ(1, __test_passed(_metadata)) {
			TH_LOG("in round %d", i);
		}
	}
}

/* --- a block that fork shares -------------------------------------------------- */

FIXTURE(block) {
	struct hp_test test;
	struct hp_map map;
};

FIXTURE_VARIANT(block) {
	bool file;
};

FIXTURE_VARIANT_ADD(block, 1G_anon) { .file = false };
FIXTURE_VARIANT_ADD(block, 1G_file) { .file = true };

FIXTURE_SETUP(block)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_1G));
	hp_catch_sigbus();
	ASSERT_EQ(0, variant->file ? map_file(&self->map, HP_1G)
				   : hp_map(&self->map, HP_PRIVATE, HP_1G, 1));
	memset(self->map.addr, 0x5e, HP_1G);
}

FIXTURE_TEARDOWN(block)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* Reads the parent's page when told to; SIGALRM ends a read that does not end. */
static int read_of_parent(char *page, int go)
{
	char byte = 0, word[1];
	struct iovec here = { &byte, 1 }, there = { page, 1 };

	alarm(30);
	if (read(go, word, 1) != 1)
		return 2;
	return process_vm_readv(getppid(), &here, 1, &there, 1, 0) != 1 || byte != 0x5e;
}

/* A block mapped by one entry, read-only: reading it pins a page of the reader's own. */
TEST_F_TIMEOUT(block, is_read_by_others, 120)
{
	char *healthy = self->map.addr + 7 * HP_2M;
	unsigned long pfn = hp_pfn(self->map.addr) + 5;
	int status = -1, go[2];
	pid_t child;

	ASSERT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr + 5 * HP_BASE, HP_READ).code);
	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(read_of_parent(healthy, go[0]));
	EXPECT_EQ(0, hp_touch(healthy, HP_READ).code);
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0x5e, *healthy);
	close(go[0]);
	close(go[1]);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

TEST_HARNESS_MAIN
