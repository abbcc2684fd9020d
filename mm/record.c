// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the record of each poisoned hugepage.
 *
 * A record says which part of a poisoned hugepage is out of use; marks and counters follow
 * the record, and are never read in its place. How the handling of an error ends is its
 * outcome: one table says how to report it.
 */
#include <linux/llist.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "internal.h"

/**
 * struct hugepoison_action - how an outcome is reported
 * @name: counter file in sysfs
 * @what: for the log; NULL where it is not logged
 * @state: next state of the hugepage; HUGEPOISON_STATE_NEW to keep the present one
 * @type: what stock calls the page in its log and trace event
 * @result: what stock's log, trace event and node statistics say
 * @queue_release: whether the worker has to release the hugepage as soon as possible
 */
struct hugepoison_action {
	const char *name;
	const char *what;
	enum hugepoison_state state;
	enum mf_action_page_type type;
	enum mf_result result;
	bool queue_release;
};

static const struct hugepoison_action hugepoison_actions[] = {
	[HUGEPOISON_NARROWED] = {
		"narrowed", "narrowed, its healthy pages stay in use",
		HUGEPOISON_STATE_NARROWED, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_CONTAINED] = {
		"contained", "contained, all of it is out of use",
		HUGEPOISON_STATE_CONTAINED, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_DEQUEUED] = {
		"dequeued", "was free, dequeued, its healthy pages released",
		HUGEPOISON_STATE_NEW, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_RELEASED] = {
		"released", "without users, its healthy pages released",
		HUGEPOISON_STATE_NEW, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_REPLACED] = {
		"replaced", "was free, replaced, its healthy pages released",
		HUGEPOISON_STATE_NEW, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_ISOLATED] = {
		"isolated", "has no users, but its healthy pages cannot be released yet",
		HUGEPOISON_STATE_ISOLATED, MF_MSG_FREE_HUGE, MF_RECOVERED, true },
	[HUGEPOISON_PINNED] = {
		"pinned", "contained, but other users still hold references to it",
		HUGEPOISON_STATE_PINNED, MF_MSG_HUGE, MF_FAILED, true },
	[HUGEPOISON_REPEATED] = {
		"repeated", "reported again, nothing more of it is out of use",
		HUGEPOISON_STATE_NEW, MF_MSG_ALREADY_POISONED, MF_FAILED },
	[HUGEPOISON_FAILED] = {
		"failed", "not contained",
		HUGEPOISON_STATE_FAILED, MF_MSG_HUGE, MF_FAILED, true },
	[HUGEPOISON_HEALED] = {
		"healed", "healed, good memory took its place", 0, 0, 0 },
	/* not logged, see hugepoison_count_refill() */
	[HUGEPOISON_REFILLED] = {
		"refilled", NULL, 0, 0, 0 },
	[HUGEPOISON_UNPOISONED] = {
		"unpoisoned", "unpoisoned, back in use", 0, 0, 0 },
};

/* The number of errors by outcome, for a hugepage size and node; never cleared. */
struct hugepoison_counts {
	atomic_long_t nr[NR_HUGEPOISON_OUTCOMES];
};

/* By hstate, then node; NULL before sysfs is up, or if there was no memory. */
static struct hugepoison_counts *hugepoison_counts[HUGE_MAX_HSTATE];

/*
 * All records. Writers hold mf_mutex and the spinlock, readers either of them; or RCU, if
 * the record may change while it is read.
 */
static DEFINE_HASHTABLE(hugepoison_records, 8);
static DEFINE_SPINLOCK(hugepoison_records_lock);

/* --- errors on their way through the handler -------------------------------- */

/* For how long an error may be the reason that a fault has found no hugepage. */
#define HUGEPOISON_RECENT		(HZ / 5)

/*
 * The number of errors in the handler. While it is not 0 a poisoned hugepage without a
 * record is undecided: its error may be one of them.
 */
static atomic_t hugepoison_handling = ATOMIC_INIT(0);

/* When the handler has ended its last error, in jiffies, and how many so far. */
static u64 hugepoison_handled;
static atomic_t hugepoison_nr_handled = ATOMIC_INIT(0);

static void hugepoison_begin_handling(void)
{
	atomic_inc(&hugepoison_handling);
	/* pairs with hugepoison_fate(): the count comes before any mark */
	smp_mb__after_atomic();
}

static void hugepoison_end_handling(void)
{
	WRITE_ONCE(hugepoison_handled, get_jiffies_64());
	/* pairs with hugepoison_handling_now(): after it a reader sees the outcome */
	smp_mb__before_atomic();
	atomic_inc(&hugepoison_nr_handled);
	atomic_dec(&hugepoison_handling);
}

/**
 * hugepoison_handled_recently - whether an error is on its way through the handler,
 *			    or was a moment ago
 *
 * The error may have taken a free hugepage that a fault was about to get. The fault asks
 * some time after it has found none: HUGEPOISON_RECENT is longer than that, and short
 * enough to wait for in vain.
 *
 * Context: Any.
 * Return: true for yes.
 */
bool hugepoison_handled_recently(void)
{
	return atomic_read(&hugepoison_handling) ||
	       time_before64(get_jiffies_64(), READ_ONCE(hugepoison_handled) +
						HUGEPOISON_RECENT);
}

/**
 * hugepoison_handling_now - whether an error is on its way through the handler
 *
 * Context: Any. If false, the caller's later reads see the outcome of the error.
 * Return: true for yes.
 */
bool hugepoison_handling_now(void)
{
	return atomic_read_acquire(&hugepoison_handling);
}

/* --- records ------------------------------------------------------------------ */

/* The record of exactly this page frame. */
static struct hugepoison_record *hugepoison_lookup(unsigned long pfn)
{
	struct hugepoison_record *record;

	hash_for_each_possible(hugepoison_records, record, node, pfn)
		if (record->pfn == pfn)
			return record;
	return NULL;
}

/* The record of a page, or of the hugepage it belongs to. */
static struct hugepoison_record *hugepoison_find(unsigned long pfn)
{
	struct hugepoison_record *record;

	lockdep_assert_held(&mf_mutex);
	record = hugepoison_lookup(pfn);
	return record ?: hugepoison_lookup(folio_pfn(pfn_folio(pfn)));
}

/* Allocate a record that is not inserted yet; NULL if there is no memory. */
static struct hugepoison_record *hugepoison_alloc_record(void)
{
	struct hugepoison_record *record = hugepoison_alloc(&hugepoison_record_reserve);

	if (record)
		*record = (struct hugepoison_record){ };
	return record;
}

/* Free a record that was not inserted. */
static void hugepoison_free_record(struct hugepoison_record *record)
{
	mempool_free(record, &hugepoison_record_reserve);
}

/* Insert the record of a page frame, which has none yet. */
static void hugepoison_insert(struct hugepoison_record *record,
			      unsigned long pfn, unsigned int order)
{
	lockdep_assert_held(&mf_mutex);
	record->pfn = pfn;
	record->order = order;
	record->nid = pfn_to_nid(pfn);
	spin_lock(&hugepoison_records_lock);
	hash_add_rcu(hugepoison_records, &record->node, pfn);
	spin_unlock(&hugepoison_records_lock);
}

/* Whether a record is inserted, so that others than the handler find it. */
static bool hugepoison_is_inserted(struct hugepoison_record *record)
{
	return hash_hashed(&record->node);
}

/* Allocate and insert a record; NULL if there is one already, or no memory. */
static struct hugepoison_record *hugepoison_add(unsigned long pfn,
						unsigned int order)
{
	struct hugepoison_record *record;

	if (hugepoison_lookup(pfn))
		return NULL;
	record = hugepoison_alloc_record();
	if (record)
		hugepoison_insert(record, pfn, order);
	return record;
}

static void hugepoison_erase(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	spin_lock(&hugepoison_records_lock);
	hash_del_rcu(&record->node);
	spin_unlock(&hugepoison_records_lock);
	if (record->anon_vma)
		put_anon_vma(record->anon_vma);
	kfree(record->lost);
	kfree_rcu(record, rcu);
}

/*
 * Whether a record is in a state. Without mf_mutex the state may change: page faults hold
 * the folio lock, or look again, see hugepoison_fate().
 */
static bool hugepoison_is(const struct hugepoison_record *record,
			  enum hugepoison_state state)
{
	return READ_ONCE(record->state) == state;
}

/* Whether a record has lost its folio: then stock handles the page. */
static bool hugepoison_stale(struct hugepoison_record *record)
{
	struct folio *folio;

	/* an offline page is still bad; a removed one does not exist */
	if (!pfn_to_online_page(record->pfn))
		return !pfn_valid(record->pfn);
	folio = pfn_folio(record->pfn);
	/* readers of the gauges do not hold mf_mutex */
	if (hugepoison_is(record, HUGEPOISON_STATE_RELEASED))
		return !PageHWPoisonTakenOff(pfn_to_page(record->pfn));
	return !folio_test_hugetlb(folio) || !folio_test_hwpoison(folio) ||
	       folio_pfn(folio) != record->pfn;
}

/*
 * Whether an error is not contained yet: the handler is about to, or could not because
 * the hugepage was neither free nor in use. The worker contains it when it is either.
 */
static bool hugepoison_is_open(struct hugepoison_record *record)
{
	const enum hugepoison_state state = READ_ONCE(record->state);

	return state == HUGEPOISON_STATE_NEW ||
	       state == HUGEPOISON_STATE_FAILED ||
	       state == HUGEPOISON_STATE_LEAVING;
}

/* Whether in a state all pages of the hugepage are out of use, marked and counted. */
static bool hugepoison_is_whole(enum hugepoison_state state)
{
	return state == HUGEPOISON_STATE_CONTAINED ||
	       state == HUGEPOISON_STATE_PINNED ||
	       state == HUGEPOISON_STATE_ISOLATED;
}

/* Whether the worker has to release the hugepage when its last user has left it. */
static bool hugepoison_awaits_release(const struct hugepoison_record *record)
{
	return record->state == HUGEPOISON_STATE_FAILED ||
	       record->state == HUGEPOISON_STATE_NARROWED ||
	       hugepoison_is_whole(record->state);
}

/**
 * hugepoison_fate - what a page fault on a hugepage gets
 * @folio: the hugepage; the folio lock or RCU keeps it in the page cache
 *
 * Context: Any but interrupts. Never takes mf_mutex, which the error handler
 * holds while it waits for the folio lock.
 * Return: HUGEPOISON_HEALTHY; HUGEPOISON_NARROW when only its healthy pages may be
 * mapped; HUGEPOISON_WIDE when none may; HUGEPOISON_UNDECIDED when the error handler has
 * yet to decide, or the worker, which does soon for a hugepage in use.
 */
enum hugepoison_fate hugepoison_fate(struct folio *folio)
{
	enum hugepoison_fate fate = HUGEPOISON_WIDE;
	struct hugepoison_record *record;
	bool handling;

	if (!folio_test_hwpoison(folio))
		return HUGEPOISON_HEALTHY;
	/* pairs with hugepoison_begin_handling() */
	smp_rmb();
	/* read before the record: its writer was handling until it had added it */
	handling = hugepoison_handling_now();

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED))
		fate = HUGEPOISON_NARROW;
	else if (record ? hugepoison_is_open(record) : handling)
		fate = HUGEPOISON_UNDECIDED;
	/* without the folio lock it may be unpoisoned or dissolved by now */
	if (record ? hugepoison_is(record, HUGEPOISON_STATE_RELEASED) :
		     !folio_test_hwpoison(folio))
		fate = HUGEPOISON_HEALTHY;
	spin_unlock(&hugepoison_records_lock);
	return fate;
}

/* --- counters and the log ------------------------------------------------------ */

/*
 * Add @nr base pages from @pfn on to HardwareCorrupted, or take -@nr away.
 *
 * Stock has num_poisoned_pages_inc() for one page and num_poisoned_pages_sub() for many:
 * to add many, subtract a negative number. Each memory block has a count too, and a 1 GiB
 * page lies in several.
 */
static void hugepoison_account(struct hugepoison_record *record,
			       unsigned long pfn, long nr)
{
	unsigned long block = 1UL << MAX_PAGE_ORDER;
	unsigned long left = abs(nr);

	lockdep_assert_held(&mf_mutex);
#ifdef CONFIG_MEMORY_HOTPLUG
	block = PHYS_PFN(memory_block_size_bytes());
#endif
	while (left) {
		unsigned long step = min(left, block - pfn % block);

		num_poisoned_pages_sub(pfn, nr > 0 ? -(long)step : step);
		pfn += step;
		left -= step;
	}
	record->nr_bad += nr;
}

static void hugepoison_count_on(int nid, unsigned int order,
				enum hugepoison_outcome outcome)
{
	struct hstate *h = size_to_hstate(PAGE_SIZE << order);

	if (h && hugepoison_counts[hstate_index(h)])
		atomic_long_inc(&hugepoison_counts[hstate_index(h)]
				[nid].nr[outcome]);
}

static void hugepoison_count(unsigned long pfn, unsigned int order,
			     enum hugepoison_outcome outcome)
{
	hugepoison_count_on(pfn_to_nid(pfn), order, outcome);
}

static void hugepoison_log(unsigned long pfn, unsigned int order,
			   enum hugepoison_outcome outcome, long nr_bad)
{
	pr_err("%#lx: %lu kB hugepage on node %d: %s; %ld kB out of use\n",
	       pfn, PAGE_SIZE << order >> 10, pfn_to_nid(pfn),
	       hugepoison_actions[outcome].what, nr_bad << (PAGE_SHIFT - 10));
}

/* Log and count an outcome. */
static void hugepoison_outcome(unsigned long pfn, unsigned int order,
			       enum hugepoison_outcome outcome, long nr_bad)
{
	hugepoison_count(pfn, order, outcome);
	hugepoison_log(pfn, order, outcome, nr_bad);
}

/*
 * Log that a hugepage was narrowed. Printing is slow, so the worker does it after the
 * error, or the handler at the next event of the hugepage.
 */
static void hugepoison_log_narrowed(struct hugepoison_record *record)
{
	unsigned long pfn = xchg(&record->worker.unlogged, 0);

	if (pfn)
		hugepoison_log(pfn, record->order, HUGEPOISON_NARROWED,
			       record->nr_bad);
}

/**
 * hugepoison_refilled - count and log that a pool was refilled after an error
 * @order: of the hugepage
 * @nid: node that the error took a hugepage from
 * @from: node of the fresh one
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
 * hugepoison_count_refill - count that a process has filled a lost page again
 * @order: of the hugepage
 * @nid: node of the raw page
 *
 * Nothing is logged: the process knows, and a page can be filled and hit again.
 *
 * Context: Any.
 */
void hugepoison_count_refill(unsigned int order, int nid)
{
	hugepoison_count_on(nid, order, HUGEPOISON_REFILLED);
}

/* --- from one state to the next ------------------------------------------------ */

/*
 * Put all of a hugepage out of use: marks and counts. Its raw pages were counted one by
 * one, and so were errors without an entry in the list.
 */
static void hugepoison_retire_all(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	struct raw_hwp_page *raw;

	hugepoison_mark(folio, true);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		hugepoison_account(record, page_to_pfn(raw->page), -1);
	hugepoison_account(record, record->pfn,
			   (1L << record->order) - record->nr_bad);
}

/* Put all but the raw pages back into use: marks and counts. */
static void hugepoison_retire_raw_only(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	struct raw_hwp_page *raw;

	hugepoison_mark(folio, false);
	hugepoison_account(record, record->pfn, -record->nr_bad);
	/* without users the hugepage gets errors under mf_mutex only */
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		hugepoison_account(record, page_to_pfn(raw->page), 1);
}

#define HUGEPOISON_STEP(state)		BIT(HUGEPOISON_STATE_##state)
#define HUGEPOISON_STEPS_OPEN						\
	(HUGEPOISON_STEP(FAILED) | HUGEPOISON_STEP(NARROWED) |		\
	 HUGEPOISON_STEP(CONTAINED) | HUGEPOISON_STEP(PINNED) |		\
	 HUGEPOISON_STEP(ISOLATED) | HUGEPOISON_STEP(LEAVING) |		\
	 HUGEPOISON_STEP(RELEASED))

/*
 * The states that may follow each state. A record may be erased in any state. Shrinking
 * the pool may dissolve a hugepage that is not contained. A narrowed one may get more
 * errors, turn out to be still mapped, or its list of raw pages may become unreliable.
 */
static const unsigned long hugepoison_steps[NR_HUGEPOISON_STATES] = {
	[HUGEPOISON_STATE_NEW] = HUGEPOISON_STEPS_OPEN,
	[HUGEPOISON_STATE_FAILED] = HUGEPOISON_STEPS_OPEN,
	[HUGEPOISON_STATE_NARROWED] =
		HUGEPOISON_STEP(NARROWED) | HUGEPOISON_STEP(FAILED) |
		HUGEPOISON_STEP(LEAVING),
	[HUGEPOISON_STATE_CONTAINED] = HUGEPOISON_STEP(LEAVING),
	[HUGEPOISON_STATE_PINNED] = HUGEPOISON_STEP(LEAVING),
	[HUGEPOISON_STATE_ISOLATED] = HUGEPOISON_STEP(LEAVING),
	[HUGEPOISON_STATE_LEAVING] = HUGEPOISON_STEP(RELEASED),
};

static bool hugepoison_is_step(enum hugepoison_state from,
			       enum hugepoison_state to)
{
	return hugepoison_steps[from] & BIT(to);
}

/*
 * Change a record's state, and marks and counts with it: these are right before page
 * faults see the new state. A released hugepage takes the handler's reference with it.
 *
 * No worker is queued here: hugepoison_conclude() does that at the end of an error. A
 * hugepage becomes NARROWED before it is unmapped, as a signal says by the state what its
 * mapping loses. Queued then, the narrow worker would find the folio locked by the
 * handler, and look again only HUGEPOISON_EAGER_AGAIN later.
 */
static void hugepoison_become(struct hugepoison_record *record,
			      enum hugepoison_state state)
{
	lockdep_assert_held(&mf_mutex);
	WARN_ON_ONCE(!hugepoison_is_step(record->state, state));
	if (hugepoison_is_whole(state))
		hugepoison_retire_all(record);
	else if (hugepoison_is_whole(record->state))
		hugepoison_retire_raw_only(record);
	if (state == HUGEPOISON_STATE_RELEASED)
		record->referenced = false;
	WRITE_ONCE(record->state, state);
}

/* --- records added after the error ----------------------------------------------- */

/* Whether a poisoned hugepage, or a raw page of a former one, may have no record. */
static bool hugepoison_unrecorded;

/* Whether the worker has to refill the reserve, or to add records that are missing. */
static bool hugepoison_wants_memory(void)
{
	return READ_ONCE(hugepoison_unrecorded) || hugepoison_is_reserve_short();
}

/*
 * Set up the record of a hugepage whose errors were contained without one. The handler has
 * no reference to the hugepage, as after an error that found it neither free nor in use: so
 * the worker takes it from the pool, or contains the error as if it came now. @nr_listed
 * errors have entries in the list of raw pages and are counted; without any, one is counted.
 */
static void hugepoison_init_missing_record(struct hugepoison_record *record, long nr_listed)
{
	record->nr_bad = max(nr_listed, 1L);
	hugepoison_become(record, HUGEPOISON_STATE_FAILED);
}

/* --- good raw pages with lost contents ------------------------------------------ */

/* The index of a page in its record's list of good raw pages; nr_lost if not there. */
static unsigned int hugepoison_find_lost(struct hugepoison_record *record,
					 unsigned long pfn)
{
	unsigned int i;

	lockdep_assert_held(&mf_mutex);
	for (i = 0; i < record->nr_lost; i++)
		if (record->pfn + record->lost[i] == pfn)
			break;
	return i;
}

/* Whether a raw page is good memory, and only its contents are lost. */
static bool hugepoison_is_lost(struct hugepoison_record *record,
			       unsigned long pfn)
{
	return hugepoison_find_lost(record, pfn) < record->nr_lost;
}

/* Remove a page that is bad now or has contents again. Return: whether it was listed. */
static bool hugepoison_forget_lost(struct hugepoison_record *record,
				   unsigned long pfn)
{
	unsigned int i = hugepoison_find_lost(record, pfn);

	if (i == record->nr_lost)
		return false;
	record->lost[i] = record->lost[--record->nr_lost];
	return true;
}
