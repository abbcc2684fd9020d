// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: which pages of a hugepage are bad.
 *
 * Included by hugepoison/memory-failure.c. A hugepage's list of raw pages, which
 * stock keeps under hugetlb_lock, says it. PG_hwpoison on a
 * subpage says that the page is out of use: every one of a hugepage of which all is
 * given up, else the raw pages.
 */

/*
 * Set or clear PG_hwpoison on all subpages of a hugepage, in one operation.
 *
 * Under HVO only the first vmemmap page may be written, and all the others map
 * that same page: what is written to its struct pages reads back from all. It
 * stays so: a folio with a reference is neither optimized nor restored, and
 * restoring copies these marks to the struct pages it brings back.
 *
 * The head page keeps its flag when the marks go: it is the folio's own, stock
 * code goes by it and the caller clears it last.
 */
static void hugepoison_mark(struct folio *folio, bool mark)
{
	unsigned long i, nr = folio_nr_pages(folio);

	lockdep_assert_held(&mf_mutex);
	if (folio_test_hugetlb_vmemmap_optimized(folio))
		nr = min_t(unsigned long, nr, PAGE_SIZE / sizeof(struct page));

	for (i = 1; i < nr; i++) {
		struct page *page = folio_page(folio, i);

		if (mark)
			SetPageHWPoison(page);
		else
			ClearPageHWPoison(page);
		if (!(i % SZ_4K))
			cond_resched();
	}
}

/*
 * Set the raw page's own mark. Under HVO it shares its struct page with others
 * of the hugepage, none of them bad: there the list of raw pages is all there
 * is. See hugepoison_mark() for why that cannot change under us.
 */
static void hugepoison_mark_raw(struct folio *folio, struct page *page)
{
	lockdep_assert_held(&mf_mutex);
	if (!folio_test_hugetlb_vmemmap_optimized(folio))
		SetPageHWPoison(page);
}

/* The counterpart; the head page's mark is the folio's and goes last. */
static void hugepoison_unmark_raw(struct folio *folio, struct page *page)
{
	if (page != &folio->page &&
	    !folio_test_hugetlb_vmemmap_optimized(folio))
		ClearPageHWPoison(page);
}

/*
 * Forget the error in @page, or in all pages without one. Errors are added
 * under the same lock, so none can slip in between the taking down of the list
 * and putting back what stays.
 *
 * Return: how many errors are left.
 */
static unsigned long hugepoison_forget(struct folio *folio, struct page *page)
{
	struct llist_head *list = raw_hwp_list_head(folio);
	struct raw_hwp_page *raw, *next;
	unsigned long left = 0;

	lockdep_assert_held(&hugetlb_lock);
	llist_for_each_entry_safe(raw, next, llist_del_all(list), node) {
		if (page && raw->page != page) {
			llist_add(&raw->node, list);
			left++;
		} else {
			kfree(raw);
		}
	}
	return left;
}

/* Nothing of a hugepage is bad after all. The caller has a reference. */
static void hugepoison_forget_all(struct folio *folio)
{
	spin_lock_irq(&hugetlb_lock);
	hugepoison_forget(folio, NULL);
	folio_clear_hugetlb_raw_hwp_unreliable(folio);
	folio_clear_hwpoison(folio);
	spin_unlock_irq(&hugetlb_lock);
}

static bool hugepoison_is_raw(struct folio *folio, struct page *page)
{
	struct raw_hwp_page *raw;

	lockdep_assert_held(&hugetlb_lock);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		if (raw->page == page)
			return true;
	return false;
}

/* How many pages of a hugepage are bad. */
static long hugepoison_nr_raw(struct folio *folio)
{
	struct raw_hwp_page *raw;
	long nr = 0;

	lockdep_assert_held(&mf_mutex);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		nr++;
	return nr;
}

/**
 * hugepoison_raw_pages - which pages of a poisoned hugepage are bad
 * @folio: the hugepage
 * @first: the first subpage asked about
 * @bad: bitmap to fill, a bit for each subpage from @first on
 * @nr: bits in @bad
 *
 * Context: Any but interrupts; takes hugetlb_lock. With the folio lock held an
 * error reported later waits to unmap its page until the lock is dropped.
 */
void hugepoison_raw_pages(struct folio *folio, unsigned long first,
			  unsigned long *bad, unsigned int nr)
{
	struct raw_hwp_page *raw;
	unsigned long i;

	bitmap_zero(bad, nr);
	spin_lock_irq(&hugetlb_lock);
	if (folio_test_hugetlb_raw_hwp_unreliable(folio)) {
		bitmap_fill(bad, nr);
	} else if (folio_test_hwpoison(folio)) {
		llist_for_each_entry(raw, raw_hwp_list_head(folio)->first,
				     node) {
			i = folio_page_idx(folio, raw->page);
			if (i >= first && i < first + nr)
				__set_bit(i - first, bad);
		}
	}
	spin_unlock_irq(&hugetlb_lock);
}

/**
 * hugepoison_page_is_raw - whether a page of a poisoned hugepage is bad
 * @folio: the hugepage
 * @at: the subpage
 *
 * Context: As hugepoison_raw_pages().
 * Return: true for a page that is bad.
 */
bool hugepoison_page_is_raw(struct folio *folio, unsigned long at)
{
	DECLARE_BITMAP(bad, 1);

	hugepoison_raw_pages(folio, at, bad, 1);
	return test_bit(0, bad);
}

/**
 * hugepoison_peek_raw - whether a page of a hugepage is bad
 * @folio: what was a file's hugepage a moment ago; RCU keeps its memory
 * @size: of the hugepage, in bytes
 * @at: the subpage
 *
 * With hugetlb_lock held what is a hugepage stays one, and its list of raw pages.
 *
 * Context: Any but interrupts; takes hugetlb_lock, needs neither the folio lock
 * nor a reference.
 * Return: true for a page that is bad.
 */
bool hugepoison_peek_raw(struct folio *folio, unsigned long size,
			 unsigned long at)
{
	bool raw = false;

	spin_lock_irq(&hugetlb_lock);
	if (folio_test_hugetlb(folio) && folio_size(folio) == size &&
	    folio_test_hwpoison(folio))
		raw = folio_test_hugetlb_raw_hwp_unreliable(folio) ||
		      hugepoison_is_raw(folio, folio_page(folio, at));
	spin_unlock_irq(&hugetlb_lock);
	return raw;
}

/*
 * Whether a compound page was a hugepage until just now: free pages are about to
 * be made of it. Of its raw pages none need be marked, but its head page is.
 * Others of that size, which a memory error may have hit as well, are mapped.
 */
static bool hugepoison_is_leaving(struct folio *folio)
{
	return PageHead(&folio->page) && PageHWPoison(&folio->page) &&
	       !test_bit(PG_large_rmappable, &folio_page(folio, 1)->flags);
}

/**
 * hugepoison_page_is_bad - whether a page of memory must not be read
 * @page: any page that is online
 *
 * For who reads all memory and holds nothing: of a poisoned hugepage the raw
 * pages are bad, in whichever state it is, and no others, unless which they
 * are was lost for want of memory. Of all other memory it is what is marked. As
 * is_page_hwpoison(), it knows nothing of the errors to come.
 *
 * Context: Any but interrupts; takes hugetlb_lock where there is an error.
 * Return: true for a page to leave out.
 */
bool hugepoison_page_is_bad(struct page *page)
{
	bool huge, bad = false;
	struct folio *folio;

	if (is_page_hwpoison(page) || hugepoison_is_leaving(page_folio(page))) {
		spin_lock_irq(&hugetlb_lock);
		/* what is a hugepage stays one as long as the lock is held */
		folio = page_folio(page);
		huge = folio_test_hugetlb(folio);
		if (!huge)
			bad = hugepoison_is_leaving(folio);
		else if (PageHWPoison(&folio->page))
			bad = folio_test_hugetlb_raw_hwp_unreliable(folio) ||
			      hugepoison_is_raw(folio, page);
		spin_unlock_irq(&hugetlb_lock);
		if (huge || bad)
			return bad;
	}
	/* its own mark is there before the head page's goes: look again */
	smp_rmb();
	return PageHWPoison(page);
}
