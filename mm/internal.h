/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what the files in mm/hugepoison/ share.
 *
 * linux/hugepoison.h declares what the hooks in stock files call.
 *
 * Locks, outermost first. mmap_lock and the inode lock are never taken with mf_mutex
 * held: a process can hold its mmap_lock for as long as it likes, and all errors
 * would wait for it.
 *
 *	hugepoison_turn		one heal of a file at a time; for callers only
 *	hugepoison_heal_mutex	one heal at a time; for workers only
 *	mmap_lock		narrowing and promoting, for writing
 *	inode lock		heal; mmap() of a file takes it under mmap_lock
 *	mf_mutex		one error at a time; the records
 *	hugetlb VMA lock	shared page tables
 *	folio lock		which pages faults may map
 *	i_mmap_rwsem		the mappings of a file's hugepage
 *	anon_vma		the mappings of a private hugepage
 *	page table lock		an entry
 *	hugetlb_lock		the list of raw pages, the pool
 *	hugepoison_records_lock	the records, for faults
 *
 * A heal takes the folio lock of its fresh hugepage outside of mf_mutex, see
 * hugepoison_end_exchange().
 */
#ifndef _MM_HUGEPOISON_INTERNAL_H
#define _MM_HUGEPOISON_INTERNAL_H

#include <linux/hashtable.h>
#include <linux/hugepoison.h>
#include <linux/hugetlb.h>
#include <linux/kobject.h>
#include <linux/ktime.h>
#include <linux/leafops.h>
#include <linux/list.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "../internal.h"

#undef pr_fmt
#define pr_fmt(fmt) "hugepoison: " fmt

struct anon_vma;
struct cma;
struct hugetlb_cgroup;
struct workqueue_struct;

/* The word with a page's flags: memdesc_flags_t has nothing else. */
static inline unsigned long *hugepoison_flags(struct page *page)
{
	return (unsigned long *)&page->flags;
}

/* Whether an entry is the one of a poisoned page. */
static inline bool hugepoison_is_hwpoison(pte_t entry)
{
	return softleaf_is_hwpoison(softleaf_from_pte(entry));
}

/* Whether the next fault finds nothing here, as userfaultfd's and other markers do not map. */
static inline bool hugepoison_none_mostly(pte_t entry)
{
	return pte_none(entry) || pte_is_marker(entry);
}

/* Which pages of a hugepage an access gets. */
enum hugepoison_fate {
	HUGEPOISON_HEALTHY,	/* all pages: no error, or no hugepage there */
	HUGEPOISON_NARROW,	/* all pages but the raw ones */
	HUGEPOISON_WIDE,	/* no page */
	HUGEPOISON_UNDECIDED,	/* the handler has yet to decide */
};

/*
 * Why something cannot be done; 0 when it can, or is done. To add one: name it here,
 * and give it words in reason.c.
 */
enum hugepoison_reason {
	/* to narrow a mapping, or to contain no more than the raw page */
	HUGEPOISON_WHY_USERFAULTFD = 1,
	HUGEPOISON_WHY_MAP_COUNT,
	HUGEPOISON_WHY_NO_SPLIT,
	HUGEPOISON_WHY_NO_PRIVATE,
	HUGEPOISON_WHY_LOCKED,
	HUGEPOISON_WHY_NO_RECORD,
	HUGEPOISON_WHY_UNRELIABLE,	/* also to unpoison */
	/* to unpoison */
	HUGEPOISON_WHY_MAPPED,
	HUGEPOISON_WHY_REFERENCED,
	HUGEPOISON_WHY_NOT_RAW,
	HUGEPOISON_WHY_LOST,
	HUGEPOISON_WHY_REFILLED,
	/* to heal */
	HUGEPOISON_WHY_HELD,
	HUGEPOISON_WHY_ANOTHER_ERROR,
	HUGEPOISON_WHY_NO_SPARE,
	/* to release; WHY_UNRELIABLE as well */
	HUGEPOISON_WHY_NO_VMEMMAP,
	/* to replace at once */
	HUGEPOISON_WHY_REPLACE_OFF,
	HUGEPOISON_WHY_REFILLING,
	NR_HUGEPOISON_REASONS
};

/* Some mappings of a poisoned hugepage, with a reference to each address space. */
struct hugepoison_mappers {
	unsigned int looks;	/* how many mappings the searches may still look at */
	unsigned int skip;	/* how many mappings to pass over first */
	unsigned int nr;
	struct hugepoison_mapper {
		struct mm_struct *mm;
		unsigned long address;
	} at[32];
};

/**
 * struct hugepoison_rmap_lock - the lock that keeps a hugepage's mappings unchanged
 * @mapping: its file, i_mmap_rwsem held for writing; or
 * @anon_vma: of a private hugepage, held for reading
 */
struct hugepoison_rmap_lock {
	struct address_space *mapping;
	struct anon_vma *anon_vma;
};

/**
 * struct hugepoison_payer - who pays for a hugepage that a worker allocates
 * @mm: address space, whose memory cgroup is charged; NULL for the root cgroup
 * @group: the hugetlb cgroup, with a reference; NULL for none
 * @nodes: that the task may use
 */
struct hugepoison_payer {
	struct mm_struct *mm;
	struct hugetlb_cgroup *group;
	nodemask_t nodes;
};

/*
 * How the handling of an error can end. To add an outcome: name it here, give it a line
 * in hugepoison_actions[], and write a test that brings it about.
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
	HUGEPOISON_REFILLED,
	HUGEPOISON_UNPOISONED,
	NR_HUGEPOISON_OUTCOMES
};

/*
 * The state of a poisoned hugepage. Only hugepoison_become() changes it, by the steps in
 * hugepoison_steps[]. To add a state: add its steps, and decide about it in
 * hugepoison_is_open() and hugepoison_is_whole().
 */
enum hugepoison_state {
	HUGEPOISON_STATE_NEW,		/* the handler has yet to decide */
	HUGEPOISON_STATE_FAILED,	/* not contained: the worker tries again */
	HUGEPOISON_STATE_NARROWED,	/* out of use: the raw pages */
	HUGEPOISON_STATE_CONTAINED,	/* all pages; in the page cache */
	HUGEPOISON_STATE_PINNED,	/* all pages; users have references */
	HUGEPOISON_STATE_ISOLATED,	/* all pages; only the handler has it */
	HUGEPOISON_STATE_LEAVING,	/* it is being dissolved */
	HUGEPOISON_STATE_RELEASED,	/* dissolved: the record of a raw page */
	NR_HUGEPOISON_STATES
};

/**
 * struct hugepoison_worker - the workers' fields of a record
 * @eager: how many passes of the narrow worker are left for this hugepage
 * @pass: the narrow worker's last pass over it
 * @looked: when that was, in jiffies
 * @unlogged: raw page that a worker has yet to log, 0 for none
 * @round: the release worker's last round over it
 * @reheal: how many tries the worker has left to heal it after a refill
 * @reheal_pass: the worker's last pass over it
 * @told: when the log last had that a heal of it failed, in jiffies; 0 for never
 * @stuck: logged already: it has no users, and its pool does not get it back
 */
struct hugepoison_worker {
	unsigned int eager;
	unsigned int pass;
	unsigned long looked;
	unsigned long unlogged;
	unsigned int round;
	unsigned int reheal;
	unsigned int reheal_pass;
	unsigned long told;
	bool stuck;
};

/**
 * struct hugepoison_record - one poisoned hugepage, or a raw page of a former one
 * @node: in hugepoison_records, by @pfn
 * @rcu: readers of the gauges walk the hash table without a lock
 * @pfn: page frame of the hugepage's head; of the raw page in state RELEASED
 * @order: of the hugepage
 * @nid: node it is on, also when its memory is offline
 * @nr_bad: base pages out of use, as counted in HardwareCorrupted; includes the raw
 *	    page of the error at hand, which is counted there at the end
 * @state: hugepoison_become() changes it under mf_mutex; page faults read it without
 *	   mf_mutex, hugepoison_records_lock keeps the record
 * @worker: the workers' fields
 * @referenced: the handler holds a reference to the folio; unpoisoning drops
 *		it. PG_hwpoison never implies it
 * @lost: raw pages that are good memory, out of use because their contents are
 *	  lost, see heal.c; @nr_lost subpages
 * @nr_lost: number of entries in @lost
 * @anon_vma: of a private hugepage, with a reference, to find the mappings
 */
struct hugepoison_record {
	struct hlist_node node;
	struct rcu_head rcu;
	unsigned long pfn;
	unsigned int order;
	int nid;
	long nr_bad;
	enum hugepoison_state state;
	struct hugepoison_worker worker;
	bool referenced;
	unsigned long *lost;
	unsigned int nr_lost;
	struct anon_vma *anon_vma;
};

/**
 * struct hugepoison_stand_in - a page that stands in for a raw page
 * @node: in hugepoison_stand_ins, by @raw
 * @rcu: lookups run under RCU
 * @raw: page frame of the raw page
 * @page: the page with the contents; page_private() is @raw
 */
struct hugepoison_stand_in {
	struct hlist_node node;
	struct rcu_head rcu;
	unsigned long raw;
	struct page *page;
};

/*
 * An error on its way through the handler. Its record is there before the handler looks
 * for the hugepage. Where there was no memory for one it is @unrecorded, which nobody
 * finds: page faults then take all of the hugepage to be bad, and the worker makes the
 * record when there is memory, see hugepoison_add_missing_record().
 */
struct hugepoison_error {
	unsigned long pfn;
	int flags;
	struct page *page;
	struct folio *folio;
	long nr_listed;		/* in the list of raw pages, with this one */
	bool unlisted;		/* this one, or one before, is not */
	bool referenced;
	bool migratable_cleared;
	bool accessed;		/* by current, which gets the signal */
	unsigned int order;
	struct hugepoison_record *record;
	struct hugepoison_record *blank;	/* for @record; nobody finds it yet */
	struct hugepoison_record unrecorded;
	u64 begin;
	struct folio *held;		/* locked since before the error is recorded */
	struct hugepoison_rmap_lock rmap;	/* of @held */
	struct anon_vma *unused;	/* to put after the locks are dropped */
};

/*
 * The start time that a trace event reports at the end of an operation. @traced is
 * trace_EVENT_enabled(): a no-op while the event is off.
 */
static inline u64 hugepoison_trace_begin(bool traced)
{
	return traced ? ktime_get_ns() : 0;
}

/* reason.c: why something cannot be done */
const char *hugepoison_why(enum hugepoison_reason reason);

/* wq.c: the workqueue */
extern struct workqueue_struct *hugepoison_wq;
void hugepoison_begin_urgent(void);
void hugepoison_end_urgent(void);

/* small-rmap.c: count the mappings of a hugepage below its size */
void hugepoison_enable_small_rmap(void);
void hugepoison_await_small_rmap(void);
bool hugepoison_small_rmap_enabled(void);
bool hugepoison_get_small_rmap(void);
void hugepoison_dup_small_rmap(void);
void hugepoison_put_small_rmap(void);
bool hugepoison_may_add_rmap(struct folio *folio, int nr_pages);
void hugepoison_add_file_rmap(struct folio *folio, int nr_pages);
void hugepage_add_anon_rmap(struct folio *folio, struct page *page,
			    int nr_pages, struct vm_area_struct *vma,
			    unsigned long address);

/* raw.c: which pages of a hugepage are bad */
void hugepoison_raw_pages(struct folio *folio, unsigned long first,
			  unsigned long *bad, unsigned int nr);
unsigned long hugepoison_next_raw(struct folio *folio, unsigned long from);
bool hugepoison_page_is_raw(struct folio *folio, unsigned long at);
bool hugepoison_peek_raw(struct folio *folio, unsigned long size,
			 unsigned long at);

/* stand-in.c: good pages that stand in for raw pages */
struct hugepoison_stand_in *hugepoison_new_stand_in(void);
void hugepoison_free_stand_in(struct hugepoison_stand_in *stand_in);
void hugepoison_add_stand_in(struct hugepoison_stand_in *stand_in,
			     struct page *raw);
void hugepoison_remove_stand_in(struct page *raw);
struct page *hugepoison_stand_in_of(struct page *raw);
struct page *hugepoison_get_stand_in(struct page *raw);
struct page *hugepoison_next_refilled(struct folio *folio);
struct page *hugepoison_good_page(struct folio *folio, unsigned long at);

/* record.c: the record of a poisoned hugepage */
bool hugepoison_handled_recently(void);
bool hugepoison_handling_now(void);
enum hugepoison_fate hugepoison_fate(struct folio *folio);
void hugepoison_refilled(unsigned int order, int nid, int from);
void hugepoison_count_refill(unsigned int order, int nid);

/* queue.c: the workers' works, and when they run */
void hugepoison_queue_narrow_folio(struct folio *folio);
void hugepoison_queue_reheal(struct folio *folio);
void hugepoison_await_handled(void);

/* hugetlb_cma.c: gigantic hugepages that CMA gave */
struct cma *hugepoison_test_cma_area(int nid);
unsigned long hugepoison_give_back_cma(unsigned long pfn, unsigned long nr);

/* pool.c: the pool */
bool hugepoison_pool_replacing(void);
void hugepoison_pool_set_replacing(bool replacing);
void hugepoison_pool_flush(void);
bool hugepoison_pool_isolate(struct page *page, bool poisoned);
void hugepoison_pool_put_back(struct folio *folio);
int hugepoison_pool_seize(struct folio *folio);
void hugepoison_pool_uncharge(struct folio *folio);
void hugepoison_pool_settle(struct folio *folio, struct hugepage_subpool *spool);
bool hugepoison_pool_leave(struct folio *folio);
void hugepoison_pool_give_back(unsigned long pfn, unsigned long nr);
int hugepoison_pool_get_payer(unsigned int order, struct hugepoison_payer *payer);
void hugepoison_pool_put_payer(struct hugepoison_payer *payer);
struct folio *hugepoison_pool_spare(unsigned int order, int nid,
				    struct hugepoison_payer *payer);
void hugepoison_pool_take_over(struct folio *old, struct folio *fresh);
struct folio *hugepoison_pool_find_free(unsigned long size, int nid);

/* mapping.c: what a narrowed VMA is */
enum hugepoison_reason hugepoison_why_wide(struct vm_area_struct *vma);

/* private.c: the pages of a narrowed private mapping */
bool hugepoison_private_is_poisoned(struct vm_area_struct *vma,
				    unsigned long address);

/* fate.c: what a mapping loses of a hugepage */
enum hugepoison_fate hugepoison_mapping_fate(struct vm_area_struct *vma,
					     unsigned long address);

/* unmap.c: unmap a poisoned hugepage */
bool hugepoison_lock_rmap(struct folio *folio, struct hugepoison_rmap_lock *rmap,
			  bool wait);
void hugepoison_unlock_rmap(struct hugepoison_rmap_lock *rmap);
void hugepoison_hold_rmap(struct hugepoison_rmap_lock *rmap);
void hugepoison_release_rmap(void);
void hugepoison_unmap_small(struct folio *folio, struct page *page,
			    unsigned long nr_pages);
bool hugepoison_try_unmap_small(struct folio *folio);

/* mappers.c: narrow mappings of other processes */
bool hugepoison_is_kept(struct folio *folio, struct anon_vma *anon_vma);
bool hugepoison_find_mappers(struct folio *folio, struct anon_vma *anon_vma,
			     struct hugepoison_mappers *mappers);
unsigned int hugepoison_narrow_mappers(struct hugepoison_mappers *mappers);

/* refill.c: a process fills a lost page again */
int hugepoison_refill(struct mm_struct *mm, unsigned long address,
		      const char __user *from);

/* inject.c: the handler's part of the injector */
int hugepoison_corrupt_free(unsigned long size, int nid, unsigned long subpage);
extern u64 hugepoison_filter_size;
extern u64 hugepoison_filter_cgroup;

#endif /* _MM_HUGEPOISON_INTERNAL_H */
