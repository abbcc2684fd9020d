// SPDX-License-Identifier: GPL-2.0-only
/*
 * Advice on a narrowed mapping: all advice of madvise(), and memory policies.
 * Advice about ordinary pages does nothing to a hugepage's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

/* --- a mapping of some hugepages, one of them narrowed ---------------------- */

FIXTURE(advice) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(advice) {
	unsigned long size;
	enum hp_backing backing;
	unsigned long nr;
};

FIXTURE_VARIANT_ADD(advice, 2M_file) { .size = HP_2M, .backing = HP_FILE, .nr = 3 };
FIXTURE_VARIANT_ADD(advice, 2M_shm) { .size = HP_2M, .backing = HP_SHM, .nr = 3 };
FIXTURE_VARIANT_ADD(advice, 1G_memfd) { .size = HP_1G, .backing = HP_MEMFD, .nr = 1 };

FIXTURE_SETUP(advice)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, variant->backing, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(advice)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* --- madvise --------------------------------------------------------------------- */

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#define MADVICES	26	/* 0 and up */

/* Advice that takes any range says 0 for a part of the hugepage as well. */
enum advice_says { OK, OK_ON_ALL, NEVER, EITHER };

static const struct {
	const char *name;
	enum advice_says says;
} advices[MADVICES] = {
	[MADV_NORMAL]		= { "NORMAL", OK },
	[MADV_RANDOM]		= { "RANDOM", OK_ON_ALL },
	[MADV_SEQUENTIAL]	= { "SEQUENTIAL", OK_ON_ALL },
	[MADV_WILLNEED]		= { "WILLNEED", OK },
	[MADV_DONTNEED]		= { "DONTNEED", OK },
	[5]			= { "5", NEVER },
	[6]			= { "6", NEVER },
	[7]			= { "7", NEVER },
	[MADV_FREE]		= { "FREE", NEVER },
	[MADV_REMOVE]		= { NULL },	/* tested by itself */
	[MADV_DONTFORK]		= { "DONTFORK", OK_ON_ALL },
	[MADV_DOFORK]		= { "DOFORK", OK_ON_ALL },	/* as before the error */
	[MADV_MERGEABLE]	= { "MERGEABLE", OK },
	[MADV_UNMERGEABLE]	= { "UNMERGEABLE", OK },
	[MADV_HUGEPAGE]		= { "HUGEPAGE", OK_ON_ALL },
	[MADV_NOHUGEPAGE]	= { "NOHUGEPAGE", OK_ON_ALL },
	[MADV_DONTDUMP]		= { "DONTDUMP", OK_ON_ALL },
	[MADV_DODUMP]		= { "DODUMP", OK_ON_ALL },
	[MADV_WIPEONFORK]	= { "WIPEONFORK", NEVER },
	[MADV_KEEPONFORK]	= { "KEEPONFORK", OK },
	[MADV_COLD]		= { "COLD", EITHER },
	[MADV_PAGEOUT]		= { "PAGEOUT", EITHER },
	[22]			= { NULL },	/* POPULATE_READ, by itself */
	[23]			= { NULL },	/* POPULATE_WRITE, by itself */
	[24]			= { "DONTNEED_LOCKED", OK },
	[25]			= { "COLLAPSE", NEVER },
};

/* Hugepages are not of the kinds of memory that some advice is about. */
static bool may_say(enum advice_says says, bool all, int error)
{
	switch (says) {
	case OK:
		return !error;
	case OK_ON_ALL:
		return all ? !error : !error || error == EINVAL;
	case NEVER:
		return error == EINVAL;
	case EITHER:
		return !error || error == EINVAL;
	}
	return false;
}

TEST_F_TIMEOUT(advice, madvise, 60)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	unsigned long all = n->map.nr * n->map.size;
	bool forks = !madvise(victim, n->map.size, MADV_DOFORK);

	ASSERT_EQ(0, hp_narrowed_hit(n));
	for (int i = 0; i < MADVICES; i++) {
		enum advice_says says = advices[i].says;

		if (!advices[i].name)
			continue;
		if (i == MADV_DOFORK && !forks)
			says = NEVER;
		int part = said(madvise(raw - HP_BASE, 3 * HP_BASE, i));
		int one = said(madvise(victim, n->map.size, i));
		/* advice that only ordinary memory takes fails on the first hugepage */
		int every = said(madvise(n->map.addr, all, i));

		EXPECT_TRUE(may_say(says, false, part) && may_say(says, true, one) &&
			    may_say(says, true, every)) {
			TH_LOG("MADV_%s: %d on a part, %d on the hugepage, %d on all",
			       advices[i].name, part, one, every);
		}
		EXPECT_RIGHT(n) {
			TH_LOG("after MADV_%s", advices[i].name);
		}
	}
}

static void expect_right(META, struct hp_narrowed *n)
{
	EXPECT_RIGHT(n);
}

/* The flags have their effects. */
static void no_access(META, struct hp_narrowed *n)
{
	EXPECT_EQ(SIGSEGV, hp_signal_of(hp_narrowed_victim(n), HP_READ));
	EXPECT_EQ(SIGSEGV, hp_signal_of(hp_narrowed_raw(n), HP_READ));
}

TEST_F(advice, madvise_flags)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n);
	int forks = said(madvise(victim, n->map.size, MADV_DOFORK));
	struct hp_vma vma;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, madvise(victim, n->map.size, MADV_DONTFORK));
	EXPECT_EQ(0, run_child(_metadata, no_access, n));
	/* some kernels refuse it for hugetlb, with an error or without */
	EXPECT_EQ(forks, said(madvise(victim, n->map.size, MADV_DOFORK)));
	EXPECT_EQ(0, run_child(_metadata, forks ? no_access : expect_right, n));

	ASSERT_EQ(0, madvise(victim, n->map.size, MADV_DONTDUMP));
	EXPECT_EQ(0, hp_vma_at(getpid(), victim, &vma));
	EXPECT_TRUE(hp_vma_flag(&vma, "dd"));
	ASSERT_EQ(0, madvise(victim, n->map.size, MADV_DODUMP));
	EXPECT_EQ(0, hp_vma_at(getpid(), victim, &vma));
	EXPECT_FALSE(hp_vma_flag(&vma, "dd"));
}

/* Populating all is an error because of the raw page, but populates the others. */
TEST_F(advice, populate)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n);
	struct hp_vma vma;
	int error;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	for (int advice = 22; advice <= 23; advice++) {
		ASSERT_EQ(0, madvise(victim, n->map.size, MADV_DONTNEED));
		EXPECT_EQ(0, hp_vma_at(getpid(), victim, &vma));
		EXPECT_EQ(0, hp_vma_kb(&vma, "Rss"));
		error = said(madvise(victim, n->map.size, advice));
		EXPECT_TRUE(error == EFAULT || error == EHWPOISON) {
			TH_LOG("advice %d said %d", advice, error);
		}
		EXPECT_EQ(0, hp_narrowed_populate(n));
		EXPECT_EQ(0, hp_vma_at(getpid(), victim, &vma));
		EXPECT_EQ((long)(n->map.size - HP_BASE) >> 10, hp_vma_kb(&vma, "Rss"));
	}
	EXPECT_RIGHT(n);
}

/* The kernel cannot isolate it for soft offlining, and need not. */
TEST_F(advice, soft_offline)
{
	struct hp_narrowed *n = &self->n;
	struct hp_state want;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	hp_read_state(&want);
	EXPECT_NE(0, said(madvise(hp_narrowed_victim(n) + HP_BASE, HP_BASE, MADV_SOFT_OFFLINE)));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_RIGHT(n);
}

static struct hp_sigbus told;

static void note_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	told = (struct hp_sigbus) {
		.code = info->si_code, .addr = info->si_addr, .lsb = info->si_addr_lsb,
	};
}

#define SECOND(n)	(hp_narrowed_raw(n) + 7 * HP_BASE)

/* The signal comes with the call: the process asked for an error. */
static void hurt_itself(META, struct hp_narrowed *n)
{
	struct sigaction action = { .sa_sigaction = note_sigbus, .sa_flags = SA_SIGINFO };
	char *second = SECOND(n);

	EXPECT_EQ(0, hp_touch(second, HP_READ).code);
	sigaction(SIGBUS, &action, NULL);
	EXPECT_NE(0, said(madvise(hp_narrowed_raw(n), HP_BASE, MADV_HWPOISON)));
	EXPECT_EQ(0, told.code);
	EXPECT_EQ(0, said(madvise(second, HP_BASE, MADV_HWPOISON)));
	EXPECT_EQ(BUS_MCEERR_AR, told.code);
	EXPECT_EQ(second, told.addr);
	EXPECT_EQ(12, told.lsb);
}

/* A second error, by a process to itself: that page is lost too, to all. */
TEST_F(advice, madvise_hwpoison)
{
	struct hp_narrowed *n = &self->n;
	unsigned long pfn = n->pfn + 7;
	struct hp_state want;
	long damage;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	hp_read_state(&want);
	hp_note_poisoned(pfn);
	EXPECT_EQ(0, run_child(_metadata, hurt_itself, n));
	hp_expect_narrowed(&want, n->map.size, n->node, false);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(SECOND(n), HP_READ).code);
	EXPECT_EQ(2, hp_lost(hp_narrowed_victim(n), n->map.size, n->seed + n->victim, &damage));
	EXPECT_EQ(0, damage);

	/* the teardown knows of one error */
	hp_map_free(&n->map);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* --- parts are removed ------------------------------------------------------------ */

/*
 * A pipe that has held the page since before the error shows its contents. On
 * real hardware that read would be a machine check.
 */
static int hold_by_pipe(int fd[2], char *page)
{
	struct iovec iov = { .iov_base = page, .iov_len = HP_BASE };

	if (pipe(fd))
		return -errno;
	return vmsplice(fd[1], &iov, 1, 0) == (ssize_t)HP_BASE ? 0 : -errno;
}

TEST_F(advice, remove_part)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	char before[HP_BASE], after[HP_BASE];
	int fd[2];

	memcpy(before, raw, HP_BASE);
	ASSERT_EQ(0, hold_by_pipe(fd, raw));
	ASSERT_EQ(0, hp_narrowed_hit(n));

	/* while the pipe holds the page nothing changes */
	EXPECT_EQ(EBUSY, said(madvise(raw, HP_BASE, MADV_REMOVE)));
	EXPECT_RIGHT(n);
	EXPECT_EQ(EBUSY, said(madvise(raw - HP_BASE, 3 * HP_BASE, MADV_REMOVE)));
	EXPECT_RIGHT(n);

	ASSERT_EQ((ssize_t)HP_BASE, read(fd[0], after, HP_BASE));
	EXPECT_EQ(0, memcmp(before, after, HP_BASE)) {
		TH_LOG("the raw page was written to");
	}
	close(fd[0]);
	close(fd[1]);
	EXPECT_EQ(0, said(madvise(raw - HP_BASE, 3 * HP_BASE, MADV_REMOVE)));
	for (int i = -1; i <= 1; i++)
		EXPECT_TRUE(hp_all_zero(raw + i * (long)HP_BASE));
	EXPECT_FALSE(hp_all_zero(raw - 2 * HP_BASE));
	EXPECT_FALSE(hp_all_zero(raw + 2 * HP_BASE));
	EXPECT_TRUE(hp_is_hugetlb(raw));
	EXPECT_EQ(0, hp_stamp(victim, n->map.size, n->seed + n->victim));
	EXPECT_EQ(0, hp_damage(victim, n->map.size, n->seed + n->victim));
}

/* --- placement --------------------------------------------------------------------- */

static const int modes[] = {
	MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL,
	5 /* MPOL_PREFERRED_MANY */, 6 /* MPOL_WEIGHTED_INTERLEAVE */,
};

static const int mbind_flags[] = {
	0, MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL,
	MPOL_MF_MOVE | MPOL_MF_STRICT, MPOL_MF_MOVE_ALL | MPOL_MF_STRICT,
};

static long set_policy(char *at, unsigned long len, int mode, unsigned long nodes, int flags)
{
	bool none = mode == MPOL_DEFAULT || mode == MPOL_LOCAL;

	return syscall(__NR_mbind, at, len, mode, none ? NULL : &nodes, none ? 0 : 8, flags);
}

/* The policy is taken; the poisoned hugepage stays where it is. */
TEST_F_TIMEOUT(advice, mbind, 60)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n);
	unsigned long other = 1UL << !n->node, pfn;
	int error;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	pfn = hp_pfn(victim);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		for (size_t j = 0; j < ARRAY_SIZE(mbind_flags); j++) {
			error = said(set_policy(victim, n->map.size, modes[i], other,
						mbind_flags[j]));
			EXPECT_TRUE(!error || (mbind_flags[j] && error == EIO)) {
				TH_LOG("mode %d, flags %d: %d", modes[i], mbind_flags[j], error);
			}
		}
	EXPECT_EQ(0, said(set_policy(victim, n->map.size, MPOL_DEFAULT, 0, 0)));
	EXPECT_EQ(EINVAL, said(set_policy(victim + HP_BASE, HP_BASE, MPOL_BIND, other, 0)));
	EXPECT_EQ(pfn, hp_pfn(victim));
	EXPECT_RIGHT(n);
}

TEST_F_TIMEOUT(advice, move_pages, 60)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n);
	void *pages[3] = { victim, hp_narrowed_raw(n), victim + n->map.size - HP_BASE };
	int to[3] = { !n->node, !n->node, !n->node }, status[3];
	unsigned long from = 1UL << n->node, other = 1UL << !n->node, pfn;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	pfn = hp_pfn(victim);

	ASSERT_EQ(0, syscall(__NR_move_pages, 0, 3, pages, NULL, status, 0));
	EXPECT_EQ(n->node, status[0]);
	EXPECT_GT(0, status[1]);
	EXPECT_EQ(n->node, status[2]);
	for (int flags = MPOL_MF_MOVE; flags <= MPOL_MF_MOVE_ALL; flags *= 2) {
		syscall(__NR_move_pages, 0, 3, pages, to, status, flags);
		for (int i = 0; i < 3; i++)
			EXPECT_GT(0, status[i]);
	}
	if (n->map.size == HP_2M)
		EXPECT_LE(0, syscall(__NR_migrate_pages, 0, 8, &from, &other));
	EXPECT_EQ(pfn, hp_pfn(victim));
	EXPECT_RIGHT(n);
}

TEST_HARNESS_MAIN
