// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: dissolve a poisoned hugepage.
 *
 * The healthy pages become free, each raw page stays out of use and gets a record, and the
 * pool gets another hugepage.
 */
#include <linux/delay.h>
#include <linux/llist.h>
#include <linux/memory_hotplug.h>
#include <linux/slab.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/*
 * Raw pages of dissolved hugepages that have no record yet. page->__folio_index is the
 * order of the hugepage.
 */
static LLIST_HEAD(hugepoison_dissolved);

/*
 * Make base pages without references of a compound page. Stock may mark one of them for
 * an error that is reported meanwhile, so flags change by atomic operations only, here
 * and until the pages are free.
 *
 * This loop, and the one of hugepoison_give_back(), have a round for each page and no
 * cond_resched(): the last folio_put() may come with a lock held or from an interrupt, as
 * hugepoison_free_poisoned() says, and then must not sleep. Each writes or reads one struct
 * page of 64 bytes in a row, 16 MiB for a GiB: 2 ms for both loops together. Stock's
 * destroy_compound_gigantic_folio() makes the same rounds, under the same conditions, for
 * each GiB that is freed, and free_contig_range() then frees its pages one by one.
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
	set_mask_bits(hugepoison_flags(folio_page(folio, 1)), PAGE_FLAGS_SECOND, 0);
#ifdef NR_PAGES_IN_LARGE_FOLIO
	/* in the place of memcg_data: the second page would be charged to somebody */
	folio->_nr_pages = 0;
#endif
	set_page_private(&folio->page, 0);
	ClearPageHead(&folio->page);
}

/*
 * Keep a raw page allocated for ever, marked as taken off the buddy allocator. The head
 * page's other flags are cleared, as unpoisoning frees the page as it is.
 */
static void hugepoison_take_off(struct page *page, unsigned int order)
{
	set_mask_bits(hugepoison_flags(page), PAGE_FLAGS_CHECK_AT_PREP, 0);
	page->__folio_index = order;
	SetPageHWPoison(page);
	SetPageHWPoisonTakenOff(page);
	set_page_refcounted(page);
}

/* Free the pages that are not marked: they are healthy. */
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
 * Stock frees all pages and takes one raw page back out of the buddy allocator
 * afterwards: until then anybody can allocate it, and the other raw pages for good.
 * Here no raw page gets to the buddy allocator. No error can slip in: under
 * hugetlb_lock the folio has stopped being a hugepage before, so an error reported
 * in one of its pages since then is one in a base page.
 *
 * Context: Any but NMI, as for freeing a hugepage. mf_mutex cannot be taken here, so
 * hugepoison_record_released() makes the records later.
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
	/* pairs with hugepoison_page_is_bad(): one of the two marks is always set */
	smp_wmb();
	if (!head)
		folio_clear_hwpoison(folio);
	hugepoison_take_apart(folio);
	llist_for_each_entry(raw, raws, node) {
		hugepoison_take_off(raw->page, order);
		last = &raw->node;
	}
	if (last)
		llist_add_batch(raws, last, &hugepoison_dissolved);
	hugepoison_give_back(pfn, pfn + nr);
	trace_hugepoison_release(pfn, order, "released", begin);
	mod_delayed_work(hugepoison_wq, &hugepoison_release_dwork, 0);
	return true;
}

/*
 * The record of the hugepage that a raw page was in, or NULL. A smaller hugepage may be in
 * its place by now.
 */
static struct hugepoison_record *hugepoison_former_record(struct page *page)
{
	unsigned int order = page->__folio_index;
	struct hugepoison_record *record;

	record = hugepoison_lookup(ALIGN_DOWN(page_to_pfn(page), 1UL << order));
	return record && record->order == order &&
	       !hugepoison_is(record, HUGEPOISON_STATE_RELEASED) ? record : NULL;
}

/* Add a record for a raw page, which is counted already, if there is memory. */
static void hugepoison_add_raw_record(struct hugepoison_record *former,
				      struct page *page)
{
	struct hugepoison_record *record;

	record = hugepoison_add(page_to_pfn(page), page->__folio_index);
	if (record) {
		hugepoison_become(record, HUGEPOISON_STATE_RELEASED);
		record->nr_bad = 1;
	}
	if (former)
		former->nr_bad--;
}

/* The record of a dissolved hugepage becomes the head page's if that is raw, or goes. */
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
}

/*
 * Free a raw page's list entry if it has a record. Without memory for one it stays in the
 * list; nobody can allocate the page anyway.
 */
static void hugepoison_free_recorded(struct raw_hwp_page *raw)
{
	if (hugepoison_lookup(page_to_pfn(raw->page))) {
		kfree(raw);
		return;
	}
	WRITE_ONCE(hugepoison_unrecorded, true);
	llist_add(&raw->node, &hugepoison_dissolved);
}

/*
 * Add records for the raw pages of dissolved hugepages. A raw head page takes over its
 * hugepage's record, which has the same page frame, and so comes last.
 */
static void hugepoison_record_released(void)
{
	struct llist_node *left = llist_del_all(&hugepoison_dissolved);
	struct hugepoison_record *former;
	struct raw_hwp_page *raw, *next;

	lockdep_assert_held(&mf_mutex);
	llist_for_each_entry(raw, left, node) {
		former = hugepoison_former_record(raw->page);
		if (!former || former->pfn != page_to_pfn(raw->page))
			hugepoison_add_raw_record(former, raw->page);
	}
	llist_for_each_entry_safe(raw, next, left, node) {
		former = hugepoison_former_record(raw->page);
		if (former)
			hugepoison_end_record(former);
		hugepoison_free_recorded(raw);
	}
}

/*
 * Wait up to 20 ms for references beyond @expected to go, and return how many stay. A
 * fault that has waited for the folio lock drops its reference soon, as it finds the
 * poison. A reference that stays belongs to a user that unmapping does not reach.
 */
static int hugepoison_await_users(struct folio *folio, int expected)
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
 * Dissolve a hugepage that only the handler has a reference to: free its healthy pages,
 * add records for its raw pages, and put a fresh hugepage into its pool.
 *
 * Return: HUGEPOISON_REPLACED or HUGEPOISON_DEQUEUED, or with nothing changed
 * HUGEPOISON_ISOLATED.
 */
static enum hugepoison_outcome
hugepoison_dissolve(struct hugepoison_record *record, struct folio *folio)
{
	bool replaced;

	lockdep_assert_held(&mf_mutex);
	if (folio_test_hugetlb_raw_hwp_unreliable(folio) ||
	    hugepoison_await_users(folio, 1) || hugepoison_pool_seize(folio))
		return HUGEPOISON_ISOLATED;
	hugepoison_become(record, HUGEPOISON_STATE_LEAVING);
	replaced = hugepoison_pool_leave(folio);
	hugepoison_record_released();
	return replaced ? HUGEPOISON_REPLACED : HUGEPOISON_DEQUEUED;
}

/**
 * hugepoison_put_subpool - drop a mount's count of its subpool
 * @spool: the subpool; no file of the mount is left
 *
 * The last user of a poisoned hugepage leaves it long before the worker releases it, or
 * for ever if it cannot be released. Its folio points to the subpool, which must not be
 * freed before: without size= a subpool does not count its hugepages, and stock frees it
 * when its minimum is unused. So the poisoned hugepages leave the subpool first.
 *
 * All of them have a record: without one the handler keeps no reference.
 *
 * Context: Process context, may sleep; s_umount held. Nothing waits for s_umount under
 * mf_mutex: reclaim only tries it.
 */
void hugepoison_put_subpool(struct hugepage_subpool *spool)
{
	struct hugepoison_record *record;
	int bucket;

	mutex_lock(&mf_mutex);
	hash_for_each(hugepoison_records, bucket, record, node)
		if (!hugepoison_is(record, HUGEPOISON_STATE_RELEASED) &&
		    pfn_to_online_page(record->pfn))
			hugepoison_pool_settle(pfn_folio(record->pfn), spool);
	mutex_unlock(&mf_mutex);
	hugepage_put_subpool(spool);
}
