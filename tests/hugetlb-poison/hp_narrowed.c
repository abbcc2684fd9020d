// SPDX-License-Identifier: GPL-2.0-only
/* A shared mapping with an error in one of its hugepages, containment page. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hp.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

#define SEED	0x2000

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

char *hp_narrowed_victim(const struct hp_narrowed *n)
{
	return n->map.addr + n->victim * n->map.size;
}

char *hp_narrowed_raw(const struct hp_narrowed *n)
{
	return n->map.addr + n->raw;
}

/* Fill the mapping with what is to be known again. Returns 0 or -errno. */
int hp_narrowed_stamp(struct hp_narrowed *n)
{
	unsigned long size = n->map.size;

	n->seed = SEED;
	for (unsigned long i = 0; i < n->map.nr; i++)
		hp_stamp(n->map.addr + i * size, size, n->seed + i);

	n->victim = n->map.nr / 2;
	n->raw = n->victim * size + hp_subpage(size, HP_MIDDLE) * HP_BASE;
	n->pfn = hp_pfn(hp_narrowed_raw(n));
	n->node = hp_pfn_node(n->pfn);
	return n->node < 0 ? -ENOENT : 0;
}

/* No error yet. Returns 0 or -errno. */
int hp_narrowed_make(struct hp_narrowed *n, enum hp_backing backing,
		     unsigned long size, unsigned long nr)
{
	int ret = hp_test_begin(&n->test, size);

	if (ret)
		return ret;
	hp_catch_sigbus();
	ret = hp_map(&n->map, backing, size, nr);
	if (ret) {
		printf("# no mapping of %lu free hugepages of %lu kB\n", nr, size >> 10);
		return ret;
	}
	return hp_narrowed_stamp(n);
}

/* Whether an address lies in a hugetlb VMA. */
bool hp_is_hugetlb(const char *addr)
{
	struct hp_vma vma;

	return !hp_vma_at(getpid(), addr, &vma) && hp_vma_flag(&vma, "ht");
}

static sigjmp_buf segv_env;

static void on_sigsegv(int sig)
{
	(void)sig;
	siglongjmp(segv_env, 1);
}

/* The signal that an access raised: SIGSEGV, SIGBUS, 0 for none. */
int hp_signal_of(char *addr, enum hp_access access)
{
	int sig = SIGSEGV;

	signal(SIGSEGV, on_sigsegv);
	if (!sigsetjmp(segv_env, 1))
		sig = hp_touch(addr, access).code ? SIGBUS : 0;
	signal(SIGSEGV, SIG_DFL);
	return sig;
}

bool hp_all_zero(const char *page)
{
	for (unsigned long i = 0; i < HP_BASE; i++)
		if (page[i])
			return false;
	return true;
}

/* The error, and the touch that narrows. Returns 0 or -errno. */
int hp_narrowed_hit(struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n);
	int ret = hp_inject(n->pfn);

	if (ret)
		return ret;
	n->hit = true;
	if (hp_touch(victim, HP_READ).code) {
		printf("# the touch of a healthy page raised SIGBUS\n");
		return -EFAULT;
	}
	if (hp_is_hugetlb(victim)) {
		printf("# the hugepage's range is still a hugetlb VMA\n");
		return -EINVAL;
	}
	return 0;
}

static int wrong_access(const struct hp_narrowed *n, char *raw, enum hp_access access)
{
	struct hp_sigbus bus = hp_touch(raw, access);
	int ret = hp_syscall_touch(raw, access), wrong = 0;

	if (bus.code != BUS_MCEERR_AR || bus.addr != raw || bus.lsb != 12) {
		printf("# raw page %#lx at %p: si_code %d, si_addr %p, lsb %d\n",
		       n->pfn, raw, bus.code, bus.addr, bus.lsb);
		wrong++;
	}
	if (ret != -EFAULT) {
		printf("# raw page %#lx at %p: a system call says %d\n", n->pfn, raw, ret);
		wrong++;
	}
	return wrong;
}

/* Stamps of one hugepage, of which @raw pages cannot be read. */
static long wrong_contents(char *hugepage, unsigned long size, unsigned int seed, long raw)
{
	long damage, lost = hp_lost(hugepage, size, seed, &damage);

	if (lost == raw && !damage)
		return 0;
	printf("# hugepage at %p: %ld pages lost, not %ld, %ld stamps wrong\n",
	       hugepage, lost, raw, damage);
	return 1;
}

/*
 * Counts mistakes in a mapping at @base: healthy bytes, the raw page, the other
 * hugepages. Returns how much, after saying what.
 */
long hp_narrowed_wrong_at(const struct hp_narrowed *n, char *base)
{
	unsigned long size = n->map.size;
	long wrong = 0;

	for (unsigned long i = 0; i < n->map.nr; i++)
		wrong += wrong_contents(base + i * size, size, n->seed + i, i == n->victim);
	wrong += wrong_access(n, base + n->raw, HP_READ);
	wrong += wrong_access(n, base + n->raw, HP_WRITE);
	return wrong;
}

long hp_narrowed_wrong(const struct hp_narrowed *n)
{
	return hp_narrowed_wrong_at(n, n->map.addr);
}

/* Have all healthy pages of the hugepage mapped here. Returns 0 or -errno. */
int hp_narrowed_populate(const struct hp_narrowed *n)
{
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	char *after = raw + HP_BASE;

	if (madvise(victim, raw - victim, MADV_POPULATE_READ) ||
	    madvise(after, victim + n->map.size - after, MADV_POPULATE_READ))
		return -errno;
	return 0;
}

/*
 * The last user leaves: the hugepage is released, its raw page stays out of
 * use until the error is undone. Returns how much is wrong, after saying what.
 */
int hp_narrowed_end(struct hp_narrowed *n)
{
	struct hp_state want = n->test.before;
	int wrong;

	hp_map_free(&n->map);
	if (!n->hit)
		return hp_test_end(&n->test);
	hp_expect_lost(&want, n->map.size, n->node);
	hp_add(&want, HP_BAD, n->map.size, n->node, 1);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	wrong = hp_check(&want, HP_GAUGES);
	if (hp_unpoison_soon(n->pfn)) {
		printf("# the error cannot be undone\n");
		wrong++;
	}
	return wrong + hp_test_end(&n->test);
}
