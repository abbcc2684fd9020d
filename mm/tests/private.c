// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the pages of narrowed private mappings.
 */
#include <kunit/test.h>

#include "internal.h"

/* The entry of a private mapping after an error in its hugepage. */
static pte_t hugepoison_test_entry(unsigned long pfn)
{
	swp_entry_t entry = swp_entry(SWP_HWPOISON, pfn);

	return pte_swp_mkexclusive(swp_entry_to_pte(entry));
}

/* Each copy of a marked entry has a reference, and gives it back. */
static void hugepoison_test_kept(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test);
	pte_t entry = hugepoison_test_entry(folio_pfn(folio));
	pte_t none = __pte(0), other = pte_swp_clear_exclusive(entry);
	pte_t copy = entry;

	KUNIT_ASSERT_EQ(test, hugepoison_pool_isolate(&folio->page, false), true);
	folio->mapping = (void *)FOLIO_MAPPING_ANON;
	SetPageAnonExclusive(&folio->page);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_kept_folio(entry), folio);
	KUNIT_EXPECT_NULL(test, hugepoison_kept_folio(other));
	KUNIT_EXPECT_NULL(test, hugepoison_kept_folio(none));
	KUNIT_EXPECT_FALSE(test, hugepoison_copy_entry(&none));
	KUNIT_EXPECT_TRUE(test, hugepoison_copy_entry(&other));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);

	KUNIT_EXPECT_TRUE(test, hugepoison_copy_entry(&copy));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_FALSE(test, PageAnonExclusive(&folio->page));
	/* where another hugepage is taken away the entry stays */
	hugepoison_clear_entry(&init_mm, 0, PMD_SIZE, true, &copy);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	hugepoison_clear_entry(&init_mm, 0, PMD_SIZE, false, &copy);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	hugepoison_clear_entry(&init_mm, 0, PMD_SIZE, false, &other);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	folio->mapping = NULL;
	folio_put(folio);
	hugepoison_test_shrink(folio);
}

/* A narrowed private mapping holds its hugepage until it discards it page by page. */
static void hugepoison_test_private(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test);
	struct vm_area_struct vma = { .vm_mm = &init_mm, .vm_start = SZ_1G,
				      .vm_end = SZ_1G + PMD_SIZE };
	struct hugepoison_private *priv;

	KUNIT_ASSERT_EQ(test, hugepoison_pool_isolate(&folio->page, false), true);
	priv = hugepoison_private_alloc(&init_mm, HPAGE_PMD_NR);
	KUNIT_ASSERT_NOT_NULL(test, priv);
	priv->folio = folio;
	folio_get(folio);
	vma.vm_private_data = priv;
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	hugepoison_discard(&vma, SZ_1G + 3 * PAGE_SIZE, SZ_1G + 5 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_private_folio(&vma, SZ_1G), folio);
	KUNIT_EXPECT_NULL(test, hugepoison_private_folio(&vma, SZ_1G + 3 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, hugepoison_private_folio(&vma, SZ_1G + 4 * PAGE_SIZE));
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_private_folio(&vma, SZ_1G + 5 * PAGE_SIZE),
			    folio);

	/* its own again when nobody else has a reference */
	folio->mapping = (void *)FOLIO_MAPPING_ANON;
	folio_lock(folio);
	KUNIT_EXPECT_FALSE(test, hugepoison_private_is_exclusive(folio));
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, hugepoison_private_is_exclusive(folio));
	KUNIT_EXPECT_TRUE(test, PageAnonExclusive(&folio->page));
	ClearPageAnonExclusive(&folio->page);
	folio_unlock(folio);
	folio->mapping = NULL;
	hugepoison_private_free(priv);
	hugepoison_test_shrink(folio);
}

/* Where swapoff lost the process's own page, what the hugepage has is older. */
static void hugepoison_test_marker(struct kunit *test)
{
	pte_t lost = make_pte_marker(PTE_MARKER_POISONED);
	struct vm_area_struct vma = { .vm_mm = &init_mm, .vm_start = SZ_1G,
				      .vm_end = SZ_1G + PMD_SIZE };

	vma.vm_private_data = hugepoison_private_alloc(&init_mm, HPAGE_PMD_NR);
	KUNIT_ASSERT_NOT_NULL(test, vma.vm_private_data);
	KUNIT_EXPECT_TRUE(test, hugepoison_has_no_copy(__pte(0)));
	KUNIT_EXPECT_FALSE(test, hugepoison_has_no_copy(lost));
	KUNIT_EXPECT_TRUE(test, hugepoison_entry_is_poisoned(&vma, SZ_1G, lost));
	hugepoison_private_free(vma.vm_private_data);
}

static struct kunit_case hugepoison_private_cases[] = {
	KUNIT_CASE(hugepoison_test_kept),
	KUNIT_CASE(hugepoison_test_marker),
	KUNIT_CASE(hugepoison_test_private),
	{}
};

static struct kunit_suite hugepoison_private_suite = {
	.name = "hugepoison-private",
	.test_cases = hugepoison_private_cases,
};

kunit_test_suite(hugepoison_private_suite);
