// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: which pages of a hugepage are bad.
 *
 * Stock's list of raw pages, under hugetlb_lock, has the bad pages of a hugepage.
 * PG_hwpoison on a subpage says that it is out of use: the raw pages are, or all subpages
 * when the hugepage as a whole is.
 */
#include <linux/llist.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "internal.h"

/*
 * Set or clear PG_hwpoison on all subpages of a hugepage, in one operation.
 *
 * Under HVO a hugepage has one page of struct pages for itself. All others are read-only, and
 * shared with the other hugepages: so only the first ones are marked, and for the rest
 * is_page_hwpoison() and /proc/kpageflags ask the head page. (Where HVO maps that first page
 * again in place of the others, the marks show in all.) HVO cannot change meanwhile: a folio
 * with a reference is neither optimized nor restored.
 *
 * Clearing the marks leaves the head page's flag: it is the folio's, stock code tests it,
 * and the caller clears it last.
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
 * Mark a raw page. Under HVO it shares its struct page with good pages of the hugepage:
 * there only the list of raw pages has it. See hugepoison_mark() for why HVO cannot
 * change meanwhile.
 */
static void hugepoison_mark_raw(struct folio *folio, struct page *page)
{
	lockdep_assert_held(&mf_mutex);
	if (!folio_test_hugetlb_vmemmap_optimized(folio))
		SetPageHWPoison(page);
}

/* Clear a raw page's mark. The head page's mark is the folio's, and is cleared last. */
static void hugepoison_unmark_raw(struct folio *folio, struct page *page)
{
	if (page != &folio->page &&
	    !folio_test_hugetlb_vmemmap_optimized(folio))
		ClearPageHWPoison(page);
}

/*
 * Remove the error in @page from the list of raw pages, or all errors if @page is NULL.
 * hugetlb_lock keeps other errors from being added before the list is put back.
 *
 * Return: the number of remaining errors.
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

/* Make a hugepage healthy again. The caller has a reference. */
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

/* The number of bad pages of a hugepage. */
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
 * @first: the first subpage
 * @bad: bitmap to fill, a bit for each subpage from @first on
 * @nr: bits in @bad
 *
 * Context: Any but interrupts; takes hugetlb_lock. If the caller holds the folio lock, the
 * handler of a later error waits for it before it unmaps the page.
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

/*
 * The first bad subpage of a hugepage from @from on, as hugepoison_raw_pages() finds
 * them; the hugepage's number of pages if there is none.
 */
static unsigned long hugepoison_next_raw_locked(struct folio *folio,
						unsigned long from)
{
	unsigned long i, next = folio_nr_pages(folio);
	struct raw_hwp_page *raw;

	lockdep_assert_held(&hugetlb_lock);
	if (folio_test_hugetlb_raw_hwp_unreliable(folio))
		return from;
	if (!folio_test_hwpoison(folio))
		return next;
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node) {
		i = folio_page_idx(folio, raw->page);
		if (i >= from)
			next = min(next, i);
	}
	return next;
}

/**
 * hugepoison_next_raw - find the bad pages of a hugepage, one after the other
 * @folio: the hugepage, healthy or poisoned
 * @from: the first subpage to look at
 *
 * Context: As hugepoison_raw_pages().
 * Return: the first bad subpage from @from on; the number of subpages if there is none.
 */
unsigned long hugepoison_next_raw(struct folio *folio, unsigned long from)
{
	unsigned long next;

	spin_lock_irq(&hugetlb_lock);
	next = hugepoison_next_raw_locked(folio, from);
	spin_unlock_irq(&hugetlb_lock);
	return next;
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
 * @folio: just found as a file's hugepage; RCU keeps its memory
 * @size: of the hugepage, in bytes
 * @at: the subpage
 *
 * hugetlb_lock keeps the folio a hugepage, and keeps its list of raw pages.
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
 * Whether a compound page has just stopped being a hugepage, and is about to become free
 * pages. Its raw pages may not be marked yet, but its head page is. Other compound pages
 * with an error have PG_large_rmappable.
 */
static bool hugepoison_is_leaving(struct folio *folio)
{
	return PageHead(&folio->page) && PageHWPoison(&folio->page) &&
	       !test_bit(PG_large_rmappable, hugepoison_flags(folio_page(folio, 1)));
}

/**
 * hugepoison_page_is_bad - whether a page of memory must not be read
 * @page: any page that is online
 *
 * For readers of all memory, which hold no reference. Of a poisoned hugepage the raw
 * pages are bad, in any state, or all pages if the list of raw pages is unreliable. In
 * other memory marked pages are bad. An error may come right after, as with
 * is_page_hwpoison().
 *
 * Context: Any but interrupts; takes hugetlb_lock where there is an error.
 * Return: true if the reader has to skip the page.
 */
bool hugepoison_page_is_bad(struct page *page)
{
	bool huge, bad = false;
	struct folio *folio;

	if (is_page_hwpoison(page) || hugepoison_is_leaving(page_folio(page))) {
		spin_lock_irq(&hugetlb_lock);
		/* hugetlb_lock keeps a hugepage one */
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
	/* the raw page is marked before the head page's mark is cleared: test again */
	smp_rmb();
	return PageHWPoison(page);
}
