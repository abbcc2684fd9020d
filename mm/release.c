// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what is left to do after an error was handled.
 *
 * Included by hugepoison/memory-failure.c. Two works:
 *  - narrow for mappers that cannot do it by themselves in their faults,
 *  - release a poisoned hugepage when its last user has left it.
 */

/*
 * How soon the worker narrows after an error: ptrace and /proc/PID/mem fail
 * until then. How often it is tried, and how long in between.
 */
#define HUGEPOISON_EAGER_DELAY		1
#define HUGEPOISON_EAGER_TRIES		20
#define HUGEPOISON_EAGER_AGAIN		(HZ / 10)
/* How often a pass looks for more mappers: users may make new ones for ever. */
#define HUGEPOISON_EAGER_ROUNDS		64
/* For how long a fault that found no hugepage takes an error to be the reason. */
#define HUGEPOISON_MOMENT		(HZ / 5)
/*
 * How soon an unused hugepage is released, or looked at again; and one whose
 * error is not contained.
 */
#define HUGEPOISON_RELEASE_DELAY	(HZ / 100)
#define HUGEPOISON_RELEASE_AGAIN	HZ
#define HUGEPOISON_CONTAIN_AGAIN	(HZ / 10)

static void hugepoison_narrow_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(hugepoison_narrow_dwork, hugepoison_narrow_work);

static void hugepoison_release_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(hugepoison_release_dwork, hugepoison_release_work);

/* The worker narrows for those who have not touched their hugepage. */
static void hugepoison_narrow_soon(void)
{
	queue_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
			   hugepage_small_rmap_enabled() ?
			   HUGEPOISON_EAGER_DELAY : 0);
}

/*
 * Have the worker narrow for @record's mappers, at once where it has to switch on
 * what counts such mappings: no fault can narrow before.
 */
static void hugepoison_narrow_later(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	WRITE_ONCE(record->eager, HUGEPOISON_EAGER_TRIES);
	hugepoison_narrow_soon();
}

/**
 * hugepoison_hurry - have the worker look for a hugepage's mappers once more
 * @folio: the hugepage; RCU keeps it
 *
 * For a mapping that came after the worker was done, and a fault in it that
 * cannot narrow by itself. Losing a race with the worker costs another fault.
 *
 * Context: Any but interrupts.
 */
void hugepoison_hurry(struct folio *folio)
{
	struct hugepoison_record *record;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record)
		WRITE_ONCE(record->eager, HUGEPOISON_EAGER_TRIES);
	spin_unlock(&hugepoison_records_lock);
	hugepoison_narrow_soon();
}

/*
 * Whether an error is not contained yet: the handler is about to, or could not, as
 * the hugepage was neither free nor in use. Then the worker does when it is.
 */
static bool hugepoison_is_open(struct hugepoison_record *record)
{
	return !READ_ONCE(record->narrow) && !READ_ONCE(record->marked) &&
	       !READ_ONCE(record->raw);
}

/**
 * hugepoison_fate - what becomes of a page fault on a hugepage
 * @folio: the hugepage; the folio lock or RCU keeps it in the page cache
 *
 * Context: Any but interrupts. Never takes mf_mutex, which the error handler
 * holds while it waits for the folio lock.
 * Return: HUGEPOISON_HEALTHY, HUGEPOISON_NARROW when the healthy pages of it
 * may be mapped, HUGEPOISON_WIDE when none may, HUGEPOISON_UNDECIDED when the
 * error handler is about to find out, or the worker, which comes soon to one
 * that is in use.
 */
enum hugepoison_fate hugepoison_fate(struct folio *folio)
{
	enum hugepoison_fate fate = HUGEPOISON_WIDE;
	struct hugepoison_record *record;
	bool handling;

	if (!folio_test_hwpoison(folio))
		return HUGEPOISON_HEALTHY;
	/* before the record: whoever added it meanwhile was handling until then */
	handling = hugepoison_has_errors();

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record && READ_ONCE(record->narrow))
		fate = HUGEPOISON_NARROW;
	else if (record ? hugepoison_is_open(record) : handling)
		fate = HUGEPOISON_UNDECIDED;
	/* without the folio lock: it is well by now, or no hugepage any more */
	if (record ? READ_ONCE(record->raw) : !folio_test_hwpoison(folio))
		fate = HUGEPOISON_HEALTHY;
	spin_unlock(&hugepoison_records_lock);
	return fate;
}

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
	if (record && record->narrow && !hugepoison_vma_is_wide(vma))
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
	SetPageHWPoison(page);
	SetPageHWPoisonTakenOff(page);
	page->index = order;
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

/* The record of the hugepage that a raw page was in, NULL where it has none. */
static struct hugepoison_record *hugepoison_former(struct raw_hwp_page *raw)
{
	unsigned long pfn = page_to_pfn(raw->page);
	unsigned int order = raw->page->index;
	struct hugepoison_record *record;

	record = hugepoison_lookup(ALIGN_DOWN(pfn, 1UL << order));
	return record && !record->raw ? record : NULL;
}

/* A raw page gets a record of its own; it is counted already. */
static void hugepoison_keep_record(struct hugepoison_record *former,
				   struct page *page)
{
	struct hugepoison_record *record;

	record = hugepoison_add(page_to_pfn(page), page->index);
	if (record) {
		WRITE_ONCE(record->raw, true);
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
	WRITE_ONCE(former->raw, true);
	hugepoison_set_narrow(former, false);
	former->referenced = false;
	former->used = false;
	WRITE_ONCE(former->marked, false);
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
		former = hugepoison_former(raw);
		if (!former || former->pfn != page_to_pfn(raw->page))
			hugepoison_keep_record(former, raw->page);
	}
	llist_for_each_entry_safe(raw, next, left, node) {
		former = hugepoison_former(raw);
		if (former)
			hugepoison_end_record(former);
		kfree(raw);
	}
}

/* From all of the hugepage out of use to the raw pages alone. */
static void hugepoison_unsettle(struct hugepoison_record *record,
				struct folio *folio)
{
	struct raw_hwp_page *raw;

	if (!record->marked)
		return;
	hugepoison_mark(folio, false);
	WRITE_ONCE(record->marked, false);
	hugepoison_account(record, record->pfn, -record->nr_bad);
	/* errors in a hugepage that has left its users are added under mf_mutex */
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		hugepoison_account(record, page_to_pfn(raw->page), 1);
}

/*
 * Of what is narrowed the log is told later: printing is slow. By the worker, or
 * by the handler if more happens to the hugepage before.
 */
static void hugepoison_tell(struct hugepoison_record *record)
{
	unsigned long pfn = xchg(&record->untold, 0);

	if (pfn)
		hugepoison_log(pfn, record->order, HUGEPOISON_NARROWED,
			       READ_ONCE(record->nr_bad));
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
	if (record)
		hugepoison_unsettle(record, folio);
	replaced = hugepoison_pool_leave(folio);
	hugepoison_collect_left();
	return replaced ? HUGEPOISON_REPLACED : HUGEPOISON_DEQUEUED;
}

/*
 * Nobody has the hugepage any more: what was lost of it by an error in another
 * one does not matter now.
 *
 * Return: true when nothing of it is bad, and it is back in its pool.
 */
static bool hugepoison_release_lost(struct hugepoison_record *record,
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
 * The last user of a hugepage has left it; its pool gets another one.
 *
 * Return: true when it could not be done yet.
 */
static bool hugepoison_release(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	unsigned int order = record->order;
	unsigned long pfn = record->pfn;
	enum hugepoison_outcome outcome;
	long nr_raw;

	hugepoison_tell(record);
	if (hugepoison_release_lost(record, folio))
		return false;
	nr_raw = hugepoison_nr_raw(folio);
	outcome = hugepoison_leave_pool(record, folio);
	if (outcome == HUGEPOISON_ISOLATED)
		return true;
	if (outcome == HUGEPOISON_REPLACED)
		hugepoison_count(pfn, order, HUGEPOISON_REPLACED);
	hugepoison_outcome(pfn, order, HUGEPOISON_RELEASED, nr_raw);
	return false;
}

/*
 * Get hold of a poisoned hugepage that came into use after its error. Before it is
 * mapped or in a file a page fault is filling it, and takes the folio lock as if
 * nobody else could have it: leave it alone until then.
 */
static bool hugepoison_get_used(struct folio *folio)
{
	bool got;

	spin_lock_irq(&hugetlb_lock);
	got = folio_test_hugetlb(folio) && folio_test_hwpoison(folio) &&
	      (folio_mapped(folio) || READ_ONCE(folio->mapping)) &&
	      folio_try_get(folio);
	if (got)
		folio_clear_hugetlb_migratable(folio);
	spin_unlock_irq(&hugetlb_lock);
	return got;
}

/*
 * Contain an error that the handler could not. As if it was reported now, by
 * nobody who needs an answer; but it is counted already.
 *
 * Return: true when the hugepage has to be looked at again.
 */
static bool hugepoison_contain_late(struct hugepoison_record *record,
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
	enum hugepoison_outcome outcome;
	struct raw_hwp_page *raw;

	lockdep_assert_held(&mf_mutex);
	if (!hugepoison_lock_poisoned(folio)) {
		if (!record->referenced)
			folio_put(folio);
		return true;
	}
	hugepoison_begin();
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node) {
		err.page = raw->page;
		hugepoison_mark_raw(folio, raw->page);
	}
	err.pfn = page_to_pfn(err.page);
	record->nr_bad--;
	outcome = hugepoison_contain_used(&err);
	hugepoison_conclude(&err, outcome);
	hugepoison_end();
	return hugepoison_actions[outcome].later;
}

/*
 * Release a hugepage if its last user has left it: no file has it, and the
 * handler's reference is the last one. One that was on its way between free and
 * in use when it went bad, so that the handler got no reference, is free by now,
 * or in use, or still neither.
 *
 * Return: true when it has to be looked at again. A file says when it lets go.
 */
static bool hugepoison_try_release(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	bool open = hugepoison_is_open(record);

	if (!record->referenced && hugepoison_pool_isolate(&folio->page, true))
		record->referenced = true;
	else if (open && (record->referenced || hugepoison_get_used(folio)))
		return hugepoison_contain_late(record, folio);
	if (folio_test_hugetlb_raw_hwp_unreliable(folio))
		return false;
	if (record->referenced && folio_mapping(folio))
		return false;
	if (!record->referenced || folio_mapped(folio) ||
	    folio_ref_count(folio) != 1)
		return true;
	return hugepoison_release(record);
}

/* Look soon whether a poisoned hugepage still has users. */
static void hugepoison_release_later(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	record->used = true;
	/* what can wait does not put off an error that is not contained yet */
	if (hugepoison_is_open(record))
		mod_delayed_work(hugepoison_wq, &hugepoison_release_dwork,
				 HUGEPOISON_CONTAIN_AGAIN);
	else
		queue_delayed_work(hugepoison_wq, &hugepoison_release_dwork,
				   HUGEPOISON_RELEASE_AGAIN);
}

/* A hugepage that had users and that this round has not looked at yet. */
static struct hugepoison_record *hugepoison_next_used(unsigned int round)
{
	struct hugepoison_record *record;
	int bucket;

	lockdep_assert_held(&mf_mutex);
	hash_for_each(hugepoison_records, bucket, record, node)
		if (record->used && record->round != round)
			return record;
	return NULL;
}

/*
 * One of them; mf_mutex is dropped after each, as finding a fresh hugepage may
 * take a while. @delay is when to look again, in jiffies, 0 for not at all.
 *
 * Return: false when this round has looked at all of them.
 */
static bool hugepoison_release_next(unsigned int round, unsigned long *delay)
{
	struct hugepoison_record *record;
	bool open;

	hugepoison_begin_urgent();
	mutex_lock(&mf_mutex);
	hugepoison_collect_left();
	record = hugepoison_next_used(round);
	if (record) {
		record->round = round;
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

static void hugepoison_release_work(struct work_struct *work)
{
	static unsigned int round;
	unsigned long delay = 0;

	round++;
	while (hugepoison_release_next(round, &delay))
		cond_resched();
	if (delay)
		queue_delayed_work(hugepoison_wq, &hugepoison_release_dwork, delay);
}

/* A free hugepage, isolated, one page of which is not to be used any more. */
static int hugepoison_retire(struct page *page, struct folio *folio)
{
	unsigned int order = folio_order(folio);
	struct hugepoison_record *record;
	enum hugepoison_outcome outcome;

	spin_lock_irq(&hugetlb_lock);
	hugetlb_update_hwpoison(folio, page);
	spin_unlock_irq(&hugetlb_lock);

	record = hugepoison_add(folio_pfn(folio), order);
	if (record) {
		/* soft_offline_page() counts it in a moment */
		record->nr_bad = 1;
		outcome = hugepoison_leave_pool(record, folio);
		if (outcome != HUGEPOISON_ISOLATED) {
			hugepoison_outcome(page_to_pfn(page), order, outcome, 1);
			return 1;
		}
		hugepoison_erase(record);
	}
	hugepoison_forget_all(folio);
	hugepoison_pool_put_back(folio);
	return -EBUSY;
}

/**
 * hugepoison_page_handle_poison - take a page out of use that is not broken yet
 * @page: the page, free or in a free hugepage
 *
 * For soft_offline_page(): stock's __page_handle_poison(), but the pool of a
 * hugepage is refilled, a reserved one goes as well, and the page never passes
 * through the buddy allocator.
 *
 * Context: Process context, may sleep; mf_mutex held.
 * Return: 1 when nobody can get @page, which has no reference; 0 when somebody
 * got it first; -EBUSY when its hugepage is not free, or cannot be taken apart.
 */
int hugepoison_page_handle_poison(struct page *page)
{
	int ret;

	lockdep_assert_held(&mf_mutex);
	if (!PageHuge(page))
		return __page_handle_poison(page);
	if (!hugepoison_pool_isolate(page, false)) {
		hugepoison_pool_flush();
		if (!hugepoison_pool_isolate(page, false))
			return folio_test_hwpoison(page_folio(page)) ?
			       -EBUSY : __page_handle_poison(page);
	}

	hugepoison_begin();
	ret = hugepoison_retire(page, page_folio(page));
	hugepoison_end();
	/* the caller takes the reference that a page out of use has */
	if (ret > 0)
		set_page_count(page, 0);
	return ret;
}

/**
 * hugepoison_is_handling - whether an error is on its way through the handler,
 *			    or was a moment ago
 *
 * It may be in a free hugepage that a fault was about to get. The fault comes
 * here some time after it found none; so a moment has to be longer than that,
 * and is short enough to wait for in vain.
 *
 * Context: Any.
 * Return: true for yes.
 */
bool hugepoison_is_handling(void)
{
	return atomic_read(&hugepoison_handling) ||
	       time_before64(get_jiffies_64(), READ_ONCE(hugepoison_handled) +
						HUGEPOISON_MOMENT);
}

/**
 * hugepoison_refilled - a pool got a hugepage that an error took
 * @order: of the hugepage
 * @nid: node that lost it
 * @from: node that gave the fresh one
 *
 * Context: Any.
 */
void hugepoison_refilled(unsigned int order, int nid, int from)
{
	hugepoison_count_on(nid, order, HUGEPOISON_REPLACED);
	WRITE_ONCE(hugepoison_handled, get_jiffies_64());
	pr_info("the pool of %lu kB hugepages on node %d is refilled from node %d\n",
		PAGE_SIZE << order >> 10, nid, from);
}

/**
 * hugepoison_has_errors - whether an error is on its way through the handler
 *
 * Context: Any. What the caller reads afterwards is what became of an error
 * that is not on its way any more.
 * Return: true for yes.
 */
bool hugepoison_has_errors(void)
{
	return atomic_read_acquire(&hugepoison_handling);
}

/**
 * hugepoison_await_handled - wait for the error on its way through the handler
 *
 * There is one at a time, by mf_mutex. Those that come after it are not waited
 * for: what the caller met is decided by then. Where the handler could not
 * contain an error the worker does, soon after the hugepage came into use: then
 * the wait is for a part of the time until the worker looks.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
void hugepoison_await_handled(void)
{
	int nr = atomic_read(&hugepoison_nr_handled);

	if (!hugepoison_has_errors())
		schedule_timeout_killable(HUGEPOISON_CONTAIN_AGAIN / 4);
	while (hugepoison_has_errors() &&
	       atomic_read(&hugepoison_nr_handled) == nr &&
	       !fatal_signal_pending(current))
		schedule_timeout_killable(1);
}

/* A narrowed hugepage that this pass of the worker has not looked at yet. */
static struct hugepoison_record *hugepoison_next_eager(unsigned int pass,
						       bool *again)
{
	struct hugepoison_record *record;
	unsigned int eager;
	int bucket;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "needs RCU to keep records");
	hash_for_each_rcu(hugepoison_records, bucket, record, node) {
		eager = READ_ONCE(record->eager);
		if (!READ_ONCE(record->narrow) || !eager || record->pass == pass)
			continue;
		/* a user who hurries the worker uses up nobody else's tries */
		if (eager == HUGEPOISON_EAGER_TRIES ||
		    time_after_eq(jiffies, record->looked + HUGEPOISON_EAGER_AGAIN))
			return record;
		*again = true;
	}
	return NULL;
}

/*
 * The next hugepage whose mappers this pass has to look for. There is one worker:
 * pass and looked are its own. What is left of the record when RCU is, and has to
 * be told, is in @picked, as the console may be slow.
 *
 * Return: false when there is none.
 */
static bool hugepoison_pick_eager(unsigned int pass,
				  struct hugepoison_record *picked, bool *again)
{
	struct hugepoison_record *record;
	unsigned int eager;

	rcu_read_lock();
	record = hugepoison_next_eager(pass, again);
	if (record) {
		record->pass = pass;
		record->looked = jiffies;
		eager = READ_ONCE(record->eager);
		/* fails when somebody wants all tries again: he gets them */
		if (eager)
			cmpxchg(&record->eager, eager, eager - 1);
		picked->pfn = record->pfn;
		picked->order = record->order;
		picked->nr_bad = READ_ONCE(record->nr_bad);
		picked->untold = xchg(&record->untold, 0);
	}
	rcu_read_unlock();
	return record;
}

/* Whether it is, and a private one's anon_vma with a reference, if asked for. */
static bool hugepoison_is_narrowed(unsigned long pfn,
				   struct anon_vma **anon_vma)
{
	struct hugepoison_record *record;
	bool ret;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(pfn);
	ret = record && READ_ONCE(record->narrow) && !hugepoison_stale(record);
	if (ret && anon_vma) {
		*anon_vma = record->anon_vma;
		if (*anon_vma)
			get_anon_vma(*anon_vma);
	}
	spin_unlock(&hugepoison_records_lock);
	return ret;
}

/*
 * A narrowed hugepage, with a reference: there the handler does not take one for
 * a user. NULL when it is none any more; with the reference it stays what it is.
 */
static struct folio *hugepoison_get_narrowed(unsigned long pfn,
					     struct anon_vma **anon_vma)
{
	struct folio *folio;

	if (!hugepoison_is_narrowed(pfn, NULL))
		return NULL;
	folio = pfn_folio(pfn);
	if (!folio_try_get(folio))
		return NULL;
	if (hugepoison_is_narrowed(pfn, anon_vma))
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * Who maps the hugepage and has not touched it since? Neither here nor to find the
 * hugepage mf_mutex is held: a file may have very many mappings, and the worker
 * may have to wait for the CPU.
 *
 * Return: false when that could not be found out without waiting for a user.
 */
static bool hugepoison_find_eager(unsigned long pfn,
				  struct hugepoison_mappers *mappers)
{
	struct anon_vma *anon_vma;
	struct folio *folio = hugepoison_get_narrowed(pfn, &anon_vma);
	bool found;

	if (!folio)
		return true;
	hugepoison_begin_urgent();
	found = folio_trylock(folio);
	if (found) {
		found = hugepoison_find_mappers(folio, anon_vma, mappers);
		folio_unlock(folio);
	}
	hugepoison_end_urgent();
	if (anon_vma)
		put_anon_vma(anon_vma);
	folio_put(folio);
	return found;
}

/*
 * Narrow for all who map a hugepage, as many at a time as @mappers takes. Those
 * that it could not be done for are still the first to be found, and passed over.
 *
 * Return: true when some are left for the next pass. Nothing is waited for that
 * a user can keep: neither the folio lock nor mmap_lock.
 */
static bool hugepoison_narrow_eager(unsigned long pfn,
				    struct hugepoison_mappers *mappers)
{
	unsigned int nr, failed = 0, rounds = 0;
	bool found;

	do {
		mappers->skip = failed;
		found = hugepoison_find_eager(pfn, mappers);
		nr = mappers->nr;
		failed += hugepoison_narrow_mappers(mappers);
	} while (nr == ARRAY_SIZE(mappers->at) &&
		 ++rounds < HUGEPOISON_EAGER_ROUNDS);
	return !found || failed || nr == ARRAY_SIZE(mappers->at);
}

/*
 * Narrow for those who map a poisoned hugepage and cannot do it by themselves.
 * Each hugepage has HUGEPOISON_EAGER_TRIES passes; after that a fault that cannot
 * narrow by itself brings the worker back, see hugepoison_hurry().
 */
static void hugepoison_narrow_work(struct work_struct *work)
{
	struct hugepoison_mappers mappers = { };
	struct hugepoison_record picked;
	static unsigned int pass;
	bool again = false;

	hugepage_enable_small_rmap();
	pass++;
	while (hugepoison_pick_eager(pass, &picked, &again)) {
		hugepoison_tell(&picked);
		again |= hugepoison_narrow_eager(picked.pfn, &mappers);
	}
	if (again)
		queue_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
				   HUGEPOISON_EAGER_AGAIN);
}

/**
 * hugepoison_deleted - a file has let go of a hugepage
 * @folio: the hugepage, out of the page cache
 *
 * Context: Any; the work is done by a worker, as the handler's locks come
 * before those of the caller.
 */
void hugepoison_deleted(struct folio *folio)
{
	if (folio_test_hwpoison(folio))
		mod_delayed_work(hugepoison_wq, &hugepoison_release_dwork,
				 HUGEPOISON_RELEASE_DELAY);
}
