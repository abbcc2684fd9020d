// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: soft-offline a page of a free hugepage.
 *
 * soft_offline_page() calls it.
 */
#include "internal.h"

/* Dissolve an isolated free hugepage, and keep one page of it out of use. */
static int hugepoison_retire(struct page *page, struct folio *folio)
{
	unsigned int order = folio_order(folio);
	struct hugepoison_record *record;
	enum hugepoison_outcome outcome;

	spin_lock_irq(&hugetlb_lock);
	hugetlb_update_hwpoison(folio, page);
	spin_unlock_irq(&hugetlb_lock);

	record = hugepoison_add(folio_pfn(folio), order);
	if (record) {
		/* soft_offline_page() counts it in a moment */
		record->nr_bad = 1;
		outcome = hugepoison_dissolve(record, folio);
		if (outcome != HUGEPOISON_ISOLATED) {
			hugepoison_outcome(page_to_pfn(page), order, outcome, 1);
			return 1;
		}
		hugepoison_erase(record);
	}
	hugepoison_forget_all(folio);
	hugepoison_pool_put_back(folio);
	return -EBUSY;
}

/**
 * hugepoison_page_handle_poison - take a free page out of use for soft offlining
 * @page: the page, free or in a free hugepage
 *
 * For soft_offline_page(): like __page_handle_poison(), but the pool of a hugepage is
 * refilled, a reserved hugepage can go as well, and the page never gets to the buddy
 * allocator.
 *
 * Context: Process context, may sleep; mf_mutex held.
 * Return: 1 when @page is out of use, without a reference; 0 when it was allocated
 * first; -EBUSY when its hugepage is not free, or cannot be dissolved.
 */
int hugepoison_page_handle_poison(struct page *page)
{
	int ret;

	lockdep_assert_held(&mf_mutex);
	if (!PageHuge(page))
		return __page_handle_poison(page);
	if (!hugepoison_pool_isolate(page, false)) {
		hugepoison_pool_flush();
		if (!hugepoison_pool_isolate(page, false))
			return folio_test_hwpoison(page_folio(page)) ?
			       -EBUSY : __page_handle_poison(page);
	}

	hugepoison_begin_handling();
	ret = hugepoison_retire(page, page_folio(page));
	hugepoison_end_handling();
	/* the caller takes the reference */
	if (ret > 0)
		set_page_count(page, 0);
	return ret;
}
