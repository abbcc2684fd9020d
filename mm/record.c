// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what is known of each poisoned hugepage.
 *
 * Included by hugepoison/memory-failure.c. What is out of use, and for how long, is
 * kept in a record for each poisoned hugepage; marks and counters follow the record
 * and are never asked instead of it. How an error ended is an outcome: one table says
 * how it is reported.
 */

/**
 * struct hugepoison_action - how an outcome is reported
 * @name: counter file in sysfs
 * @what: for the log
 * @state: of the hugepage from then on; HUGEPOISON_STATE_NEW for the one it has
 * @type: what stock calls the page in its log and trace event
 * @result: what stock's log, trace event and node statistics say
 * @later: the worker is to release the hugepage as soon as that can be
 */
struct hugepoison_action {
	const char *name;
	const char *what;
	enum hugepoison_state state;
	enum mf_action_page_type type;
	enum mf_result result;
	bool later;
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
	[HUGEPOISON_UNPOISONED] = {
		"unpoisoned", "unpoisoned, back in use", 0, 0, 0 },
};

/* How many errors ended how, for each hugepage size and node; never cleared. */
struct hugepoison_counts {
	atomic_long_t nr[NR_HUGEPOISON_OUTCOMES];
};

/* By hstate, then node; NULL before sysfs is up and where memory was short. */
static struct hugepoison_counts *hugepoison_counts[HUGE_MAX_HSTATE];

/*
 * All records. Written under mf_mutex and the lock, so either will do to read; RCU
 * does as well where a record may change while it is looked at.
 */
static DEFINE_HASHTABLE(hugepoison_records, 8);
static DEFINE_SPINLOCK(hugepoison_records_lock);

/* --- errors on their way through the handler -------------------------------- */

/* For how long a fault that found no hugepage takes an error to be the reason. */
#define HUGEPOISON_MOMENT		(HZ / 5)

/*
 * Errors on their way through the handler. A poisoned hugepage without a
 * record is one of them while this is not zero, and undecided.
 */
static atomic_t hugepoison_handling = ATOMIC_INIT(0);

/* When the last of them was done, in jiffies, and how many were by then. */
static u64 hugepoison_handled;
static atomic_t hugepoison_nr_handled = ATOMIC_INIT(0);

static void hugepoison_begin(void)
{
	atomic_inc(&hugepoison_handling);
	/* pairs with hugepoison_fate(): the count comes before any mark */
	smp_mb__after_atomic();
}

static void hugepoison_end(void)
{
	WRITE_ONCE(hugepoison_handled, get_jiffies_64());
	/* whoever sees no handling any more sees what became of the error */
	smp_mb__before_atomic();
	atomic_inc(&hugepoison_nr_handled);
	atomic_dec(&hugepoison_handling);
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

/* A record of nothing yet, that nobody finds; NULL if there is no memory for it. */
static struct hugepoison_record *hugepoison_alloc_record(void)
{
	struct hugepoison_record *record = hugepoison_alloc(&hugepoison_record_reserve);

	if (record)
		*record = (struct hugepoison_record){ };
	return record;
}

/* A record that nobody has found yet is not to be one after all. */
static void hugepoison_free_record(struct hugepoison_record *record)
{
	mempool_free(record, &hugepoison_record_reserve);
}

/* From now on a record is the one of this page frame, which has no other. */
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

/* Whether anybody but the handler can find a record. */
static bool hugepoison_is_inserted(struct hugepoison_record *record)
{
	return hash_hashed(&record->node);
}

/* A new record; NULL if there is one, or no memory for it. */
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
 * Whether a record is in a state. Without mf_mutex it may be in another one by now:
 * page faults look under the folio lock, or look again, see hugepoison_fate().
 */
static bool hugepoison_is(const struct hugepoison_record *record,
			  enum hugepoison_state state)
{
	return READ_ONCE(record->state) == state;
}

/* Without its folio a record says nothing; stock knows what to do. */
static bool hugepoison_stale(struct hugepoison_record *record)
{
	struct folio *folio;

	/* what is offline is still bad; what was removed is not there */
	if (!pfn_to_online_page(record->pfn))
		return !pfn_valid(record->pfn);
	folio = pfn_folio(record->pfn);
	/* a reader of the gauges comes here without mf_mutex */
	if (hugepoison_is(record, HUGEPOISON_STATE_RELEASED))
		return !PageHWPoisonTakenOff(pfn_to_page(record->pfn));
	return !folio_test_hugetlb(folio) || !folio_test_hwpoison(folio) ||
	       folio_pfn(folio) != record->pfn;
}

/*
 * Whether an error is not contained yet: the handler is about to, or could not, as
 * the hugepage was neither free nor in use. Then the worker does when it is.
 */
static bool hugepoison_is_open(struct hugepoison_record *record)
{
	const enum hugepoison_state state = READ_ONCE(record->state);

	return state == HUGEPOISON_STATE_NEW ||
	       state == HUGEPOISON_STATE_FAILED ||
	       state == HUGEPOISON_STATE_LEAVING;
}

/* Whether all of a hugepage is out of use in a state: marked and counted. */
static bool hugepoison_is_whole(enum hugepoison_state state)
{
	return state == HUGEPOISON_STATE_CONTAINED ||
	       state == HUGEPOISON_STATE_PINNED ||
	       state == HUGEPOISON_STATE_ISOLATED;
}

/* Whether the hugepage is to be released when nobody uses it any more. */
static bool hugepoison_is_used(const struct hugepoison_record *record)
{
	return record->state == HUGEPOISON_STATE_FAILED ||
	       record->state == HUGEPOISON_STATE_NARROWED ||
	       hugepoison_is_whole(record->state);
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
	/* pairs with hugepoison_begin() */
	smp_rmb();
	/* before the record: whoever added it meanwhile was handling until then */
	handling = hugepoison_has_errors();

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED))
		fate = HUGEPOISON_NARROW;
	else if (record ? hugepoison_is_open(record) : handling)
		fate = HUGEPOISON_UNDECIDED;
	/* without the folio lock: it is well by now, or no hugepage any more */
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
 * Stock has num_poisoned_pages_inc() for one page and num_poisoned_pages_sub()
 * for many; adding many is subtracting a negative number. The memory blocks
 * keep counts of their own, and a 1 GiB page lies in several.
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
 * Of what is narrowed the log is told later: printing is slow. By the worker, or
 * by the handler if more happens to the hugepage before.
 */
static void hugepoison_tell(struct hugepoison_record *record)
{
	unsigned long pfn = xchg(&record->worker.untold, 0);

	if (pfn)
		hugepoison_log(pfn, record->order, HUGEPOISON_NARROWED,
			       record->nr_bad);
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

/* --- from one state to the next ------------------------------------------------ */

/*
 * All of the hugepage goes out of use; its raw pages were counted one by one, and so
 * were errors for which there was no place in the list.
 */
static void hugepoison_settle(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	struct raw_hwp_page *raw;

	hugepoison_mark(folio, true);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		hugepoison_account(record, page_to_pfn(raw->page), -1);
	hugepoison_account(record, record->pfn,
			   (1L << record->order) - record->nr_bad);
}

/* From all of the hugepage out of use to the raw pages alone. */
static void hugepoison_unsettle(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);
	struct raw_hwp_page *raw;

	hugepoison_mark(folio, false);
	hugepoison_account(record, record->pfn, -record->nr_bad);
	/* errors in a hugepage that has left its users are added under mf_mutex */
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
 * What may follow each state; from any of them a record may be erased. A hugepage
 * that is not contained may be dissolved by whoever shrinks its pool. A narrowed one
 * has later errors, or turns out to be mapped still, or which pages are bad gets lost.
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
 * A record's next state: marks and counts go with it, and are right before page
 * faults see it.
 */
static void hugepoison_become(struct hugepoison_record *record,
			      enum hugepoison_state state)
{
	lockdep_assert_held(&mf_mutex);
	WARN_ON_ONCE(!hugepoison_is_step(record->state, state));
	if (hugepoison_is_whole(state))
		hugepoison_settle(record);
	else if (hugepoison_is_whole(record->state))
		hugepoison_unsettle(record);
	WRITE_ONCE(record->state, state);
}

/* --- records that come late ------------------------------------------------------ */

/* There may be a poisoned hugepage without a record, or a raw page that was in one. */
static bool hugepoison_unrecorded;

/* Whether the worker has to look for memory, or for what had no memory for a record. */
static bool hugepoison_wants_memory(void)
{
	return READ_ONCE(hugepoison_unrecorded) || hugepoison_is_reserve_short();
}

/*
 * The record of a hugepage whose errors were contained without one. The handler has no
 * reference to it: so it is as after an error that found it neither free nor in use, and
 * the worker takes it from the pool, or contains it as if the error came now. @nr_listed
 * errors have a place in the list of raw pages, and are counted; if none has, one is.
 */
static void hugepoison_begin_late(struct hugepoison_record *record, long nr_listed)
{
	record->nr_bad = max(nr_listed, 1L);
	hugepoison_become(record, HUGEPOISON_STATE_FAILED);
}

/* --- raw pages that are good, and whose contents are lost ---------------------- */

/* The place of a good page in its hugepage's list of those; the length if none. */
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

/* Whether it is not the page that is bad, but what was in it that is lost. */
static bool hugepoison_is_lost(struct hugepoison_record *record,
			       unsigned long pfn)
{
	return hugepoison_find_lost(record, pfn) < record->nr_lost;
}

/* From now on the page is bad, or holds something. Return: whether it was lost. */
static bool hugepoison_forget_lost(struct hugepoison_record *record,
				   unsigned long pfn)
{
	unsigned int i = hugepoison_find_lost(record, pfn);

	if (i == record->nr_lost)
		return false;
	record->lost[i] = record->lost[--record->nr_lost];
	return true;
}
