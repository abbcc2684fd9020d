// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that maps a narrowed hugepage moves from one memory cgroup of version
 * 1 to another, and its charges with it. The kernel's own look at what is mapped
 * asks each entry of a PMD for the head of its folio; a block of a 1 GiB hugepage
 * has none.
 *
 * In a guest of its own: the memory controller leaves version 2, and comes back
 * late or never.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"
#include "hp_narrowed.h"

#define MEMORY_V1	"/tmp/hp-moves-memory"

FIXTURE(memory) {
	struct hp_narrowed n;
};

FIXTURE_VARIANT(memory) {
	unsigned long size, nr;
};

FIXTURE_VARIANT_ADD(memory, 2M) { .size = HP_2M, .nr = 3 };
FIXTURE_VARIANT_ADD(memory, 1G) { .size = HP_1G, .nr = 1 };

FIXTURE_SETUP(memory)
{
	mkdir(MEMORY_V1, 0755);
	ASSERT_TRUE(hp_await(!mount("none", MEMORY_V1, "cgroup", 0, "memory"),
			     "no memory cgroup of version 2 is left"));
	ASSERT_EQ(0, hp_narrowed_make(&self->n, HP_MEMFD, variant->size, variant->nr));
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_EQ(0, hp_narrowed_end(&self->n));
	EXPECT_EQ(0, umount(MEMORY_V1));
}

static void move_charges(META, struct hp_narrowed *n)
{
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, hp_write(MEMORY_V1 "/from/cgroup.procs", "0"));
	EXPECT_EQ(0, hp_write(MEMORY_V1 "/to/cgroup.procs", "0"));
	EXPECT_RIGHT(n);
	EXPECT_EQ(0, hp_write(MEMORY_V1 "/cgroup.procs", "0"));
}

TEST_F(memory, moves_charges)
{
	ASSERT_EQ(0, hp_narrowed_hit(&self->n));
	EXPECT_EQ(0, mkdir(MEMORY_V1 "/from", 0755));
	EXPECT_EQ(0, mkdir(MEMORY_V1 "/to", 0755));
	EXPECT_EQ(0, hp_write(MEMORY_V1 "/to/memory.move_charge_at_immigrate", "3"));
	EXPECT_EQ(0, run_child(_metadata, move_charges, &self->n));
	EXPECT_TRUE(hp_await(!rmdir(MEMORY_V1 "/from"), "the first cgroup is empty"));
	EXPECT_TRUE(hp_await(!rmdir(MEMORY_V1 "/to"), "the second cgroup is empty"));
}

TEST_HARNESS_MAIN
