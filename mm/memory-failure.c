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
 *	  hwpoison_user_mappings()	find, unmap and signal the mappers
 *	  me_*_hugepage()		what becomes of the hugepage
 *	  hugepoison_result()		mark, account, log, count: one for all
 *
 * What is out of use, and for how long, is kept in a record for each poisoned
 * hugepage; marks and counters follow the record and are never asked instead
 * of it.
 */
#ifdef CONFIG_HUGEPOISON
#undef pr_fmt
#define pr_fmt(fmt) "hugepoison: " fmt

#include <linux/delay.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/kobject.h>
#include <linux/memory.h>
#include <linux/sysfs.h>
#include <linux/xarray.h>

/* The hook in memory_failure() took the only call away; it stays for =n. */
static int __maybe_unused try_memory_failure_hugetlb(unsigned long pfn,
						     int flags, int *hugetlb);

/*
 * What can become of a hugepage in which an error was reported. To add one:
 * name it here, give it a line in the table, and test how it comes about.
 */
enum hugepoison_outcome {
	HUGEPOISON_CONTAINED,
	HUGEPOISON_DEQUEUED,
	HUGEPOISON_RELEASED,
	HUGEPOISON_REPLACED,
	HUGEPOISON_ISOLATED,
	HUGEPOISON_PINNED,
	HUGEPOISON_REPEATED,
	HUGEPOISON_FAILED,
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
 */
struct hugepoison_action {
	const char *name;
	const char *what;
	bool whole;
	enum mf_action_page_type type;
	enum mf_result result;
};

static const struct hugepoison_action hugepoison_actions[] = {
	[HUGEPOISON_CONTAINED] = {
		"contained", "contained, all of it is out of use",
		true, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_DEQUEUED] = {
		"dequeued", "was free, dequeued, its healthy pages released",
		false, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_RELEASED] = {
		"released", "was private, its healthy pages released",
		false, MF_MSG_HUGE, MF_RECOVERED },
	[HUGEPOISON_REPLACED] = {
		"replaced", "was free but reserved, replaced by a fresh one",
		false, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_ISOLATED] = {
		"isolated", "was free but reserved, dequeued and not replaced",
		true, MF_MSG_FREE_HUGE, MF_RECOVERED },
	[HUGEPOISON_PINNED] = {
		"pinned", "contained, but other users still hold references to it",
		true, MF_MSG_HUGE, MF_FAILED },
	[HUGEPOISON_REPEATED] = {
		"repeated", "another error where all is out of use already",
		false, MF_MSG_ALREADY_POISONED, MF_FAILED },
	[HUGEPOISON_FAILED] = {
		"failed", "not contained",
		false, MF_MSG_HUGE, MF_FAILED },
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
 * @pfn: page frame of the hugepage's head; where the healthy pages are back in
 *	 use, of the one raw page that is not
 * @order: of the hugepage
 * @nr_bad: base pages out of use, as counted in HardwareCorrupted
 * @raw: raw page of a former hugepage, kept off the buddy allocator
 * @marked: every subpage carries PG_hwpoison
 * @referenced: the handler holds a reference to the folio; unpoisoning drops
 *		it. PG_hwpoison never implies it
 */
struct hugepoison_record {
	unsigned long pfn;
	unsigned int order;
	long nr_bad;
	bool raw;
	bool marked;
	bool referenced;
};

/* All records, by @pfn. Written under mf_mutex. */
static DEFINE_XARRAY(hugepoison_records);

/* An error on its way through the handler. */
struct hugepoison_error {
	unsigned long pfn;
	int flags;
	struct page *page;
	struct folio *folio;
	bool referenced;
	bool migratable_cleared;
	unsigned int order;
	struct hugepoison_record *record;
};

static struct hugepoison_record *hugepoison_find(unsigned long pfn)
{
	struct hugepoison_record *record;

	lockdep_assert_held(&mf_mutex);
	record = xa_load(&hugepoison_records, pfn);
	if (record)
		return record;
	return xa_load(&hugepoison_records, folio_pfn(pfn_folio(pfn)));
}

/* A new record of nothing yet; NULL without memory for it. */
static struct hugepoison_record *hugepoison_add(unsigned long pfn,
						unsigned int order)
{
	struct hugepoison_record *record = kzalloc(sizeof(*record), GFP_KERNEL);

	lockdep_assert_held(&mf_mutex);
	if (!record)
		return NULL;
	record->pfn = pfn;
	record->order = order;
	if (xa_insert(&hugepoison_records, pfn, record, GFP_KERNEL)) {
		kfree(record);
		return NULL;
	}
	return record;
}

static void hugepoison_erase(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	xa_erase(&hugepoison_records, record->pfn);
	kfree(record);
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

/* Log and count an outcome: every one passes here. */
static void hugepoison_outcome(unsigned long pfn, unsigned int order,
			       enum hugepoison_outcome outcome, long nr_bad)
{
	struct hstate *h = size_to_hstate(PAGE_SIZE << order);
	int nid = pfn_to_nid(pfn);

	if (h && hugepoison_counts[hstate_index(h)])
		atomic_long_inc(&hugepoison_counts[hstate_index(h)][nid]
				.nr[outcome]);
	pr_err("%#lx: %lu kB hugepage on node %d: %s; %ld kB out of use\n",
	       pfn, PAGE_SIZE << order >> 10, nid,
	       hugepoison_actions[outcome].what, nr_bad << (PAGE_SHIFT - 10));
}

/* The whole hugepage goes out of use; action_result() counted the raw page. */
static void hugepoison_settle(struct hugepoison_error *err)
{
	struct hugepoison_record *record = err->record;

	hugepoison_mark(err->folio, true);
	record->marked = true;
	hugepoison_account(record, err->pfn, -1);
	hugepoison_account(record, record->pfn, 1L << record->order);
}

/*
 * The end of every error: mark, account, log and count. The folio is unlocked;
 * it is either ours to keep, or no hugepage any more.
 *
 * Return: what memory_failure() is to return.
 */
static int hugepoison_result(struct hugepoison_error *err,
			     enum hugepoison_outcome outcome)
{
	const struct hugepoison_action *action = &hugepoison_actions[outcome];
	int ret = action_result(err->pfn, action->type, action->result);
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
	hugepoison_outcome(err->pfn, err->order, outcome,
			   record ? record->nr_bad : 1);
	return ret;
}

/*
 * The hugepage is dissolved, its pages are in the buddy allocator, the raw one
 * among them. Take that one back; from now on the record is of it alone. A raw
 * page that somebody got hold of first is not out of use, so has no record.
 */
static bool hugepoison_keep_raw(struct hugepoison_error *err)
{
	bool kept;

	drain_all_pages(page_zone(err->page));
	kept = take_page_off_buddy(err->page);
	if (err->record)
		hugepoison_erase(err->record);
	err->record = kept ? hugepoison_add(err->pfn, err->order) : NULL;
	if (err->record)
		err->record->raw = true;
	if (kept)
		page_ref_inc(err->page);
	else
		pr_err("%#lx: allocated again before it could be kept back\n",
		       err->pfn);
	return kept;
}

/*
 * A free hugepage: take it out of the pool, by the least costly way that
 * leaves the reservations what they were promised.
 */
static enum hugepoison_outcome me_free_hugepage(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome = HUGEPOISON_DEQUEUED;
	int ret = -EBUSY;

	/* without a reliable list of raw pages none may be given back */
	if (!folio_test_hugetlb(err->folio) ||
	    !folio_test_hugetlb_raw_hwp_unreliable(err->folio)) {
		ret = dissolve_free_hugetlb_folio(err->folio);
		if (ret) {
			outcome = HUGEPOISON_REPLACED;
			ret = hugepoison_pool_replace(err->folio, err->order);
		}
	}
	if (!ret)
		return hugepoison_keep_raw(err) ? outcome : HUGEPOISON_FAILED;

	err->referenced = hugepoison_pool_isolate(err->folio);
	if (!err->referenced)
		return HUGEPOISON_FAILED;
	pr_err("%#lx: no fresh hugepage on node %d (%d): more is reserved than free; add one through nr_hugepages\n",
	       err->pfn, page_to_nid(err->page), ret);
	return HUGEPOISON_ISOLATED;
}

/*
 * A private hugepage, or one that its file has let go: no mapping is left and
 * the data is lost to all. With our reference gone it is a free hugepage.
 */
static enum hugepoison_outcome me_private_hugepage(struct hugepoison_error *err)
{
	enum hugepoison_outcome outcome;

	err->referenced = false;
	folio_put(err->folio);
	outcome = me_free_hugepage(err);
	return outcome == HUGEPOISON_DEQUEUED ? HUGEPOISON_RELEASED : outcome;
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
 * An in-use hugepage, unmapped. One of a file stays in the page cache, where
 * it blocks every old and new mapping.
 */
static enum hugepoison_outcome me_huge_page_in_use(struct hugepoison_error *err)
{
	struct folio *folio = err->folio;
	bool file = folio_mapping(folio);
	bool mapped = folio_mapped(folio);
	int users;

	folio_unlock(folio);
	if (mapped)
		return HUGEPOISON_FAILED;
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

static bool hugepoison_is_raw(struct folio *folio, struct page *page)
{
	struct raw_hwp_page *raw;

	lockdep_assert_held(&hugetlb_lock);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node)
		if (raw->page == page)
			return true;
	return false;
}

/* The filter says that this page is not to be hit: as if nothing had been. */
static int hugepoison_filtered(struct hugepoison_error *err)
{
	struct folio *folio = err->folio;

	spin_lock_irq(&hugetlb_lock);
	hugepoison_forget(folio, NULL);
	folio_clear_hugetlb_raw_hwp_unreliable(folio);
	folio_clear_hwpoison(folio);
	if (err->migratable_cleared)
		folio_set_hugetlb_migratable(folio);
	spin_unlock_irq(&hugetlb_lock);

	folio_unlock(folio);
	if (err->referenced)
		folio_put(folio);
	return -EOPNOTSUPP;
}

/* An error in a hugepage that is poisoned already. */
static int hugepoison_second(struct hugepoison_error *err, bool same_page)
{
	enum hugepoison_outcome outcome = HUGEPOISON_FAILED;
	int ret = -EHWPOISON;

	err->folio = page_folio(err->page);
	err->order = folio_order(err->folio);
	err->record = hugepoison_find(err->pfn);
	if (err->flags & MF_ACTION_REQUIRED)
		ret = kill_accessing_process(current, err->pfn, err->flags);
	if (same_page || (err->record && err->record->marked))
		outcome = HUGEPOISON_REPEATED;
	hugepoison_result(err, outcome);
	return ret;
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

/* The hugepage is recorded as poisoned; @free tells where it was found. */
static int hugepoison_contain(struct hugepoison_error *err, bool free)
{
	struct folio *folio = page_folio(err->page);

	err->folio = folio;
	err->order = folio_order(folio);
	err->referenced = !free;
	folio_lock(folio);
	if (hwpoison_filter(err->page))
		return hugepoison_filtered(err);

	err->record = hugepoison_add(folio_pfn(folio), err->order);
	if (free) {
		folio_unlock(folio);
		return hugepoison_result(err, me_free_hugepage(err));
	}

	hwpoison_user_mappings(folio, err->page, err->pfn, err->flags);
	return hugepoison_result(err, me_huge_page_in_use(err));
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
	};
	int found;

	lockdep_assert_held(&mf_mutex);
	found = hugepoison_get(&err);
	*hugetlb = found != MF_HUGETLB_NON_HUGEPAGE;

	switch (found) {
	case MF_HUGETLB_NON_HUGEPAGE:
		return 0;
	case MF_HUGETLB_FREED:
	case MF_HUGETLB_IN_USED:
		return hugepoison_contain(&err, found == MF_HUGETLB_FREED);
	case MF_HUGETLB_FOLIO_PRE_POISONED:
	case MF_HUGETLB_PAGE_PRE_POISONED:
		return hugepoison_second(&err,
				found == MF_HUGETLB_PAGE_PRE_POISONED);
	default:
		/* Marked without a reference; no allocator hands it out. */
		err.order = folio_order(page_folio(err.page));
		err.record = hugepoison_add(folio_pfn(page_folio(err.page)),
					    err.order);
		pr_err("%#lx: hugepage neither free nor in use for long\n", pfn);
		return hugepoison_result(&err, HUGEPOISON_FAILED);
	}
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
	struct hugepoison_error err = { .flags = MF_SW_SIMULATED };
	struct folio *folio = NULL;
	int ret = -ENOENT;
	int node;

	mutex_lock(&mf_mutex);
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
		ret = hugepoison_contain(&err, true);
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

/* Why a poisoned hugepage cannot be unpoisoned now, NULL when it can. */
static const char *hugepoison_in_use(struct hugepoison_record *record,
				     struct folio *folio)
{
	if (folio_test_hugetlb_raw_hwp_unreliable(folio))
		return "which pages are bad was lost for want of memory";
	if (folio_mapped(folio))
		return "it is mapped: end the processes that map it";
	if (folio_mapping(folio))
		return "it belongs to a file: unlink the file or punch it out";
	if (folio_ref_count(folio) > record->referenced)
		return "somebody holds a reference to it";
	return NULL;
}

/* The last error is undone: all of the hugepage comes back into use. */
static void hugepoison_back_in_use(struct hugepoison_record *record,
				   struct folio *folio)
{
	bool referenced = record->referenced;

	if (record->marked)
		hugepoison_mark(folio, false);
	hugepoison_account(record, record->pfn, -record->nr_bad);
	hugepoison_outcome(record->pfn, record->order, HUGEPOISON_UNPOISONED, 0);
	hugepoison_erase(record);
	folio_clear_hwpoison(folio);
	if (referenced)
		folio_put(folio);
}

/*
 * Undo the error in the page at @pfn; where none was reported in that one, all
 * errors of the hugepage, as stock does for the head page.
 */
static int hugepoison_unpoison_folio(struct hugepoison_record *record,
				     unsigned long pfn)
{
	struct folio *folio = pfn_folio(record->pfn);
	struct page *page = pfn_to_page(pfn);
	const char *why = hugepoison_in_use(record, folio);
	unsigned long left;

	if (why) {
		pr_err("%#lx: not unpoisoned: %s\n", pfn, why);
		return -EBUSY;
	}

	spin_lock_irq(&hugetlb_lock);
	left = hugepoison_forget(folio,
				 hugepoison_is_raw(folio, page) ? page : NULL);
	spin_unlock_irq(&hugetlb_lock);

	if (!left) {
		hugepoison_back_in_use(record, folio);
		return 0;
	}
	if (!record->marked)
		hugepoison_account(record, pfn, -1);
	pr_err("%#lx: unpoisoned, %lu other errors in its hugepage are left\n",
	       pfn, left);
	return 0;
}

/* Without its folio a record says nothing; stock knows what to do. */
static bool hugepoison_stale(struct hugepoison_record *record)
{
	struct folio *folio = pfn_folio(record->pfn);

	if (record->raw)
		return !PageHWPoisonTakenOff(pfn_to_page(record->pfn));
	return !folio_test_hugetlb(folio) || !folio_test_hwpoison(folio) ||
	       folio_pfn(folio) != record->pfn;
}

/**
 * hugepoison_unpoison - undo an injected error in a hugepage, or in what was
 *			 one
 * @pfn: any page frame of the hugepage
 * @ret: what unpoison_memory() is to return, when this returns true
 *
 * Undoes the error reported at @pfn, and with the last one puts the hugepage
 * back into use. A page frame without an error of its own stands for all.
 *
 * Context: Process context, may sleep; takes mf_mutex.
 * Return: true when the error was this code's to undo: @ret is 0, -EBUSY when
 * the hugepage is still in use, -EOPNOTSUPP after a real hardware error.
 */
bool hugepoison_unpoison(unsigned long pfn, int *ret)
{
	struct hugepoison_record *record = NULL;
	bool ours;

	mutex_lock(&mf_mutex);
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

#include "sysfs.c"

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/memory-failure.c"
#endif
#endif /* CONFIG_HUGEPOISON */
