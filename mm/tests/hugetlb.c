// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the pool under memory errors. Included by hugepoison/hugetlb.c.
 */
#include <kunit/test.h>

struct hugepoison_test_pool {
	unsigned long nr, free, surplus, resv;
};

static struct hugepoison_test_pool hugepoison_test_snapshot(void)
{
	struct hstate *h = &default_hstate;
	struct hugepoison_test_pool pool;

	spin_lock_irq(&hugetlb_lock);
	pool.nr = h->nr_huge_pages;
	pool.free = h->free_huge_pages;
	pool.surplus = h->surplus_huge_pages;
	pool.resv = h->resv_huge_pages;
	spin_unlock_irq(&hugetlb_lock);
	return pool;
}

/* One more free hugepage in the default pool. */
static struct folio *hugepoison_test_grow(struct kunit *test)
{
	struct hstate *h = &default_hstate;
	struct folio *folio = alloc_fresh_hugetlb_folio(h, htlb_alloc_mask(h),
							0, NULL);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	spin_lock_irq(&hugetlb_lock);
	enqueue_hugetlb_folio(h, folio);
	spin_unlock_irq(&hugetlb_lock);
	return folio;
}

static void hugepoison_test_shrink(struct folio *folio)
{
	spin_lock_irq(&hugetlb_lock);
	remove_hugetlb_folio(&default_hstate, folio, false);
	spin_unlock_irq(&hugetlb_lock);
	update_and_free_hugetlb_folio(&default_hstate, folio, false);
}

/* More promised than free is nothing to spare, never very many. */
static void hugepoison_test_available(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, hugepoison_available(5, 3), 2UL);
	KUNIT_EXPECT_EQ(test, hugepoison_available(3, 3), 0UL);
	KUNIT_EXPECT_EQ(test, hugepoison_available(2, 3), 0UL);
	KUNIT_EXPECT_EQ(test, hugepoison_available(0, ULONG_MAX), 0UL);
}

/* An isolated hugepage is off the free list, in the pool, and comes back. */
static void hugepoison_test_isolate(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test);
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;

	KUNIT_EXPECT_TRUE(test, hugepoison_pool_isolate(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_EQ(test, now.nr, before.nr);
	KUNIT_EXPECT_EQ(test, now.free, before.free - 1);

	/* not on the free list any more: nothing to isolate */
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_isolate(folio));

	folio_put(folio);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
	hugepoison_test_shrink(folio);
}

/* A replaced hugepage leaves the pool, and the pool's counters stay. */
static void hugepoison_test_replace(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test), *fresh;
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;

	KUNIT_EXPECT_EQ(test, hugepoison_pool_replace(folio, HPAGE_PMD_ORDER), 0);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(folio));

	spin_lock_irq(&hugetlb_lock);
	fresh = hugepoison_pool_find_free(huge_page_size(&default_hstate), 0);
	spin_unlock_irq(&hugetlb_lock);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fresh);
	KUNIT_EXPECT_PTR_NE(test, fresh, folio);
	hugepoison_test_shrink(fresh);
}

/* A poisoned hugepage is not offered for injection; a size must exist. */
static void hugepoison_test_find_free(struct kunit *test)
{
	unsigned long size = huge_page_size(&default_hstate);
	struct folio *folio = hugepoison_test_grow(test);

	spin_lock_irq(&hugetlb_lock);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_pool_find_free(size, 0), folio);
	folio_set_hwpoison(folio);
	KUNIT_EXPECT_PTR_NE(test, hugepoison_pool_find_free(size, 0), folio);
	folio_clear_hwpoison(folio);
	KUNIT_EXPECT_TRUE(test, IS_ERR(hugepoison_pool_find_free(size + 1, 0)));
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_test_shrink(folio);
}

/* A restored vmemmap page has plain tails only; what lay behind them stays. */
static void hugepoison_test_reset(struct kunit *test)
{
#ifdef CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP
	const int own = sizeof(struct folio) / sizeof(struct page);
	struct page *pages = kunit_kcalloc(test, 8, sizeof(*pages), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	for (i = 0; i < 8; i++)
		memset(&pages[i], i < own ? 0xa0 + i : 0x55, sizeof(*pages));
	pages[own + 1].flags = 42;
	hugepoison_reset_vmemmap(pages);
	for (i = 0; i < own; i++)
		KUNIT_EXPECT_MEMEQ(test, &pages[i], &pages[own],
				   sizeof(*pages));
	KUNIT_EXPECT_EQ(test, pages[own + 1].flags, 42UL);
#else
	kunit_skip(test, "CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP is not set");
#endif
}

/* A table of 1 GiB entries is nobody else's, whatever its page has in store. */
static void hugepoison_test_table(struct kunit *test)
{
#ifdef CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING
	struct ptdesc table = { };

	KUNIT_EXPECT_FALSE(test, hugepoison_table_is_shared(PMD_SIZE, &table));
	atomic_set(&table.pt_share_count, 1);
	KUNIT_EXPECT_TRUE(test, hugepoison_table_is_shared(PMD_SIZE, &table));
	KUNIT_EXPECT_FALSE(test, hugepoison_table_is_shared(PUD_SIZE, &table));
#else
	kunit_skip(test, "CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING is not set");
#endif
}

static struct kunit_case hugepoison_pool_cases[] = {
	KUNIT_CASE(hugepoison_test_available),
	KUNIT_CASE(hugepoison_test_isolate),
	KUNIT_CASE(hugepoison_test_replace),
	KUNIT_CASE(hugepoison_test_find_free),
	KUNIT_CASE(hugepoison_test_reset),
	KUNIT_CASE(hugepoison_test_table),
	{}
};

static struct kunit_suite hugepoison_pool_suite = {
	.name = "hugepoison-hugetlb",
	.test_cases = hugepoison_pool_cases,
};

kunit_test_suite(hugepoison_pool_suite);
