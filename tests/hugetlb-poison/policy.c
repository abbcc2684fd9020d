// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files of /sys/kernel/mm/hugepoison/: the policy, and a counter for each
 * outcome.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "hp.h"

#define POLICY	HP_SYSFS "containment"

FIXTURE(policy) {
	struct hp_test test;
};

FIXTURE_SETUP(policy)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(policy)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

static void expect_policy(struct __test_metadata *_metadata, const char *want)
{
	char text[64] = "";

	ASSERT_LT(0, hp_read_text(POLICY, text, sizeof(text)));
	EXPECT_STREQ(want, text);
}

TEST_F(policy, containment)
{
	expect_policy(_metadata, "[page] hugepage\n");
	EXPECT_EQ(0, hp_write(POLICY, "hugepage"));
	expect_policy(_metadata, "page [hugepage]\n");
	EXPECT_EQ(0, hp_write(POLICY, "hugepage\n"));
	expect_policy(_metadata, "page [hugepage]\n");
	EXPECT_EQ(0, hp_write(POLICY, "page\n"));
	expect_policy(_metadata, "[page] hugepage\n");
}

TEST_F(policy, nonsense)
{
	static const char * const bad[] = {
		"junk", "\n", "[hugepage]", "hugepages", "hugepag", "0", "1", "hugepage x",
		"[page]", "pages", "pag", "page hugepage", "[page] hugepage", "page\n\n",
	};

	ASSERT_EQ(0, hp_set_containment("hugepage"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, hp_write(POLICY, "%s", bad[i])) {
			TH_LOG("bad[%zu]", i);
		}
	}
	expect_policy(_metadata, "page [hugepage]\n");
}

static const char * const counters[] = {
	"mce_bad_pages", "poisoned_hugepages", "contained", "narrowed", "dequeued",
	"released", "replaced", "isolated", "pinned", "repeated", "failed",
	"healed", "refilled", "unpoisoned",
};

static bool is_counter(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (!strcmp(counters[i], name))
			return true;
	return false;
}

static void check_no_other(struct __test_metadata *_metadata, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir))) {
		EXPECT_TRUE(entry->d_name[0] == '.' || is_counter(entry->d_name)) {
			TH_LOG("%s/%s: add it to counters[] of policy.c", path, entry->d_name);
		}
	}
	closedir(dir);
}

/* Root itself cannot write what has no write permission, so modes are read. */
static void check_files(struct __test_metadata *_metadata, const char *dir)
{
	struct stat file;
	char path[160];

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, counters[i]);
		ASSERT_EQ(0, stat(path, &file)) {
			TH_LOG("no %s", path);
		}
		EXPECT_EQ(0444, file.st_mode & 07777);
		EXPECT_LE(0, hp_read_long("%s", path));
		EXPECT_NE(0, hp_write(path, "0"));
	}
	check_no_other(_metadata, dir);
}

TEST_F(policy, files)
{
	static const unsigned int kb[] = { 2048, 1048576 };
	char dir[128];

	for (int i = 0; i < 2; i++) {
		snprintf(dir, sizeof(dir), HP_SYSFS "hugepages-%ukB", kb[i]);
		check_files(_metadata, dir);
		for (int node = 0; node < hp_nodes(); node++) {
			snprintf(dir, sizeof(dir), HP_SYSFS "node%d/hugepages-%ukB", node, kb[i]);
			check_files(_metadata, dir);
		}
	}
}

/* --- one hugepage, hit three times, once in the same raw page, and undone ---- */

FIXTURE(outcomes) {
	struct hp_test test;
	struct hp_map map;
	unsigned long pfn;
	int node;
};

FIXTURE_VARIANT(outcomes) {
	const char *containment;
};

FIXTURE_VARIANT_ADD(outcomes, page) { .containment = "page" };
FIXTURE_VARIANT_ADD(outcomes, hugepage) { .containment = "hugepage" };

FIXTURE_SETUP(outcomes)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	self->pfn = hp_pfn(self->map.addr);
	self->node = hp_pfn_node(self->pfn);
}

FIXTURE_TEARDOWN(outcomes)
{
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* Each raw page is undone for itself. */
static void undo_both(struct __test_metadata *_metadata, FIXTURE_DATA(outcomes) *self,
		      struct hp_state *want)
{
	for (int i = 1; i <= 2; i++) {
		EXPECT_EQ(0, hp_unpoison(self->pfn + i));
		hp_add(want, HP_UNPOISONED, HP_2M, self->node, 1);
		hp_expect_back(want, HP_2M, self->node, 1);
		EXPECT_EQ(0, hp_check(want, HP_EVERYTHING));
	}
}

/* The log's line says what is out of use: no more than before, and never all for a page. */
static void expect_said(struct __test_metadata *_metadata, FIXTURE_DATA(outcomes) *self,
			unsigned long pfn, unsigned long kb)
{
	EXPECT_NE(NULL, hp_log_find(&self->test.log,
				    "%#lx: 2048 kB hugepage on node %d: reported again, "
				    "nothing more of it is out of use; %lu kB out of use\n",
				    pfn, self->node, kb));
}

static void narrowed(struct __test_metadata *_metadata, FIXTURE_DATA(outcomes) *self)
{
	unsigned long pfn = self->pfn;
	int node = self->node;
	struct hp_state want;

	hp_read_state(&want);
	EXPECT_EQ(0, hp_inject(pfn + 1));
	hp_expect_narrowed(&want, HP_2M, node, true);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(0, hp_inject(pfn + 2));
	hp_expect_narrowed(&want, HP_2M, node, false);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(-EHWPOISON, hp_inject(pfn + 1));
	hp_add(&want, HP_REPEATED, HP_2M, node, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	expect_said(_metadata, self, pfn + 1, 2 * HP_BASE >> 10);
	EXPECT_EQ(NULL, hp_log_has(&self->test.log, "all of it is out of use"));
	EXPECT_EQ(NULL, hp_log_has(&self->test.log, "out of use already"));

	/* The last user gone, there are two raw pages, each to be undone. */
	hp_map_free(&self->map);
	hp_expect_released(&want, HP_2M, node);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	undo_both(_metadata, self, &want);
}

static void contained(struct __test_metadata *_metadata, FIXTURE_DATA(outcomes) *self)
{
	long lost = HP_2M / HP_BASE;
	unsigned long pfn = self->pfn;
	int node = self->node;
	struct hp_state want;

	hp_read_state(&want);
	EXPECT_EQ(0, hp_inject(pfn + 1));
	hp_expect_contained(&want, HP_2M, node);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	EXPECT_EQ(-EHWPOISON, hp_inject(pfn + 2));
	EXPECT_EQ(-EHWPOISON, hp_inject(pfn + 1));
	hp_add(&want, HP_REPEATED, HP_2M, node, 2);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	expect_said(_metadata, self, pfn + 1, HP_2M >> 10);
	expect_said(_metadata, self, pfn + 2, HP_2M >> 10);

	/* The last user gone, two raw pages are left of it. */
	hp_map_free(&self->map);
	hp_expect_released(&want, HP_2M, node);
	hp_expect_back(&want, HP_2M, node, lost - 2);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	undo_both(_metadata, self, &want);
}

TEST_F(outcomes, thrice)
{
	if (!strcmp(variant->containment, "page"))
		narrowed(_metadata, self);
	else
		contained(_metadata, self);
}

/* How an error was contained does not change with the policy. */
TEST_F(outcomes, then_other_policy)
{
	bool page = !strcmp(variant->containment, "page");
	char *healthy = self->map.addr + 9 * HP_BASE;
	struct hp_sigbus bus;

	EXPECT_EQ(0, hp_inject(self->pfn));
	ASSERT_EQ(0, hp_set_containment(page ? "hugepage" : "page"));
	EXPECT_EQ(page ? 0 : BUS_MCEERR_AR, hp_touch(healthy, HP_WRITE).code);
	bus = hp_touch(self->map.addr, HP_READ);
	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(__builtin_ctzl(page ? HP_BASE : HP_2M), bus.lsb);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

TEST_HARNESS_MAIN
