// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the error handler's hugepage half.
 *
 * memory_failure() calls this first. All of it runs under mf_mutex, one error at a time.
 *
 * The steps for an error:
 *
 *	hugepoison_memory_failure()
 *	  hugepoison_get()		record the raw page, take a reference
 *	  hugepoison_may_narrow()	how much of the hugepage goes out of use
 *	  hwpoison_user_mappings()	find, unmap and signal the mappers
 *	  me_*_hugepage()		what becomes of the hugepage
 *	  hugepoison_result()		mark, account, log, count each error
 *	hugepoison_*_work()		afterwards: narrow mappings whose faults
 *					cannot, release when unused
 */
#include <linux/delay.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/* The policy for new errors: whether to contain a page, not the hugepage. */
static bool hugepoison_narrow_policy = true;

/* --- signals ------------------------------------------------------------------------ */

/**
 * hugepoison_kill_shift - how much a mapping loses by an error, for si_addr_lsb
 * @page: the raw page
 * @vma: the mapping
 * @shift: stock's value: the hugepage's size
 *
 * Context: Process context; mf_mutex held for a hugepage.
 * Return: PAGE_SHIFT where the mapping keeps the healthy pages, else @shift.
 */
short hugepoison_kill_shift(const struct page *page, struct vm_area_struct *vma,
			    short shift)
{
	struct hugepoison_record *record;

	if (!PageHuge(page))
		return shift;
	record = hugepoison_find(page_to_pfn(page));
	if (record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED) &&
	    !hugepoison_why_wide(vma))
		return PAGE_SHIFT;
	return shift;
}

/**
 * hugepoison_is_on_kill_list - whether a task will already be signalled for an error
 * @task: the task, found by another one of its mappings
 * @page: the raw page
 * @to_kill: the tasks to signal
 *
 * A process that maps a hugepage more than once gets one signal. Stock visits one process
 * after the other, so only the last entry can be the same task.
 *
 * Context: Process context.
 * Return: true when @task is in @to_kill, and @page is in a hugepage.
 */
bool hugepoison_is_on_kill_list(struct task_struct *task,
				const struct page *page,
				struct list_head *to_kill)
{
	return PageHuge(page) && !list_empty(to_kill) &&
	       list_last_entry(to_kill, struct to_kill, nd)->tsk == task;
}

/**
 * hugepoison_kill_accessing - signal a process that has accessed a known error
 * @task: the process, current
 * @pfn: the raw page
 * @flags: memory_failure()'s
 *
 * Calls kill_accessing_process() with mf_mutex dropped, as that takes mmap_lock. The
 * process may hold its mmap_lock for as long as it likes (a FUSE server's mapping). And
 * mmap() of a hugetlb file takes the inode lock under mmap_lock, while hole punching
 * takes it outside of mf_mutex. Dropping mf_mutex is safe: the page is marked, and the
 * caller has nothing left to do but to report it.
 *
 * Context: Process context, may sleep; mf_mutex held, and dropped in between.
 * Return: as kill_accessing_process().
 */
int hugepoison_kill_accessing(struct task_struct *task, unsigned long pfn,
			      int flags)
{
	int ret;

	lockdep_assert_held(&mf_mutex);
	mutex_unlock(&mf_mutex);
	ret = kill_accessing_process(task, pfn, flags);
	mutex_lock(&mf_mutex);
	return ret;
}

/* --- the end of an error ------------------------------------------------------------ */

/*
 * End an error without a record. The reference is dropped, as only a record could note it.
 * The hugepage's mark alone keeps page faults from mapping it and allocators from taking
 * it.
 */
static void hugepoison_end_unrecorded(struct hugepoison_error *err)
{
	pr_err("%#lx: no memory for a record of it: mce_bad_pages will show it when there is\n",
	       err->pfn);
	WRITE_ONCE(hugepoison_unrecorded, true);
	if (err->referenced)
		folio_put(err->folio);
}

/* Change the state as the outcome says, and queue the release. */
static void hugepoison_become_outcome(struct hugepoison_error *err,
				      const struct hugepoison_action *action)
{
	struct hugepoison_record *record = err->record;

	record->referenced |= err->referenced;
	if (hugepoison_is(record, HUGEPOISON_STATE_RELEASED))
		return;
	if (action->state != HUGEPOISON_STATE_NEW)
		hugepoison_become(record, action->state);
	/* nothing notifies us when the last user leaves or memory is free: poll */
	if (action->queue_release)
		hugepoison_queue_release(record);
}

/*
 * End an error: mark, account, log and count it. The folio is unlocked; the handler has a
 * reference to it, or it is no longer a hugepage. HardwareCorrupted includes the raw page
 * already.
 */
static void hugepoison_conclude(struct hugepoison_error *err,
				enum hugepoison_outcome outcome)
{
	const struct hugepoison_action *action = &hugepoison_actions[outcome];
	struct hugepoison_record *record = err->record;

	if (hugepoison_is_inserted(record))
		hugepoison_become_outcome(err, action);
	else
		hugepoison_end_unrecorded(err);
	if (hugepoison_wants_memory())
		hugepoison_queue_release_delayed(HUGEPOISON_CONTAIN_AGAIN);
	hugepoison_count(err->pfn, err->order, outcome);
	trace_hugepoison_contain(err->pfn, err->order, action->name,
				 err->begin);
	/* printing takes a third of the time of an error: leave it to the worker */
	if (outcome == HUGEPOISON_NARROWED) {
		/* the worker has not logged the previous error yet */
		if (unlikely(READ_ONCE(record->worker.unlogged)))
			hugepoison_log_narrowed(record);
		hugepoison_queue_log(record, err->pfn);
		hugepoison_queue_narrow(record);
		/* no mapping may be left that would queue this */
		if (folio_test_anon(err->folio) && !record->anon_vma)
			hugepoison_queue_release(record);
	} else {
		hugepoison_log(err->pfn, err->order, outcome, record->nr_bad);
	}
}

/* Return: what memory_failure() is to return. */
static int hugepoison_result(struct hugepoison_error *err,
			     enum hugepoison_outcome outcome)
{
	const struct hugepoison_action *action = &hugepoison_actions[outcome];
	int ret = action_result(err->pfn, action->type, action->result);

	hugepoison_conclude(err, outcome);
	return ret;
}

/* Count the error in its record; HardwareCorrupted includes it at the end. */
static void hugepoison_count_error(struct hugepoison_error *err)
{
	err->record->nr_bad++;
}

/* Insert the record of a hugepage. One that is there already is stale. */
static void hugepoison_record(struct hugepoison_error *err)
{
	struct hugepoison_record *stale;

	if (!err->blank)
		return;
	stale = hugepoison_lookup(folio_pfn(err->folio));
	if (stale)
		hugepoison_erase(stale);
	hugepoison_insert(err->blank, folio_pfn(err->folio), err->order);
	err->record = err->blank;
	err->blank = NULL;
}

/* Erase the record of an error that a filter excepts. */
static void hugepoison_unrecord(struct hugepoison_error *err)
{
	if (hugepoison_is_inserted(err->record))
		hugepoison_erase(err->record);
	err->record = &err->unrecorded;
}

/*
 * Switch to the record of a raw page whose hugepage is dissolved. If there was no memory
 * for it the worker adds it later.
 */
static void hugepoison_use_raw_record(struct hugepoison_error *err)
{
	err->record = hugepoison_lookup(err->pfn);
	if (err->record)
		return;
	err->unrecorded = (struct hugepoison_record){ .nr_bad = 1 };
	err->record = &err->unrecorded;
}

/*
 * Dissolve a hugepage that only the handler has a reference to. Afterwards the raw page
 * has a record of its own.
 */
static enum hugepoison_outcome
hugepoison_dissolve_handled(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome;

	outcome = hugepoison_dissolve(err->record, err->folio);
	if (outcome == HUGEPOISON_ISOLATED)
		return outcome;
	err->referenced = false;
	hugepoison_use_raw_record(err);
	return outcome;
}

/* --- in a free hugepage ------------------------------------------------------------ */

/*
 * Read the hugepage of the raw page, its order, and its list of raw pages. Without a
 * reference stock may dissolve the hugepage at any moment and reuse its struct pages: so
 * read all under hugetlb_lock, and touch nothing else before the hugepage is isolated.
 *
 * Return: false when the page is no longer in a hugepage.
 */
static bool hugepoison_identify(struct hugepoison_error *err)
{
	bool huge;

	spin_lock_irq(&hugetlb_lock);
	err->folio = page_folio(err->page);
	huge = folio_test_hugetlb(err->folio);
	if (huge) {
		err->order = folio_order(err->folio);
		err->nr_listed = hugepoison_nr_raw(err->folio);
		err->unlisted =
			folio_test_hugetlb_raw_hwp_unreliable(err->folio);
	}
	spin_unlock_irq(&hugetlb_lock);
	return huge;
}

/*
 * Whether stock has dissolved the hugepage: the pool was shrunk, or the hugepage was a
 * surplus one. It was marked before, so hugepoison_free_poisoned() kept its raw pages
 * allocated, out of everybody's reach.
 */
static bool hugepoison_was_dissolved(struct hugepoison_error *err)
{
	struct hugepoison_record *former;

	if (!PageHWPoisonTakenOff(err->page))
		return false;
	err->order = err->page->__folio_index;
	former = hugepoison_former_record(err->page);
	/* poisoned before, and dissolved since: this error is one of that record's */
	if (former && former != err->record)
		former->nr_bad++;
	hugepoison_record_released();
	hugepoison_use_raw_record(err);
	return true;
}

/*
 * Isolate a hugepage that is free, or about to be: it may be on its way from its last
 * user to the pool, or out of the pool. Poll for that. It cannot be allocated meanwhile,
 * as it is marked.
 *
 * Return: HUGEPOISON_ISOLATED with a reference, HUGEPOISON_DEQUEUED when stock has
 * dissolved it, HUGEPOISON_FAILED if it is still neither.
 */
static enum hugepoison_outcome hugepoison_take_free(struct hugepoison_error *err)
{
	int tries;

	for (tries = 0; tries < 20; tries++) {
		err->referenced = hugepoison_pool_isolate(err->page, true);
		if (err->referenced) {
			err->folio = page_folio(err->page);
			return HUGEPOISON_ISOLATED;
		}
		if (hugepoison_was_dissolved(err))
			return HUGEPOISON_DEQUEUED;
		/* users decide how much there is to flush: so not each time */
		if (!(tries % 8))
			hugepoison_pool_flush();
		usleep_range(1000, 5000);
	}
	return HUGEPOISON_FAILED;
}

/*
 * Contain an error in a hugepage that is marked, and that was free or neither free nor in
 * use: remove it from its pool. If it comes into use instead, the worker contains the
 * error.
 */
static int hugepoison_contain_free(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome;

	hugepoison_let_go(err);
	if (hugepoison_identify(err))
		hugepoison_record(err);
	hugepoison_count_error(err);
	outcome = hugepoison_take_free(err);
	if (outcome == HUGEPOISON_ISOLATED && hwpoison_filter(err->page)) {
		hugepoison_forget_all(err->folio);
		hugepoison_unrecord(err);
		hugepoison_pool_put_back(err->folio);
		return -EOPNOTSUPP;
	}
	if (outcome == HUGEPOISON_ISOLATED)
		outcome = hugepoison_dissolve_handled(err);
	else if (outcome == HUGEPOISON_FAILED)
		pr_err("%#lx: its hugepage is neither free nor in use: to be contained when it is\n",
		       err->pfn);
	return hugepoison_result(err, outcome);
}

/* --- in a hugepage in use ---------------------------------------------------------- */

/*
 * Dissolve a private hugepage that goes out of use as a whole, or one that its file has
 * dropped: it has no mapping left, and its data is lost.
 */
static enum hugepoison_outcome me_private_hugepage(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome = hugepoison_dissolve_handled(err);

	if (outcome == HUGEPOISON_ISOLATED)
		return outcome;
	if (outcome == HUGEPOISON_REPLACED)
		hugepoison_count(err->pfn, err->order, outcome);
	return HUGEPOISON_RELEASED;
}

/*
 * Whether nobody but the handler has a private hugepage. An unmapped one may be kept by
 * hwpoison entries: of an earlier try, or of an error that was undone. Each of them has a
 * reference.
 */
static bool hugepoison_is_dropped(struct hugepoison_error *err)
{
	return !err->record->anon_vma &&
	       folio_ref_count(err->folio) == 1 + (err->held == err->folio);
}

/*
 * Whether only the raw page has to go out of use. A file's hugepage stays in the page
 * cache, where every mapping finds it. A private one is kept by the entries of its
 * mappings, which its anon_vma finds. Without an anon_vma only faults narrow.
 */
static bool hugepoison_may_narrow(struct hugepoison_error *err)
{
	struct anon_vma *anon_vma = NULL;
	enum hugepoison_reason why = 0;
	bool narrow = false;

	/* without a file or a mapping no fault would find the healthy pages */
	if (folio_test_anon(err->folio)) {
		anon_vma = folio_get_anon_vma(err->folio);
		if (!anon_vma && hugepoison_is_dropped(err))
			return false;
	} else if (!err->folio->mapping) {
		return false;
	}
	if (!READ_ONCE(hugepoison_narrow_policy))
		goto out;
	if (!hugepoison_is_inserted(err->record))
		why = HUGEPOISON_WHY_NO_RECORD;
	else if (folio_test_hugetlb_raw_hwp_unreliable(err->folio))
		why = HUGEPOISON_WHY_UNRELIABLE;
	if (why) {
		pr_err("%#lx: containment hugepage: %s\n", err->pfn,
		       hugepoison_why(why));
		goto out;
	}
	if (!anon_vma)
		return true;
	/* the worker reads it without mf_mutex; an earlier try may have set one */
	spin_lock(&hugepoison_records_lock);
	swap(err->record->anon_vma, anon_vma);
	spin_unlock(&hugepoison_records_lock);
	swap(err->unused, anon_vma);
	narrow = true;
out:
	if (anon_vma)
		put_anon_vma(anon_vma);
	return narrow;
}

/* No mapping has the raw page any longer; faults map the healthy pages again. */
static enum hugepoison_outcome me_narrowed(struct hugepoison_error *err)
{
	hugepoison_mark_raw(err->folio, err->page);
	if (folio_maybe_dma_pinned(err->folio))
		pr_err("%#lx: pinned: a device may still reach the raw page\n",
		       err->pfn);
	return HUGEPOISON_NARROWED;
}

/*
 * Decide about a hugepage in use after unmapping it. A file's stays in the page cache,
 * where every old and new mapping finds it poisoned.
 */
static enum hugepoison_outcome me_huge_page_in_use(struct hugepoison_error *err)
{
	struct folio *folio = err->folio;
	bool file = folio_mapping(folio);
	bool mapped = folio_mapped(folio);
	bool narrow = hugepoison_is(err->record, HUGEPOISON_STATE_NARROWED);
	int users;

	if (narrow && mapped)
		hugepoison_become(err->record, HUGEPOISON_STATE_FAILED);
	hugepoison_let_go(err);
	if (mapped)
		return HUGEPOISON_FAILED;
	if (narrow)
		return me_narrowed(err);
	users = hugepoison_await_users(folio, 1 + (file ? folio_nr_pages(folio) :
							  0));
	if (users) {
		pr_err("%#lx: still referenced by %d users\n", err->pfn, users);
		return HUGEPOISON_PINNED;
	}
	return file ? HUGEPOISON_CONTAINED : me_private_hugepage(err);
}

/* Contain an error in a hugepage in use, locked and with a reference; unlocks it. */
static enum hugepoison_outcome
hugepoison_contain_used(struct hugepoison_error *err)
{
	/* before signals are sent: the state says how much each mapping loses */
	if (hugepoison_may_narrow(err))
		hugepoison_become(err->record, HUGEPOISON_STATE_NARROWED);
	hwpoison_user_mappings(err->folio, err->page, err->pfn, err->flags);
	return me_huge_page_in_use(err);
}

/* Contain a first error in a hugepage in use, which is marked. */
static int hugepoison_contain(struct hugepoison_error *err)
{
	err->folio = page_folio(err->page);
	err->order = folio_order(err->folio);
	err->referenced = true;
	hugepoison_lock(err);
	if (hwpoison_filter(err->page)) {
		hugepoison_forget_all(err->folio);
		if (err->migratable_cleared)
			folio_set_hugetlb_migratable(err->folio);
		hugepoison_let_go(err);
		folio_put(err->folio);
		return -EOPNOTSUPP;
	}
	hugepoison_record(err);
	hugepoison_count_error(err);
	return hugepoison_result(err, hugepoison_contain_used(err));
}

/* --- in a poisoned hugepage -------------------------------------------------------- */

/*
 * Unmap a raw page, or all pages, where the hugepage is mapped below its size, and signal
 * the processes. No file has a copy: the data is lost whether it was dirty or not. Nothing
 * maps a hugepage that is not locked, see hugepoison_lock_narrowed().
 */
static void hugepoison_unmap_and_kill(struct hugepoison_error *err, bool all)
{
	LIST_HEAD(tokill);

	if (!err->held)
		return;
	collect_procs(err->folio, err->page, &tokill,
		      err->flags & MF_ACTION_REQUIRED);
	if (all)
		hugepoison_unmap_small(err->folio, &err->folio->page,
				       folio_nr_pages(err->folio));
	else
		hugepoison_unmap_small(err->folio, err->page, 1);
	kill_procs(&tokill, true, err->pfn, err->flags);
}

/*
 * There was no memory for a list entry of the raw page, so no page of the hugepage may stay
 * mapped.
 */
static enum hugepoison_outcome me_widened(struct hugepoison_error *err)
{
	pr_err("%#lx: containment hugepage from now on: which pages are bad was lost for want of memory\n",
	       err->pfn);
	hugepoison_count_error(err);
	hugepoison_become(err->record, HUGEPOISON_STATE_FAILED);
	hugepoison_unmap_and_kill(err, true);
	hugepoison_let_go(err);
	return HUGEPOISON_CONTAINED;
}

/*
 * Lock a narrowed hugepage, unless it is out of its file: a heal fills another one, or the
 * file has dropped it. Then nothing maps it, and nothing can before mf_mutex is dropped.
 * Any number of reads that found it in the file may be waiting for its lock, at the pace
 * of the tasks that read.
 */
static void hugepoison_lock_narrowed(struct hugepoison_error *err)
{
	lockdep_assert_held(&mf_mutex);
	if (!hugepoison_has_no_mapping(err->folio) || folio_mapped(err->folio))
		hugepoison_lock(err);
}

/* An error in a hugepage whose healthy pages are in use. */
static int hugepoison_narrow_again(struct hugepoison_error *err)
{
	hugepoison_lock_narrowed(err);
	if (folio_test_hugetlb_raw_hwp_unreliable(err->folio))
		return hugepoison_result(err, me_widened(err));
	if (hwpoison_filter(err->page)) {
		spin_lock_irq(&hugetlb_lock);
		hugepoison_forget(err->folio, err->page);
		spin_unlock_irq(&hugetlb_lock);
		hugepoison_let_go(err);
		return -EOPNOTSUPP;
	}
	hugepoison_count_error(err);
	hugepoison_unmap_and_kill(err, false);
	hugepoison_let_go(err);
	return hugepoison_result(err, me_narrowed(err));
}

/*
 * Add the record of a poisoned hugepage that has none. Its errors are counted already:
 * those in the list of raw pages, or the first one. If @listed the list also has the
 * present error, which is not counted yet.
 */
static void hugepoison_add_missing_record(struct hugepoison_error *err, bool listed)
{
	hugepoison_record(err);
	if (hugepoison_is_inserted(err->record))
		hugepoison_init_missing_record(err->record, err->nr_listed - listed);
	else
		WRITE_ONCE(hugepoison_unrecorded, true);
}

/* An error in a hugepage that is poisoned already. */
static int hugepoison_second(struct hugepoison_error *err, bool same_page)
{
	enum hugepoison_outcome outcome = HUGEPOISON_FAILED;
	struct hugepoison_record *record;
	bool huge = hugepoison_identify(err);

	if (!huge && !same_page)
		return hugepoison_contain_free(err);
	if (!huge)
		hugepoison_record_released();
	record = hugepoison_find(err->pfn);
	if (record)
		err->record = record;
	else if (huge)
		hugepoison_add_missing_record(err, !same_page && !err->unlisted);
	record = err->record;
	if (!same_page && hugepoison_is(record, HUGEPOISON_STATE_NARROWED))
		return hugepoison_narrow_again(err);
	/* without a record there is one error that is not in the list, and counted */
	if (same_page || hugepoison_is_whole(record->state) ||
	    (err->unlisted && !hugepoison_is_inserted(record)))
		outcome = HUGEPOISON_REPEATED;
	else
		hugepoison_count_error(err);
	/* the page may have been good memory with lost contents; it is counted already */
	if (same_page)
		hugepoison_forget_lost(record, err->pfn);
	hugepoison_result(err, outcome);
	err->accessed = err->flags & MF_ACTION_REQUIRED;
	return -EHWPOISON;
}

/* --- in a page that stands in for a raw page --------------------------------------- */

/*
 * An error in the stand-in of a raw page, whose hugepage is locked if it is in its file: the
 * raw page is lost again. A heal that has copied the stand-in sees that it is gone. The mark
 * keeps the stand-in from being reused when its last user has dropped it.
 */
static int hugepoison_lose_again(struct hugepoison_error *err,
				 struct page *stand_in)
{
	if (hwpoison_filter(stand_in))
		return -EOPNOTSUPP;
	SetPageHWPoison(stand_in);
	pr_err("%#lx: stood in for %#lx, which is lost again\n", err->pfn,
	       page_to_pfn(err->page));
	hugepoison_remove_stand_in(err->page);
	hugepoison_unmap_and_kill(err, false);
	return action_result(err->pfn, MF_MSG_HUGE, MF_RECOVERED);
}

/*
 * Handle an error in a page that may stand in for a raw page: lock the hugepage, which may
 * drop mf_mutex, and look again. With the record's reference it stays a hugepage.
 *
 * Return: false if the page stands in for none, or no longer: then it is any base page.
 */
static bool hugepoison_stand_in_failed(struct hugepoison_error *err, int *ret)
{
	struct page *stand_in = err->page;
	struct hugepoison_record *record;
	bool found = false;

	/* a base page stands in, and most errors here are in hugepages */
	if (folio_test_hugetlb(page_folio(stand_in)))
		return false;
	err->page = hugepoison_raw_behind(stand_in);
	if (err->page) {
		hugepoison_hold(err);
		record = hugepoison_find(page_to_pfn(err->page));
		if (record && record->referenced) {
			err->folio = pfn_folio(record->pfn);
			hugepoison_lock_narrowed(err);
			found = hugepoison_raw_behind(stand_in) == err->page;
		}
		if (found)
			*ret = hugepoison_lose_again(err, stand_in);
		hugepoison_let_go(err);
	}
	if (found && err->flags & MF_COUNT_INCREASED)
		put_page(stand_in);
	err->page = stand_in;
	return found;
}

/* --- entry -------------------------------------------------------------------------- */

/* Begin an error: the raw pages of dissolved hugepages get their records first. */
static void hugepoison_begin_error(struct hugepoison_error *err)
{
	lockdep_assert_held(&mf_mutex);
	hugepoison_begin_handling();
	hugepoison_record_released();
	err->blank = hugepoison_alloc_record();
	err->record = &err->unrecorded;
}

static void hugepoison_end_error(struct hugepoison_error *err)
{
	hugepoison_free_record(err->blank);
	hugepoison_end_handling();
}

/*
 * Mark the raw page and take a reference to the hugepage. If the hugepage is on its way
 * between free and in use, or isolated for migration, wait some tens of milliseconds: it
 * will soon be either, and can then be contained. A contained one stays neither, so do not
 * wait for it.
 *
 * Return: stock's MF_HUGETLB_*.
 */
static int hugepoison_get(struct hugepoison_error *err)
{
	int tries, ret;

	for (tries = 0; tries < 20; tries++) {
		ret = get_huge_page_for_hwpoison(err->pfn, err->flags,
						 &err->migratable_cleared);
		if (ret != MF_HUGETLB_RETRY)
			return ret;
		if (folio_test_hwpoison(page_folio(err->page)))
			break;
		/* migration needs the folio lock; nothing is recorded yet */
		hugepoison_let_go(err);
		usleep_range(1000, 5000);
		hugepoison_hold(err);
	}
	return get_huge_page_for_hwpoison(err->pfn, err->flags | MF_NO_RETRY,
					  &err->migratable_cleared);
}

/*
 * Handle the error by how the page was found: stock's MF_HUGETLB_*. Only a page in no
 * hugepage is -ENOENT: stock's half goes on with it.
 */
static int hugepoison_found(struct hugepoison_error *err, int found)
{
	switch (found) {
	case MF_HUGETLB_NON_HUGEPAGE:
		return -ENOENT;
	case MF_HUGETLB_IN_USED:
		return hugepoison_contain(err);
	case MF_HUGETLB_FOLIO_PRE_POISONED:
	case MF_HUGETLB_PAGE_PRE_POISONED:
		return hugepoison_second(err,
				found == MF_HUGETLB_PAGE_PRE_POISONED);
	default:
		/* marked without a reference: it cannot be allocated */
		return hugepoison_contain_free(err);
	}
}

/**
 * hugepoison_memory_failure - handle an error that may be in a hugepage
 * @pfn: the page frame that the hardware reported
 * @flags: memory_failure()'s
 *
 * Replaces try_memory_failure_hugetlb(), with the same return values.
 *
 * Context: Process context, may sleep; mf_mutex held.
 * Return: 0 when the error is contained; -ENOENT when @pfn is in no hugepage, and
 * only then; -EBUSY when it is not contained, or other users hold the hugepage;
 * -EHWPOISON when the hugepage was poisoned before; -EOPNOTSUPP when a filter excepts
 * it.
 */
int hugepoison_memory_failure(unsigned long pfn, int flags)
{
	struct hugepoison_error err = {
		.pfn = pfn,
		.flags = flags,
		.page = pfn_to_page(pfn),
		.begin = hugepoison_trace_begin(trace_hugepoison_contain_enabled()),
	};
	int ret;

	hugepoison_begin_error(&err);
	if (hugepoison_stand_in_failed(&err, &ret)) {
		hugepoison_end_error(&err);
		return ret;
	}
	hugepoison_hold(&err);
	ret = hugepoison_found(&err, hugepoison_get(&err));
	hugepoison_let_go(&err);
	hugepoison_end_error(&err);
	/* this may take long, and faults wait for hugepoison_end_handling(): so after */
	if (err.accessed)
		ret = hugepoison_kill_accessing(current, pfn, flags);
	return ret;
}
