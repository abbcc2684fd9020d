// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: release a hugepage when its last user has left it.
 *
 * The handler and files queue this work, see queue.c. The worker also contains errors that
 * the handler could not contain when they were reported.
 */
#include <linux/init.h>
#include <linux/llist.h>
#include <linux/memory_hotplug.h>
#include <linux/sched.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/*
 * Reuse the good pages of a hugepage whose contents were lost by an error in another
 * hugepage: with the last user gone the contents do not matter.
 *
 * Return: true when no page is bad, and the hugepage is back in its pool.
 */
static bool hugepoison_reuse_lost(struct hugepoison_record *record,
				  struct folio *folio)
{
	struct page *page;

	if (!record->nr_lost)
		return false;
	while (record->nr_lost) {
		page = folio_page(folio, record->lost[--record->nr_lost]);
		spin_lock_irq(&hugetlb_lock);
		hugepoison_forget(folio, page);
		spin_unlock_irq(&hugetlb_lock);
		hugepoison_unmark_raw(folio, page);
		hugepoison_account(record, page_to_pfn(page), -1);
	}
	if (record->nr_bad)
		return false;
	hugepoison_erase(record);
	hugepoison_forget_all(folio);
	folio_put(folio);
	return true;
}

/*
 * Log once that a hugepage has no users and its pool does not get it back, and why. End the
 * charge of its last user.
 */
static void hugepoison_set_stuck(struct hugepoison_record *record,
				 struct folio *folio,
				 enum hugepoison_reason why)
{
	if (record->worker.stuck)
		return;
	record->worker.stuck = true;
	hugepoison_pool_uncharge(folio);
	pr_err("%#lx: nobody uses its hugepage, and the pool does not get it back: %s\n",
	       record->pfn, hugepoison_why(why));
}

/*
 * Release a hugepage whose last user has left it; its pool gets another one.
 *
 * Return: true if that is not possible yet.
 */
static bool hugepoison_release(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	unsigned int order = record->order;
	unsigned long pfn = record->pfn;
	enum hugepoison_outcome outcome;
	long nr_raw;

	hugepoison_log_narrowed(record);
	if (hugepoison_reuse_lost(record, folio))
		return false;
	nr_raw = hugepoison_nr_raw(folio);
	outcome = hugepoison_dissolve(record, folio);
	if (outcome == HUGEPOISON_ISOLATED && folio_ref_count(folio) == 1)
		hugepoison_set_stuck(record, folio, HUGEPOISON_WHY_NO_VMEMMAP);
	if (outcome == HUGEPOISON_ISOLATED)
		return true;
	if (outcome == HUGEPOISON_REPLACED)
		hugepoison_count(pfn, order, HUGEPOISON_REPLACED);
	hugepoison_outcome(pfn, order, HUGEPOISON_RELEASED, nr_raw);
	return false;
}

/*
 * Take a reference to a poisoned hugepage that came into use after its error. While a
 * page fault fills it, the fault sets PG_locked without an atomic operation. So wait
 * until the hugepage is mapped or in a file.
 */
static bool hugepoison_get_used(struct folio *folio)
{
	bool got;

	spin_lock_irq(&hugetlb_lock);
	got = folio_test_hugetlb(folio) && folio_test_hwpoison(folio) &&
	      (folio_mapped(folio) || READ_ONCE(folio->mapping)) &&
	      folio_try_get(folio);
	spin_unlock_irq(&hugetlb_lock);
	return got;
}

/*
 * Contain an error that the handler could not contain, as if it were reported now. The
 * error is counted already, and no caller needs a result.
 *
 * Return: true when the worker has to look at the hugepage again.
 */
static bool hugepoison_retry_contain(struct hugepoison_record *record,
				     struct folio *folio)
{
	struct hugepoison_error err = {
		.page = &folio->page,
		.folio = folio,
		.order = record->order,
		.record = record,
		.referenced = true,
		.begin = hugepoison_trace_begin(trace_hugepoison_contain_enabled()),
	};
	const bool took = !record->referenced;
	enum hugepoison_outcome outcome;
	struct raw_hwp_page *raw;

	lockdep_assert_held(&mf_mutex);
	hugepoison_begin_handling();
	if (!hugepoison_hold_now(&err, folio)) {
		hugepoison_end_handling();
		if (took)
			folio_put(folio);
		return true;
	}
	/* the fault has marked it; isolate_hugetlb() refuses it, but offlining looks */
	spin_lock_irq(&hugetlb_lock);
	folio_clear_hugetlb_migratable(folio);
	spin_unlock_irq(&hugetlb_lock);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node) {
		err.page = raw->page;
		hugepoison_mark_raw(folio, raw->page);
	}
	err.pfn = page_to_pfn(err.page);
	outcome = hugepoison_contain_used(&err);
	hugepoison_conclude(&err, outcome);
	hugepoison_end_handling();
	return hugepoison_actions[outcome].queue_release;
}

/*
 * Whether only the handler has the hugepage. While a fault fills it, or a file has it,
 * there is another reference.
 */
static bool hugepoison_is_unused(const struct hugepoison_record *record,
				 struct folio *folio)
{
	return record->referenced && !folio_mapped(folio) &&
	       folio_ref_count(folio) == 1;
}

/*
 * Release a hugepage if its last user has left it: no file has it, and the handler's
 * reference is the last one. If the handler got no reference, as the hugepage was on
 * its way between free and in use, it is free by now, or in use, or still neither.
 *
 * Return: true when the worker has to look at the hugepage again. A file queues the
 * worker when it drops the hugepage.
 */
static bool hugepoison_try_release(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	/* a file that has dropped it leaves nothing to contain */
	bool open = hugepoison_is_open(record) &&
		    (READ_ONCE(folio->mapping) ||
		     !hugepoison_is_unused(record, folio));

	if (!record->referenced && hugepoison_pool_isolate(&folio->page, true))
		record->referenced = true;
	else if (open && (record->referenced || hugepoison_get_used(folio)))
		return hugepoison_retry_contain(record, folio);
	if (record->referenced && folio_mapping(folio))
		return false;
	if (!hugepoison_is_unused(record, folio))
		return true;
	if (!folio_test_hugetlb_raw_hwp_unreliable(folio))
		return hugepoison_release(record);
	hugepoison_set_stuck(record, folio, HUGEPOISON_WHY_UNRELIABLE);
	return false;
}

/* A hugepage that awaits its release and that this round has not visited yet. */
static struct hugepoison_record *hugepoison_next_to_release(unsigned int round)
{
	struct hugepoison_record *record;
	int bucket;

	lockdep_assert_held(&mf_mutex);
	hash_for_each(hugepoison_records, bucket, record, node)
		if (hugepoison_awaits_release(record) && record->worker.round != round)
			return record;
	return NULL;
}

/*
 * Try to release the next hugepage. mf_mutex is dropped after each, as allocating a
 * fresh hugepage may take long. @delay gets when to look again, in jiffies, 0 for never.
 *
 * Return: false when this round has visited all of them.
 */
static bool hugepoison_release_next(unsigned int round, unsigned long *delay)
{
	struct hugepoison_record *record;
	bool open;

	hugepoison_begin_urgent();
	mutex_lock(&mf_mutex);
	hugepoison_record_released();
	record = hugepoison_next_to_release(round);
	if (record) {
		record->worker.round = round;
		open = hugepoison_is_open(record);
		if (!hugepoison_stale(record) && hugepoison_try_release(record))
			*delay = open || *delay == HUGEPOISON_CONTAIN_AGAIN ?
				 HUGEPOISON_CONTAIN_AGAIN :
				 HUGEPOISON_RELEASE_AGAIN;
	}
	mutex_unlock(&mf_mutex);
	hugepoison_end_urgent();
	return record;
}

/* There is memory again: if it is a poisoned hugepage without a record it gets one. */
static void hugepoison_record_page(struct page *page)
{
	struct hugepoison_error err = { .page = page, .pfn = page_to_pfn(page) };

	hugepoison_begin_urgent();
	mutex_lock(&mf_mutex);
	hugepoison_begin_error(&err);
	if (hugepoison_identify(&err) && folio_test_hwpoison(err.folio) &&
	    !hugepoison_lookup(folio_pfn(err.folio)))
		hugepoison_add_missing_record(&err, false);
	hugepoison_end_error(&err);
	mutex_unlock(&mf_mutex);
	hugepoison_end_urgent();
}

/*
 * Nothing but their marks tells of hugepages without a record: look at all memory. No
 * hugepage is smaller than a step.
 */
static void hugepoison_record_all(void)
{
	unsigned long pfn;
	struct page *page;
	int nid;

	for_each_online_node(nid) {
		pfn = ALIGN(node_start_pfn(nid), 1UL << HUGETLB_PAGE_ORDER);
		for (; pfn < node_end_pfn(nid); pfn += 1UL << HUGETLB_PAGE_ORDER) {
			page = pfn_to_online_page(pfn);
			if (page && PageHWPoison(page))
				hugepoison_record_page(page);
			cond_resched();
		}
	}
}

static void hugepoison_release_work(struct work_struct *work)
{
	static unsigned int round;
	unsigned long delay = 0;

	round++;
	if (hugepoison_refill_reserves() && xchg(&hugepoison_unrecorded, false))
		hugepoison_record_all();
	while (hugepoison_release_next(round, &delay))
		cond_resched();
	if (!delay && hugepoison_wants_memory())
		delay = HUGEPOISON_RELEASE_AGAIN;
	if (delay)
		queue_delayed_work(hugepoison_wq, &hugepoison_release_dwork, delay);
}

/* As hugepoison_alloc_wq(): before the first hugepage. */
static int __init hugepoison_init_release(void)
{
	INIT_DELAYED_WORK(&hugepoison_release_dwork, hugepoison_release_work);
	return 0;
}
core_initcall(hugepoison_init_release);
