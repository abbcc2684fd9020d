// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the error handler's hugepage half.
 *
 * Included at the end of the stock file of this name. memory_failure() comes
 * here first; everything below runs under mf_mutex, one error at a time.
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
 *
 * What is out of use, and for how long, is kept in a record for each poisoned
 * hugepage; marks and counters follow the record and are never asked instead
 * of it.
 */
#ifdef CONFIG_HUGEPOISON
#undef pr_fmt
#define pr_fmt(fmt) "hugepoison: " fmt

#include <linux/delay.h>
#include <linux/hashtable.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/kobject.h>
#include <linux/memory.h>
#include <linux/sysfs.h>

#include <trace/events/hugepoison.h>

/* The hook in memory_failure() took the only call away; it stays for =n. */
static int __maybe_unused try_memory_failure_hugetlb(unsigned long pfn,
						     int flags, int *hugetlb);

/*
 * What can become of a hugepage in which an error was reported. To add one:
 * name it here, give it a line in the table, and test how it comes about.
 */
enum hugepoison_outcome {
	HUGEPOISON_NARROWED,
	HUGEPOISON_CONTAINED,
	HUGEPOISON_DEQUEUED,
	HUGEPOISON_RELEASED,
	HUGEPOISON_REPLACED,
	HUGEPOISON_ISOLATED,
	HUGEPOISON_PINNED,
	HUGEPOISON_REPEATED,
	HUGEPOISON_FAILED,
	HUGEPOISON_HEALED,
	HUGEPOISON_UNPOISONED,
	NR_HUGEPOISON_OUTCOMES
};

/**
 * struct hugepoison_action - how an outcome is reported
 * @name: counter file in sysfs
 * @what: for the log
 * @whole: the whole hugepage is out of use, not the raw page alone
 * @type: what stock calls the page in its log and trace event
 * @result: what stock's log, trace event and node statistics say
 * @later: the worker is to release the hugepage as soon as that can be
 */
struct hugepoison_action {
	const char *name;
	const char *what;
	bool whole;
	enum mf_action_page_type type;
	enum mf_result result;
	bool later;
};

static const struct hugepoison_action hugepoison_actions[] = {
	[HUGEPOISON_NARROWED] = {
		"narrowed", "narrowed, its healthy pages stay in use",
		false, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_CONTAINED] = {
		"contained", "contained, all of it is out of use",
		true, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_DEQUEUED] = {
		"dequeued", "was free, dequeued, its healthy pages released",
		false, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_RELEASED] = {
		"released", "without users, its healthy pages released",
		false, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_REPLACED] = {
		"replaced", "was free, replaced, its healthy pages released",
		false, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_ISOLATED] = {
		"isolated", "has no users, but its healthy pages cannot be released yet",
		true, MF_MSG_FREE_HUGE, MF_RECOVERED, true },
	[HUGEPOISON_PINNED] = {
		"pinned", "contained, but other users still hold references to it",
		true, MF_MSG_HUGE, MF_FAILED, true },
	[HUGEPOISON_REPEATED] = {
		"repeated", "reported again, nothing more of it is out of use",
		false, MF_MSG_ALREADY_POISONED, MF_FAILED },
	[HUGEPOISON_FAILED] = {
		"failed", "not contained",
		false, MF_MSG_HUGE, MF_FAILED, true },
	[HUGEPOISON_HEALED] = {
		"healed", "healed, good memory took its place", false, 0, 0 },
	[HUGEPOISON_UNPOISONED] = {
		"unpoisoned", "unpoisoned, back in use", false, 0, 0 },
};

/* How many errors ended how, for each hugepage size and node; never cleared. */
struct hugepoison_counts {
	atomic_long_t nr[NR_HUGEPOISON_OUTCOMES];
};

/* By hstate, then node; NULL before sysfs is up and where memory was short. */
static struct hugepoison_counts *hugepoison_counts[HUGE_MAX_HSTATE];

/**
 * struct hugepoison_record - one poisoned hugepage, or what was left of it
 * @node: in hugepoison_records, by @pfn
 * @rcu: readers of the gauges go by the hash without a lock
 * @pfn: page frame of the hugepage's head; where the healthy pages are back in
 *	 use, of the one raw page that is not
 * @order: of the hugepage
 * @nid: node it is on, also when its memory is offline
 * @nr_bad: base pages out of use, as counted in HardwareCorrupted
 * @raw: raw page of a former hugepage, kept off the buddy allocator
 * @narrow: containment is the raw pages alone; read by faults, who may not take
 *	    mf_mutex and keep the record by hugepoison_records_lock
 * @used: the hugepage is to be released when nobody uses it any more
 * @eager: how many times more the worker looks for mappers to narrow for
 * @pass: when it did last
 * @looked: the same, in jiffies
 * @round: when the worker looked last whether it can be released
 * @untold: raw page of which the worker has to tell in the log, 0 for none
 * @marked: every subpage carries PG_hwpoison
 * @referenced: the handler holds a reference to the folio; unpoisoning drops
 *		it. PG_hwpoison never implies it
 * @lost: which of its raw pages are good memory, kept from use as what was in
 *	  them is lost, see heal.c; subpages, @nr_lost of them
 * @nr_lost: how many there are
 * @anon_vma: of a private hugepage, with a reference: it finds the mappers
 */
struct hugepoison_record {
	struct hlist_node node;
	struct rcu_head rcu;
	unsigned long pfn;
	unsigned int order;
	int nid;
	long nr_bad;
	bool raw;
	bool narrow;
	bool used;
	unsigned int eager;
	unsigned int pass;
	unsigned long looked;
	unsigned int round;
	unsigned long untold;
	bool marked;
	bool referenced;
	unsigned long *lost;
	unsigned int nr_lost;
	struct anon_vma *anon_vma;
};

/*
 * All records. Written under mf_mutex and the lock, so either will do to read; RCU
 * does as well where a record may change while it is looked at.
 */
static DEFINE_HASHTABLE(hugepoison_records, 8);
static DEFINE_SPINLOCK(hugepoison_records_lock);

/* The policy, for errors from now on. */
static bool hugepoison_narrow_policy = true;

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
}

static void hugepoison_end(void)
{
	WRITE_ONCE(hugepoison_handled, get_jiffies_64());
	/* whoever sees no handling any more sees what became of the error */
	smp_mb__before_atomic();
	atomic_inc(&hugepoison_nr_handled);
	atomic_dec(&hugepoison_handling);
}

/* hugepoison/release.c: what is left to do after an error was handled */
static void hugepoison_tell(struct hugepoison_record *record);
static void hugepoison_collect_left(void);
static void hugepoison_narrow_later(struct hugepoison_record *record);
static void hugepoison_release_later(struct hugepoison_record *record);
static enum hugepoison_outcome
hugepoison_leave_pool(struct hugepoison_record *record, struct folio *folio);

/* hugepoison/heal.c: good pages whose contents are lost */
static bool hugepoison_is_lost(struct hugepoison_record *record,
			       unsigned long pfn);
static bool hugepoison_forget_lost(struct hugepoison_record *record,
				   unsigned long pfn);

/* An error on its way through the handler. */
struct hugepoison_error {
	unsigned long pfn;
	int flags;
	struct page *page;
	struct folio *folio;
	bool referenced;
	bool migratable_cleared;
	bool accessed;		/* by current, which is to be signalled */
	unsigned int order;
	struct hugepoison_record *record;
	u64 begin;
};

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

/* A new record of nothing yet; NULL if there is one, or no memory for it. */
static struct hugepoison_record *hugepoison_add(unsigned long pfn,
						unsigned int order)
{
	struct hugepoison_record *record;

	lockdep_assert_held(&mf_mutex);
	if (hugepoison_lookup(pfn))
		return NULL;
	record = kzalloc(sizeof(*record), GFP_KERNEL);
	if (!record)
		return NULL;
	record->pfn = pfn;
	record->order = order;
	record->nid = pfn_to_nid(pfn);
	spin_lock(&hugepoison_records_lock);
	hash_add_rcu(hugepoison_records, &record->node, pfn);
	spin_unlock(&hugepoison_records_lock);
	return record;
}

/* Faults look at it under the folio lock, or look again; see hugepoison_fate(). */
static void hugepoison_set_narrow(struct hugepoison_record *record, bool narrow)
{
	WRITE_ONCE(record->narrow, narrow);
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

/*
 * Set or clear PG_hwpoison on all subpages of a hugepage, in one operation.
 *
 * Under HVO only the first vmemmap page may be written, and all the others map
 * that same page: what is written to its struct pages reads back from all. It
 * stays so: a folio with a reference is neither optimized nor restored, and
 * restoring copies these marks to the struct pages it brings back.
 *
 * The head page keeps its flag when the marks go: it is the folio's own, stock
 * code goes by it and the caller clears it last.
 */
static void hugepoison_mark(struct folio *folio, bool mark)
{
	unsigned long i, nr = folio_nr_pages(folio);

	lockdep_assert_held(&mf_mutex);
	if (folio_test_hugetlb_vmemmap_optimized(folio))
		nr = min_t(unsigned long, nr, PAGE_SIZE / sizeof(struct page));

	for (i = 1; i < nr; i++) {
		struct page *page = folio_page(folio, i);

		if (mark)
			SetPageHWPoison(page);
		else
			ClearPageHWPoison(page);
		if (!(i % SZ_4K))
			cond_resched();
	}
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
 * The whole hugepage goes out of use. Its raw pages were counted one by one; when
 * which they are is lost, all but the last were uncounted with that.
 */
static void hugepoison_settle(struct hugepoison_error *err)
{
	struct hugepoison_record *record = err->record;
	struct raw_hwp_page *raw;

	hugepoison_mark(err->folio, true);
	WRITE_ONCE(record->marked, true);
	if (folio_test_hugetlb_raw_hwp_unreliable(err->folio))
		hugepoison_account(record, err->pfn, -1);
	llist_for_each_entry(raw, raw_hwp_list_head(err->folio)->first, node)
		hugepoison_account(record, page_to_pfn(raw->page), -1);
	hugepoison_account(record, record->pfn, 1L << record->order);
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
	bool counted = action->type != MF_MSG_ALREADY_POISONED;

	if (record) {
		record->nr_bad += counted;
		record->referenced |= err->referenced;
		if (action->whole)
			hugepoison_settle(err);
	} else if (counted) {
		pr_err("%#lx: no record of it: mce_bad_pages will not show it\n",
		       err->pfn);
	}
	/* nobody tells when its last user, or the want of memory, is gone */
	if (action->later && record && !record->raw)
		hugepoison_release_later(record);
	hugepoison_count(err->pfn, err->order, outcome);
	trace_hugepoison_contain(err->pfn, err->order, action->name,
				 err->begin);
	/* printing takes a third of the time that an error takes: not now */
	if (outcome == HUGEPOISON_NARROWED && !record->raw) {
		/* an error before this one that the worker has not come to yet */
		if (unlikely(READ_ONCE(record->untold)))
			hugepoison_tell(record);
		WRITE_ONCE(record->untold, err->pfn);
		/* after that: the worker tells what it finds, and only once */
		hugepoison_narrow_later(record);
	} else {
		hugepoison_log(err->pfn, err->order, outcome,
			       record ? record->nr_bad : 1);
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
 * The handler alone has the hugepage: it leaves its pool. From then on the raw
 * page has a record of its own.
 */
static enum hugepoison_outcome hugepoison_give_up(struct hugepoison_error *err)
{
	struct hugepoison_record *record = err->record;
	enum hugepoison_outcome outcome;

	/* as if this error were counted, as those before it are */
	if (record)
		record->nr_bad++;
	outcome = hugepoison_leave_pool(record, err->folio);
	if (outcome == HUGEPOISON_ISOLATED) {
		if (record)
			record->nr_bad--;
		return outcome;
	}
	err->referenced = false;
	err->record = hugepoison_lookup(err->pfn);
	if (err->record)
		err->record->nr_bad--;
	return outcome;
}

/*
 * The hugepage that the raw page is in, and its order. Without a reference it may
 * be dissolved in any moment, and its struct pages may be others' then: so both
 * are read under hugetlb_lock, and all else waits until it is isolated.
 *
 * Return: false when the page is in no hugepage any more.
 */
static bool hugepoison_identify(struct hugepoison_error *err)
{
	bool huge;

	spin_lock_irq(&hugetlb_lock);
	err->folio = page_folio(err->page);
	huge = folio_test_hugetlb(err->folio);
	if (huge)
		err->order = folio_order(err->folio);
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
	struct hugepoison_record *record = err->record;
	unsigned long pfn;

	/* poisoned before, and dissolved since: the record is of its head */
	if (!record && PageHWPoisonTakenOff(err->page))
		record = hugepoison_lookup(ALIGN_DOWN(err->pfn,
						      1UL << err->page->index));
	if (record && record->raw)
		record = NULL;
	err->record = record;
	pfn = record ? record->pfn : 0;
	/* as if this error were counted, as those before it are */
	if (record)
		record->nr_bad++;
	hugepoison_collect_left();
	/* its end may just have been recorded */
	if (record && hugepoison_lookup(pfn) != record)
		err->record = NULL;
	record = hugepoison_lookup(err->pfn);
	if (!record || !record->raw) {
		if (err->record)
			err->record->nr_bad--;
		return false;
	}
	err->record = record;
	err->order = record->order;
	record->nr_bad--;
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
 * Set the raw page's own mark. Under HVO it shares its struct page with others
 * of the hugepage, none of them bad: there the list of raw pages is all there
 * is. See hugepoison_mark() for why that cannot change under us.
 */
static void hugepoison_mark_raw(struct folio *folio, struct page *page)
{
	lockdep_assert_held(&mf_mutex);
	if (!folio_test_hugetlb_vmemmap_optimized(folio))
		SetPageHWPoison(page);
}

/* The counterpart; the head page's mark is the folio's and goes last. */
static void hugepoison_unmark_raw(struct folio *folio, struct page *page)
{
	if (page != &folio->page &&
	    !folio_test_hugetlb_vmemmap_optimized(folio))
		ClearPageHWPoison(page);
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
			return err->record && err->record->anon_vma;
	} else if (!err->folio->mapping) {
		return false;
	}
	if (!READ_ONCE(hugepoison_narrow_policy))
		goto out;
	if (!err->record)
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
	int users;

	if (err->record && mapped)
		hugepoison_set_narrow(err->record, false);
	folio_unlock(folio);
	if (mapped)
		return HUGEPOISON_FAILED;
	if (err->record && err->record->narrow)
		return me_narrowed(err);
	users = hugepoison_users(folio, 1 + (file ? folio_nr_pages(folio) : 0));
	if (users) {
		pr_err("%#lx: still referenced by %d users\n", err->pfn, users);
		return HUGEPOISON_PINNED;
	}
	if (file || folio_test_hugetlb_raw_hwp_unreliable(folio))
		return HUGEPOISON_CONTAINED;
	return me_private_hugepage(err);
}

/*
 * Forget the error in @page, or in all pages without one. Errors are added
 * under the same lock, so none can slip in between the taking down of the list
 * and putting back what stays.
 *
 * Return: how many errors are left.
 */
static unsigned long hugepoison_forget(struct folio *folio, struct page *page)
{
	struct llist_head *list = raw_hwp_list_head(folio);
	struct raw_hwp_page *raw, *next;
	unsigned long left = 0;

	lockdep_assert_held(&hugetlb_lock);
	llist_for_each_entry_safe(raw, next, llist_del_all(list), node) {
		if (page && raw->page != page) {
			llist_add(&raw->node, list);
			left++;
		} else {
			kfree(raw);
		}
	}
	return left;
}

/**
 * hugepoison_raw_pages - which pages of a poisoned hugepage are bad
 * @folio: the hugepage
 * @first: the first subpage asked about
 * @bad: bitmap to fill, a bit for each subpage from @first on
 * @nr: bits in @bad
 *
 * Context: Any but interrupts; takes hugetlb_lock. With the folio lock held an
 * error reported later waits to unmap its page until the lock is dropped.
 */
void hugepoison_raw_pages(struct folio *folio, unsigned long first,
			  unsigned long *bad, unsigned int nr)
{
	struct raw_hwp_page *raw;
	unsigned long i;

	bitmap_zero(bad, nr);
	spin_lock_irq(&hugetlb_lock);
	if (folio_test_hugetlb_raw_hwp_unreliable(folio)) {
		bitmap_fill(bad, nr);
	} else if (folio_test_hwpoison(folio)) {
		llist_for_each_entry(raw, raw_hwp_list_head(folio)->first,
				     node) {
			i = folio_page_idx(folio, raw->page);
			if (i >= first && i < first + nr)
				__set_bit(i - first, bad);
		}
	}
	spin_unlock_irq(&hugetlb_lock);
}

static bool hugepoison_is_raw(struct folio *folio, struct page *page)
{
	struct raw_hwp_page *raw;

	lockdep_assert_held(&hugetlb_lock);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		if (raw->page == page)
			return true;
	return false;
}

/**
 * hugepoison_peek_raw - whether a page of a hugepage is bad
 * @folio: what was a file's hugepage a moment ago; RCU keeps its memory
 * @size: of the hugepage, in bytes
 * @at: the subpage
 *
 * With hugetlb_lock held what is a hugepage stays one, and its list of raw pages.
 *
 * Context: Any but interrupts; takes hugetlb_lock, needs neither the folio lock
 * nor a reference.
 * Return: true for a page that is bad.
 */
bool hugepoison_peek_raw(struct folio *folio, unsigned long size,
			 unsigned long at)
{
	bool raw = false;

	spin_lock_irq(&hugetlb_lock);
	if (folio_test_hugetlb(folio) && folio_size(folio) == size &&
	    folio_test_hwpoison(folio))
		raw = folio_test_hugetlb_raw_hwp_unreliable(folio) ||
		      hugepoison_is_raw(folio, folio_page(folio, at));
	spin_unlock_irq(&hugetlb_lock);
	return raw;
}

/*
 * Whether a compound page was a hugepage until just now: free pages are about to
 * be made of it. Of its raw pages none need be marked, but its head page is.
 * Others of that size, which a memory error may have hit as well, are mapped.
 */
static bool hugepoison_is_leaving(struct folio *folio)
{
	return PageHead(&folio->page) && PageHWPoison(&folio->page) &&
	       !test_bit(PG_large_rmappable, &folio_page(folio, 1)->flags);
}

/**
 * hugepoison_page_is_bad - whether a page of memory must not be read
 * @page: any page that is online
 *
 * For who reads all memory and holds nothing: of a poisoned hugepage the raw
 * pages are bad, in whichever state it is, and no others, unless which they
 * are was lost for want of memory. Of all other memory it is what is marked. As
 * is_page_hwpoison(), it knows nothing of the errors to come.
 *
 * Context: Any but interrupts; takes hugetlb_lock where there is an error.
 * Return: true for a page to leave out.
 */
bool hugepoison_page_is_bad(struct page *page)
{
	bool huge, bad = false;
	struct folio *folio;

	if (is_page_hwpoison(page) || hugepoison_is_leaving(page_folio(page))) {
		spin_lock_irq(&hugetlb_lock);
		/* what is a hugepage stays one as long as the lock is held */
		folio = page_folio(page);
		huge = folio_test_hugetlb(folio);
		if (!huge)
			bad = hugepoison_is_leaving(folio);
		else if (PageHWPoison(&folio->page))
			bad = folio_test_hugetlb_raw_hwp_unreliable(folio) ||
			      hugepoison_is_raw(folio, page);
		spin_unlock_irq(&hugetlb_lock);
		if (huge || bad)
			return bad;
	}
	/* its own mark is there before the head page's goes: look again */
	smp_rmb();
	return PageHWPoison(page);
}

/* Nothing of a hugepage is bad after all. The caller has a reference. */
static void hugepoison_forget_all(struct folio *folio)
{
	spin_lock_irq(&hugetlb_lock);
	hugepoison_forget(folio, NULL);
	folio_clear_hugetlb_raw_hwp_unreliable(folio);
	folio_clear_hwpoison(folio);
	spin_unlock_irq(&hugetlb_lock);
}

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
 * Which pages are bad has just been lost, and stock forgot and uncounted those
 * that were known. None of the hugepage can be left to anybody now.
 */
static enum hugepoison_outcome me_widened(struct hugepoison_error *err)
{
	pr_err("%#lx: containment hugepage from now on: which pages are bad was lost for want of memory\n",
	       err->pfn);
	err->record->nr_bad = 0;
	hugepoison_set_narrow(err->record, false);
	hugepoison_take_away(err, true);
	folio_unlock(err->folio);
	return HUGEPOISON_CONTAINED;
}

/* An error in a hugepage whose healthy pages are in use. */
static int hugepoison_narrow_again(struct hugepoison_error *err)
{
	folio_lock(err->folio);
	if (folio_test_hugetlb_raw_hwp_unreliable(err->folio))
		return hugepoison_result(err, me_widened(err));
	if (hwpoison_filter(err->page)) {
		spin_lock_irq(&hugetlb_lock);
		hugepoison_forget(err->folio, err->page);
		spin_unlock_irq(&hugetlb_lock);
		folio_unlock(err->folio);
		return -EOPNOTSUPP;
	}
	hugepoison_take_away(err, false);
	folio_unlock(err->folio);
	return hugepoison_result(err, me_narrowed(err));
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

#ifdef CONFIG_PROVE_LOCKING
/*
 * Lockdep hears of the order of locks at boot, so that it complains at the first
 * walk of an address space under mf_mutex, not at the first deadlock:
 *	mmap_lock -> inode lock		mmap() of a hugetlb file
 *	inode lock -> mf_mutex		heal
 */
static int __init hugepoison_teach_lockdep(void)
{
	struct mm_struct *mm = mm_alloc();

	if (!mm)
		return -ENOMEM;
	mmap_read_lock(mm);
	might_lock(&mf_mutex);
	mmap_read_unlock(mm);
	mmput(mm);
	return 0;
}
late_initcall(hugepoison_teach_lockdep);
#endif

/*
 * The hugepage is recorded as poisoned, and was free or neither free nor in use:
 * out of the pool with it, and its raw page out of use. A hugepage that turns out
 * to come into use is left to the worker.
 */
static int hugepoison_contain_free(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome;

	if (hugepoison_identify(err))
		err->record = hugepoison_add(folio_pfn(err->folio), err->order);
	outcome = hugepoison_take_free(err);
	if (outcome == HUGEPOISON_ISOLATED && hwpoison_filter(err->page)) {
		hugepoison_forget_all(err->folio);
		if (err->record)
			hugepoison_erase(err->record);
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

/* An error in a hugepage that is poisoned already. */
static int hugepoison_second(struct hugepoison_error *err, bool same_page)
{
	enum hugepoison_outcome outcome = HUGEPOISON_FAILED;

	if (!hugepoison_identify(err) && !same_page)
		return hugepoison_contain_free(err);
	err->record = hugepoison_find(err->pfn);
	if (err->record && err->record->narrow && !same_page)
		return hugepoison_narrow_again(err);
	if (same_page || (err->record && err->record->marked))
		outcome = HUGEPOISON_REPEATED;
	/* it was good memory until now; counted it is already */
	if (same_page && err->record)
		hugepoison_forget_lost(err->record, err->pfn);
	hugepoison_result(err, outcome);
	err->accessed = err->flags & MF_ACTION_REQUIRED;
	return -EHWPOISON;
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
		usleep_range(1000, 5000);
	}
	return get_huge_page_for_hwpoison(err->pfn, err->flags | MF_NO_RETRY,
					  &err->migratable_cleared);
}

/* The hugepage is in use and the handler has a reference: unlocks the folio. */
static enum hugepoison_outcome
hugepoison_contain_used(struct hugepoison_error *err)
{
	bool narrow = hugepoison_may_narrow(err);

	if (err->record) {
		err->record->used = true;
		hugepoison_set_narrow(err->record, narrow);
	}
	hwpoison_user_mappings(err->folio, err->page, err->pfn, err->flags);
	return me_huge_page_in_use(err);
}

/* The hugepage is recorded as poisoned, and in use. */
static int hugepoison_contain(struct hugepoison_error *err)
{
	err->folio = page_folio(err->page);
	err->order = folio_order(err->folio);
	err->referenced = true;
	folio_lock(err->folio);
	if (hwpoison_filter(err->page)) {
		hugepoison_forget_all(err->folio);
		if (err->migratable_cleared)
			folio_set_hugetlb_migratable(err->folio);
		folio_unlock(err->folio);
		folio_put(err->folio);
		return -EOPNOTSUPP;
	}
	err->record = hugepoison_add(folio_pfn(err->folio), err->order);
	return hugepoison_result(err, hugepoison_contain_used(err));
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

	lockdep_assert_held(&mf_mutex);
	hugepoison_begin();
	found = hugepoison_get(&err);
	*hugetlb = found != MF_HUGETLB_NON_HUGEPAGE;
	ret = hugepoison_found(&err, found);
	hugepoison_end();
	/* nobody waits for this as for an error on its way: it may take long */
	if (err.accessed)
		ret = hugepoison_kill_accessing(current, pfn, flags);
	return ret;
}

/**
 * hugepoison_corrupt_free - inject an error into a free hugepage
 * @size: hugepage size, in bytes
 * @nid: node to look on, NUMA_NO_NODE for any
 * @subpage: which base page of the hugepage is the raw one
 *
 * The hugepage is chosen and marked under hugetlb_lock, so the error cannot
 * hit one that was allocated in between.
 *
 * Context: Process context, may sleep; takes mf_mutex.
 * Return: as hugepoison_memory_failure(), or -EINVAL when there is no such
 * size, -ENOENT when no healthy hugepage of it is free there.
 */
int hugepoison_corrupt_free(unsigned long size, int nid, unsigned long subpage)
{
	struct hugepoison_error err = {
		.flags = MF_SW_SIMULATED,
		.begin = hugepoison_trace_begin(trace_hugepoison_contain_enabled()),
	};
	struct folio *folio = NULL;
	int ret = -ENOENT;
	int node;

	mutex_lock(&mf_mutex);
	hugepoison_begin();
	spin_lock_irq(&hugetlb_lock);
	for_each_online_node(node) {
		if (nid == NUMA_NO_NODE || nid == node)
			folio = hugepoison_pool_find_free(size, node);
		if (folio)
			break;
	}
	if (!IS_ERR_OR_NULL(folio)) {
		err.page = folio_page(folio, subpage);
		err.pfn = page_to_pfn(err.page);
		hugetlb_update_hwpoison(folio, err.page);
	}
	spin_unlock_irq(&hugetlb_lock);

	if (IS_ERR(folio))
		ret = PTR_ERR(folio);
	else if (folio)
		ret = hugepoison_contain_free(&err);
	hugepoison_end();
	mutex_unlock(&mf_mutex);
	return ret;
}

#if IS_ENABLED(CONFIG_HWPOISON_INJECT)
EXPORT_SYMBOL_GPL(hugepoison_corrupt_free);
#endif

/* The raw page of a former hugepage goes back to the buddy allocator. */
static int hugepoison_unpoison_raw(struct hugepoison_record *record)
{
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
	if (!record->marked) {
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

/*
 * The fresh hugepage of the heal under way, which waits for mf_mutex with that
 * folio locked. Changed under mf_mutex.
 */
static struct folio *hugepoison_healing;

/* Lock a poisoned hugepage; that of a heal is only tried, see above. */
static bool hugepoison_lock_poisoned(struct folio *folio)
{
	lockdep_assert_held(&mf_mutex);
	if (folio == hugepoison_healing)
		return folio_trylock(folio);
	folio_lock(folio);
	return true;
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

	if (got && !hugepoison_lock_poisoned(folio)) {
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

/* Without its folio a record says nothing; stock knows what to do. */
static bool hugepoison_stale(struct hugepoison_record *record)
{
	struct folio *folio;

	/* what is offline is still bad; what was removed is not there */
	if (!pfn_to_online_page(record->pfn))
		return !pfn_valid(record->pfn);
	folio = pfn_folio(record->pfn);
	/* a reader of the gauges comes here without mf_mutex */
	if (READ_ONCE(record->raw))
		return !PageHWPoisonTakenOff(pfn_to_page(record->pfn));
	return !folio_test_hugetlb(folio) || !folio_test_hwpoison(folio) ||
	       folio_pfn(folio) != record->pfn;
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

	ours = record;
	if (ours && hw_memory_failure) {
		pr_err("%#lx: not unpoisoned: there was a real hardware error\n",
		       pfn);
		*ret = -EOPNOTSUPP;
	} else if (ours) {
		*ret = record->raw ? hugepoison_unpoison_raw(record) :
				     hugepoison_unpoison_folio(record, pfn);
	}
	mutex_unlock(&mf_mutex);
	return ours;
}

#if IS_ENABLED(CONFIG_HWPOISON_INJECT)
/* Set through debugfs; 0 lets everything pass. */
u64 hugepoison_filter_size;
EXPORT_SYMBOL_GPL(hugepoison_filter_size);
u64 hugepoison_filter_cgroup;
EXPORT_SYMBOL_GPL(hugepoison_filter_cgroup);

/* Inode number of the hugetlb cgroup a hugepage is charged to, 0 for none. */
static u64 hugepoison_cgroup_ino(struct folio *folio)
{
	u64 ino = 0;
#ifdef CONFIG_CGROUP_HUGETLB
	struct hugetlb_cgroup *group;

	/* a charged hugepage is uncharged under this lock */
	spin_lock_irq(&hugetlb_lock);
	group = folio_test_hugetlb(folio) ? hugetlb_cgroup_from_folio(folio) :
					    NULL;
	if (group)
		ino = cgroup_ino(group->css.cgroup);
	spin_unlock_irq(&hugetlb_lock);
#endif
	return ino;
}

/**
 * hugepoison_filter - whether the hugepage filters except a page
 * @page: the page about to be poisoned
 *
 * Context: Process context; takes hugetlb_lock.
 * Return: 0 to go on, -EINVAL when a filter is set and @page does not match.
 */
int hugepoison_filter(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (hugepoison_filter_size &&
	    (!folio_test_hugetlb(folio) ||
	     folio_size(folio) >> 10 != hugepoison_filter_size))
		return -EINVAL;
	if (hugepoison_filter_cgroup &&
	    hugepoison_cgroup_ino(folio) != hugepoison_filter_cgroup)
		return -EINVAL;
	return 0;
}
#endif

#include "release.c"
#include "heal.c"
#include "sysfs.c"
#include "proc.c"

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/memory-failure.c"
#include "tests/narrow.c"
#endif
#endif /* CONFIG_HUGEPOISON */
