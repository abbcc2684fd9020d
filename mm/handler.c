// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the error handler's hugepage half.
 *
 * Included by hugepoison/memory-failure.c. memory_failure() comes here first; all of
 * it runs under mf_mutex, one error at a time.
 *
 * The way of an error:
 *
 *	hugepoison_memory_failure()
 *	  hugepoison_get()		record the raw page, take a reference
 *	  hugepoison_may_narrow()	how much of the hugepage is given up
 *	  hwpoison_user_mappings()	find, unmap and signal the mappers
 *	  me_*_hugepage()		what becomes of the hugepage
 *	  hugepoison_result()		mark, account, log, count: one for all
 *	hugepoison_*_work()		afterwards: narrow for those who cannot
 *					by themselves, release when unused
 */

/* The hook in memory_failure() took the only call away; it stays for =n. */
static int __maybe_unused try_memory_failure_hugetlb(unsigned long pfn,
						     int flags, int *hugetlb);

/* The policy, for errors from now on. */
static bool hugepoison_narrow_policy = true;

/* --- whom the error is told ------------------------------------------------------- */

/**
 * hugepoison_kill_shift - how much a mapper loses by an error, for si_addr_lsb
 * @page: the raw page
 * @vma: the mapping
 * @shift: what stock says: the hugepage's size
 *
 * Context: Process context; mf_mutex held for a hugepage.
 * Return: PAGE_SHIFT where the mapping keeps the healthy pages, else @shift.
 */
short hugepoison_kill_shift(struct page *page, struct vm_area_struct *vma,
			    short shift)
{
	struct hugepoison_record *record;

	if (!PageHuge(page))
		return shift;
	record = hugepoison_find(page_to_pfn(page));
	if (record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED) &&
	    !hugepoison_vma_is_wide(vma))
		return PAGE_SHIFT;
	return shift;
}

/**
 * hugepoison_told - whether a task is to be signalled for an error already
 * @task: the task, found by one more of its mappings
 * @page: the raw page
 * @to_kill: those to be signalled
 *
 * A process that maps a hugepage more than once is told of an error once. Stock
 * looks at one process after the other, so the last one found is the one to ask.
 *
 * Context: Process context.
 * Return: true when @task is in @to_kill, and @page is in a hugepage.
 */
bool hugepoison_told(struct task_struct *task, struct page *page,
		     struct list_head *to_kill)
{
	return PageHuge(page) && !list_empty(to_kill) &&
	       list_last_entry(to_kill, struct to_kill, nd)->tsk == task;
}

/**
 * hugepoison_kill_accessing - signal a process that ran into a known error
 * @task: the process, current
 * @pfn: the raw page
 * @flags: memory_failure()'s
 *
 * Stock's kill_accessing_process(), but mf_mutex is dropped meanwhile: that takes
 * mmap_lock, which the process may hold for as long as it likes (a FUSE server's
 * mapping), and under which mmap() of a hugetlb file takes the inode lock, which
 * hole punching takes outside of mf_mutex. The caller goes by nothing that it
 * looked at before: the page is marked, and all that follows is to report it.
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

/* --- how it ends ------------------------------------------------------------------ */

/*
 * There is no record that would tell of a reference, so there is none. The hugepage is
 * out of reach by its own mark alone: no page fault maps it, no allocator takes it.
 */
static void hugepoison_end_unrecorded(struct hugepoison_error *err)
{
	pr_err("%#lx: no memory for a record of it: mce_bad_pages will show it when there is\n",
	       err->pfn);
	WRITE_ONCE(hugepoison_unrecorded, true);
	if (err->referenced)
		folio_put(err->folio);
}

/* The state that an outcome leads to. */
static void hugepoison_end_in(struct hugepoison_error *err,
			      const struct hugepoison_action *action)
{
	struct hugepoison_record *record = err->record;

	record->referenced |= err->referenced;
	if (hugepoison_is(record, HUGEPOISON_STATE_RELEASED))
		return;
	if (action->state != HUGEPOISON_STATE_NEW)
		hugepoison_become(record, action->state);
	/* nobody tells when its last user, or the want of memory, is gone */
	if (action->later)
		hugepoison_release_later(record);
}

/*
 * The end of every error: mark, account, log and count. The folio is unlocked;
 * it is either ours to keep, or no hugepage any more. HardwareCorrupted has the
 * raw page already.
 */
static void hugepoison_conclude(struct hugepoison_error *err,
				enum hugepoison_outcome outcome)
{
	const struct hugepoison_action *action = &hugepoison_actions[outcome];
	struct hugepoison_record *record = err->record;

	if (hugepoison_is_inserted(record))
		hugepoison_end_in(err, action);
	else
		hugepoison_end_unrecorded(err);
	if (hugepoison_wants_memory())
		hugepoison_release_soon(HUGEPOISON_CONTAIN_AGAIN);
	hugepoison_count(err->pfn, err->order, outcome);
	trace_hugepoison_contain(err->pfn, err->order, action->name,
				 err->begin);
	/* printing takes a third of the time that an error takes: not now */
	if (outcome == HUGEPOISON_NARROWED) {
		/* an error before this one that the worker has not come to yet */
		if (unlikely(READ_ONCE(record->worker.untold)))
			hugepoison_tell(record);
		WRITE_ONCE(record->worker.untold, err->pfn);
		/* after that: the worker tells what it finds, and only once */
		hugepoison_narrow_later(record);
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

/* From here on the error is one of its record's; HardwareCorrupted has it in the end. */
static void hugepoison_count_error(struct hugepoison_error *err)
{
	err->record->nr_bad++;
}

/* The hugepage gets a record. What there is of one that was there before is stale. */
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

/* As if the error had never been recorded. */
static void hugepoison_unrecord(struct hugepoison_error *err)
{
	if (hugepoison_is_inserted(err->record))
		hugepoison_erase(err->record);
	err->record = &err->unrecorded;
}

/*
 * The raw page has left its hugepage, with a record of its own; where there was no
 * memory for that it comes later.
 */
static void hugepoison_record_left(struct hugepoison_error *err)
{
	err->record = hugepoison_lookup(err->pfn);
	if (err->record)
		return;
	err->unrecorded = (struct hugepoison_record){ .nr_bad = 1 };
	err->record = &err->unrecorded;
}

/*
 * The handler alone has the hugepage: it leaves its pool. From then on the raw
 * page has a record of its own.
 */
static enum hugepoison_outcome hugepoison_give_up(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome;

	outcome = hugepoison_leave_pool(err->record, err->folio);
	if (outcome == HUGEPOISON_ISOLATED)
		return outcome;
	err->referenced = false;
	hugepoison_record_left(err);
	return outcome;
}

/* --- in a free hugepage ------------------------------------------------------------ */

/*
 * The hugepage that the raw page is in, its order, and what its list of raw pages says.
 * Without a reference it may be dissolved in any moment, and its struct pages may be
 * others' then: so all are read under hugetlb_lock, and all else waits until it is
 * isolated.
 *
 * Return: false when the page is in no hugepage any more.
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
 * Whether the hugepage left its pool by itself: somebody shrank the pool, or it
 * was a surplus one. It was marked before, so it was taken apart around its raw
 * pages, see hugepoison_free_poisoned(), and they are out of everybody's reach.
 */
static bool hugepoison_has_left(struct hugepoison_error *err)
{
	struct hugepoison_record *former;

	if (!PageHWPoisonTakenOff(err->page))
		return false;
	err->order = err->page->index;
	former = hugepoison_former(err->page);
	/* poisoned before, and dissolved since: this error is one of that record's */
	if (former && former != err->record)
		former->nr_bad++;
	hugepoison_collect_left();
	hugepoison_record_left(err);
	return true;
}

/*
 * Take a hugepage that is free, or will be in a moment: it may be on its way
 * from its last user to the pool, or out of the pool. Where it goes shows soon,
 * and nobody is given it meanwhile, as it is marked.
 *
 * Return: HUGEPOISON_ISOLATED with a reference, HUGEPOISON_DEQUEUED when it has
 * left its pool by itself, HUGEPOISON_FAILED when it did neither.
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
		if (hugepoison_has_left(err))
			return HUGEPOISON_DEQUEUED;
		/* users decide how much there is to flush: not each time */
		if (!(tries % 8))
			hugepoison_pool_flush();
		usleep_range(1000, 5000);
	}
	return HUGEPOISON_FAILED;
}

/*
 * The hugepage is recorded as poisoned, and was free or neither free nor in use:
 * out of the pool with it, and its raw page out of use. A hugepage that turns out
 * to come into use is left to the worker.
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
		outcome = hugepoison_give_up(err);
	else if (outcome == HUGEPOISON_FAILED)
		pr_err("%#lx: its hugepage is neither free nor in use: to be contained when it is\n",
		       err->pfn);
	return hugepoison_result(err, outcome);
}

/* --- in a hugepage in use ---------------------------------------------------------- */

/*
 * A private hugepage of which all is given up, or one that its file has let go:
 * no mapping is left, and the data is lost.
 */
static enum hugepoison_outcome me_private_hugepage(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome = hugepoison_give_up(err);

	if (outcome == HUGEPOISON_ISOLATED)
		return outcome;
	if (outcome == HUGEPOISON_REPLACED)
		hugepoison_count(err->pfn, err->order, outcome);
	return HUGEPOISON_RELEASED;
}

/*
 * Whether the raw page is all that has to be given up. A file's hugepage stays
 * in the page cache, where every mapping finds it; a private one is kept by the
 * entries of its mappers, and their anon_vma finds them.
 */
static bool hugepoison_may_narrow(struct hugepoison_error *err)
{
	struct anon_vma *anon_vma = NULL;
	const char *why = NULL;
	bool narrow = false;

	/* without a file or a mapper nobody would find the healthy pages */
	if (folio_test_anon(err->folio)) {
		anon_vma = folio_get_anon_vma(err->folio);
		/* a try before may have left entries that keep it */
		if (!anon_vma)
			return err->record->anon_vma;
	} else if (!err->folio->mapping) {
		return false;
	}
	if (!READ_ONCE(hugepoison_narrow_policy))
		goto out;
	if (!hugepoison_is_inserted(err->record))
		why = "no memory for a record of it";
	else if (folio_test_hugetlb_raw_hwp_unreliable(err->folio))
		why = "which pages are bad was lost for want of memory";
	if (why) {
		pr_err("%#lx: containment hugepage: %s\n", err->pfn, why);
		goto out;
	}
	if (!anon_vma)
		return true;
	/* the worker reads it without mf_mutex; a try before may have left one */
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

/* The raw page is out of everybody's reach, the others are to be back soon. */
static enum hugepoison_outcome me_narrowed(struct hugepoison_error *err)
{
	hugepoison_mark_raw(err->folio, err->page);
	if (folio_maybe_dma_pinned(err->folio))
		pr_err("%#lx: pinned: a device may still reach the raw page\n",
		       err->pfn);
	return HUGEPOISON_NARROWED;
}

/*
 * An in-use hugepage, unmapped. One of a file stays in the page cache, where
 * every old and new mapping finds it poisoned.
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
	users = hugepoison_users(folio, 1 + (file ? folio_nr_pages(folio) : 0));
	if (users) {
		pr_err("%#lx: still referenced by %d users\n", err->pfn, users);
		return HUGEPOISON_PINNED;
	}
	return file ? HUGEPOISON_CONTAINED : me_private_hugepage(err);
}

/* The hugepage is in use and the handler has a reference: unlocks the folio. */
static enum hugepoison_outcome
hugepoison_contain_used(struct hugepoison_error *err)
{
	/* before mappers are signalled: it says how much they lose */
	if (hugepoison_may_narrow(err))
		hugepoison_become(err->record, HUGEPOISON_STATE_NARROWED);
	hwpoison_user_mappings(err->folio, err->page, err->pfn, err->flags);
	return me_huge_page_in_use(err);
}

/* The hugepage is recorded as poisoned, and in use. */
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
 * Take a raw page, or all there is, from those who map it below its size, and
 * tell them. No file has a copy: it is lost whether it was dirty or not.
 */
static void hugepoison_take_away(struct hugepoison_error *err, bool all)
{
	LIST_HEAD(tokill);

	collect_procs(err->folio, err->page, &tokill,
		      err->flags & MF_ACTION_REQUIRED);
	if (all)
		hugepage_unmap_small(err->folio, &err->folio->page,
				     folio_nr_pages(err->folio));
	else
		hugepage_unmap_small(err->folio, err->page, 1);
	kill_procs(&tokill, true, err->pfn, err->flags);
}

/*
 * There was no memory for the raw page's place in the list. None of the hugepage can be
 * left to anybody now.
 */
static enum hugepoison_outcome me_widened(struct hugepoison_error *err)
{
	pr_err("%#lx: containment hugepage from now on: which pages are bad was lost for want of memory\n",
	       err->pfn);
	hugepoison_count_error(err);
	hugepoison_become(err->record, HUGEPOISON_STATE_FAILED);
	hugepoison_take_away(err, true);
	hugepoison_let_go(err);
	return HUGEPOISON_CONTAINED;
}

/* An error in a hugepage whose healthy pages are in use. */
static int hugepoison_narrow_again(struct hugepoison_error *err)
{
	hugepoison_lock(err);
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
	hugepoison_take_away(err, false);
	hugepoison_let_go(err);
	return hugepoison_result(err, me_narrowed(err));
}

/*
 * A poisoned hugepage without a record gets one. The errors in it are counted: those in
 * the list of raw pages, or the first one; but not yet the one at hand, if @listed.
 */
static void hugepoison_record_late(struct hugepoison_error *err, bool listed)
{
	hugepoison_record(err);
	if (hugepoison_is_inserted(err->record))
		hugepoison_begin_late(err->record, err->nr_listed - listed);
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
		hugepoison_collect_left();
	record = hugepoison_find(err->pfn);
	if (record)
		err->record = record;
	else if (huge)
		hugepoison_record_late(err, !same_page && !err->unlisted);
	record = err->record;
	if (!same_page && hugepoison_is(record, HUGEPOISON_STATE_NARROWED))
		return hugepoison_narrow_again(err);
	/* without a record there is one error that is not in the list, and counted */
	if (same_page || hugepoison_is_whole(record->state) ||
	    (err->unlisted && !hugepoison_is_inserted(record)))
		outcome = HUGEPOISON_REPEATED;
	else
		hugepoison_count_error(err);
	/* it was good memory until now; counted it is already */
	if (same_page)
		hugepoison_forget_lost(record, err->pfn);
	hugepoison_result(err, outcome);
	err->accessed = err->flags & MF_ACTION_REQUIRED;
	return -EHWPOISON;
}

/* --- the entry of all --------------------------------------------------------------- */

/* What is left of hugepages that are none any more has records before others do. */
static void hugepoison_begin_error(struct hugepoison_error *err)
{
	lockdep_assert_held(&mf_mutex);
	hugepoison_begin();
	hugepoison_collect_left();
	err->blank = hugepoison_alloc_record();
	err->record = &err->unrecorded;
}

static void hugepoison_end_error(struct hugepoison_error *err)
{
	hugepoison_free_record(err->blank);
	hugepoison_end();
}

/*
 * Record the raw page and get hold of the hugepage. One that is on its way
 * between free and in use, or isolated for migration, will be either soon: it
 * is worth some tens of milliseconds to be able to contain it. One that is
 * contained stays neither; there is nothing to wait for.
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
		/* who moves the hugepage needs its lock; nothing is recorded yet */
		hugepoison_let_go(err);
		usleep_range(1000, 5000);
		hugepoison_hold(err);
	}
	return get_huge_page_for_hwpoison(err->pfn, err->flags | MF_NO_RETRY,
					  &err->migratable_cleared);
}

/* What to do is decided by how the page was found: stock's MF_HUGETLB_*. */
static int hugepoison_found(struct hugepoison_error *err, int found)
{
	switch (found) {
	case MF_HUGETLB_NON_HUGEPAGE:
		return 0;
	case MF_HUGETLB_IN_USED:
		return hugepoison_contain(err);
	case MF_HUGETLB_FOLIO_PRE_POISONED:
	case MF_HUGETLB_PAGE_PRE_POISONED:
		return hugepoison_second(err,
				found == MF_HUGETLB_PAGE_PRE_POISONED);
	default:
		/* marked without a reference; no allocator hands it out */
		return hugepoison_contain_free(err);
	}
}

/**
 * hugepoison_memory_failure - handle an error that may be in a hugepage
 * @pfn: the page frame that the hardware reported
 * @flags: memory_failure()'s
 * @hugetlb: set to 1 when the page belongs to a hugepage and the error has
 *	     been dealt with here, to 0 when it is not one
 *
 * Stands in for the stock try_memory_failure_hugetlb(), whose return values
 * it keeps.
 *
 * Context: Process context, may sleep; mf_mutex held.
 * Return: 0 when @pfn is in no hugepage, or the error is contained; -EBUSY
 * when it is not, or other users hold the hugepage; -EHWPOISON when the
 * hugepage was poisoned before; -EOPNOTSUPP when a filter excepts it.
 */
int hugepoison_memory_failure(unsigned long pfn, int flags, int *hugetlb)
{
	struct hugepoison_error err = {
		.pfn = pfn,
		.flags = flags,
		.page = pfn_to_page(pfn),
		.begin = hugepoison_trace_begin(trace_hugepoison_contain_enabled()),
	};
	int found, ret;

	hugepoison_begin_error(&err);
	hugepoison_hold(&err);
	found = hugepoison_get(&err);
	*hugetlb = found != MF_HUGETLB_NON_HUGEPAGE;
	ret = hugepoison_found(&err, found);
	hugepoison_let_go(&err);
	hugepoison_end_error(&err);
	/* nobody waits for this as for an error on its way: it may take long */
	if (err.accessed)
		ret = hugepoison_kill_accessing(current, pfn, flags);
	return ret;
}
