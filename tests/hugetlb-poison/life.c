// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a mapping after an error in one of its hugepages: whatever a
 * process does to it, one raw page stays lost and every other byte is right.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

/* --- a mapping of some hugepages, one of them narrowed ---------------------- */

FIXTURE(life) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(life) {
	unsigned long size;
	enum hp_backing backing;
	unsigned long nr;
};

FIXTURE_VARIANT_ADD(life, 2M_file) { .size = HP_2M, .backing = HP_FILE, .nr = 3 };
FIXTURE_VARIANT_ADD(life, 2M_shm) { .size = HP_2M, .backing = HP_SHM, .nr = 3 };
FIXTURE_VARIANT_ADD(life, 1G_memfd) { .size = HP_1G, .backing = HP_MEMFD, .nr = 1 };

FIXTURE_SETUP(life)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, variant->backing, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(life)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* --- fork, exec, exit, kill -------------------------------------------------- */

static void check_all(META, struct hp_narrowed *n)
{
	EXPECT_RIGHT(n);
	EXPECT_FALSE(hp_is_hugetlb(hp_narrowed_victim(n)));
}

/* Writes, and has a child of its own that finds it. */
static void write_and_fork(META, struct hp_narrowed *n)
{
	n->seed++;
	for (unsigned long i = 0; i < n->map.nr; i++)
		EXPECT_EQ(i == n->victim, hp_stamp(n->map.addr + i * n->map.size,
						   n->map.size, n->seed + i));
	EXPECT_EQ(0, run_child(_metadata, check_all, n));
	EXPECT_RIGHT(n);
}

TEST_F(life, fork)
{
	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	EXPECT_EQ(0, run_child(_metadata, check_all, &self->n));
	EXPECT_EQ(0, run_child(_metadata, write_and_fork, &self->n));
	self->n.seed++;
	EXPECT_RIGHT(&self->n);
}

static void unmap_all(META, struct hp_narrowed *n)
{
	EXPECT_RIGHT(n);
	hp_map_free(&n->map);
}

/* The child inherits what is not narrowed yet, and narrows by itself. */
TEST_F(life, fork_before_touch)
{
	ASSERT_EQ(0, hp_inject(self->n.pfn));
	self->n.hit = true;
	EXPECT_EQ(0, run_child(_metadata, check_all, &self->n));
	EXPECT_RIGHT(&self->n);
	EXPECT_EQ(0, run_child(_metadata, unmap_all, &self->n));
	EXPECT_RIGHT(&self->n);
}

static void exec_true(META, struct hp_narrowed *n)
{
	EXPECT_RIGHT(n);
	execl("/bin/true", "true", NULL);
	_exit(EXIT_FAILURE);
}

static void access_for_ever(META, struct hp_narrowed *n)
{
	(void)_metadata;
	for (;;)
		hp_narrowed_wrong(n);
}

TEST_F(life, exec_and_kill)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	EXPECT_EQ(0, run_child(_metadata, exec_true, &self->n));
	for (int i = 0; i < 3; i++) {
		pid = start_child(_metadata, access_for_ever, &self->n);
		usleep(20 * 1000 * (i + 1));
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(SIGKILL, status);
	}
	EXPECT_RIGHT(&self->n);
}

/* --- out of memory ------------------------------------------------------------ */

#define CGROUP		"/sys/fs/cgroup"
#define SMALL_CGROUP	CGROUP "/hp-life"
#define SMALL_MB	16

static void use_too_much(META, struct hp_narrowed *n)
{
	char *more;

	EXPECT_EQ(0, hp_write(SMALL_CGROUP "/cgroup.procs", "0"));
	EXPECT_RIGHT(n);
	for (int mb = 0; mb < 4 * SMALL_MB; mb++) {
		more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (more != MAP_FAILED)
			*more = hp_narrowed_victim(n)[mb * HP_BASE];
	}
}

TEST_F(life, oom_kill)
{
	char text[256] = "";

	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	EXPECT_EQ(0, hp_write(CGROUP "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(SMALL_CGROUP, 0755));
	EXPECT_EQ(0, hp_write(SMALL_CGROUP "/memory.max", "%dM", SMALL_MB));

	EXPECT_EQ(SIGKILL, run_child(_metadata, use_too_much, &self->n));

	EXPECT_LT(0, hp_read_text(SMALL_CGROUP "/memory.events", text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "oom_kill 1"));
	EXPECT_EQ(0, rmdir(SMALL_CGROUP));
	EXPECT_RIGHT(&self->n);
}

/* --- mprotect ------------------------------------------------------------------- */

/* All that can be asked of it, then back to what it was. */
static void protect_in_turn(META, struct hp_narrowed *n, char *at, unsigned long len)
{
	char *raw = hp_narrowed_raw(n);
	char *healthy = raw + 2 * HP_BASE;
	char *far = hp_narrowed_victim(n) + n->map.size - 2 * HP_BASE;

	ASSERT_EQ(0, mprotect(at, len, PROT_NONE));
	EXPECT_EQ(SIGSEGV, hp_signal_of(healthy, HP_READ));
	EXPECT_EQ(SIGSEGV, hp_signal_of(raw, HP_READ));
	EXPECT_EQ(-EFAULT, hp_syscall_touch(healthy, HP_READ));

	ASSERT_EQ(0, mprotect(at, len, PROT_READ));
	EXPECT_EQ(0, hp_signal_of(healthy, HP_READ));
	EXPECT_EQ(SIGBUS, hp_signal_of(raw, HP_READ));
	EXPECT_EQ(SIGSEGV, hp_signal_of(healthy, HP_WRITE));
	EXPECT_EQ(SIGSEGV, hp_signal_of(far, HP_WRITE));
	EXPECT_EQ(SIGSEGV, hp_signal_of(raw, HP_WRITE));
	EXPECT_EQ(-EFAULT, hp_syscall_touch(healthy, HP_WRITE));

	ASSERT_EQ(0, mprotect(at, len, PROT_READ | PROT_WRITE));
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, hp_signal_of(healthy + 8, HP_WRITE));
	EXPECT_EQ(0, hp_signal_of(far + 8, HP_WRITE));
	EXPECT_EQ(0x5a, healthy[8]);
	EXPECT_EQ(0x5a, far[8]);
	EXPECT_RIGHT(n);
}

TEST_F(life, mprotect)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	protect_in_turn(_metadata, n, hp_narrowed_victim(n), n->map.size);
	protect_in_turn(_metadata, n, n->map.addr, n->map.nr * n->map.size);
}

/* A mapping that was read-only from the start finds the error as well. */
TEST_F(life, mprotect_before_touch)
{
	struct hp_narrowed *n = &self->n;

	ASSERT_EQ(0, mprotect(n->map.addr, n->map.nr * n->map.size, PROT_READ));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(SIGSEGV, hp_signal_of(hp_narrowed_victim(n), HP_WRITE));
	ASSERT_EQ(0, mprotect(n->map.addr, n->map.nr * n->map.size, PROT_READ | PROT_WRITE));
	EXPECT_RIGHT(n);
	EXPECT_EQ(1, hp_stamp(hp_narrowed_victim(n), n->map.size, n->seed + n->victim));
	EXPECT_RIGHT(n);
}

/* The worker narrows what may not even be read; both is seen later. */
TEST_F(life, mprotect_none)
{
	struct hp_narrowed *n = &self->n;
	unsigned long all = n->map.nr * n->map.size;

	ASSERT_EQ(0, mprotect(n->map.addr, all, PROT_NONE));
	n->hit = true;
	ASSERT_EQ(0, hp_inject(n->pfn));
	EXPECT_EQ(SIGSEGV, hp_signal_of(hp_narrowed_raw(n), HP_READ));
	EXPECT_TRUE(hp_await(!hp_is_hugetlb(hp_narrowed_victim(n)), "the worker narrows"));
	EXPECT_EQ(SIGSEGV, hp_signal_of(hp_narrowed_raw(n), HP_READ));
	ASSERT_EQ(0, mprotect(n->map.addr, all, PROT_READ | PROT_WRITE));
	EXPECT_RIGHT(n);
}

/* --- less than a hugepage ---------------------------------------------------------- */

/* Room for a mapping, aligned as it has to be. */
static char *reserve(unsigned long size)
{
	char *at = mmap(NULL, 2 * size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : (char *)(((unsigned long)at + size - 1) & -size);
}

/* As on any hugetlb mapping a hugepage is not divided, and the try is harmless. */
TEST_F(life, part_of_hugepage)
{
	struct hp_narrowed *n = &self->n;
	unsigned long size = n->map.size, half = size / 2;
	char *victim, *hole;
	int nr;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	victim = hp_narrowed_victim(n);
	nr = hp_count_vmas(getpid(), victim, victim + size);
	EXPECT_EQ(1, nr);
	hole = reserve(size);
	ASSERT_NE(NULL, hole);

	for (int i = 0; i < 3; i++) {
		char *at = victim + (i == 0 ? 0 : i == 1 ? half : HP_BASE);
		unsigned long len = i < 2 ? half : HP_BASE;

		EXPECT_EQ(EINVAL, said(munmap(at, len)));
		EXPECT_EQ(EINVAL, said(mprotect(at, len, PROT_READ)));
		EXPECT_EQ(EINVAL, said(madvise(at, len, MADV_DONTFORK)));
		EXPECT_EQ(EINVAL, said((long)mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
						    hole)));
		EXPECT_EQ(EINVAL, said((long)mmap(at, len, PROT_NONE, MAP_FIXED | MAP_PRIVATE |
						  MAP_ANONYMOUS, -1, 0)));
	}
	EXPECT_EQ(nr, hp_count_vmas(getpid(), victim, victim + size));
	EXPECT_RIGHT(n);
}

/* --- munmap ---------------------------------------------------------------------- */

/* Unmapped and mapped anew: the file has it all. */
TEST_F(life, map_again)
{
	struct hp_map again;

	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, hp_map_again(&self->n.map, &again));
		EXPECT_EQ(0, hp_narrowed_wrong_at(&self->n, again.addr));
		hp_unmap(&again);
	}
	/* the last mapping that there is goes, and another comes */
	ASSERT_EQ(0, hp_map_again(&self->n.map, &again));
	hp_unmap(&self->n.map);
	EXPECT_EQ(0, hp_narrowed_wrong_at(&self->n, again.addr));
	self->n.map.addr = again.addr;
}

/* --- mremap ---------------------------------------------------------------------- */

static char *move(char *from, unsigned long size, char *to)
{
	return mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

/* The one hugepage, elsewhere: contents and error go with it. */
TEST_F(life, mremap_moves)
{
	struct hp_narrowed *n = &self->n, there = *n;
	unsigned long size = n->map.size;
	char *victim = hp_narrowed_victim(n), *to = reserve(size);

	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(EINVAL, said((long)move(victim, size, to + HP_BASE)));
	EXPECT_EQ(EINVAL, said((long)move(victim, size, to + size / 2)));
	EXPECT_RIGHT(n);

	ASSERT_EQ(to, move(victim, size, to));
	EXPECT_EQ(SIGSEGV, hp_signal_of(victim, HP_READ));
	there.map.addr = to;
	there.map.nr = 1;
	there.victim = 0;
	there.raw = n->raw % size;
	there.seed = n->seed + n->victim;
	EXPECT_RIGHT(&there);
	EXPECT_FALSE(hp_is_hugetlb(to));

	ASSERT_EQ(victim, move(to, size, victim));
	EXPECT_EQ(SIGSEGV, hp_signal_of(to, HP_READ));
	EXPECT_RIGHT(n);
}

/* Of a hugetlb mapping no more can be had by mremap() than there is. */
TEST_F(life, mremap_refuses)
{
	struct hp_narrowed *n = &self->n;
	unsigned long size = n->map.size;
	char *victim = hp_narrowed_victim(n);
	int error;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	for (int flags = 0; flags <= MREMAP_MAYMOVE; flags += MREMAP_MAYMOVE) {
		error = said((long)mremap(victim, size, size + HP_BASE, flags));
		EXPECT_TRUE(error == EINVAL || error == EFAULT || error == ENOMEM);
		error = said((long)mremap(victim, size, 2 * size, flags));
		EXPECT_TRUE(error == EINVAL || error == EFAULT || error == ENOMEM);
		error = said((long)mremap(victim, 0, size, flags));
		EXPECT_TRUE(error == EINVAL || error == EFAULT);
	}
	EXPECT_EQ(EINVAL, said((long)mremap(victim, size, size,
					    MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL)));
	error = said((long)mremap(victim, size, HP_BASE, 0));
	EXPECT_TRUE(error == EINVAL || error == 0);	/* hugetlb rounds up */
	EXPECT_RIGHT(n);
}

/* --- mlock ----------------------------------------------------------------------- */

/* Hugepages are locked by nature, so the flag is never set. */
static void expect_no_lock(META, struct hp_narrowed *n)
{
	struct hp_vma vma;

	EXPECT_EQ(0, hp_vma_at(getpid(), hp_narrowed_victim(n), &vma));
	EXPECT_FALSE(hp_vma_flag(&vma, "lo"));
	EXPECT_EQ(0, hp_vma_kb(&vma, "Locked"));
}

TEST_F(life, mlock)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *raw = hp_narrowed_raw(n);
	int error;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(0, said(mlock(victim, raw - victim)));
	error = said(mlock(victim, n->map.size));
	EXPECT_TRUE(error == ENOMEM || error == EFAULT || error == EHWPOISON) {
		TH_LOG("mlock() over the raw page said %d", error);
	}
	expect_no_lock(_metadata, n);
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, said(munlock(victim, n->map.size)));

	EXPECT_EQ(0, said(mlockall(MCL_CURRENT | MCL_FUTURE)));
	expect_no_lock(_metadata, n);
	EXPECT_EQ(0, run_child(_metadata, check_all, n));
	EXPECT_EQ(0, said(munlockall()));
	EXPECT_RIGHT(n);
}

/* --- hugepages beside it ------------------------------------------------------------ */

FIXTURE(beside) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(beside) {
	unsigned long size, nr;
};

FIXTURE_VARIANT_ADD(beside, 2M) { .size = HP_2M, .nr = 5 };
FIXTURE_VARIANT_ADD(beside, 1G) { .size = HP_1G, .nr = 2 };

FIXTURE_SETUP(beside)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(beside)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* The hugepages of the mapping from @first on, as a mapping of their own. */
static struct hp_narrowed part_of(const struct hp_narrowed *n, unsigned long first,
				  unsigned long nr)
{
	struct hp_narrowed part = *n;

	part.map.addr += first * n->map.size;
	part.map.nr = nr;
	part.victim -= first;
	part.raw -= first * n->map.size;
	part.seed += first;
	return part;
}

TEST_F(beside, munmap_neighbours)
{
	struct hp_narrowed *n = &self->n, rest = *n;
	unsigned long size = n->map.size;
	char *victim = hp_narrowed_victim(n);

	ASSERT_EQ(0, hp_narrowed_hit(n));
	if (n->map.nr > 2) {
		ASSERT_EQ(0, munmap(victim + size, size));
		EXPECT_EQ(SIGSEGV, hp_signal_of(victim + size, HP_READ));
		rest = part_of(n, 0, n->victim + 1);
		EXPECT_RIGHT(&rest);
	}
	ASSERT_EQ(0, munmap(victim - size, size));
	rest = part_of(n, n->victim, 1);
	EXPECT_RIGHT(&rest);
	ASSERT_EQ(0, munmap(victim, size));
	EXPECT_EQ(SIGSEGV, hp_signal_of(victim, HP_READ));
}

TEST_F(beside, munmap_victim)
{
	struct hp_narrowed *n = &self->n;
	unsigned long size = n->map.size;
	char *victim = hp_narrowed_victim(n);
	struct hp_map again;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, munmap(victim, size));
	EXPECT_EQ(SIGSEGV, hp_signal_of(victim, HP_READ));
	for (unsigned long i = 0; i < n->map.nr; i++)
		if (i != n->victim)
			EXPECT_EQ(0, hp_damage(n->map.addr + i * size, size, n->seed + i));

	/* the hole is filled again, from the file */
	ASSERT_EQ(victim, mmap(victim, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			       n->map.fd, n->victim * size));
	EXPECT_RIGHT(n);
	ASSERT_EQ(0, hp_map_again(&n->map, &again));
	EXPECT_EQ(0, hp_narrowed_wrong_at(n, again.addr));
	hp_unmap(&again);
}

/*
 * mremap() of more than one VMA: where the kernel cannot move several the split shows, and
 * all stays where it is. Shrinking over it works.
 */
TEST_F(beside, mremap_across)
{
	struct hp_narrowed *n = &self->n, rest;
	unsigned long all = n->map.nr * n->map.size;
	char *to = reserve(all), *at;

	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, hp_narrowed_hit(n));
	EXPECT_EQ(n->map.nr > 2 ? 3 : 2,
		  hp_count_vmas(getpid(), n->map.addr, n->map.addr + all));
	at = move(n->map.addr, all, to);
	if (at == MAP_FAILED) {
		EXPECT_EQ(EFAULT, errno);
	} else {
		ASSERT_EQ(to, at);
		n->map.addr = to;
	}
	EXPECT_RIGHT(n);

	ASSERT_EQ(n->map.addr, mremap(n->map.addr, all, (n->victim + 1) * n->map.size, 0));
	rest = part_of(n, 0, n->victim + 1);
	EXPECT_RIGHT(&rest);
	ASSERT_EQ(n->map.addr, mremap(n->map.addr, (n->victim + 1) * n->map.size,
				      n->victim * n->map.size, 0));
	EXPECT_EQ(SIGSEGV, hp_signal_of(hp_narrowed_victim(n), HP_READ));
	for (unsigned long i = 0; i < n->victim; i++)
		EXPECT_EQ(0, hp_damage(n->map.addr + i * n->map.size, n->map.size, n->seed + i));
}

/* All hugepages of a mapping, one after the other: each is one VMA, none merge. */
TEST_F(beside, every_one)
{
	struct hp_narrowed *n = &self->n;
	unsigned long pfn[8], size = n->map.size;
	struct hp_state want = n->test.before;
	long damage;

	ASSERT_GE(ARRAY_SIZE(pfn), n->map.nr);
	for (unsigned long i = 0; i < n->map.nr; i++) {
		pfn[i] = hp_pfn(n->map.addr + i * size) + i;
		ASSERT_EQ(0, hp_inject(pfn[i]));
		hp_expect_lost(&want, size, hp_pfn_node(pfn[i]));
		hp_add(&want, HP_BAD, size, hp_pfn_node(pfn[i]), 1);
		hp_add(&want, HP_CORRUPTED, 0, HP_ALL, HP_BASE >> 10);
	}
	for (unsigned long i = 0; i < n->map.nr; i++) {
		EXPECT_EQ(1, hp_lost(n->map.addr + i * size, size, n->seed + i, &damage));
		EXPECT_EQ(0, damage);
	}
	EXPECT_EQ((int)n->map.nr,
		  hp_count_vmas(getpid(), n->map.addr, n->map.addr + n->map.nr * size));

	hp_map_free(&n->map);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	for (unsigned long i = 0; i < n->map.nr; i++)
		EXPECT_EQ(0, hp_unpoison_soon(pfn[i]));
}

TEST_HARNESS_MAIN
