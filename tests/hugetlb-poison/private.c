// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private hugepages: after an error every process keeps the healthy pages of
 * what it saw, and nobody sees what another one writes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "kselftest_harness.h"

#include "hp_child.h"
#include "hp_limits.h"
#include "hp_proc.h"
#include "hp_uffd.h"

#define SEED	0x9417
#define PROMOTE_SECONDS	10	/* the worker looks at the pool each 4 s */
#define KB(len)	((long)((len) >> 10))

/* --- one hugepage, with an error ------------------------------------------- */

struct one {
	struct hp_test test;
	struct hp_map map;
	unsigned long size;
	unsigned long pfn;	/* of the raw page */
	char *raw;		/* where it is mapped */
	int node;
};

static int one_make(struct one *o, unsigned long size, enum hp_place place)
{
	int ret = hp_test_begin(&o->test, size);

	if (ret)
		return ret;
	hp_catch_sigbus();
	o->size = size;
	ret = hp_map(&o->map, HP_PRIVATE, size, 1);
	if (ret)
		return ret;
	hp_stamp(o->map.addr, size, SEED);
	o->raw = o->map.addr + hp_subpage(size, place) * HP_BASE;
	o->pfn = hp_pfn(o->raw);
	o->node = o->pfn == HP_NO_PFN ? -1 : hp_pfn_node(o->pfn);
	return o->node < 0 ? -ENODATA : 0;
}

static int one_end(struct one *o)
{
	hp_map_free(&o->map);
	return hp_test_end(&o->test);
}

/* The raw page alone is lost, and the process's signal says so. */
static void expect_lost(META, struct one *o)
{
	struct hp_sigbus bus = hp_touch(o->raw, HP_READ);
	long damage;

	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(o->raw, bus.addr);
	EXPECT_EQ(12, bus.lsb);
	EXPECT_EQ(1, hp_lost(o->map.addr, o->size, SEED, &damage));
	EXPECT_EQ(0, damage);
}

static void expect_lost_to(META, struct one *o, struct hp_mapper *who, unsigned int seed)
{
	struct hp_answer answer = hp_ask(who, HP_OP_LOST, o->map.addr, seed);

	EXPECT_EQ(1, answer.value);
	EXPECT_EQ(0, answer.damage);
}

/* All of it is lost. */
static void expect_wide(META, struct one *o)
{
	struct hp_sigbus bus = hp_touch(o->map.addr, HP_READ);

	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(__builtin_ctzl(o->size), bus.lsb);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(o->map.addr + o->size - 1, HP_WRITE).code);
}

/* All is there; the raw page is zero. */
static void expect_healed(META, struct one *o)
{
	long damage;

	EXPECT_TRUE(hp_all_zero(o->raw));
	EXPECT_EQ(0, hp_lost(o->map.addr, o->size, SEED, &damage));
	/* the two stamps of the page that is zero now */
	EXPECT_EQ(2, damage);
}

static bool is_huge(const char *addr)
{
	struct hp_vma vma;

	return !hp_vma_at(getpid(), addr, &vma) && hp_vma_flag(&vma, "ht");
}

/* --- a hugepage that is not shared ------------------------------------------ */

FIXTURE(alone) {
	struct one o;
};

FIXTURE_VARIANT(alone) {
	unsigned long size;
	enum hp_place place;
};

FIXTURE_VARIANT_ADD(alone, 2M_head) { .size = HP_2M, .place = HP_HEAD };
FIXTURE_VARIANT_ADD(alone, 2M_middle) { .size = HP_2M, .place = HP_MIDDLE };
FIXTURE_VARIANT_ADD(alone, 2M_tail) { .size = HP_2M, .place = HP_TAIL };
FIXTURE_VARIANT_ADD(alone, 1G_head) { .size = HP_1G, .place = HP_HEAD };
FIXTURE_VARIANT_ADD(alone, 1G_tail) { .size = HP_1G, .place = HP_TAIL };

FIXTURE_SETUP(alone)
{
	ASSERT_EQ(0, one_make(&self->o, variant->size, variant->place));
}

FIXTURE_TEARDOWN(alone)
{
	EXPECT_EQ(0, one_end(&self->o));
}

/* The kernel's counts, while it is mapped and when it is gone. */
TEST_F_TIMEOUT(alone, is_counted, 120)
{
	struct one *o = &self->o;
	struct hp_state want;
	long anon = hp_status_kb(getpid(), "RssAnon");
	long committed = hp_meminfo_kb("Committed_AS");
	long now;

	EXPECT_EQ(KB(o->size), hp_status_kb(getpid(), "HugetlbPages"));
	hp_read_state(&want);
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);

	hp_expect_narrowed(&want, o->size, o->node, true);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_status_kb(getpid(), "HugetlbPages"));
	now = hp_status_kb(getpid(), "RssAnon") - anon;
	EXPECT_LE(KB(o->size) - 4, now);
	EXPECT_GE(KB(o->size) + 128, now);
	now = hp_meminfo_kb("Committed_AS") - committed;
	EXPECT_GE(512, now);

	hp_map_free(&o->map);
	hp_expect_released(&want, o->size, o->node);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	now = hp_meminfo_kb("Committed_AS") - committed;
	EXPECT_GE(512, now);
	EXPECT_EQ(1, hp_count_flagged(o->pfn & ~(o->size / HP_BASE - 1), o->size / HP_BASE,
				      HP_KPF_HWPOISON));
}

/* Writable, by the mapping and through the kernel; the next error is as good. */
TEST_F_TIMEOUT(alone, can_be_written, 120)
{
	struct one *o = &self->o;
	char *other = o->raw == o->map.addr ? o->raw + 9 * HP_BASE : o->raw - 9 * HP_BASE;
	unsigned long pfn = hp_pfn(other);
	long damage;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_EQ(1, hp_stamp(o->map.addr, o->size, SEED + 1));
	EXPECT_EQ(1, hp_lost(o->map.addr, o->size, SEED + 1, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(0, hp_syscall_touch(other, HP_WRITE));
	EXPECT_EQ(-EFAULT, hp_syscall_touch(o->raw, HP_READ));

	/* in place: it is the page that it was */
	EXPECT_EQ(pfn, hp_pfn(other));
	EXPECT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(2, hp_lost(o->map.addr, o->size, SEED + 1, &damage));
	hp_note_poisoned(pfn);
}

/*
 * The process gets its signal before it touches, discards the raw page and goes
 * on.
 */
TEST_F_TIMEOUT(alone, heals_untouched, 120)
{
	struct one *o = &self->o;
	struct hp_sigbus bus;

	ASSERT_EQ(0, prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	ASSERT_EQ(0, hp_inject(o->pfn));
	EXPECT_EQ(1, hp_async_signals(0, &bus));
	EXPECT_EQ(BUS_MCEERR_AO, bus.code);
	EXPECT_EQ(o->raw, bus.addr);
	EXPECT_EQ(12, bus.lsb);
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
	expect_healed(_metadata, o);
	prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
}

/* The touch after the discard finds a hugepage again, if there is one to spare. */
TEST_F_TIMEOUT(alone, heals_huge, 120)
{
	struct one *o = &self->o;
	struct hp_state want;
	long committed = hp_meminfo_kb("Committed_AS");
	int node;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_FALSE(is_huge(o->raw));
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
	hp_read_state(&want);
	EXPECT_EQ(0, hp_touch(o->raw, HP_READ).code);
	EXPECT_TRUE(is_huge(o->raw));
	expect_healed(_metadata, o);
	EXPECT_EQ(KB(o->size), hp_status_kb(getpid(), "HugetlbPages"));
	EXPECT_GE(512, hp_meminfo_kb("Committed_AS") - committed);
	node = hp_pfn_node(hp_pfn(o->raw));
	hp_expect_released(&want, o->size, o->node);
	hp_add(&want, HP_FREE, o->size, node, -1);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_stamp(o->map.addr, o->size, SEED + 3));
	hp_map_free(&o->map);
	hp_add(&want, HP_FREE, o->size, node, 1);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
}

/* --- 2 MiB, and what may come between -------------------------------------- */

FIXTURE(small) {
	struct one o;
};

FIXTURE_SETUP(small)
{
	ASSERT_EQ(0, one_make(&self->o, HP_2M, HP_MIDDLE));
}

FIXTURE_TEARDOWN(small)
{
	EXPECT_EQ(0, one_end(&self->o));
}

/* No hugepage is free; one that is on its way back to the pool comes later. */
static void empty_pool(META)
{
	struct hp_state now;

	hp_await((hp_write("/proc/sys/vm/nr_hugepages", "0"), hp_read_state(&now),
		  !*hp_at(&now, HP_FREE, HP_2M, HP_ALL)), "no hugepage is free");
	EXPECT_EQ(0, *hp_at(&now, HP_FREE, HP_2M, HP_ALL));
}

/* The first page is in a pipe, and the raw page, which an error has hit, discarded. */
static void discard_while_pinned(META, struct one *o, int fd[2])
{
	struct iovec page = { .iov_base = o->map.addr, .iov_len = HP_BASE };

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(fd[1], &page, 1, 0));
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
}

/*
 * Compute until a range is a hugepage, or the worker must have looked at the pool: it
 * leaves the range to a task that does.
 */
static void compute(const char *addr)
{
	long until = hp_now_ms() + 1000 * PROMOTE_SECONDS;

	while (!is_huge(addr) && hp_now_ms() < until)
		;
}

/*
 * Without a hugepage to spare the range stays as it is, and is all there. When the
 * pool has one again the range becomes a hugepage by itself: nobody touches it.
 */
TEST_F(small, heals_without_a_spare)
{
	struct one *o = &self->o;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	empty_pool(_metadata);
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
	expect_healed(_metadata, o);
	EXPECT_FALSE(is_huge(o->raw));

	hp_refill(&o->test.before);
	compute(o->raw);
	EXPECT_TRUE(is_huge(o->raw));
	expect_healed(_metadata, o);
}

/*
 * A page discarded after that shows the file's contents by then: the range does
 * not become a hugepage of zeros.
 */
TEST_F(small, sees_its_file_later)
{
	struct iovec page = { .iov_len = HP_BASE };
	char *shared, *private, *late;
	int pipes[2], fd = memfd_create("later", MFD_HUGETLB);
	unsigned long pfn;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, HP_2M));
	private = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, private);
	memset(private, 0xee, HP_2M);
	late = private + 300 * HP_BASE;
	pfn = hp_pfn(private + 100 * HP_BASE);
	ASSERT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(private + 100 * HP_BASE, HP_READ).code);
	/* as long as a page is in a pipe the range is no hugepage */
	page.iov_base = private;
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ((ssize_t)HP_BASE, vmsplice(pipes[1], &page, 1, 0));
	EXPECT_EQ(0, madvise(private + 100 * HP_BASE, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(private + 100 * HP_BASE));

	shared = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, shared);
	memset(shared, 0x77, HP_2M);
	EXPECT_EQ(0, madvise(late, HP_BASE, MADV_DONTNEED));
	close(pipes[0]);
	close(pipes[1]);
	/* the first fault since then tries to make it one */
	EXPECT_EQ(0x77, *late);
	compute(private);
	EXPECT_FALSE(is_huge(private));
	EXPECT_EQ(0x77, *late);
	EXPECT_EQ((char)0xee, late[HP_BASE]);

	munmap(private, HP_2M);
	munmap(shared, HP_2M);
	close(fd);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
}

/* A range waits for one chance. With a page pinned it cannot become a hugepage then. */
TEST_F(small, waits_once)
{
	struct one *o = &self->o;
	int fd[2];

	discard_while_pinned(_metadata, o, fd);
	empty_pool(_metadata);
	expect_healed(_metadata, o);
	hp_refill(&o->test.before);
	compute(o->raw);
	close(fd[0]);
	close(fd[1]);
	compute(o->raw);
	EXPECT_FALSE(is_huge(o->raw));
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
	expect_healed(_metadata, o);
	EXPECT_TRUE(is_huge(o->raw));
}

/* A range that is gone by then waits no more: here those of 16 children. */
TEST_F(small, ends_while_it_waits)
{
	struct one *o = &self->o;
	int status;
	pid_t pid;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	empty_pool(_metadata);
	for (int i = 0; i < 16; i++) {
		pid = fork();
		if (!pid) {
			madvise(o->raw, HP_BASE, MADV_DONTNEED);
			_exit(!hp_all_zero(o->raw));
		}
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	hp_refill(&o->test.before);
	sleep(PROMOTE_SECONDS);
	expect_lost(_metadata, o);
}

/* A page that a driver holds stays where it is. */
TEST_F(small, heals_while_pinned)
{
	struct one *o = &self->o;
	char got[HP_BASE];
	int fd[2];

	discard_while_pinned(_metadata, o, fd);
	expect_healed(_metadata, o);
	EXPECT_FALSE(is_huge(o->raw));
	o->map.addr[100] = 42;
	EXPECT_EQ((ssize_t)HP_BASE, read(fd[0], got, sizeof(got)));
	EXPECT_EQ(42, got[100]);
	close(fd[0]);
	close(fd[1]);
	o->map.addr[100] = 0;
}

/* Nor does it keep mlock() waiting, whose faults do not say that they come again. */
TEST_F(small, is_locked_while_pinned)
{
	struct one *o = &self->o;
	int fd[2];

	discard_while_pinned(_metadata, o, fd);
	EXPECT_EQ(0, mlock(o->map.addr, HP_2M));
	EXPECT_EQ(0, munlock(o->map.addr, HP_2M));
	expect_healed(_metadata, o);
	EXPECT_FALSE(is_huge(o->raw));
	close(fd[0]);
	close(fd[1]);
}

/* Strict overcommit has no room for 2 MiB of ordinary memory: none is needed. */
TEST_F(small, strict_overcommit)
{
	struct one *o = &self->o;
	struct strict strict;

	ASSERT_EQ(0, forbid_overcommit(&strict));
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	ASSERT_EQ(0, mprotect(o->map.addr, HP_2M, PROT_READ));
	ASSERT_EQ(0, mprotect(o->map.addr, HP_2M, PROT_READ | PROT_WRITE));
	EXPECT_EQ(1, hp_stamp(o->map.addr, HP_2M, SEED));
	expect_lost(_metadata, o);
	allow_overcommit(_metadata, &strict);
}

/* Memory cgroups: a limit that has no room for the hugepage is not touched. */
TEST_F(small, cgroup_limit)
{
	const long room = 256 * 1024;	/* page tables, slabs: charged in batches */
	struct one *o = &self->o;
	long before;

	enter_cgroup("memory");
	before = hp_read_long(CGROUP "/memory.current");
	ASSERT_EQ(0, hp_write(CGROUP "/memory.max", "%ld", before + room));
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_EQ(1, hp_stamp(o->map.addr, HP_2M, SEED));
	expect_lost(_metadata, o);
	EXPECT_GE(before + room, hp_read_long(CGROUP "/memory.peak"));
	hp_map_free(&o->map);
	leave_cgroup();
	EXPECT_NE(0, access(CGROUP, F_OK));
}

/* The hugepage stays in its hugetlb cgroup, and its reservation. */
TEST_F(small, hugetlb_cgroup)
{
	struct one *o = &self->o;

	hp_map_free(&o->map);
	enter_cgroup("hugetlb");
	ASSERT_EQ(0, hp_map(&o->map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(o->map.addr, HP_2M, SEED);
	o->raw = o->map.addr + HP_BASE;
	EXPECT_EQ((long)HP_2M, hp_read_long(CGROUP "/hugetlb.2MB.current"));
	EXPECT_EQ((long)HP_2M, hp_read_long(CGROUP "/hugetlb.2MB.rsvd.current"));
	ASSERT_EQ(0, hp_inject(hp_pfn(o->raw)));
	expect_lost(_metadata, o);
	EXPECT_EQ((long)HP_2M, hp_read_long(CGROUP "/hugetlb.2MB.current"));
	EXPECT_EQ((long)HP_2M, hp_read_long(CGROUP "/hugetlb.2MB.rsvd.current"));

	/* the new one is charged in its place */
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
	expect_healed(_metadata, o);
	EXPECT_TRUE(is_huge(o->raw));
	hp_await(hp_read_long(CGROUP "/hugetlb.2MB.current") == (long)HP_2M,
		 "one hugepage is charged");
	EXPECT_EQ((long)HP_2M, hp_read_long(CGROUP "/hugetlb.2MB.rsvd.current"));
	hp_map_free(&o->map);
	EXPECT_EQ(0, hp_read_long(CGROUP "/hugetlb.2MB.current"));
	EXPECT_EQ(0, hp_read_long(CGROUP "/hugetlb.2MB.rsvd.current"));
	leave_cgroup();
	EXPECT_NE(0, access(CGROUP, F_OK));
}

/* A second error comes before anybody has touched it since the first. */
TEST_F(small, second_error)
{
	struct one *o = &self->o;
	char *other = o->raw + 5 * HP_BASE;
	long damage;

	ASSERT_EQ(0, hp_inject(o->pfn));
	ASSERT_EQ(0, hp_inject(o->pfn + 5));
	hp_note_poisoned(o->pfn + 5);
	EXPECT_EQ(2, hp_lost(o->map.addr, HP_2M, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(o->raw, HP_READ).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(other, HP_READ).code);
	EXPECT_EQ(0, madvise(other, HP_BASE, MADV_DONTNEED));
	EXPECT_TRUE(hp_all_zero(other));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(o->raw, HP_READ).code);
}

/* The first error is undone, and a second one comes before anybody has touched it. */
TEST_F(small, hit_again_once_undone)
{
	struct one *o = &self->o;
	long damage;

	ASSERT_EQ(0, hp_inject(o->pfn));
	ASSERT_EQ(0, hp_unpoison_soon(o->pfn));
	ASSERT_EQ(0, hp_inject(o->pfn + 5));
	hp_note_poisoned(o->pfn + 5);
	EXPECT_EQ(1, hp_lost(o->map.addr, HP_2M, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(0, hp_touch(o->raw, HP_WRITE).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(o->raw + 5 * HP_BASE, HP_READ).code);
}

TEST_F(small, mlocked)
{
	struct one *o = &self->o;

	ASSERT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_EQ(0, munlockall());
	expect_lost(_metadata, o);
}

/* Nobody writes to a read-only mapping. */
TEST_F(small, read_only)
{
	struct one *o = &self->o;
	long committed = hp_meminfo_kb("Committed_AS");

	ASSERT_EQ(0, mprotect(o->map.addr, HP_2M, PROT_READ));
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_GE(1024, hp_meminfo_kb("Committed_AS") - committed);
	EXPECT_EQ(-EFAULT, hp_syscall_touch(o->map.addr, HP_WRITE));
	ASSERT_EQ(0, mprotect(o->map.addr, HP_2M, PROT_READ | PROT_WRITE));
	EXPECT_GE(1024, hp_meminfo_kb("Committed_AS") - committed);
	EXPECT_EQ(1, hp_stamp(o->map.addr, HP_2M, SEED));
	expect_lost(_metadata, o);
}

/* --- userfaultfd ---------------------------------------------------------------- */

/* A mapping that is watched before the error keeps its size: all is lost. */
FIXTURE(watched) {
	struct one o;
};

FIXTURE_VARIANT(watched) {
	unsigned long features, mode;
};

FIXTURE_VARIANT_ADD(watched, missing) { .mode = UFFDIO_REGISTER_MODE_MISSING };
FIXTURE_VARIANT_ADD(watched, writes) { .mode = UFFDIO_REGISTER_MODE_WP };
FIXTURE_VARIANT_ADD(watched, tracked) {
	.features = UFFD_FEATURE_WP_ASYNC, .mode = UFFDIO_REGISTER_MODE_WP,
};

FIXTURE_SETUP(watched)
{
	ASSERT_EQ(0, one_make(&self->o, HP_2M, HP_MIDDLE));
}

FIXTURE_TEARDOWN(watched)
{
	EXPECT_EQ(0, one_end(&self->o));
}

/*
 * Nobody watches a child: it has lost the raw page and nothing else, and so has the
 * parent when it is not watched any more. Both can write.
 */
TEST_F(watched, before_the_error)
{
	int fd = open_userfaultfd(variant->features);
	struct one *o = &self->o;
	struct hp_mapper child;
	long damage;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, watch(fd, o->map.addr, HP_2M, variant->mode));
	if (variant->mode == UFFDIO_REGISTER_MODE_WP)
		ASSERT_EQ(0, track(fd, o->map.addr, HP_2M));
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_wide(_metadata, o);
	ASSERT_EQ(0, hp_mapper_start(&child, &o->map, false));
	expect_lost_to(_metadata, o, &child, SEED);
	expect_wide(_metadata, o);
	EXPECT_EQ(0, unwatch(fd, o->map.addr, HP_2M));
	close(fd);
	expect_lost(_metadata, o);
	EXPECT_EQ(1, hp_stamp(o->map.addr, HP_2M, SEED + 1));
	EXPECT_EQ(1, hp_lost(o->map.addr, HP_2M, SEED + 1, &damage));
	EXPECT_EQ(0, damage);
	expect_lost_to(_metadata, o, &child, SEED);
	EXPECT_EQ(0, hp_mapper_stop(&child));
}

/* Where a hugepage fits, and nothing is. */
static char *find_room(void)
{
	char *room = mmap(NULL, 2 * HP_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return room == MAP_FAILED ? NULL : (char *)(((unsigned long)room + HP_2M - 1) & -HP_2M);
}

/*
 * All of it waits while it is watched, and userfaultfd does not follow a mapping that moves.
 * A second error has the worker look for it: it finds the entry where that is now.
 */
TEST_F(watched, is_moved)
{
	int fd = open_userfaultfd(variant->features);
	struct one *o = &self->o;
	char *to = find_room();
	long damage;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, watch(fd, o->map.addr, HP_2M, variant->mode));
	ASSERT_EQ(0, hp_inject(o->pfn));
	EXPECT_TRUE(is_huge(o->map.addr));
	ASSERT_EQ(to, mremap(o->map.addr, HP_2M, HP_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	o->raw += to - o->map.addr;
	o->map.addr = to;
	ASSERT_EQ(0, hp_inject(o->pfn + 1));
	EXPECT_TRUE(hp_await(!is_huge(to), "the worker narrows where the mapping is now"));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(o->raw, HP_READ).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(o->raw + HP_BASE, HP_WRITE).code);
	EXPECT_EQ(2, hp_lost(to, HP_2M, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(2, hp_stamp(to, HP_2M, SEED + 1));
	EXPECT_EQ(2, hp_lost(to, HP_2M, SEED + 1, &damage));
	EXPECT_EQ(0, damage);
	close(fd);
}

/* It moves, and goes before a touch has narrowed it: so does its hugepage. */
TEST_F(watched, is_moved_and_unmapped)
{
	int fd = open_userfaultfd(variant->features);
	struct one *o = &self->o;
	char *to = find_room();

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, watch(fd, o->map.addr, HP_2M, variant->mode));
	ASSERT_EQ(0, hp_inject(o->pfn));
	ASSERT_EQ(to, mremap(o->map.addr, HP_2M, HP_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	o->map.addr = to;
	close(fd);
}

/*
 * userfaultfd cannot watch a narrowed range: a clear answer, and nothing
 * changes.
 */
TEST_F_TIMEOUT(alone, cannot_be_watched, 120)
{
	static const unsigned long modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, UFFDIO_REGISTER_MODE_MINOR,
	};
	const unsigned long features[] = { 0, UFFD_FEATURE_WP_ASYNC };
	struct one *o = &self->o;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	for (size_t i = 0; i < ARRAY_SIZE(modes) * ARRAY_SIZE(features); i++) {
		int fd = open_userfaultfd(features[i / ARRAY_SIZE(modes)]);

		ASSERT_LE(0, fd);
		EXPECT_EQ(EINVAL, watch(fd, o->map.addr, o->size, modes[i % ARRAY_SIZE(modes)]));
		EXPECT_EQ(ENOENT, track(fd, o->map.addr, HP_BASE));
		close(fd);
	}
	EXPECT_EQ(1, hp_stamp(o->map.addr, o->size, SEED));
	expect_lost(_metadata, o);
}

/* As soon as it is a hugepage again its writes can be tracked, a child's apart. */
TEST_F(small, is_tracked_when_healed)
{
	int fd = open_userfaultfd(UFFD_FEATURE_WP_ASYNC);
	struct one *o = &self->o;
	struct hp_mapper child;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_EQ(EINVAL, watch(fd, o->map.addr, HP_2M, UFFDIO_REGISTER_MODE_WP));
	/* a try to promote fails while the narrow worker has a reference */
	ASSERT_TRUE(hp_await((madvise(o->raw, HP_BASE, MADV_DONTNEED),
			      hp_touch(o->raw, HP_READ), is_huge(o->raw)),
			     "the range is a hugepage again"));
	expect_healed(_metadata, o);

	ASSERT_EQ(0, watch(fd, o->map.addr, HP_2M, UFFDIO_REGISTER_MODE_WP));
	ASSERT_EQ(0, track(fd, o->map.addr, HP_2M));
	ASSERT_EQ(0, hp_mapper_start(&child, &o->map, false));
	EXPECT_EQ(0, hp_ask(&child, HP_OP_STAMP, o->map.addr, SEED + 1).value);
	expect_healed(_metadata, o);
	EXPECT_TRUE(is_tracked(o->raw));
	o->raw[100] = 42;
	EXPECT_FALSE(is_tracked(o->raw));
	EXPECT_EQ(0, hp_ask(&child, HP_OP_DAMAGE, o->map.addr, SEED + 1).value);
	EXPECT_EQ(0, hp_mapper_stop(&child));
	o->raw[100] = 0;
	close(fd);
	expect_healed(_metadata, o);
}

/* --- part of a reserved mapping -------------------------------------------- */

#define LONG	4		/* hugepages */

TEST(reserved)
{
	struct hp_test test;
	struct hp_map map;
	struct hp_state want;
	char *victim;
	unsigned long pfn;
	long damage;
	int node;

	ASSERT_EQ(0, hp_test_begin(&test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&map, HP_PRIVATE, HP_2M, LONG));
	victim = map.addr + HP_2M;
	hp_stamp(victim, HP_2M, SEED);
	pfn = hp_pfn(victim + HP_BASE);
	node = hp_pfn_node(pfn);
	hp_read_state(&want);
	EXPECT_EQ(LONG - 1, *hp_at(&want, HP_RESV, HP_2M, HP_ALL) -
			    *hp_at(&test.before, HP_RESV, HP_2M, HP_ALL));
	ASSERT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(1, hp_lost(victim, HP_2M, SEED, &damage));
	EXPECT_EQ(0, damage);

	/* used stays used, promised stays promised */
	hp_expect_narrowed(&want, HP_2M, node, true);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(3, hp_count_vmas(getpid(), map.addr, map.addr + LONG * HP_2M));
	for (int i = 0; i < LONG; i++)
		if (i != 1)
			EXPECT_EQ(0, hp_stamp(map.addr + i * HP_2M, HP_2M, SEED + i));
	EXPECT_EQ(1, hp_lost(victim, HP_2M, SEED, &damage));

	hp_map_free(&map);
	want = test.before;
	hp_expect_narrowed(&want, HP_2M, node, true);
	hp_expect_released(&want, HP_2M, node);
	hp_add(&want, HP_FREE, HP_2M, node, -1);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(0, hp_test_end(&test));
}

/*
 * A private mapping with a reservation that it has not used sees its file's
 * poisoned hugepage. When the file drops that hugepage, the mapping is a hugepage
 * again: the reserved one.
 */
TEST(reserved_and_unused)
{
	struct hp_test test;
	struct hp_map map;
	char *private;

	ASSERT_EQ(0, hp_test_begin(&test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&map, HP_MEMFD, HP_2M, 1));
	hp_stamp(map.addr, HP_2M, SEED);
	private = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, map.fd, 0);
	ASSERT_NE(MAP_FAILED, private);
	ASSERT_EQ(0, hp_inject(hp_pfn(map.addr + HP_BASE)));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(private + HP_BASE, HP_READ).code);
	EXPECT_FALSE(is_huge(private));

	ASSERT_EQ(0, munmap(map.addr, HP_2M));
	ASSERT_EQ(0, fallocate(map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HP_2M));
	hp_await((hp_touch(private, HP_READ), is_huge(private)), "the range is a hugepage again");
	EXPECT_TRUE(is_huge(private));
	EXPECT_TRUE(hp_all_zero(private + HP_BASE));
	EXPECT_EQ(0, munmap(private, HP_2M));
	close(map.fd);
	EXPECT_EQ(0, hp_test_end(&test));
}

/* --- shared by fork ----------------------------------------------------------- */

FIXTURE(family) {
	struct one o;
	struct hp_mapper child, grandchild;
};

FIXTURE_VARIANT(family) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(family, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(family, 1G) { .size = HP_1G };

FIXTURE_SETUP(family)
{
	ASSERT_EQ(0, one_make(&self->o, variant->size, HP_MIDDLE));
	ASSERT_EQ(0, hp_mapper_start(&self->child, &self->o.map, false));
}

FIXTURE_TEARDOWN(family)
{
	if (self->child.pid)
		hp_mapper_stop(&self->child);
	if (self->grandchild.pid)
		hp_mapper_stop(&self->grandchild);
	EXPECT_EQ(0, one_end(&self->o));
}

/* Both keep what they saw, write to it, and neither sees what the other writes. */
TEST_F_TIMEOUT(family, keeps_apart, 240)
{
	struct one *o = &self->o;
	long damage;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_EQ(1, hp_stamp(o->map.addr, o->size, SEED + 1));
	expect_lost_to(_metadata, o, &self->child, SEED);
	EXPECT_EQ(1, hp_ask(&self->child, HP_OP_STAMP, o->map.addr, SEED + 2).value);
	EXPECT_EQ(1, hp_lost(o->map.addr, o->size, SEED + 1, &damage));
	EXPECT_EQ(0, damage);
	expect_lost_to(_metadata, o, &self->child, SEED + 2);
}

/* The one that has not touched it since forks, and exits; the others go on. */
TEST_F_TIMEOUT(family, is_inherited, 240)
{
	struct one *o = &self->o;
	struct hp_state want = o->test.before;

	ASSERT_EQ(0, hp_inject(o->pfn));
	ASSERT_EQ(0, hp_mapper_start(&self->grandchild, &o->map, false));
	expect_lost_to(_metadata, o, &self->grandchild, SEED);
	EXPECT_EQ(1, hp_ask(&self->grandchild, HP_OP_STAMP, o->map.addr, SEED + 5).value);
	EXPECT_EQ(0, hp_mapper_stop(&self->child));
	self->child.pid = 0;
	expect_lost(_metadata, o);
	EXPECT_EQ(1, hp_stamp(o->map.addr, o->size, SEED + 6));
	expect_lost_to(_metadata, o, &self->grandchild, SEED + 5);
	EXPECT_EQ(0, hp_mapper_stop(&self->grandchild));
	self->grandchild.pid = 0;
	hp_map_free(&o->map);

	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, 4);
	hp_add(&want, HP_BAD, o->size, o->node, 1);
	hp_expect_lost(&want, o->size, o->node);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
}

/* The first error is undone, and a second one comes before anybody has touched it. */
TEST_F_TIMEOUT(family, is_hit_again_once_undone, 240)
{
	struct one *o = &self->o;

	ASSERT_EQ(0, hp_inject(o->pfn));
	ASSERT_EQ(0, hp_unpoison_soon(o->pfn));
	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost_to(_metadata, o, &self->child, SEED);
	expect_lost(_metadata, o);
}

/* All leave without ever having touched it: nothing is kept for anybody. */
TEST_F_TIMEOUT(family, leaves_untouched, 120)
{
	struct one *o = &self->o;
	long before = hp_read_long("/proc/sys/vm/nr_hugepages");

	EXPECT_LT(0, before);
	ASSERT_EQ(0, hp_inject(o->pfn));
	hp_map_free(&o->map);
	EXPECT_EQ(0, hp_ask(&self->child, HP_OP_UNMAP, NULL, 0).value);
	if (o->size == HP_1G)
		return;		/* every page of it would have to be looked at */
	/* wherever they went, no page but the raw one is out of use */
	hp_await(hp_count_flagged(o->pfn & ~511UL, 512, HP_KPF_HWPOISON) == 1,
		 "one page of 0x%lx is out of use", o->pfn & ~511UL);
	EXPECT_EQ(1, hp_count_flagged(o->pfn & ~511UL, 512, HP_KPF_HWPOISON));
}

/* One heals, the other has its error still. */
TEST_F_TIMEOUT(family, heals_apart, 240)
{
	struct one *o = &self->o;

	ASSERT_EQ(0, hp_inject(o->pfn));
	expect_lost(_metadata, o);
	EXPECT_EQ(0, madvise(o->raw, HP_BASE, MADV_DONTNEED));
	expect_healed(_metadata, o);
	expect_lost_to(_metadata, o, &self->child, SEED);
}

/* --- the file's hugepage, seen by a private mapping ------------------------------ */

FIXTURE(view) {
	struct hp_test test;
	struct hp_map map;	/* shared */
	char *private;
	char *raw;		/* in the private mapping */
	unsigned long pfn;
};

FIXTURE_VARIANT(view) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(view, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(view, 1G) { .size = HP_1G };

#define OFFSET	(5 * HP_BASE)	/* of the raw page */

FIXTURE_SETUP(view)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->private = mmap(NULL, variant->size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_NORESERVE, self->map.fd, 0);
	ASSERT_NE(MAP_FAILED, self->private);
	self->raw = self->private + OFFSET;
	ASSERT_EQ(0, hp_damage(self->private, variant->size, SEED));
	self->pfn = hp_pfn(self->map.addr + OFFSET);
	ASSERT_EQ(self->pfn, hp_pfn(self->raw));
	ASSERT_EQ(0, hp_inject(self->pfn));
}

FIXTURE_TEARDOWN(view)
{
	munmap(self->private, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static void expect_view(META, char *at, unsigned long size, unsigned int seed)
{
	long damage;

	EXPECT_EQ(1, hp_lost(at, size, seed, &damage));
	EXPECT_EQ(0, damage);
}

/* It reads the file's pages, later writes too, until it writes itself. */
TEST_F_TIMEOUT(view, reads_then_copies, 120)
{
	char *private = self->private, *shared = self->map.addr;

	expect_view(_metadata, private, variant->size, SEED);
	expect_view(_metadata, shared, variant->size, SEED);
	EXPECT_EQ(hp_pfn(shared), hp_pfn(private));
	shared[100] = 1;
	EXPECT_EQ(1, private[100]);
	private[101] = 2;
	EXPECT_NE(hp_pfn(shared), hp_pfn(private));
	EXPECT_EQ(0, shared[101]);
	shared[100] = 3;
	EXPECT_EQ(1, private[100]);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->raw, HP_WRITE).code);
	EXPECT_EQ(hp_pfn(shared + HP_BASE), hp_pfn(private + HP_BASE));
	shared[100] = 0;
	private[100] = 0;
	private[101] = 0;

	EXPECT_EQ(1, hp_stamp(private, variant->size, SEED + 1));
	expect_view(_metadata, private, variant->size, SEED + 1);
	expect_view(_metadata, shared, variant->size, SEED);
}

/* The first touch is a write, to a page that was never read. */
TEST_F_TIMEOUT(view, writes_first, 120)
{
	EXPECT_EQ(1, hp_stamp(self->private, variant->size, SEED + 1));
	expect_view(_metadata, self->private, variant->size, SEED + 1);
	expect_view(_metadata, self->map.addr, variant->size, SEED);
}

/* A child has the copies its parent made, and the file's pages else. */
TEST_F_TIMEOUT(view, survives_fork, 120)
{
	int status;
	pid_t pid;

	expect_view(_metadata, self->private, variant->size, SEED);
	self->private[3 * HP_BASE + 64] = 7;
	pid = fork();
	if (!pid) {
		long damage, lost = hp_lost(self->private + HP_2M / 2, HP_2M / 2, SEED, &damage);

		(void)lost;
		if (self->private[3 * HP_BASE + 64] != 7)
			_exit(1);
		if (self->private[64] != self->map.addr[64])
			_exit(2);
		self->private[64] = 9;
		if (hp_touch(self->raw, HP_READ).code != BUS_MCEERR_AR)
			_exit(3);
		_exit(self->map.addr[64] == 9 ? 4 : 0);
	}
	ASSERT_LT(0, pid);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(7, self->private[3 * HP_BASE + 64]);
	EXPECT_NE(9, self->private[64]);
	self->private[3 * HP_BASE + 64] = 0;
	expect_view(_metadata, self->private, variant->size, SEED);
}

/* The file lets go: what the process has of its own goes as well, as on stock. */
TEST_F_TIMEOUT(view, is_punched, 120)
{
	expect_view(_metadata, self->private, variant->size, SEED);
	self->private[64] = 7;
	ASSERT_EQ(0, fallocate(self->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			       variant->size));
	EXPECT_EQ(0, self->private[64]);
	EXPECT_TRUE(hp_all_zero(self->raw));
	self->private[64] = 8;
	if (variant->size == HP_2M)	/* there is no other GiB for the file */
		EXPECT_EQ(0, self->map.addr[64]);
}

/* An error in the copy is the copy's, one in the file's page everybody's. */
TEST_F(view, second_errors)
{
	char *copied = self->private + 20 * HP_BASE;
	unsigned long pfn;

	expect_view(_metadata, self->private, variant->size, SEED);
	*copied = *copied;
	pfn = hp_pfn(copied);
	ASSERT_NE(HP_NO_PFN, pfn);
	ASSERT_EQ(0, hp_inject(pfn));
	hp_note_poisoned(pfn);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(copied, HP_READ).code);
	EXPECT_EQ(0, hp_touch(self->map.addr + 20 * HP_BASE, HP_READ).code);

	pfn = hp_pfn(self->private + 30 * HP_BASE);
	ASSERT_EQ(pfn, hp_pfn(self->map.addr + 30 * HP_BASE));
	ASSERT_EQ(0, hp_inject(pfn));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->private + 30 * HP_BASE, HP_READ).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr + 30 * HP_BASE, HP_READ).code);
	EXPECT_EQ(0, hp_touch(self->private + 31 * HP_BASE, HP_WRITE).code);
}

/* --- errors in the file's hugepage and in the one that covers it --------------- */

/* The process has written to its hugepage; the file's differs, and both have an error. */
FIXTURE(covered) {
	struct hp_test test;
	struct hp_map map;	/* shared */
	char *private;
};

FIXTURE_VARIANT(covered) {
	unsigned long size;
	bool touched, forks;	/* before the process discards */
};

FIXTURE_VARIANT_ADD(covered, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(covered, 2M_touched) { .size = HP_2M, .touched = true };
FIXTURE_VARIANT_ADD(covered, 2M_forked) { .size = HP_2M, .touched = true, .forks = true };
FIXTURE_VARIANT_ADD(covered, 1G) { .size = HP_1G };
FIXTURE_VARIANT_ADD(covered, 1G_forked) { .size = HP_1G, .touched = true, .forks = true };

FIXTURE_SETUP(covered)
{
	unsigned long size = variant->size;

	ASSERT_EQ(0, hp_test_begin(&self->test, size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, size, 1));
	hp_stamp(self->map.addr, size, SEED);
	self->private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
			     self->map.fd, 0);
	ASSERT_NE(MAP_FAILED, self->private);
	ASSERT_EQ(0, hp_stamp(self->private, size, SEED + 1));
	ASSERT_NE(hp_pfn(self->map.addr), hp_pfn(self->private));
	ASSERT_EQ(0, hp_inject(hp_pfn(self->map.addr + 7 * HP_BASE)));
	ASSERT_EQ(0, hp_inject(hp_pfn(self->private + 5 * HP_BASE)));
}

FIXTURE_TEARDOWN(covered)
{
	munmap(self->private, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* A child that writes nothing, so that parent and child share the hugepage. */
static pid_t idle_child(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (;;)
		pause();
}

/* Of two pages that the process discards one is lost to the file as well. */
TEST_F_TIMEOUT(covered, shows_the_file_where_discarded, 240)
{
	char *private = self->private, *at = private + 5 * HP_BASE;
	unsigned long size = variant->size;
	pid_t pid = 0;
	long damage;

	if (variant->touched) {
		EXPECT_EQ(1, hp_lost(private, size, SEED + 1, &damage));
		EXPECT_EQ(0, damage);
	}
	if (variant->forks)
		pid = idle_child();
	ASSERT_LE(0, pid);

	ASSERT_EQ(0, madvise(at, HP_BASE, MADV_DONTNEED));
	EXPECT_EQ(0, memcmp(at, self->map.addr + 5 * HP_BASE, HP_BASE));
	EXPECT_EQ(hp_pfn(self->map.addr + 5 * HP_BASE), hp_pfn(at));
	/* the two stamps of the discarded page: no other page is the file's */
	EXPECT_EQ(0, hp_lost(private, size, SEED + 1, &damage));
	EXPECT_EQ(2, damage);

	ASSERT_EQ(0, madvise(private + 7 * HP_BASE, HP_BASE, MADV_DONTNEED));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(private + 7 * HP_BASE, HP_READ).code);
	EXPECT_EQ(1, hp_lost(private, size, SEED + 1, &damage));
	EXPECT_EQ(2, damage);

	/* the rest of the block follows */
	ASSERT_EQ(0, madvise(private, HP_2M, MADV_DONTNEED));
	EXPECT_EQ(1, hp_lost(private, HP_2M, SEED, &damage));
	EXPECT_EQ(0, damage);
	EXPECT_EQ(1, hp_lost(self->map.addr, size, SEED, &damage));
	EXPECT_EQ(0, damage);
	if (!pid)
		return;
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
}

/* A whole healthy block of a GiB is the file's only where all of it is discarded. */
TEST_F_TIMEOUT(covered, keeps_its_blocks, 240)
{
	char *private = self->private, *block = private + variant->size - HP_2M;
	unsigned long size = variant->size;
	pid_t pid = 0;
	long damage;

	if (variant->forks)
		pid = idle_child();
	ASSERT_LE(0, pid);
	/* the first touch of its block */
	ASSERT_EQ(0, madvise(block + 9 * HP_BASE, HP_BASE, MADV_DONTNEED));
	EXPECT_EQ(0, memcmp(block + 9 * HP_BASE, self->map.addr + (block - private) + 9 * HP_BASE,
			    HP_BASE));
	EXPECT_EQ(1, hp_lost(private, size, SEED + 1, &damage));
	EXPECT_EQ(2, damage);
	ASSERT_EQ(0, madvise(block, HP_2M, MADV_DONTNEED));
	EXPECT_EQ(1, hp_lost(private, size, SEED + 1, &damage));
	/* each page of a 2M hugepage is stamped, and of the last block of a GiB */
	EXPECT_EQ(size == HP_2M ? 2 * 511 : 2 * 512, damage);
	if (!pid)
		return;
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
}

/* --- races ------------------------------------------------------------------------- */

#define ROUNDS	150

/*
 * The mapping has one hugepage, stamped. While an error hits it others fork, read,
 * write their copies and exit. Nobody may ever see a wrong byte, and when all are
 * gone nothing is left but the raw page.
 */
static int busy_child(META, char *at, unsigned int seed)
{
	for (int i = 0; i < 3; i++) {
		long damage, lost = hp_lost(at, HP_2M, seed, &damage);

		if (lost > 1 || damage) {
			TH_LOG("process %d lost %ld, damage %ld, look %d", getpid(), lost,
			       damage, i);
			return 1;
		}
		seed += 7;
		hp_stamp(at, HP_2M, seed);
	}
	return 0;
}

static int fork_busy(META, char *at, unsigned int seed)
{
	pid_t pid = fork();
	int wrong, status = 0;

	if (pid)
		return pid;
	usleep(rand() % 3000);
	pid = fork();
	wrong = busy_child(_metadata, at, seed);
	if (!pid)
		_exit(wrong);
	waitpid(pid, &status, 0);
	_exit(wrong || status);
}

static int round_of(META, int round)
{
	struct hp_map map;
	pid_t pid[4];
	int wrong = 0, status;
	unsigned long pfn;
	long damage, lost;

	ASSERT_EQ(0, hp_map(&map, HP_PRIVATE, HP_2M, 1));
	hp_stamp(map.addr, HP_2M, round);
	pfn = hp_pfn(map.addr) + rand() % 512;
	for (size_t i = 0; i < ARRAY_SIZE(pid); i++) {
		pid[i] = fork_busy(_metadata, map.addr, round);
		if (i == (size_t)round % ARRAY_SIZE(pid))
			EXPECT_EQ(0, hp_inject(pfn));
	}
	lost = hp_lost(map.addr, HP_2M, round, &damage);
	EXPECT_EQ(1, lost);
	EXPECT_EQ(0, damage);
	if (round % 3 == 0)
		hp_map_free(&map);
	for (size_t i = 0; i < ARRAY_SIZE(pid); i++) {
		EXPECT_EQ(pid[i], waitpid(pid[i], &status, 0));
		wrong += !!status;
	}
	if (round % 3)
		hp_map_free(&map);
	EXPECT_EQ(0, hp_unpoison_soon(pfn));
	return wrong;
}

FIXTURE(race) {
	struct hp_test test;
};

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(race)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F_TIMEOUT(race, with_fork_and_exit, 300)
{
	const char *rounds = getenv("HP_ROUNDS");
	int nr = rounds ? atoi(rounds) : ROUNDS;

	for (int i = 0; i < nr && i < ROUNDS; i++) {
		ASSERT_EQ(0, round_of(_metadata, i)) {
			TH_LOG("in round %d", i);
		}
	}
}

TEST_HARNESS_MAIN
