// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the pool.
 *
 * Included at the end of the stock file of this name, to reach its statics.
 */
#ifdef CONFIG_HUGEPOISON
#undef pr_fmt
#define pr_fmt(fmt) "hugepoison: " fmt

/**
 * hugepoison_pool_replace - put a fresh hugepage into the pool for a free,
 *			     poisoned one
 * @folio: the poisoned hugepage, on its pool's free list
 * @order: its order; the pool may give it up while we look
 *
 * For the hugepage that cannot simply be dissolved because it is promised: a
 * fresh one from the same node takes its place first, so the number of free
 * hugepages never falls below the reservations. A gigantic page is not
 * replaced: finding one means migrating a GiB, which is no work to do under
 * the lock of the error handler.
 *
 * Context: Process context, may sleep and allocate; takes hugetlb_lock.
 * Return: 0 with @folio dissolved into the buddy allocator, by us or by
 * somebody else, -EBUSY when it is no longer free, -ENOMEM when the node has no
 * fresh hugepage to give.
 */
int hugepoison_pool_replace(struct folio *folio, unsigned int order)
{
	struct hstate *h = size_to_hstate(PAGE_SIZE << order);
	LIST_HEAD(isolated);
	int ret;

	if (hstate_is_gigantic(h))
		return -ENOMEM;

	/*
	 * An in-use folio would be isolated onto the list instead. That is
	 * impossible here: the poison flag keeps the allocator away from a
	 * folio on the free list, and the handler cleared HPG_migratable.
	 */
	ret = alloc_and_dissolve_hugetlb_folio(h, folio, &isolated);
	VM_WARN_ON_ONCE(!list_empty(&isolated));
	return ret;
}

/**
 * hugepoison_pool_isolate - take a free, poisoned hugepage off the free list
 * @folio: the poisoned hugepage
 *
 * The last resort when it can be neither dissolved nor replaced. The caller
 * becomes its only user, just as if it had been allocated: it is in
 * nr_hugepages but no longer in free_hugepages, and folio_put() gives it back
 * to the pool once it is unpoisoned.
 *
 * Context: Any context that may take hugetlb_lock.
 * Return: true with a reference held for the caller, false when @folio is not
 * on the free list.
 */
bool hugepoison_pool_isolate(struct folio *folio)
{
	struct hstate *h;
	int nid = folio_nid(folio);
	bool ret = false;

	spin_lock_irq(&hugetlb_lock);
	if (folio_test_hugetlb(folio) && folio_test_hugetlb_freed(folio)) {
		h = folio_hstate(folio);
		folio_ref_unfreeze(folio, 1);
		folio_clear_hugetlb_freed(folio);
		list_move(&folio->lru, &h->hugepage_activelist);
		h->free_huge_pages_node[nid]--;
		h->free_huge_pages--;
		ret = true;
	}
	spin_unlock_irq(&hugetlb_lock);
	return ret;
}

/**
 * hugepoison_pool_find_free - a healthy free hugepage of a size on a node
 * @size: hugepage size, in bytes
 * @nid: the node
 *
 * Context: hugetlb_lock held; the answer is good until it is dropped.
 * Return: the folio, NULL when none is free there, ERR_PTR(-EINVAL) when the
 * kernel has no hugepages of that size.
 */
struct folio *hugepoison_pool_find_free(unsigned long size, int nid)
{
	struct hstate *h = size_to_hstate(size);
	struct folio *folio;

	lockdep_assert_held(&hugetlb_lock);
	if (!h)
		return ERR_PTR(-EINVAL);
	list_for_each_entry(folio, &h->hugepage_freelists[nid], lru)
		if (!folio_test_hwpoison(folio))
			return folio;
	return NULL;
}

#ifdef CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP
/**
 * hugepoison_reset_vmemmap - make a restored vmemmap page one of tail pages
 * @to: the first struct page in the page that was just filled
 *
 * HVO maps all vmemmap pages of a hugepage to the first one. Restoring copies
 * that one, whose first struct pages hold the folio's own state; left in the
 * copies they make every 64th page of the freed hugepage a "Bad page state",
 * without any memory error. The struct page after them is a plain tail.
 *
 * Context: Any; @to is not yet mapped at its place in the vmemmap.
 */
void hugepoison_reset_vmemmap(struct page *to)
{
	const int own = sizeof(struct folio) / sizeof(struct page);
	int i;

	for (i = 0; i < own; i++)
		memcpy(to + i, to + own, sizeof(*to));
}
#endif

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/hugetlb.c"
#endif
#endif /* CONFIG_HUGEPOISON */
