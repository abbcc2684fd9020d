// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: gigantic ones that CMA gave.
 */
#if defined(CONFIG_HUGEPOISON) && defined(CONFIG_CMA)
#include <linux/cma.h>

#include "internal.h"

/**
 * hugepoison_give_back_cma - give pages of a gigantic hugepage back to CMA
 * @pfn: the first one; none belongs to a folio nor has a reference
 * @nr: how many, in a row
 *
 * Pages go back by the blocks of CMA's bitmap. The healthy rest of the block with the raw
 * page stays allocated there, so CMA never touches it again, and becomes ordinary movable
 * memory.
 *
 * Context: Any but NMI.
 * Return: base pages given back; 0 if they are not from CMA, or less than a block.
 */
unsigned long hugepoison_give_back_cma(unsigned long pfn, unsigned long nr)
{
	const unsigned long block = 1UL << HUGETLB_PAGE_ORDER;
	struct page *page = pfn_to_page(pfn);

	nr = ALIGN_DOWN(nr, block);
	if (!nr || !IS_ALIGNED(pfn, block) ||
	    !cma_release_frozen(hugetlb_cma[page_to_nid(page)], page, nr))
		return 0;
	return nr;
}

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
/**
 * hugepoison_test_cma_area - where hugepages of a node come from
 * @nid: the node
 *
 * Return: the area, or NULL.
 */
struct cma *hugepoison_test_cma_area(int nid)
{
	return hugetlb_cma[nid];
}
#endif
#endif /* CONFIG_HUGEPOISON && CONFIG_CMA */
