// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: good memory in place of the bad. Included by hugepoison/memory-failure.c.
 */
#include <linux/sched/rt.h>

static int hugepoison_test_step(struct hugepoison_heal *heal, int ret)
{
	/* a step takes mf_mutex itself, after what may wait */
	lockdep_assert_not_held(&mf_mutex);
	return rt_task(current) ? ret + 1 : -EPERM;
}

/* A heal takes the handler's mutex at nobody's priority but the worker's. */
static void hugepoison_test_heal_by_worker(struct kunit *test)
{
	struct hugepoison_heal heal = { };

	KUNIT_EXPECT_EQ(test, hugepoison_heal_by_worker(&heal,
							hugepoison_test_step,
							1), 2);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&mf_mutex));
}

/* Zeroing passes by the raw pages. */
static void hugepoison_test_zero(struct kunit *test)
{
	static const unsigned int raw[] = { 3 };
	struct hugepoison_test_file f;
	char *bad;

	hugepoison_test_open(test, &f);
	bad = page_address(folio_page(f.folio, raw[0]));
	memset(bad - PAGE_SIZE, 0x55, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	folio_lock(f.folio);
	hugepoison_zero_segment(f.folio, 2 * PAGE_SIZE + 1, 5 * PAGE_SIZE - 1);
	folio_unlock(f.folio);
	KUNIT_EXPECT_EQ(test, bad[-(long)PAGE_SIZE], 0x55);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(bad - PAGE_SIZE + 1, 0,
					     PAGE_SIZE - 1), NULL);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(bad, 0x55, PAGE_SIZE), NULL);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(bad + PAGE_SIZE, 0,
					     PAGE_SIZE - 1), NULL);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

/*
 * A user holds the poisoned hugepage: the file keeps it. Without users the file gets a
 * fresh one, with zeros for the raw page only.
 */
static void hugepoison_test_held(struct kunit *test)
{
	static const unsigned int raw[] = { 3 };
	struct hugepoison_test_file f;
	unsigned long at, hole = raw[0] * PAGE_SIZE;
	struct inode *inode;
	char byte = 1;

	hugepoison_test_open(test, &f);
	at = f.address + hole;
	inode = file_inode(f.file);
	KUNIT_EXPECT_EQ(test, memory_failure(f.pfn + raw[0], MF_SW_SIMULATED),
			0);
	folio_get(f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(inode, hole, PAGE_SIZE),
			-EBUSY);
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&inode->i_mapping->i_pages, 0), f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(at, &byte), -EFAULT);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');

	folio_put(f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_heal_hole(inode, hole, PAGE_SIZE), 0);
	KUNIT_EXPECT_PTR_NE(test, xa_load(&inode->i_mapping->i_pages, 0), f.folio);
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(f.address, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 'x');
	KUNIT_EXPECT_EQ(test, hugepoison_test_read(at, &byte), 0);
	KUNIT_EXPECT_EQ(test, byte, 0);
	hugepoison_test_close(test, &f, raw, ARRAY_SIZE(raw));
}

static struct kunit_case hugepoison_heal_cases[] = {
	KUNIT_CASE(hugepoison_test_heal_by_worker),
	KUNIT_CASE(hugepoison_test_zero),
	KUNIT_CASE(hugepoison_test_held),
	{}
};

static struct kunit_suite hugepoison_heal_suite = {
	.name = "hugepoison-heal",
	.test_cases = hugepoison_heal_cases,
};

kunit_test_suite(hugepoison_heal_suite);
