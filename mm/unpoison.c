// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: undo an injected error.
 */
#include <linux/highmem.h>
#include <linux/memory_hotplug.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "internal.h"

/*
 * Fill a raw page as a free page is filled. The buddy allocator relies on that for pages
 * put back, and would hand out the raw page with the contents of the hugepage.
 */
static void hugepoison_fill_free(struct page *page)
{
	if (want_init_on_free())
		clear_highpage(page);
	kernel_poison_pages(page, 1);
}

/* Give the raw page of a dissolved hugepage back to the buddy allocator. */
static int hugepoison_unpoison_raw(struct hugepoison_record *record)
{
	hugepoison_fill_free(pfn_to_page(record->pfn));
	if (!put_page_back_buddy(pfn_to_page(record->pfn))) {
		pr_err("%#lx: somebody holds the raw page, not unpoisoned\n",
		       record->pfn);
		return -EBUSY;
	}
	hugepoison_account(record, record->pfn, -1);
	hugepoison_outcome(record->pfn, record->order, HUGEPOISON_UNPOISONED, 0);
	hugepoison_erase(record);
	return 0;
}

/*
 * Why a poisoned hugepage cannot be unpoisoned now, 0 when it can. It can in a file,
 * mapped or not, and where private mappings keep it: all its data is there. Any other one
 * must have no more than the @expected references.
 */
static enum hugepoison_reason
hugepoison_why_in_use(struct hugepoison_record *record, struct folio *folio,
		      int expected)
{
	if (folio_test_hugetlb_raw_hwp_unreliable(folio))
		return HUGEPOISON_WHY_UNRELIABLE;
	if (folio_mapping(folio) ||
	    (record->anon_vma && hugepoison_is_kept(folio, record->anon_vma)))
		return 0;
	if (folio_mapped(folio))
		return HUGEPOISON_WHY_MAPPED;
	if (folio_ref_count(folio) > expected)
		return HUGEPOISON_WHY_REFERENCED;
	return 0;
}

/*
 * Put all of a hugepage back into use: its last error is undone. A healthy hugepage must
 * not be mapped below its size, so the caller has cleared these entries; the folio lock
 * keeps faults from setting new ones, and the next fault promotes. A fault that finds a
 * hwpoison entry clears it.
 */
static void hugepoison_back_in_use(struct hugepoison_record *record,
				   struct folio *folio,
				   enum hugepoison_outcome outcome)
{
	/* private mappings stay narrowed, see promote.c */
	VM_WARN_ON_ONCE_FOLIO(folio_mapping(folio) &&
			      folio_mapcount(folio) != folio_entire_mapcount(folio),
			      folio);
	/* a file's or a private one is in use: the next error has to find it so */
	if (READ_ONCE(folio->mapping))
		folio_set_hugetlb_migratable(folio);
	hugepoison_log_narrowed(record);
	hugepoison_mark(folio, false);
	hugepoison_account(record, record->pfn, -record->nr_bad);
	hugepoison_outcome(record->pfn, record->order, outcome, 0);
	/* before the record goes: poisoned without one is WIDE, see hugepoison_fate() */
	folio_clear_hwpoison(folio);
	hugepoison_erase(record);
}

/* Undo one of several errors: in a narrowed hugepage its page is back in use. */
static void hugepoison_undo_one(struct hugepoison_record *record,
				struct folio *folio, struct page *page,
				unsigned long left)
{
	if (!hugepoison_is_whole(record->state)) {
		hugepoison_account(record, page_to_pfn(page), -1);
		hugepoison_unmark_raw(folio, page);
	}
	pr_err("%#lx: unpoisoned, %lu other errors in its hugepage are left\n",
	       page_to_pfn(page), left);
}

/*
 * Undo the error in the page at @pfn. The folio is locked, unless it is free and nobody
 * can reach it.
 *
 * Return: 0 with the number of remaining errors in *@left, or -EBUSY.
 */
static int hugepoison_undo(struct hugepoison_record *record,
			   struct folio *folio, unsigned long pfn,
			   int expected, unsigned long *left)
{
	enum hugepoison_reason why = hugepoison_why_in_use(record, folio,
							   expected);
	struct page *page = pfn_to_page(pfn);

	spin_lock_irq(&hugetlb_lock);
	if (!why && !hugepoison_is_raw(folio, page))
		why = HUGEPOISON_WHY_NOT_RAW;
	if (!why && hugepoison_is_lost(record, pfn))
		why = HUGEPOISON_WHY_LOST;
	if (!why && hugepoison_is_refilled(page))
		why = HUGEPOISON_WHY_REFILLED;
	if (!why)
		*left = hugepoison_forget(folio, page);
	spin_unlock_irq(&hugetlb_lock);
	if (why) {
		pr_err("%#lx: not unpoisoned: %s\n", pfn, hugepoison_why(why));
		return -EBUSY;
	}
	if (*left)
		hugepoison_undo_one(record, folio, page, *left);
	else
		hugepoison_back_in_use(record, folio, HUGEPOISON_UNPOISONED);
	return 0;
}

/*
 * Lock the hugepage, and unmap it where it is mapped below its size. Users hold both locks;
 * with mf_mutex held each wait is short.
 */
static bool hugepoison_lock_unpoisoned(struct hugepoison_record *record,
				       struct folio *folio)
{
	if (!hugepoison_lock_poisoned(record, folio))
		return false;
	if (!folio_mapping(folio) || !folio_mapped(folio) ||
	    hugepoison_unmap_soon(folio))
		return true;
	folio_unlock(folio);
	return false;
}

/* Undo an error in a hugepage; with the last one drop the handler's reference. */
static int hugepoison_unpoison_folio(struct hugepoison_record *record,
				     unsigned long pfn)
{
	struct folio *folio = pfn_folio(record->pfn);
	bool referenced = record->referenced;
	bool got = folio_try_get(folio);
	unsigned long left;
	int ret;

	if (got && !hugepoison_lock_unpoisoned(record, folio)) {
		pr_err("%#lx: not unpoisoned: its hugepage is locked\n", pfn);
		folio_put(folio);
		return -EBUSY;
	}
	ret = hugepoison_undo(record, folio, pfn, referenced + got, &left);
	if (got) {
		folio_unlock(folio);
		folio_put(folio);
	}
	if (!ret && !left && referenced)
		folio_put(folio);
	return ret;
}

/*
 * Whether a page is in a poisoned hugepage without a record. Stock would drop a reference
 * that the handler does not have.
 */
static bool hugepoison_is_unrecorded(unsigned long pfn)
{
	struct hugepoison_error err = { .page = pfn_to_online_page(pfn) };

	return err.page && hugepoison_identify(&err) &&
	       folio_test_hwpoison(err.folio);
}

/**
 * hugepoison_unpoison - undo an injected error in a hugepage, or a former one
 * @pfn: the page frame that the error was reported in
 * @ret: gets the return value of unpoison_memory() when this returns true
 *
 * Undoes the error at @pfn. After the last error the hugepage is back in use; if a file
 * has it, it may be mapped meanwhile.
 *
 * Context: Process context, may sleep; takes mf_mutex.
 * Return: true if there is a record of the error. Then *@ret is 0; -EBUSY when there was
 * no error in that page, or no file has the hugepage and a user still does; or
 * -EOPNOTSUPP after a real hardware error.
 */
bool hugepoison_unpoison(unsigned long pfn, int *ret)
{
	struct hugepoison_record *record = NULL;
	bool ours;

	mutex_lock(&mf_mutex);
	hugepoison_record_released();
	if (pfn_to_online_page(pfn))
		record = hugepoison_find(pfn);
	if (record && hugepoison_stale(record)) {
		hugepoison_erase(record);
		record = NULL;
	}

	ours = record || hugepoison_is_unrecorded(pfn);
	if (ours && !record) {
		pr_err("%#lx: not unpoisoned: there was no memory for a record of it, try again when there is\n",
		       pfn);
		*ret = -EBUSY;
	} else if (ours && hw_memory_failure) {
		pr_err("%#lx: not unpoisoned: there was a real hardware error\n",
		       pfn);
		*ret = -EOPNOTSUPP;
	} else if (ours) {
		*ret = hugepoison_is(record, HUGEPOISON_STATE_RELEASED) ?
		       hugepoison_unpoison_raw(record) :
		       hugepoison_unpoison_folio(record, pfn);
	}
	mutex_unlock(&mf_mutex);
	return ours;
}
