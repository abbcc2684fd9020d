// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking memory offline that a contained hugepage lies in: refused, soon, and
 * without harm. A file still holds that hugepage.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "kselftest_harness.h"

#include "hp.h"

#define PATIENCE	10	/* seconds; offlining retries until a signal comes */

FIXTURE(offline) {
	struct hp_test test;
	struct hp_map map;
	unsigned long raw;
	char state[64];		/* file of the memory block */
};

FIXTURE_VARIANT(offline) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(offline, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(offline, 1G) { .size = HP_1G };

static void on_alarm(int sig)
{
	(void)sig;
}

FIXTURE_SETUP(offline)
{
	struct sigaction action = { .sa_handler = on_alarm };
	char text[32];
	unsigned long block;

	ASSERT_EQ(0, hp_test_begin(&self->test));
	hp_catch_sigbus();
	sigaction(SIGALRM, &action, NULL);
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	ASSERT_EQ(0, hp_touch(self->map.addr, HP_WRITE).code);
	/* A 1 GiB hugepage fills its blocks: nothing else keeps them online. */
	self->raw = hp_pfn(self->map.addr) + hp_subpage(variant->size, HP_MIDDLE);
	ASSERT_LT(0, hp_read_text("/sys/devices/system/memory/block_size_bytes",
				  text, sizeof(text)));
	block = self->raw * HP_BASE / strtoul(text, NULL, 16);
	snprintf(self->state, sizeof(self->state),
		 "/sys/devices/system/memory/memory%lu/state", block);
}

FIXTURE_TEARDOWN(offline)
{
	hp_write(self->state, "online");
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F_TIMEOUT(offline, refused, 60)
{
	char text[32] = "";
	struct hp_state want;
	time_t start;
	int ret;

	ASSERT_EQ(0, hp_inject(self->raw));
	hp_read_state(&want);

	start = time(NULL);
	alarm(PATIENCE);
	ret = hp_write(self->state, "offline");
	alarm(0);

	EXPECT_GT(0, ret);
	EXPECT_GE(PATIENCE + 5, time(NULL) - start);
	TH_LOG("offlining said %s", strerror(-ret));
	ASSERT_LT(0, hp_read_text(self->state, text, sizeof(text)));
	EXPECT_STREQ("online\n", text);
	EXPECT_EQ(0, hp_check(&want, HP_GAUGES));
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->map.addr, HP_READ).code);

	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison(self->raw));
}

TEST_HARNESS_MAIN
