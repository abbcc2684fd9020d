// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views of a narrowed mapping: /proc/PID, core dumps, trackers of changes. All
 * are true.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"
#include "hp_proc.h"

/* The process's counters are summed up from per-CPU ones, each that far off. */
#define COUNTER_SLACK_KB	512

#define EXPECT_NEAR_KB(want, is) do {				\
	long __want = (want), __is = (is);			\
								\
	EXPECT_GE(COUNTER_SLACK_KB, labs(__want - __is)) {	\
		TH_LOG("%s: want about %ld kB, is %ld",		\
		       #is, __want, __is);			\
	}							\
} while (0)

FIXTURE(proc) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(proc) {
	unsigned long size;
	enum hp_backing backing;
	unsigned long nr;
};

FIXTURE_VARIANT_ADD(proc, 2M_anon) { .size = HP_2M, .backing = HP_ANON, .nr = 3 };
FIXTURE_VARIANT_ADD(proc, 2M_shm) { .size = HP_2M, .backing = HP_SHM, .nr = 3 };
FIXTURE_VARIANT_ADD(proc, 1G_memfd) { .size = HP_1G, .backing = HP_MEMFD, .nr = 1 };

FIXTURE_SETUP(proc)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, variant->backing, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(proc)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

static long kb(unsigned long bytes)
{
	return bytes >> 10;
}

/* --- maps, smaps, status --------------------------------------------------- */

/* A mapping of its own where the hugepage was; the same file, the right place. */
TEST_F(proc, maps)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n);
	struct hp_vma before, vma;

	ASSERT_EQ(0, hp_vma_at(getpid(), victim, &before));
	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_vma_at(getpid(), victim, &vma));
	EXPECT_EQ(victim, vma.start);
	EXPECT_EQ(victim + n->map.size, vma.end);
	EXPECT_EQ(before.offset + n->victim * n->map.size, vma.offset);
	EXPECT_STREQ("rw-s", vma.perms);
	/* device, inode and name come after three fields that may differ */
	EXPECT_EQ(0, strncmp(strchr(before.text, ':') - 2, strchr(vma.text, ':') - 2,
			     strcspn(strchr(vma.text, ':') - 2, "\n") + 1));
	for (unsigned long i = 0; i < n->map.nr; i++)
		EXPECT_EQ(i != n->victim, hp_is_hugetlb(n->map.addr + i * n->map.size));
}

static long shared_kb(const struct hp_vma *vma)
{
	return hp_vma_kb(vma, "Shared_Clean") + hp_vma_kb(vma, "Shared_Dirty");
}

static long private_kb(const struct hp_vma *vma)
{
	return hp_vma_kb(vma, "Private_Clean") + hp_vma_kb(vma, "Private_Dirty");
}

/* One page is missing, and nobody else maps the others, or somebody does. */
static void expect_smaps(META, struct hp_narrowed *n, bool shared)
{
	long rss = kb(n->map.size - HP_BASE);
	struct hp_vma vma;

	EXPECT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(0, hp_vma_at(getpid(), hp_narrowed_victim(n), &vma));
	EXPECT_EQ(kb(n->map.size), hp_vma_kb(&vma, "Size"));
	EXPECT_EQ(4, hp_vma_kb(&vma, "KernelPageSize"));
	EXPECT_EQ(4, hp_vma_kb(&vma, "MMUPageSize"));
	EXPECT_EQ(rss, hp_vma_kb(&vma, "Rss"));
	EXPECT_EQ(shared ? rss : 0, shared_kb(&vma));
	EXPECT_EQ(shared ? 0 : rss, private_kb(&vma));
	EXPECT_NEAR_KB(shared ? rss / 2 : rss, hp_vma_kb(&vma, "Pss"));
	EXPECT_EQ(0, hp_vma_kb(&vma, "Shared_Hugetlb"));
	EXPECT_EQ(0, hp_vma_kb(&vma, "Private_Hugetlb"));
	EXPECT_EQ(0, hp_vma_kb(&vma, "Anonymous"));
	EXPECT_EQ(0, hp_vma_kb(&vma, "Swap"));
}

static void expect_shared(META, struct hp_narrowed *n)
{
	expect_smaps(_metadata, n, true);
}

TEST_F(proc, smaps)
{
	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	expect_smaps(_metadata, &self->n, false);
	EXPECT_EQ(0, run_child(_metadata, expect_shared, &self->n));
	expect_smaps(_metadata, &self->n, false);
	EXPECT_RIGHT(&self->n);
}

/* Pages that no longer count as hugepages count as the file's. */
TEST_F(proc, status)
{
	struct hp_narrowed *n = &self->n;
	long hugetlb = hp_status_kb(getpid(), "HugetlbPages");
	long file = hp_status_kb(getpid(), "RssFile");
	long rollup = hp_rollup_kb(getpid(), "Rss");

	EXPECT_EQ(kb(n->map.nr * n->map.size), hugetlb);
	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(hugetlb - kb(n->map.size), hp_status_kb(getpid(), "HugetlbPages"));
	file += kb(n->map.size - HP_BASE);
	EXPECT_NEAR_KB(file, hp_status_kb(getpid(), "RssFile"));
	rollup += kb(n->map.size - HP_BASE);
	EXPECT_NEAR_KB(rollup, hp_rollup_kb(getpid(), "Rss"));
	EXPECT_EQ(hugetlb - kb(n->map.size), hp_rollup_kb(getpid(), "Shared_Hugetlb") +
					     hp_rollup_kb(getpid(), "Private_Hugetlb"));
}

TEST_F(proc, numa_maps)
{
	struct hp_narrowed *n = &self->n;
	long healthy = n->map.size / HP_BASE - 1;
	char node[8];

	snprintf(node, sizeof(node), "N%d", n->node);
	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(healthy, hp_numa_maps(getpid(), hp_narrowed_victim(n), node));
	EXPECT_EQ(4, hp_numa_maps(getpid(), hp_narrowed_victim(n), "kernelpagesize_kB"));
	snprintf(node, sizeof(node), "N%d", !n->node);
	EXPECT_EQ(-1, hp_numa_maps(getpid(), hp_narrowed_victim(n), node));
}

/* --- pagemap ----------------------------------------------------------------- */

/* How many entries of the healthy pages are not what they should be. */
static long wrong_entries(struct hp_narrowed *n, unsigned long set, unsigned long clear)
{
	unsigned long nr = n->map.size / HP_BASE, head = n->pfn & -nr;
	unsigned long *entries = calloc(nr, sizeof(*entries));
	long wrong = 0;

	if (!entries || hp_pagemap(getpid(), hp_narrowed_victim(n), nr, entries))
		return -1;
	for (unsigned long i = 0; i < nr; i++) {
		if (head + i == n->pfn)
			wrong += !!(entries[i] & HP_PM_PRESENT);
		else
			wrong += (entries[i] & HP_PM_PFN) != head + i ||
				 (entries[i] & set) != set || entries[i] & clear;
	}
	free(entries);
	return wrong;
}

static void expect_not_exclusive(META, struct hp_narrowed *n)
{
	EXPECT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(0, wrong_entries(n, HP_PM_PRESENT | HP_PM_FILE, HP_PM_EXCLUSIVE));
}

TEST_F(proc, pagemap)
{
	struct hp_narrowed *n = &self->n;
	unsigned long pfn;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(0, wrong_entries(n, HP_PM_PRESENT | HP_PM_FILE | HP_PM_EXCLUSIVE, 0));
	EXPECT_EQ(0, run_child(_metadata, expect_not_exclusive, n));

	/* given up, then touched again: the same page frames */
	ASSERT_EQ(0, madvise(hp_narrowed_victim(n), n->map.size, MADV_DONTNEED));
	ASSERT_EQ(0, hp_pagemap(getpid(), hp_narrowed_victim(n), 1, &pfn));
	EXPECT_EQ(0, pfn & HP_PM_PRESENT);
	ASSERT_EQ(0, hp_narrowed_populate(n));
	EXPECT_EQ(0, wrong_entries(n, HP_PM_PRESENT | HP_PM_FILE, 0));
}

/* --- clear_refs ---------------------------------------------------------------- */

/* Asks the kernel to count anew. */
#define CLEAR_ALL		"1"
#define CLEAR_MAPPED		"3"
#define CLEAR_SOFT_DIRTY	"4"

static long referenced(const char *at)
{
	struct hp_vma vma;

	return hp_vma_at(getpid(), at, &vma) ? -1 : hp_vma_kb(&vma, "Referenced");
}

/* The processor may have noted an access before; fork makes it forget. */
static void forget_accesses(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(EXIT_SUCCESS);
	waitpid(pid, NULL, 0);
}

/* A touch counts for the page, where it is mapped as one. */
TEST_F(proc, referenced)
{
	struct hp_narrowed *n = &self->n;
	char *victim = hp_narrowed_victim(n), *near = hp_narrowed_raw(n) + HP_BASE;
	const char * const what[] = { CLEAR_ALL, CLEAR_MAPPED };

	ASSERT_EQ(0, hp_narrowed_hit(n));
	ASSERT_EQ(0, hp_narrowed_populate(n));
	for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
		EXPECT_EQ(0, hp_touch(near, HP_READ).code);
		EXPECT_LT(0, referenced(victim));
		ASSERT_EQ(0, hp_write("/proc/self/clear_refs", "%s", what[i]));
		EXPECT_EQ(0, referenced(victim));
		forget_accesses();
		EXPECT_EQ(0, hp_touch(near, HP_READ).code);
		EXPECT_EQ(4, referenced(victim));
		EXPECT_RIGHT(n);
	}
}

static bool has_soft_dirty(void)
{
	unsigned long entry = 0;

	hp_pagemap(getpid(), __builtin_frame_address(0), 1, &entry);
	return entry & HP_PM_SOFT_DIRTY;
}

static bool is_soft_dirty(const char *at)
{
	unsigned long entry = 0;

	hp_pagemap(getpid(), at, 1, &entry);
	return entry & HP_PM_SOFT_DIRTY;
}

/* A checkpoint of a process has to see its writes. */
static void check_soft_dirty(META, struct hp_narrowed *n)
{
	char *near = hp_narrowed_raw(n) + HP_BASE;
	char *far = hp_narrowed_victim(n) + n->map.size - HP_BASE;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, hp_narrowed_populate(n));
		ASSERT_EQ(0, hp_write("/proc/self/clear_refs", CLEAR_SOFT_DIRTY));
		EXPECT_FALSE(is_soft_dirty(near));
		EXPECT_FALSE(is_soft_dirty(far));
		EXPECT_RIGHT(n);
		EXPECT_FALSE(is_soft_dirty(near));

		EXPECT_EQ(0, hp_touch(near + 8, HP_WRITE).code);
		EXPECT_TRUE(is_soft_dirty(near));
		EXPECT_FALSE(is_soft_dirty(near + HP_BASE));
		EXPECT_FALSE(is_soft_dirty(far));
		EXPECT_EQ(0, hp_touch(far + 8, HP_WRITE).code);
		EXPECT_TRUE(is_soft_dirty(far));
		EXPECT_RIGHT(n);
	}
}

TEST_F(proc, soft_dirty)
{
	if (!has_soft_dirty())
		SKIP(return, "needs CONFIG_MEM_SOFT_DIRTY");
	check_soft_dirty(_metadata, &self->n);
}

/* Of a private GiB the far page is in a block, which one entry maps. */
FIXTURE(blocks) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(blocks) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(blocks, 1G) { .size = HP_1G };

FIXTURE_SETUP(blocks)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_PRIVATE, variant->size, 1));
}

FIXTURE_TEARDOWN(blocks)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

TEST_F(blocks, soft_dirty)
{
	if (!has_soft_dirty())
		SKIP(return, "needs CONFIG_MEM_SOFT_DIRTY");
	check_soft_dirty(_metadata, &self->n);
}

/* --- core dumps ------------------------------------------------------------------ */

#define CORE		"/tmp/hugetlb-poison.core"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define DEFAULT_FILTER	"0x33"	/* private and shared memory, private hugepages */
#define ALL_HUGE	"0x73"	/* shared hugepages as well */

static const char *filter;

static void die(META, struct hp_narrowed *n)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	EXPECT_EQ(0, hp_write("/proc/self/coredump_filter", "%s", filter));
	EXPECT_EQ(0, setrlimit(RLIMIT_CORE, &unlimited));
	EXPECT_RIGHT(n);
	abort();
}

static int dump_core(META, struct hp_narrowed *n)
{
	char pattern[128] = "";
	int status;

	unlink(CORE);
	hp_read_text(CORE_PATTERN, pattern, sizeof(pattern));
	pattern[strcspn(pattern, "\n")] = '\0';
	EXPECT_EQ(0, hp_write(CORE_PATTERN, CORE));
	status = run_child(_metadata, die, n);
	EXPECT_EQ(0, hp_write(CORE_PATTERN, "%s", pattern));
	return status;
}

/* Where an address is in the core file, 0 if it is not. */
static off_t find_in_core(int fd, const char *addr)
{
	Elf64_Ehdr elf;
	Elf64_Phdr segment;

	if (pread(fd, &elf, sizeof(elf), 0) != sizeof(elf))
		return 0;
	for (int i = 0; i < elf.e_phnum; i++) {
		off_t at = elf.e_phoff + i * sizeof(segment);
		unsigned long offset;

		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
			return 0;
		offset = (unsigned long)addr - segment.p_vaddr;
		if (segment.p_type == PT_LOAD && offset < segment.p_filesz)
			return segment.p_offset + offset;
	}
	return 0;
}

TEST_F(proc, core_without)
{
	struct hp_narrowed *n = &self->n;
	int status, fd;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	filter = DEFAULT_FILTER;
	status = dump_core(_metadata, n);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
	fd = open(CORE, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_NE(0, find_in_core(fd, __builtin_frame_address(0)));
	for (unsigned long i = 0; i < n->map.nr; i++)
		EXPECT_EQ(0, find_in_core(fd, n->map.addr + i * n->map.size));
	close(fd);
	unlink(CORE);
	EXPECT_RIGHT(n);
}

/* A page of the core file that is not what the process had. */
static bool wrong_in_core(int fd, char *page)
{
	off_t at = find_in_core(fd, page);
	char dumped[HP_BASE];

	if (!at || pread(fd, dumped, HP_BASE, at) != (ssize_t)HP_BASE)
		return true;
	if (hp_touch(page, HP_READ).code)
		return !hp_all_zero(dumped);
	return memcmp(dumped, page, HP_BASE);
}

/* Of 2M only: a GiB is too much to write. */
FIXTURE(dump) {
	struct hp_narrowed n;
};

FIXTURE_SETUP(dump)
{
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, HP_2M, 3));
}

FIXTURE_TEARDOWN(dump)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
}

/* Asked for, the healthy pages are dumped, and zeros for the raw one. */
TEST_F(dump, with_hugepages)
{
	struct hp_narrowed *n = &self->n;
	int fd, wrong = 0;

	ASSERT_EQ(0, hp_narrowed_hit(n));
	filter = ALL_HUGE;
	EXPECT_EQ(SIGABRT, WTERMSIG(dump_core(_metadata, n)));
	fd = open(CORE, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (unsigned long i = 0; i < n->map.nr * n->map.size; i += HP_BASE)
		wrong += wrong_in_core(fd, n->map.addr + i);
	EXPECT_EQ(0, wrong);
	close(fd);
	unlink(CORE);
	EXPECT_RIGHT(n);
}

TEST_HARNESS_MAIN
