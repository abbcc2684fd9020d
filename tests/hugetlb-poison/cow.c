// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private mappings: an error hits the mappings that share the page, and no
 * mapping with its own copy.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "kselftest_harness.h"

#include "hp.h"

#define SEED	0xc0c0

/* --- two processes, one copy each --------------------------------------- */

FIXTURE(copies) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper parent, child;
};

FIXTURE_VARIANT(copies) {
	unsigned long size;
	bool hit_parent;	/* else the child's copy has the error */
};

FIXTURE_VARIANT_ADD(copies, 2M_of_parent) { .size = HP_2M, .hit_parent = true };
FIXTURE_VARIANT_ADD(copies, 2M_of_child) { .size = HP_2M, .hit_parent = false };
FIXTURE_VARIANT_ADD(copies, 1G_of_parent) { .size = HP_1G, .hit_parent = true };
FIXTURE_VARIANT_ADD(copies, 1G_of_child) { .size = HP_1G, .hit_parent = false };

FIXTURE_SETUP(copies)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_PRIVATE, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	hp_mapper_self(&self->parent, &self->map);
	ASSERT_EQ(0, hp_mapper_start(&self->child, &self->map, false));
}

FIXTURE_TEARDOWN(copies)
{
	hp_mapper_stop(&self->child);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F_TIMEOUT(copies, only_its_own, 120)
{
	struct hp_mapper *hit = variant->hit_parent ? &self->parent : &self->child;
	struct hp_mapper *spared = variant->hit_parent ? &self->child : &self->parent;
	char *at = self->map.addr;
	char *raw = at + variant->size - 3 * HP_BASE;
	unsigned long pfn;
	struct hp_sigbus bus;

	hp_ask(&self->child, HP_OP_STAMP, at, SEED + 1);
	ASSERT_NE(hp_ask(hit, HP_OP_PFN, raw, 0).value,
		  hp_ask(spared, HP_OP_PFN, raw, 0).value);
	pfn = hp_ask(hit, HP_OP_PFN, raw, 0).value;
	ASSERT_NE(HP_NO_PFN, pfn);

	EXPECT_EQ(0, hp_inject(pfn));

	bus = hp_ask(hit, HP_OP_READ, raw, 0).bus;
	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(raw, bus.addr);
	EXPECT_EQ(1, hp_ask(hit, HP_OP_LOST, at, variant->hit_parent ? SEED : SEED + 1).value);
	EXPECT_EQ(0, hp_ask(spared, HP_OP_DAMAGE, at,
			    variant->hit_parent ? SEED + 1 : SEED).value);
	hp_ask(spared, HP_OP_STAMP, at, SEED + 2);
	EXPECT_EQ(0, hp_ask(spared, HP_OP_DAMAGE, at, SEED + 2).value);
	EXPECT_EQ(0, hp_ask(hit, HP_OP_SIGNALS, NULL, 0).value);
	EXPECT_EQ(0, hp_ask(spared, HP_OP_SIGNALS, NULL, 0).value);

	EXPECT_EQ(0, hp_mapper_stop(&self->child));
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison(pfn));
}

/* --- a private mapping of a file ----------------------------------------- */

#define RAW	5		/* which of its base pages has the error */

FIXTURE(file) {
	struct hp_test test;
	struct hp_map map;	/* shared */
	char *private;		/* of the same file */
	unsigned long pfn;	/* in the page cache */
};

FIXTURE_VARIANT(file) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(file, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(file, 1G) { .size = HP_1G };

FIXTURE_SETUP(file)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, variant->size));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_MEMFD, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	self->private = mmap(NULL, variant->size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE, self->map.fd, 0);
	ASSERT_NE(MAP_FAILED, self->private);
	self->pfn = hp_pfn(self->map.addr + RAW * HP_BASE);
	ASSERT_NE(HP_NO_PFN, self->pfn);
}

FIXTURE_TEARDOWN(file)
{
	munmap(self->private, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

/* The expected loss. */
static void expect_blocked(struct __test_metadata *_metadata, char *addr, unsigned long size)
{
	struct hp_sigbus bus = hp_touch(addr, HP_READ);

	EXPECT_EQ(BUS_MCEERR_AR, bus.code);
	EXPECT_EQ(addr, bus.addr);
	EXPECT_EQ(__builtin_ctzl(size), bus.lsb);
}

/* A mapping has lost the raw page alone. */
static void expect_narrowed(struct __test_metadata *_metadata, char *addr, unsigned long size)
{
	long damage;

	expect_blocked(_metadata, addr + RAW * HP_BASE, HP_BASE);
	EXPECT_EQ(1, hp_lost(addr, size, SEED, &damage));
	EXPECT_EQ(0, damage);
}

/* Not copied yet: the private mapping reads the file's own page. */
TEST_F_TIMEOUT(file, before_copy, 60)
{
	ASSERT_EQ(0, hp_damage(self->private, variant->size, SEED));
	ASSERT_EQ(self->pfn, hp_pfn(self->private + RAW * HP_BASE));

	EXPECT_EQ(0, hp_inject(self->pfn));

	expect_narrowed(_metadata, self->map.addr, variant->size);
	expect_narrowed(_metadata, self->private, variant->size);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->private + RAW * HP_BASE, HP_WRITE).code) {
		TH_LOG("a copy was made of a page with an error in it");
	}
	munmap(self->private, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* Never touched before the error: the fault finds the file's page. */
TEST_F_TIMEOUT(file, untouched, 60)
{
	ASSERT_EQ(HP_NO_PFN, hp_pfn(self->private));

	EXPECT_EQ(0, hp_inject(self->pfn));

	expect_narrowed(_metadata, self->private, variant->size);
	EXPECT_EQ(0, hp_touch(self->private, HP_WRITE).code);
	EXPECT_EQ(BUS_MCEERR_AR, hp_touch(self->private + RAW * HP_BASE, HP_WRITE).code);
	munmap(self->private, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* The private copy is a hugepage of its own by now. */
TEST_F_TIMEOUT(file, after_copy, 60)
{
	hp_stamp(self->private, variant->size, SEED + 1);
	ASSERT_NE(self->pfn, hp_pfn(self->private + RAW * HP_BASE));

	EXPECT_EQ(0, hp_inject(self->pfn));

	expect_narrowed(_metadata, self->map.addr, variant->size);
	EXPECT_EQ(0, hp_damage(self->private, variant->size, SEED + 1));
	hp_stamp(self->private, variant->size, SEED + 2);
	EXPECT_EQ(0, hp_damage(self->private, variant->size, SEED + 2));
	munmap(self->private, variant->size);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_unpoison_soon(self->pfn));
}

/* --- fork itself ---------------------------------------------------------- */

/*
 * All of the above fails if the child lacks the page to begin with. The stock
 * kernel leaves it out now and then, where the page that becomes the child's
 * table of 1 GiB entries was a process's top table before. So let many
 * processes end, and then keep many children.
 */
#define CHILDREN	60

FIXTURE(inherit) {
	struct hp_test test;
	struct hp_map map;
	struct hp_mapper child[CHILDREN];
};

FIXTURE_VARIANT(inherit) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(inherit, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(inherit, 1G) { .size = HP_1G };

/* Leaves free pages behind that remember a process. */
static int use_top_tables(void)
{
	pid_t pid[CHILDREN];

	for (int i = 0; i < CHILDREN; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			return -errno;
		if (!pid[i])
			pause();
	}
	for (int i = 0; i < CHILDREN; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	return 0;
}

FIXTURE_SETUP(inherit)
{
	ASSERT_EQ(0, hp_test_begin(&self->test, HP_2M));
	hp_catch_sigbus();
	ASSERT_EQ(0, hp_map(&self->map, HP_PRIVATE, variant->size, 1));
	hp_stamp(self->map.addr, variant->size, SEED);
	ASSERT_EQ(0, use_top_tables());
}

FIXTURE_TEARDOWN(inherit)
{
	for (int i = 0; i < CHILDREN; i++)
		hp_mapper_stop(&self->child[i]);
	hp_map_free(&self->map);
	EXPECT_EQ(0, hp_test_end(&self->test));
}

TEST_F_TIMEOUT(inherit, finds_all, 60)
{
	unsigned long pfn = hp_pfn(self->map.addr);
	int without = 0;

	for (int i = 0; i < CHILDREN; i++) {
		ASSERT_EQ(0, hp_mapper_start(&self->child[i], &self->map, false));
		without += hp_ask(&self->child[i], HP_OP_PFN, self->map.addr, 0).value != (long)pfn;
	}
	EXPECT_EQ(0, without) {
		TH_LOG("%d of %d children came without the hugepage", without, CHILDREN);
	}
}

TEST_HARNESS_MAIN
