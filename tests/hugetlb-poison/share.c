// SPDX-License-Identifier: GPL-2.0-only
/*
 * An error in a hugepage whose page table two processes share: both lose the
 * raw page, and it alone.
 *
 * A shared mapping that covers an aligned GiB has one page table for all who
 * map it. The error handler changes the one entry, and has to make every
 * sharer's TLB forget what it was. To map the healthy pages one by one each
 * needs a table of its own again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"

#define AT	((char *)0x10000000000UL)	/* an aligned GiB, nothing is there */
#define LENGTH	HP_1G
#define VICTIM	3				/* which of its hugepages */
#define RAW	77				/* which of the hugepage's base pages */

/* A file's aligned GiB of 2 MiB hugepages: processes can share its page table. */
static int map_a_gib(struct hp_map *map)
{
	*map = (struct hp_map){ .backing = HP_MEMFD, .size = HP_2M, .nr = LENGTH / HP_2M };
	map->fd = memfd_create("share", MFD_HUGETLB | MFD_HUGE_2MB);
	if (map->fd < 0 || ftruncate(map->fd, LENGTH))
		return -errno;
	map->addr = mmap(AT, LENGTH, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, map->fd, 0);
	return map->addr == AT ? 0 : -errno;
}

FIXTURE(share) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper mapper[2];
	unsigned long pfn;
};

/* The process whose fault made the entry; the other one finds it. */
FIXTURE_VARIANT(share) {
	int first;
};

FIXTURE_VARIANT_ADD(share, parent_first) { .first = 0 };
FIXTURE_VARIANT_ADD(share, child_first) { .first = 1 };

FIXTURE_SETUP(share)
{
	struct hp_mapper *first = &self->mapper[variant->first];
	struct hp_map *map = &self->map;
	char *victim = AT + VICTIM * HP_2M;

	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, map_a_gib(map));

	hp_mapper_self(&self->mapper[0], map);
	ASSERT_EQ(0, hp_mapper_start(&self->mapper[1], map, false));
	hp_ask(first, HP_OP_STAMP, victim, 1);
	hp_ask(first, HP_OP_STAMP, victim + HP_2M, 2);
	self->pfn = hp_ask(first, HP_OP_PFN, victim + RAW * HP_BASE, 0).value;
	ASSERT_NE(HP_NO_PFN, self->pfn);
}

FIXTURE_TEARDOWN(share)
{
	hp_mapper_stop(&self->mapper[1]);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* How many page table entries map a page: one, when the table is shared. */
static long mapcount(unsigned long pfn)
{
	unsigned long count = 0;
	int fd = open("/proc/kpagecount", O_RDONLY);

	if (fd < 0 || pread(fd, &count, sizeof(count), pfn * sizeof(count)) < 0)
		count = -1;
	close(fd);
	return count;
}

/* HugetlbPages of /proc/PID/status, in kB. */
static long hugetlb_kb(pid_t pid)
{
	char path[64], text[4096], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (hp_read_text(path, text, sizeof(text)) < 0)
		return -1;
	at = strstr(text, "HugetlbPages:");
	return at ? strtol(at + strlen("HugetlbPages:"), NULL, 10) : -1;
}

/* On whose account the entry was is anybody's guess, but none wraps. */
static void expect_no_wrap(META, FIXTURE_DATA(share) *self)
{
	EXPECT_GE(LENGTH / 1024, (unsigned long)hugetlb_kb(getpid()));
	EXPECT_GE(LENGTH / 1024, (unsigned long)hugetlb_kb(self->mapper[1].pid));
}

TEST_F(share, both_lose_one)
{
	char *raw = AT + VICTIM * HP_2M + RAW * HP_BASE;
	char *next = AT + (VICTIM + 1) * HP_2M;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, hp_ask(&self->mapper[i], HP_OP_READ, raw, 0).bus.code);
	ASSERT_EQ(1, mapcount(self->pfn)) {
		TH_LOG("the page table is not shared");
	}

	EXPECT_EQ(0, hp_inject(self->pfn));
	EXPECT_EQ(0, mapcount(self->pfn));
	expect_no_wrap(_metadata, self);
	for (int i = 0; i < 2; i++) {
		struct hp_sigbus bus = hp_ask(&self->mapper[i], HP_OP_READ, raw, 0).bus;
		struct hp_answer answer = hp_ask(&self->mapper[i], HP_OP_LOST,
						 AT + VICTIM * HP_2M, 1);

		EXPECT_EQ(BUS_MCEERR_AR, bus.code);
		EXPECT_EQ(raw, bus.addr);
		EXPECT_EQ(__builtin_ctzl(HP_BASE), bus.lsb);
		EXPECT_EQ(1, answer.value);
		EXPECT_EQ(0, answer.damage);
		EXPECT_EQ((long)HP_NO_PFN,
			  hp_ask(&self->mapper[i], HP_OP_PFN, raw, 0).value);
		EXPECT_EQ(0, hp_ask(&self->mapper[i], HP_OP_DAMAGE, next, 2).value);
	}

	/* and what one writes the other reads, old page table or new */
	EXPECT_EQ(1, hp_ask(&self->mapper[0], HP_OP_STAMP, AT + VICTIM * HP_2M, 3).value);
	EXPECT_EQ(0, hp_ask(&self->mapper[1], HP_OP_LOST, AT + VICTIM * HP_2M, 3).damage);
	hp_ask(&self->mapper[1], HP_OP_STAMP, next, 4);
	EXPECT_EQ(0, hp_ask(&self->mapper[0], HP_OP_DAMAGE, next, 4).value);

	expect_no_wrap(_metadata, self);
	hp_mapper_stop(&self->mapper[1]);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* --- an entry that a hole has passed by ---------------------------------------------- */

#define BUSY		4	/* threads that fault in the mapping all the time */
#define ROUNDS		100
#define SECONDS		20	/* for one page fault */

FIXTURE(stale) {
	struct hp_test test;
	struct hp_map map;
	pthread_t busy[BUSY];
	int nr_busy;
	bool done;
};

FIXTURE_SETUP(stale)
{
	struct hp_map *map = &self->map;

	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, map_a_gib(map));
	ASSERT_EQ(0, hp_set_containment("hugepage"));
}

FIXTURE_TEARDOWN(stale)
{
	hp_set_containment("page");
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* Holds the lock of the mapping, for reading, again and again. */
static void *keep_faulting(void *arg)
{
	FIXTURE_DATA(stale) *self = arg;
	char *own = AT + (VICTIM + 1 + __atomic_fetch_add(&self->nr_busy, 1, __ATOMIC_RELAXED)) *
		    HP_2M;

	while (!__atomic_load_n(&self->done, __ATOMIC_RELAXED)) {
		__atomic_load_n(own, __ATOMIC_RELAXED);
		madvise(own, HP_2M, MADV_DONTNEED);
	}
	return NULL;
}

/* Whether the mapping still has the entry of the hugepage that was in the hole. */
static bool leaves_entry(META, unsigned long *pfn)
{
	char *victim = AT + VICTIM * HP_2M;
	unsigned char there;

	EXPECT_EQ(0, hp_touch(victim, HP_WRITE).code);
	*pfn = hp_pfn(victim + RAW * HP_BASE);
	EXPECT_EQ(0, hp_inject(*pfn));
	EXPECT_EQ(0, madvise(victim, HP_2M, MADV_REMOVE));
	EXPECT_EQ(0, mincore(victim, HP_BASE, &there));
	return there;
}

/*
 * Punching a hole skips a mapping in which a thread faults. A process that shares that
 * mapping's page table by a fault finds a fresh hugepage in the hole, and does not fault
 * for ever.
 */
TEST_F_TIMEOUT(stale, ends, 180)
{
	unsigned long pfn;
	bool stale = false;
	int status = -1;
	pid_t pid;

	for (int i = 0; i < BUSY; i++)
		ASSERT_EQ(0, pthread_create(&self->busy[i], NULL, keep_faulting, self));
	for (int i = 0; i < ROUNDS && !stale; i++) {
		stale = leaves_entry(_metadata, &pfn);
		if (!stale)
			EXPECT_EQ(0, hp_unpoison_soon(pfn));
	}
	__atomic_store_n(&self->done, true, __ATOMIC_RELAXED);
	for (int i = 0; i < BUSY; i++)
		pthread_join(self->busy[i], NULL);
	ASSERT_TRUE(stale) {
		TH_LOG("no hole passed by the mapping");
	}

	pid = fork();
	if (!pid) {
		alarm(SECONDS);
		_exit(hp_touch(AT + VICTIM * HP_2M, HP_READ).code);
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, hp_touch(AT + VICTIM * HP_2M, HP_READ).code);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

TEST_HARNESS_MAIN
