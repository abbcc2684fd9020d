// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: undo an injected error.
 *
 * Included by hugepoison/memory-failure.c.
 */

/*
 * What stock puts back into the buddy allocator was free before, and filled as free
 * pages are: then nobody fills it when it is allocated. A raw page still has what
 * was in the hugepage.
 */
static void hugepoison_fill_free(struct page *page)
{
	if (want_init_on_free())
		clear_highpage(page);
	kernel_poison_pages(page, 1);
}

/* The raw page of a former hugepage goes back to the buddy allocator. */
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
 * Why a poisoned hugepage cannot be unpoisoned now, NULL when it can. In a file
 * it can whoever maps it, and so it can where private mappings keep it: its data
 * is all there. Elsewhere there may be the @expected references, and no others.
 */
static const char *hugepoison_in_use(struct hugepoison_record *record,
				     struct folio *folio, int expected)
{
	if (folio_test_hugetlb_raw_hwp_unreliable(folio))
		return "which pages are bad was lost for want of memory";
	if (folio_mapping(folio) ||
	    (record->anon_vma && hugepoison_is_kept(folio, record->anon_vma)))
		return NULL;
	if (folio_mapped(folio))
		return "it is mapped: end the processes that map it";
	if (folio_ref_count(folio) > expected)
		return "somebody holds a reference to it";
	return NULL;
}

/*
 * The last error is undone: all of the hugepage comes back into use. Nobody
 * maps a healthy hugepage below its size, so those who do lose their entries;
 * under the folio lock no fault makes new ones, and the next one promotes. A
 * hwpoison entry is taken away by the fault that meets it.
 */
static void hugepoison_back_in_use(struct hugepoison_record *record,
				   struct folio *folio,
				   enum hugepoison_outcome outcome)
{
	/* narrowed private mappings stay narrowed; see promote.c */
	if (folio_mapping(folio)) {
		hugepage_unmap_small(folio, &folio->page,
				     folio_nr_pages(folio));
		folio_set_hugetlb_migratable(folio);
	}
	hugepoison_tell(record);
	hugepoison_mark(folio, false);
	hugepoison_account(record, record->pfn, -record->nr_bad);
	hugepoison_outcome(record->pfn, record->order, outcome, 0);
	/* poisoned without a record is contained, see hugepoison_fate() */
	folio_clear_hwpoison(folio);
	hugepoison_erase(record);
}

/* One of several errors is undone; with a narrowed hugepage that is a page. */
static void hugepoison_one_less(struct hugepoison_record *record,
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
 * Undo the error in the page at @pfn. The folio is locked, unless it is free:
 * then nobody can come to it.
 *
 * Return: 0 with *@left the errors that are left, or -EBUSY.
 */
static int hugepoison_undo(struct hugepoison_record *record,
			   struct folio *folio, unsigned long pfn,
			   int expected, unsigned long *left)
{
	const char *why = hugepoison_in_use(record, folio, expected);
	struct page *page = pfn_to_page(pfn);

	spin_lock_irq(&hugetlb_lock);
	if (!why && !hugepoison_is_raw(folio, page))
		why = "no error was reported in that page, but in others of its hugepage";
	if (!why && hugepoison_is_lost(record, pfn))
		why = "it is good, but what was in it is lost: punch it out of its file";
	if (!why)
		*left = hugepoison_forget(folio, page);
	spin_unlock_irq(&hugetlb_lock);
	if (why) {
		pr_err("%#lx: not unpoisoned: %s\n", pfn, why);
		return -EBUSY;
	}
	if (*left)
		hugepoison_one_less(record, folio, page, *left);
	else
		hugepoison_back_in_use(record, folio, HUGEPOISON_UNPOISONED);
	return 0;
}

/* Undo an error in a hugepage; with the last one the handler lets go of it. */
static int hugepoison_unpoison_folio(struct hugepoison_record *record,
				     unsigned long pfn)
{
	struct folio *folio = pfn_folio(record->pfn);
	bool referenced = record->referenced;
	bool got = folio_try_get(folio);
	unsigned long left;
	int ret;

	if (got && !hugepoison_lock_poisoned(record, folio)) {
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
 * to it, which the handler has not got.
 */
static bool hugepoison_is_unrecorded(unsigned long pfn)
{
	struct hugepoison_error err = { .page = pfn_to_online_page(pfn) };

	return err.page && hugepoison_identify(&err) &&
	       folio_test_hwpoison(err.folio);
}

/**
 * hugepoison_unpoison - undo an injected error in a hugepage, or in what was
 *			 one
 * @pfn: the page frame that the error was reported in
 * @ret: what unpoison_memory() is to return, when this returns true
 *
 * Undoes the error reported at @pfn, and with the last one puts the hugepage
 * back into use, whoever maps it, as long as its file has it.
 *
 * Context: Process context, may sleep; takes mf_mutex.
 * Return: true when the error was this code's to undo: @ret is 0, -EBUSY when
 * there was none in that page, or somebody still holds the hugepage that no file
 * has, -EOPNOTSUPP after a real hardware error.
 */
bool hugepoison_unpoison(unsigned long pfn, int *ret)
{
	struct hugepoison_record *record = NULL;
	bool ours;

	mutex_lock(&mf_mutex);
	hugepoison_collect_left();
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
