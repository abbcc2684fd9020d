// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: memory errors in hugepages while there is no memory.
 */
#include <kunit/test.h>

#include "internal.h"

static void *hugepoison_test_no_memory(gfp_t gfp, void *data)
{
	return NULL;
}

/* From now on there is no memory for it, and @left in the reserve. */
static void hugepoison_test_starve(mempool_t *reserve, int left)
{
	static void *element[HUGEPOISON_RESERVED_RAWS];
	int nr = 0;

	disable_delayed_work_sync(&hugepoison_release_dwork);
	/* KASAN and SLUB know elements by ->alloc: all come out before it changes */
	while (reserve->curr_nr)
		element[nr++] = mempool_alloc_preallocated(reserve);
	reserve->alloc = hugepoison_test_no_memory;
	while (nr > left)
		kfree(element[--nr]);
	while (nr)
		mempool_free(element[--nr], reserve);
}

/* There is memory again. */
static void hugepoison_test_feed(struct kunit *test, mempool_t *reserve)
{
	while (reserve->alloc != mempool_kmalloc && reserve->curr_nr)
		kfree(hugepoison_alloc(reserve));
	reserve->alloc = mempool_kmalloc;
	KUNIT_EXPECT_TRUE(test, hugepoison_refill_reserves());
	enable_delayed_work(&hugepoison_release_dwork);
}

/* Without memory there is the reserve, and with memory it is full again. */
static void hugepoison_test_reserve(struct kunit *test)
{
	mempool_t *reserve = &hugepoison_record_reserve;
	int i, nr = reserve->min_nr;
	void *record;

	KUNIT_EXPECT_EQ(test, nr, HUGEPOISON_RESERVED_RECORDS);
	KUNIT_EXPECT_TRUE(test, hugepoison_refill_reserves());
	hugepoison_test_starve(reserve, nr);
	for (i = 0; i < nr; i++) {
		record = hugepoison_alloc(reserve);
		KUNIT_EXPECT_NOT_NULL(test, record);
		kfree(record);
	}
	KUNIT_EXPECT_NULL(test, hugepoison_alloc(reserve));
	KUNIT_EXPECT_TRUE(test, hugepoison_wants_memory());
	KUNIT_EXPECT_FALSE(test, hugepoison_refill_reserves());
	hugepoison_test_feed(test, reserve);
	KUNIT_EXPECT_FALSE(test, hugepoison_is_reserve_short());
}

/* The last of the reserve is as good for an error as memory is. */
static void hugepoison_test_last(struct kunit *test)
{
	mempool_t *reserve = &hugepoison_record_reserve;
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long pfn = folio_pfn(folio) + 7;
	struct hugepoison_record *record;
	int ret = 0;

	folio_set_hugetlb_migratable(folio);
	hugepoison_test_starve(reserve, 1);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED), -EBUSY);
	mutex_lock(&mf_mutex);
	record = hugepoison_find(pfn);
	KUNIT_EXPECT_TRUE(test, record &&
			  hugepoison_is(record, HUGEPOISON_STATE_PINNED));
	mutex_unlock(&mf_mutex);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(pfn, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	hugepoison_test_feed(test, reserve);
}

/* Nobody uses the hugepage of a record that came late. */
static void hugepoison_test_release_late(struct kunit *test, unsigned long pfn)
{
	struct hugepoison_record *record;

	mutex_lock(&mf_mutex);
	hugepoison_record_released();
	record = hugepoison_find(pfn);
	if (record && !hugepoison_is(record, HUGEPOISON_STATE_RELEASED))
		KUNIT_EXPECT_FALSE(test, hugepoison_try_release(record));
	mutex_unlock(&mf_mutex);
}

/* A record that came late has the errors at @pfn + 7 and + 8, and no reference. */
static void hugepoison_test_recorded(struct kunit *test, unsigned long pfn)
{
	struct hugepoison_record *record;

	mutex_lock(&mf_mutex);
	record = hugepoison_find(pfn);
	KUNIT_EXPECT_TRUE(test, record && record->nr_bad == 2 &&
			  !record->referenced &&
			  hugepoison_is(record, HUGEPOISON_STATE_FAILED));
	mutex_unlock(&mf_mutex);
}

/* Release the hugepage, undo both errors, and end the shortage. */
static void hugepoison_test_undo_late(struct kunit *test, unsigned long pfn,
				      long before)
{
	int i;

	hugepoison_test_release_late(test, pfn);
	for (i = 7; i < 9; i++)
		KUNIT_EXPECT_EQ(test, unpoison_memory(pfn + i), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
	hugepoison_test_feed(test, &hugepoison_record_reserve);
}

/*
 * Two errors, and no memory for a record: the hugepage is poisoned, and the handler has no
 * reference that nobody would know of. With memory the record comes, and has both.
 */
static void hugepoison_test_late(struct kunit *test)
{
	mempool_t *reserve = &hugepoison_record_reserve;
	long before = atomic_long_read(&num_poisoned_pages);
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long pfn = folio_pfn(folio);
	int ret = 0;

	folio_set_hugetlb_migratable(folio);
	hugepoison_test_starve(reserve, 0);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 7, MF_SW_SIMULATED), -EBUSY);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 8, MF_SW_SIMULATED),
			-EHWPOISON);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + 2);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, hugepoison_fate(folio), HUGEPOISON_WIDE);
	KUNIT_EXPECT_TRUE(test, hugepoison_wants_memory());
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(pfn + 8, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	/* the memory is gone again before the worker comes to it */
	hugepoison_record_page(&folio->page);
	KUNIT_EXPECT_TRUE(test, hugepoison_wants_memory());

	reserve->alloc = mempool_kmalloc;
	hugepoison_record_page(&folio->page);
	hugepoison_test_recorded(test, pfn);
	/* it has one, and gets no other */
	hugepoison_record_page(&folio->page);
	folio_put(folio);
	hugepoison_test_undo_late(test, pfn, before);
}

/* The second error brings memory: it makes the record of the first one as well. */
static void hugepoison_test_second_late(struct kunit *test)
{
	mempool_t *reserve = &hugepoison_record_reserve;
	long before = atomic_long_read(&num_poisoned_pages);
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long pfn = folio_pfn(folio);

	folio_set_hugetlb_migratable(folio);
	hugepoison_test_starve(reserve, 0);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 7, MF_SW_SIMULATED), -EBUSY);
	reserve->alloc = mempool_kmalloc;
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 8, MF_SW_SIMULATED),
			-EHWPOISON);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + 2);
	hugepoison_test_recorded(test, pfn);
	folio_put(folio);
	hugepoison_test_undo_late(test, pfn, before);
}

/* A raw page that is left of a hugepage gets its record when there is memory. */
static void hugepoison_test_left_late(struct kunit *test)
{
	unsigned int order = huge_page_order(&default_hstate);
	struct folio *folio = hugepoison_pool_spare(order, 0, NULL);
	long before = atomic_long_read(&num_poisoned_pages);
	struct hugepoison_error err = { .flags = MF_SW_SIMULATED };
	struct hugepoison_record *record;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_TRUE(test, folio_test_hugetlb_temporary(folio));
	err.page = folio_page(folio, 7);
	err.pfn = page_to_pfn(err.page);
	hugepoison_test_starve(&hugepoison_record_reserve, 0);
	mutex_lock(&mf_mutex);
	hugepoison_begin_error(&err);
	spin_lock_irq(&hugetlb_lock);
	hugetlb_update_hwpoison(folio, err.page);
	spin_unlock_irq(&hugetlb_lock);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, hugepoison_contain_free(&err), 0);
	hugepoison_end_error(&err);
	KUNIT_EXPECT_EQ(test, err.order, order);
	KUNIT_EXPECT_NULL(test, hugepoison_lookup(err.pfn));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + 1);

	hugepoison_record_reserve.alloc = mempool_kmalloc;
	hugepoison_record_released();
	record = hugepoison_lookup(err.pfn);
	KUNIT_EXPECT_TRUE(test, record && record->nr_bad == 1 &&
			  hugepoison_is(record, HUGEPOISON_STATE_RELEASED));
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_EQ(test, unpoison_memory(err.pfn), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
	hugepoison_test_feed(test, &hugepoison_record_reserve);
}

/*
 * All of a hugepage is out of use when which pages are bad gets lost: that changes
 * nothing, and what was known before still is. Its last user is not charged for it.
 */
static void hugepoison_test_unlisted(struct kunit *test)
{
	long before = atomic_long_read(&num_poisoned_pages);
	struct folio *folio = hugepoison_test_folio(test);
	unsigned long nr = folio_nr_pages(folio);
	unsigned long pfn = folio_pfn(folio);
	struct hugepoison_record *record;
	int ret = 0;

	folio_set_hugetlb_migratable(folio);
	hugepoison_test_starve(&hugepoison_raw_reserve, 0);
	hugepoison_raw_reserve.alloc = mempool_kmalloc;
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 7, MF_SW_SIMULATED), -EBUSY);
	hugepoison_raw_reserve.alloc = hugepoison_test_no_memory;
	KUNIT_EXPECT_EQ(test, memory_failure(pfn + 8, MF_SW_SIMULATED),
			-EHWPOISON);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb_raw_hwp_unreliable(folio));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages),
			before + (long)nr);
	folio_put(folio);
	mutex_lock(&mf_mutex);
	record = hugepoison_find(pfn);
	KUNIT_EXPECT_NOT_NULL(test, record);
	if (record) {
		KUNIT_EXPECT_FALSE(test, hugepoison_try_release(record));
		KUNIT_EXPECT_TRUE(test, record->worker.stuck);
	}
	mutex_unlock(&mf_mutex);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(pfn + 7, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	folio_clear_hugetlb_raw_hwp_unreliable(folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_unpoison(pfn + 7, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&num_poisoned_pages), before);
	hugepoison_test_feed(test, &hugepoison_raw_reserve);
}

static struct kunit_case hugepoison_nomem_cases[] = {
	KUNIT_CASE(hugepoison_test_reserve),
	KUNIT_CASE(hugepoison_test_last),
	KUNIT_CASE(hugepoison_test_late),
	KUNIT_CASE(hugepoison_test_second_late),
	KUNIT_CASE(hugepoison_test_left_late),
	KUNIT_CASE(hugepoison_test_unlisted),
	{}
};

static struct kunit_suite hugepoison_nomem_suite = {
	.name = "hugepoison-nomem",
	.test_cases = hugepoison_nomem_cases,
};

kunit_test_suite(hugepoison_nomem_suite);
