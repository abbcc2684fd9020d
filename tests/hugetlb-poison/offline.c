// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking memory offline that a poisoned hugepage lies in: refused, soon, and
 * without harm. A file still holds that hugepage, or its healthy pages are in
 * use one by one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED		0x0ff1
#define PATIENCE	10	/* seconds; offlining retries until a signal comes */

FIXTURE(offline) {
	struct hp_test test;
	struct hp_map map;
	char *addr;		/* of the raw page */
	unsigned long raw;
	unsigned long block;	/* of memory, that it is in */
	char state[64];		/* file of the memory block */
};

FIXTURE_VARIANT(offline) {
	unsigned long size;
	const char *containment;
};

FIXTURE_VARIANT_ADD(offline, 2M_page) { .size = HP_2M, .containment = "page" };
FIXTURE_VARIANT_ADD(offline, 1G_page) { .size = HP_1G, .containment = "page" };
FIXTURE_VARIANT_ADD(offline, 2M_hugepage) { .size = HP_2M, .containment = "hugepage" };
FIXTURE_VARIANT_ADD(offline, 1G_hugepage) { .size = HP_1G, .containment = "hugepage" };

FIXTURE_SETUP(offline)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	ASSERT_EQ(0, hp_set_containment(variant->containment));
	hp_stamp(self->map.addr, variant->size, SEED);
	/* A 1 GiB hugepage fills its blocks: nothing else keeps them online. */
	self->addr = self->map.addr + hp_subpage(variant->size, HP_MIDDLE) * HP_BASE;
	self->raw = hp_pfn(self->addr);
	self->block = hp_block(self->raw);
	ASSERT_NE(HP_NO_PFN, self->block);
	snprintf(self->state, sizeof(self->state),
		 "/sys/devices/system/memory/memory%lu/state", self->block);
}

FIXTURE_TEARDOWN(offline)
{
	hp_set_block(self->block, "online");
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* All of it, or the raw page alone. */
static void expect_lost(struct __test_metadata *_metadata, FIXTURE_DATA(offline) *self,
			const FIXTURE_VARIANT(offline) *variant)
{
	bool page = !strcmp(variant->containment, "page");
	long damage;

	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->addr, HP_READ).code);
	if (page) {
		EXPECT_EQ(1, hp_lost(self->map.addr, variant->size, SEED, &damage));
		EXPECT_EQ(0, damage);
	} else {
		EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr, HP_READ).code);
	}
}

TEST_F_TIMEOUT(offline, refused, 60)
{
	char text[32] = "";
	struct hp_state want;
	time_t start;
	int ret;

	ASSERT_EQ(0, hp_inject(self->raw));
	expect_lost(_metadata, self, variant);
	hp_read_state(&want);

	start = time(NULL);
	ret = hp_try_offline(self->block, PATIENCE);

	EXPECT_GT(0, ret);
	EXPECT_GE(PATIENCE + 5, time(NULL) - start);
	TH_LOG("offlining said %s", strerror(-ret));
	ASSERT_LT(0, hp_read_text(self->state, text, sizeof(text)));
	EXPECT_STREQ("online\n", text);
	/* the block's free hugepages are given up even so, as on a stock kernel */
	hp_refill(&self->test.before);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	expect_lost(_metadata, self, variant);

	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->raw));
}

TEST_HARNESS_MAIN
