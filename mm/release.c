// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: a poisoned hugepage comes apart.
 *
 * Included by hugepoison/memory-failure.c. Its healthy pages are free, its raw pages
 * stay out of use with records of their own, and its pool gets another hugepage.
 */

/*
 * Raw pages of hugepages that were taken apart, and have no records yet. Their
 * page->index is the order of the hugepage.
 */
static LLIST_HEAD(hugepoison_left);

/*
 * A compound page becomes base pages, each without a reference. Stock marks them
 * when an error is reported in one meanwhile, so flags change by atomic
 * operations only, here and until the pages are free.
 */
static void hugepoison_take_apart(struct folio *folio)
{
	unsigned long i, nr = folio_nr_pages(folio);

	for (i = 1; i < nr; i++) {
		struct page *page = folio_page(folio, i);

		page->mapping = NULL;
		set_page_private(page, 0);
		clear_compound_head(page);
	}
	set_mask_bits(&folio_page(folio, 1)->flags, PAGE_FLAGS_SECOND, 0);
	set_page_private(&folio->page, 0);
	ClearPageHead(&folio->page);
}

/*
 * A raw page stays allocated for ever, as one taken off the buddy allocator. It
 * has none of the flags that the head page had; unpoisoning frees it as it is.
 */
static void hugepoison_keep(struct page *page, unsigned int order)
{
	set_mask_bits(&page->flags, PAGE_FLAGS_CHECK_AT_PREP, 0);
	page->index = order;
	SetPageHWPoison(page);
	SetPageHWPoisonTakenOff(page);
	set_page_refcounted(page);
}

/* What is not marked is healthy, and free from now on. */
static void hugepoison_give_back(unsigned long pfn, unsigned long end)
{
	unsigned long start = pfn;

	for (; pfn < end; pfn++) {
		if (!PageHWPoison(pfn_to_page(pfn)))
			continue;
		hugepoison_pool_give_back(start, pfn - start);
		start = pfn + 1;
	}
	hugepoison_pool_give_back(start, end - start);
}

/**
 * hugepoison_free_poisoned - free the healthy pages of a poisoned hugepage
 * @folio: the hugepage; it has left its pool, all its struct pages are there,
 *	   and which pages are bad is known
 *
 * Stock frees all of it and takes one raw page back out of the buddy allocator
 * afterwards; until then anybody can get it, and the other raw pages for good.
 * Here no raw page ever gets there. An error cannot slip in: the hugepage is
 * none any more since before, under hugetlb_lock, and what is reported in one
 * of its pages from then on is an error in a base page.
 *
 * Context: Any but NMI, as freeing a hugepage is. The records are made later,
 * see hugepoison_collect_left(), as mf_mutex cannot be taken here.
 * Return: false with nothing done when @folio is healthy.
 */
bool hugepoison_free_poisoned(struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio);
	unsigned int order = folio_order(folio);
	unsigned long pfn = folio_pfn(folio);
	struct llist_node *raws, *last = NULL;
	struct raw_hwp_page *raw;
	bool head = false;
	u64 begin;

	if (!folio_test_hwpoison(folio))
		return false;
	begin = hugepoison_trace_begin(trace_hugepoison_release_enabled());

	raws = llist_del_all(raw_hwp_list_head(folio));
	llist_for_each_entry(raw, raws, node) {
		SetPageHWPoison(raw->page);
		head |= raw->page == &folio->page;
	}
	/* pairs with hugepoison_page_is_bad(): one mark or the other is there */
	smp_wmb();
	if (!head)
		folio_clear_hwpoison(folio);
	hugepoison_take_apart(folio);
	llist_for_each_entry(raw, raws, node) {
		hugepoison_keep(raw->page, order);
		last = &raw->node;
	}
	if (last)
		llist_add_batch(raws, last, &hugepoison_left);
	hugepoison_give_back(pfn, pfn + nr);
	trace_hugepoison_release(pfn, order, "released", begin);
	mod_delayed_work(hugepoison_wq, &hugepoison_release_dwork, 0);
	return true;
}

/*
 * The record of the hugepage that a raw page was in, NULL where it has none. There may
 * be a smaller hugepage in its place by now.
 */
static struct hugepoison_record *hugepoison_former(struct page *page)
{
	unsigned int order = page->index;
	struct hugepoison_record *record;

	record = hugepoison_lookup(ALIGN_DOWN(page_to_pfn(page), 1UL << order));
	return record && record->order == order &&
	       !hugepoison_is(record, HUGEPOISON_STATE_RELEASED) ? record : NULL;
}

/* A raw page gets a record of its own, if there is memory; it is counted already. */
static void hugepoison_keep_record(struct hugepoison_record *former,
				   struct page *page)
{
	struct hugepoison_record *record;

	record = hugepoison_add(page_to_pfn(page), page->index);
	if (record) {
		hugepoison_become(record, HUGEPOISON_STATE_RELEASED);
		record->nr_bad = 1;
	}
	if (former)
		former->nr_bad--;
}

/* All that is left of the hugepage's record is the head page's, if that is raw. */
static void hugepoison_end_record(struct hugepoison_record *former)
{
	struct page *head = pfn_to_page(former->pfn);
	long raw = PageHWPoisonTakenOff(head);

	if (former->nr_bad != raw)
		hugepoison_account(former, former->pfn, raw - former->nr_bad);
	if (!raw) {
		hugepoison_erase(former);
		return;
	}
	hugepoison_become(former, HUGEPOISON_STATE_RELEASED);
	former->referenced = false;
}

/*
 * A raw page that is left of a hugepage has a record. Without memory for one it stays in
 * the list of those that have none; nobody can get it anyway.
 */
static void hugepoison_end_left(struct raw_hwp_page *raw)
{
	if (hugepoison_lookup(page_to_pfn(raw->page))) {
		kfree(raw);
		return;
	}
	WRITE_ONCE(hugepoison_unrecorded, true);
	llist_add(&raw->node, &hugepoison_left);
}

/*
 * Make records of the raw pages that are left of hugepages. A head page takes
 * over the record of its hugepage, which goes by the same page frame; so the
 * others come first.
 */
static void hugepoison_collect_left(void)
{
	struct llist_node *left = llist_del_all(&hugepoison_left);
	struct hugepoison_record *former;
	struct raw_hwp_page *raw, *next;

	lockdep_assert_held(&mf_mutex);
	llist_for_each_entry(raw, left, node) {
		former = hugepoison_former(raw->page);
		if (!former || former->pfn != page_to_pfn(raw->page))
			hugepoison_keep_record(former, raw->page);
	}
	llist_for_each_entry_safe(raw, next, left, node) {
		former = hugepoison_former(raw->page);
		if (former)
			hugepoison_end_record(former);
		hugepoison_end_left(raw);
	}
}

/*
 * References beyond @expected belong to users that the reverse map cannot take
 * the page from. A fault that waited for the folio lock holds one as well; it
 * finds the poison now and lets go, so those who mean to stay are told by time.
 */
static int hugepoison_users(struct folio *folio, int expected)
{
	int tries, users;

	for (tries = 0; tries < 20; tries++) {
		users = folio_ref_count(folio) - expected;
		if (users <= 0)
			return 0;
		usleep_range(500, 1000);
	}
	return users;
}

/*
 * A hugepage that only the handler has: its healthy pages go, its raw pages
 * stay with records of their own, and a fresh one takes its place.
 *
 * Return: HUGEPOISON_REPLACED or HUGEPOISON_DEQUEUED, or with nothing changed
 * HUGEPOISON_ISOLATED.
 */
static enum hugepoison_outcome
hugepoison_leave_pool(struct hugepoison_record *record, struct folio *folio)
{
	bool replaced;

	lockdep_assert_held(&mf_mutex);
	if (folio_test_hugetlb_raw_hwp_unreliable(folio) ||
	    hugepoison_users(folio, 1) || hugepoison_pool_seize(folio))
		return HUGEPOISON_ISOLATED;
	hugepoison_become(record, HUGEPOISON_STATE_LEAVING);
	replaced = hugepoison_pool_leave(folio);
	hugepoison_collect_left();
	return replaced ? HUGEPOISON_REPLACED : HUGEPOISON_DEQUEUED;
}
