// SPDX-License-Identifier: GPL-2.0-only
/*
 * Readers of all memory (/proc/kcore, and debuggers that use it) find the healthy
 * pages of a hugepage with errors as they are, and zeros for the bad ones.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "hp.h"
#include "hp_child.h"

#define SEED		0x6c0e
#define STAMPS		2		/* of a page */
#define MAX_SEGMENTS	256

static const enum hp_place places[] = { HP_MIDDLE, HP_HEAD, HP_TAIL };
#define NR_RAWS		((int)ARRAY_SIZE(places))

/* --- reading ------------------------------------------------------------------ */

/* Where the file has a physical address; -1 for nowhere. */
static off_t find_offset(int fd, unsigned long phys)
{
	Elf64_Phdr segment[MAX_SEGMENTS];
	Elf64_Ehdr head;

	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) || head.e_phnum > MAX_SEGMENTS ||
	    pread(fd, segment, head.e_phnum * sizeof(*segment), head.e_phoff) < 0)
		return -1;
	for (int i = 0; i < head.e_phnum; i++)
		if (segment[i].p_type == PT_LOAD && phys >= segment[i].p_paddr &&
		    phys - segment[i].p_paddr < segment[i].p_memsz)
			return segment[i].p_offset + (phys - segment[i].p_paddr);
	return -1;
}

/* Memory from a page frame on, as /proc/kcore has it. Returns 0 or -errno. */
static int read_kcore(unsigned long pfn, char *to, size_t len)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	off_t at = fd < 0 ? -1 : find_offset(fd, pfn * HP_BASE);
	ssize_t n = at < 0 ? -1 : 1;

	for (; n > 0 && len; at += n, to += n, len -= n)
		n = pread(fd, to, len, at);
	if (fd >= 0)
		close(fd);
	return len ? -EIO : 0;
}

/* --- a hugepage, with errors -------------------------------------------------- */

struct one {
	struct hp_test test;
	struct hp_map map;
	unsigned long size, pfn;
	char *copy;
};

static int one_make(struct one *o, enum hp_backing backing, unsigned long size)
{
	int ret = hp_test_begin(&o->test, size);

	if (ret)
		return ret;
	hp_catch_sigbus();
	o->size = size;
	ret = hp_map(&o->map, backing, size, 1);
	if (ret)
		return ret;
	hp_stamp(o->map.addr, size, SEED);
	o->pfn = hp_pfn(o->map.addr);
	o->copy = malloc(size);
	return o->copy ? 0 : -ENOMEM;
}

static int one_end(struct one *o)
{
	free(o->copy);
	hp_map_free(&o->map);
	return hp_test_end(&o->test);
}

static unsigned long raw_at(struct one *o, int i)
{
	return hp_subpage(o->size, places[i]);
}

/* All is there but for the first so many of the places. */
static void expect_all_but(META, struct one *o, int raws)
{
	ASSERT_EQ(0, read_kcore(o->pfn, o->copy, o->size));
	EXPECT_EQ(STAMPS * raws, hp_damage(o->copy, o->size, SEED));
	for (int i = 0; i < raws; i++)
		EXPECT_TRUE(hp_all_zero(o->copy + raw_at(o, i) * HP_BASE));
}

/* To read 1 GiB takes its time: at the beginning and at the end only. */
static void expect_between(META, struct one *o, int raws)
{
	if (o->size == HP_2M || !raws || raws == NR_RAWS)
		expect_all_but(_metadata, o, raws);
}

/* One after the other, each narrowed by the touch of a healthy page. */
static void expect_each(META, struct one *o)
{
	expect_between(_metadata, o, 0);
	for (int i = 0; i < NR_RAWS; i++) {
		ASSERT_EQ(0, hp_inject(o->pfn + raw_at(o, i)));
		EXPECT_EQ(0, hp_touch(o->map.addr + HP_BASE, HP_READ).code);
		expect_between(_metadata, o, i + 1);
	}
}

static void inject_all(META, struct one *o)
{
	for (int i = 0; i < NR_RAWS; i++)
		ASSERT_EQ(0, hp_inject(o->pfn + raw_at(o, i)));
}

/*
 * The hugepage is taken apart into base pages, of which the raw ones are bad.
 */
static void expect_released(META, struct one *o)
{
	char page[HP_BASE];

	hp_map_free(&o->map);
	EXPECT_TRUE(hp_await(!(hp_pageflags(o->pfn) & HP_KPF_HUGE), "the hugepage is released"));
	for (int i = 0; i < NR_RAWS; i++) {
		ASSERT_EQ(0, read_kcore(o->pfn + raw_at(o, i), page, sizeof(page)));
		EXPECT_TRUE(hp_all_zero(page));
	}
}

FIXTURE(shared) {
	struct one o;
};

FIXTURE_VARIANT(shared) {
	unsigned long size;
};

FIXTURE_VARIANT_ADD(shared, 2M) { .size = HP_2M };
FIXTURE_VARIANT_ADD(shared, 1G) { .size = HP_1G };

FIXTURE_SETUP(shared)
{
	ASSERT_EQ(0, one_make(&self->o, HP_MEMFD, variant->size));
}

FIXTURE_TEARDOWN(shared)
{
	EXPECT_EQ(0, one_end(&self->o));
}

TEST_F_TIMEOUT(shared, narrowed, 120)
{
	expect_each(_metadata, &self->o);
}

/* Out of use as a whole, and yet only the raw pages are bad. */
TEST_F_TIMEOUT(shared, contained, 120)
{
	ASSERT_EQ(0, hp_set_containment("hugepage"));
	expect_between(_metadata, &self->o, 0);
	for (int i = 0; i < NR_RAWS; i++) {
		/* the others are recorded, and nothing more goes out of use */
		ASSERT_EQ(i ? -EHWPOISON : 0, hp_inject(self->o.pfn + raw_at(&self->o, i)));
		expect_between(_metadata, &self->o, i + 1);
	}
}

TEST_F_TIMEOUT(shared, released, 120)
{
	inject_all(_metadata, &self->o);
	expect_released(_metadata, &self->o);
}

/* Undone, each can be read again. */
TEST_F_TIMEOUT(shared, unpoisoned, 120)
{
	inject_all(_metadata, &self->o);
	for (int i = NR_RAWS - 1; i >= 0; i--) {
		ASSERT_EQ(0, hp_unpoison(self->o.pfn + raw_at(&self->o, i)));
		expect_between(_metadata, &self->o, i);
	}
}

FIXTURE(private) {
	struct one o;
};

FIXTURE_SETUP(private)
{
	ASSERT_EQ(0, one_make(&self->o, HP_PRIVATE, HP_2M));
}

FIXTURE_TEARDOWN(private)
{
	EXPECT_EQ(0, one_end(&self->o));
}

TEST_F(private, narrowed)
{
	expect_each(_metadata, &self->o);
}

TEST_F(private, released)
{
	expect_each(_metadata, &self->o);
	expect_released(_metadata, &self->o);
}

TEST_HARNESS_MAIN
