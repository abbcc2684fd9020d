// SPDX-License-Identifier: GPL-2.0-only
/*
 * The injector: its filters spare what they should without leaving a trace,
 * and bad input is refused.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED		0xf117
#define CGROUP		"/sys/fs/cgroup"
#define ANY		"4294967295"	/* what the device filters call any */

static const struct {
	const char *file;
	const char *off;
} filters[] = {
	{ "corrupt-filter-enable", "0" },
	{ "corrupt-filter-dev-major", ANY },
	{ "corrupt-filter-dev-minor", ANY },
	{ "corrupt-filter-flags-mask", "0" },
	{ "corrupt-filter-flags-value", "0" },
	{ "corrupt-filter-hugepage-size", "0" },
	{ "corrupt-filter-hugetlb-cgroup", "0" },
};

static int set_filter(const char *name, unsigned long value)
{
	char path[96];

	snprintf(path, sizeof(path), HP_DEBUGFS "corrupt-filter-%s", name);
	return hp_write(path, "%lu", value);
}

static void clear_filters(void)
{
	char path[96];

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		snprintf(path, sizeof(path), HP_DEBUGFS "%s", filters[i].file);
		hp_write(path, "%s", filters[i].off);
	}
}

/* --- filters ---------------------------------------------------------------- */

FIXTURE(filter) {
	struct hp_test test;
	struct hp_map map;
	unsigned long raw;
};

FIXTURE_VARIANT(filter) {
	unsigned long size;
	enum hp_place place;
};

FIXTURE_VARIANT_ADD(filter, 2M_head) { .size = HP_2M, .place = HP_HEAD };
FIXTURE_VARIANT_ADD(filter, 2M_tail) { .size = HP_2M, .place = HP_TAIL };
FIXTURE_VARIANT_ADD(filter, 1G_tail) { .size = HP_1G, .place = HP_TAIL };

FIXTURE_SETUP(filter)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->raw = hp_pfn(self->map.addr) + hp_subpage(variant->size, variant->place);
	ASSERT_EQ(0, set_filter("enable", 1));
}

FIXTURE_TEARDOWN(filter)
{
	clear_filters();
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

#define TEST_ARGS	struct __test_metadata *_metadata,	\
			FIXTURE_DATA(filter) *self,		\
			const FIXTURE_VARIANT(filter) *variant

/* No mark, no count, no signal, and the hugepage is as good as before. */
static void expect_spared(TEST_ARGS)
{
	char *raw = self->map.addr + hp_subpage(variant->size, variant->place) * HP_BASE;
	unsigned long nr = variant->size / HP_BASE;
	struct hp_state want;

	hp_read_state(&want);
	/* the injector looks at the filter first, the handler under its locks */
	EXPECT_EQ(0, hp_inject(self->raw));
	EXPECT_EQ(0, madvise(raw, HP_BASE, MADV_HWPOISON));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(0, hp_count_flagged(self->raw & -nr, nr, HP_KPF_HWPOISON));
	EXPECT_EQ(0, hp_damage(self->map.addr, variant->size, SEED));
	EXPECT_EQ(0, hp_touch(self->map.addr + variant->size - HP_BASE / 2, HP_WRITE).code);
}

/* The same hugepage, now not spared: earlier near misses do not count. */
static void expect_hit(TEST_ARGS)
{
	char *raw = self->map.addr + hp_subpage(variant->size, variant->place) * HP_BASE;
	struct hp_state want;
	long damage;

	hp_read_state(&want);
	EXPECT_EQ(0, hp_inject(self->raw));
	hp_expect_narrowed(&want, variant->size, hp_pfn_node(self->raw), true);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(raw, HP_READ).code);
	EXPECT_EQ(1, hp_lost(self->map.addr, variant->size, SEED, &damage));
	EXPECT_EQ(0, damage);
	clear_filters();
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->raw));
}

TEST_F(filter, hugepage_size)
{
	unsigned long other = variant->size == HP_2M ? HP_1G : HP_2M;

	ASSERT_EQ(0, set_filter("hugepage-size", other >> 10));
	expect_spared(_metadata, self, variant);
	ASSERT_EQ(0, set_filter("hugepage-size", variant->size >> 10));
	expect_hit(_metadata, self, variant);
}

TEST_F(filter, device)
{
	struct stat file;

	ASSERT_EQ(0, fstat(self->map.fd, &file));
	ASSERT_EQ(0, set_filter("dev-major", major(file.st_dev)));
	ASSERT_EQ(0, set_filter("dev-minor", minor(file.st_dev) + 1));
	expect_spared(_metadata, self, variant);
	ASSERT_EQ(0, set_filter("dev-minor", minor(file.st_dev)));
	expect_hit(_metadata, self, variant);
}

TEST_F(filter, page_flags)
{
	ASSERT_EQ(0, set_filter("flags-mask", HP_KPF_HUGE | HP_KPF_LRU));
	ASSERT_EQ(0, set_filter("flags-value", HP_KPF_LRU));
	expect_spared(_metadata, self, variant);
	ASSERT_EQ(0, set_filter("flags-value", HP_KPF_HUGE));
	expect_hit(_metadata, self, variant);
}

/* A free hugepage that is spared stays in its pool, unmarked, and is usable. */
TEST_F(filter, free_hugepage)
{
	unsigned long nr = variant->size / HP_BASE, head;
	struct hp_state now;

	hp_map_free(&self->map);
	hp_read_state(&now);
	head = hp_find_free(variant->size, 0);
	ASSERT_NE(HP_NO_PFN, head);
	ASSERT_EQ(0, set_filter("hugepage-size", 4));

	EXPECT_EQ(0, hp_inject(head + hp_subpage(variant->size, variant->place)));

	EXPECT_EQ(0, hp_check(&now, HP_EVERYTHING));
	EXPECT_EQ(0, hp_count_flagged(head, nr, HP_KPF_HWPOISON));
}

/* --- filter by cgroup ------------------------------------------------------- */

FIXTURE(cgroup) {
	struct hp_test test;
	struct hp_map map;
	unsigned long inode[2];
};

static const char * const group[] = { CGROUP "/hp-mine", CGROUP "/hp-other" };

static int enter(const char *dir)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	return hp_write(path, "%d", getpid());
}

FIXTURE_SETUP(cgroup)
{
	struct stat dir;

	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_write(CGROUP "/cgroup.subtree_control", "+hugetlb")) {
		TH_LOG("no hugetlb controller in " CGROUP);
	}
	for (int i = 0; i < 2; i++) {
		mkdir(group[i], 0755);
		ASSERT_EQ(0, stat(group[i], &dir));
		self->inode[i] = dir.st_ino;
	}
	/* The first toucher of a hugepage is charged for it. */
	ASSERT_EQ(0, enter(group[0]));
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 2));
	hp_stamp(self->map.addr, HP_2M, SEED);
	ASSERT_EQ(0, enter(group[1]));
	hp_stamp(self->map.addr + HP_2M, HP_2M, SEED);
	ASSERT_EQ(0, set_filter("enable", 1));
}

FIXTURE_TEARDOWN(cgroup)
{
	clear_filters();
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
	enter(CGROUP);
	EXPECT_EQ(0, rmdir(group[0]));
	EXPECT_EQ(0, rmdir(group[1]));
	hp_write(CGROUP "/cgroup.subtree_control", "-hugetlb");
}

TEST_F(cgroup, only_its_own)
{
	unsigned long raw[] = {
		hp_pfn(self->map.addr) + 9, hp_pfn(self->map.addr + HP_2M) + 9,
	};
	struct hp_state want;

	hp_read_state(&want);
	ASSERT_EQ(0, set_filter("hugetlb-cgroup", self->inode[0]));
	EXPECT_EQ(0, hp_inject(raw[1]));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(0, hp_damage(self->map.addr + HP_2M, HP_2M, SEED));

	EXPECT_EQ(0, hp_inject(raw[0]));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr + 9 * HP_BASE, HP_READ).code);
	EXPECT_EQ(0, hp_damage(self->map.addr + HP_2M, HP_2M, SEED));

	/* A free hugepage is charged to nobody. */
	hp_read_state(&want);
	EXPECT_EQ(0, hp_inject(hp_find_free(HP_2M, 0)));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	clear_filters();
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(raw[0]));
	hp_refill(&self->test.before);
	EXPECT_EQ(0, hp_check(&self->test.before, HP_GAUGES));
}

/* --- what the files refuse --------------------------------------------------- */

FIXTURE(refuse) {
	struct hp_test test;
};

FIXTURE_SETUP(refuse)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(refuse)
{
	EXPECT_EQ(0, hp_check(&self->test.before, HP_EVERYTHING));
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F(refuse, nonsense)
{
	static const char * const bad[] = {
		"", " ", "junk", "2M", "2M 0 junk", "2M zero", "2M0", "M 0",
		"3M 0", "4K 0", "0 0", "-2M 0", "2Mx 0",
		"2M 99", "2M -2", "2M 4000000000",
		"2M 0 512", "2M 0 -1", "1G 0 262144", "2M 0 1 1",
		"2M 0 99999999999999999999",
		"2M 0 0                                                                                               ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int ret = hp_write(HP_DEBUGFS "corrupt-free-hugepage", "%s\n", bad[i]);

		EXPECT_EQ(-EINVAL, ret) {
			TH_LOG("\"%s\"", bad[i]);
		}
	}
}

TEST_F_TIMEOUT(refuse, none_free, 60)
{
	static const unsigned long size[] = { HP_2M, HP_1G };
	struct hp_map all;

	ASSERT_EQ(0, access(HP_DEBUGFS "corrupt-free-hugepage", W_OK));
	for (int i = 0; i < 2; i++) {
		long nr = *hp_at(&self->test.before, HP_FREE, size[i], HP_ALL);

		ASSERT_LT(0, nr);
		ASSERT_EQ(0, hp_map(&all, HP_MEMFD, size[i], nr));
		for (long j = 0; j < nr; j++)
			ASSERT_EQ(0, hp_touch(all.addr + j * size[i], HP_WRITE).code);
		EXPECT_EQ(-ENOENT, hp_inject_free(size[i], HP_ALL, -1));
		EXPECT_EQ(-ENOENT, hp_inject_free(size[i], 1, 5));
		hp_map_free(&all);
	}
}

TEST_F(refuse, no_page)
{
	EXPECT_EQ(-ENXIO, hp_inject(1UL << 40));
	EXPECT_EQ(-EIO, hp_unpoison(1UL << 40));
}

/* Neither opening the files nor having them open already is enough. */
static int as_nobody(const char *file, const char *text)
{
	char path[96];
	int fd, ret = 0;

	snprintf(path, sizeof(path), HP_DEBUGFS "%s", file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return 1;
	if (setgid(65534) || setuid(65534))
		return 2;
	if (open(path, O_WRONLY) >= 0 || errno != EACCES)
		ret = 3;
	if (write(fd, text, strlen(text)) >= 0 || errno != EPERM)
		ret = 4;
	return ret;
}

TEST_F(refuse, nobody)
{
	static const char * const files[] = {
		"corrupt-free-hugepage", "corrupt-pfn", "unpoison-pfn",
	};
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!fork())
			_exit(as_nobody(files[i], i ? "4096" : "2M 0 1"));
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, WEXITSTATUS(status)) {
			TH_LOG("%s", files[i]);
		}
	}
}

TEST_HARNESS_MAIN
