// SPDX-License-Identifier: GPL-2.0-only
/* What /sys/kernel/mm/hugepoison/ shows: the policy, and a counter for everything. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "hp.h"

#define POLICY	HP_SYSFS "containment"

FIXTURE(policy) {
	struct hp_test test;
};

FIXTURE_SETUP(policy)
{
	ASSERT_EQ(0, hp_test_begin(&self->test));
	hp_catch_sigbus();
}

FIXTURE_TEARDOWN(policy)
{
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F(policy, containment)
{
	char text[64] = "";

	ASSERT_LT(0, hp_read_text(POLICY, text, sizeof(text)));
	EXPECT_STREQ("[hugepage]\n", text);
	EXPECT_EQ(0, hp_write(POLICY, "hugepage"));
	EXPECT_EQ(0, hp_write(POLICY, "hugepage\n"));
	ASSERT_LT(0, hp_read_text(POLICY, text, sizeof(text)));
	EXPECT_STREQ("[hugepage]\n", text);
}

TEST_F(policy, nonsense)
{
	static const char * const bad[] = {
		"junk", "\n", "[hugepage]", "hugepages", "hugepag", "0", "1", "hugepage x",
	};
	char text[64] = "";

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, hp_write(POLICY, "%s", bad[i])) {
			TH_LOG("bad[%zu]", i);
		}
	}
	ASSERT_LT(0, hp_read_text(POLICY, text, sizeof(text)));
	EXPECT_STREQ("[hugepage]\n", text);
}

static const char * const counters[] = {
	"mce_bad_pages", "poisoned_hugepages", "contained", "dequeued", "released",
	"replaced", "isolated", "pinned", "repeated", "failed", "unpoisoned",
};

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

/* One hugepage hit three times, once in the same raw page, and undone. */
TEST_F(policy, outcomes)
{
	long lost = HP_2M / HP_BASE;
	struct hp_state want;
	struct hp_map map;
	unsigned long pfn;
	int node;

	ASSERT_EQ(0, hp_map(&map, HP_MEMFD, HP_2M, 1));
	ASSERT_EQ(0, hp_touch(map.addr, HP_WRITE).code);
	pfn = hp_pfn(map.addr);
	node = hp_pfn_node(pfn);
	hp_read_state(&want);

	EXPECT_EQ(0, hp_inject(pfn + 1));
	hp_add(&want, HP_CONTAINED, HP_2M, node, 1);
	hp_add(&want, HP_POISONED, HP_2M, node, 1);
	hp_add(&want, HP_BAD, HP_2M, node, lost);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, lost * (long)(HP_BASE >> 10));
	hp_add(&want, HP_MF_TOTAL, 0, node, 1);
	hp_add(&want, HP_MF_RECOVERED, 0, node, 1);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	EXPECT_EQ(-EHWPOISON, hp_inject(pfn + 2));
	EXPECT_EQ(-EHWPOISON, hp_inject(pfn + 1));
	hp_add(&want, HP_REPEATED, HP_2M, node, 2);
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));

	/* Undone for good with the last error only, and counted once. */
	hp_map_free(&map);
	hp_read_state(&want);
	EXPECT_EQ(0, hp_unpoison(pfn + 1));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
	EXPECT_EQ(0, hp_unpoison(pfn + 2));
	hp_add(&want, HP_UNPOISONED, HP_2M, node, 1);
	hp_add(&want, HP_POISONED, HP_2M, node, -1);
	hp_add(&want, HP_FREE, HP_2M, node, 1);
	hp_add(&want, HP_BAD, HP_2M, node, -lost);
	hp_add(&want, HP_CORRUPTED, 0, HP_ALL, -lost * (long)(HP_BASE >> 10));
	EXPECT_EQ(0, hp_check(&want, HP_EVERYTHING));
}

TEST_HARNESS_MAIN
