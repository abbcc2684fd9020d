/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what our files have of each other.
 *
 * What the hooks in stock files call is in linux/hugepoison.h.
 *
 * Locks, outermost first. Nobody takes mmap_lock or the inode lock with mf_mutex
 * held: the owner of an address space may keep mmap_lock for as long as he likes,
 * and all errors would wait for him.
 *
 *	mmap_lock		narrowing and promoting, for writing
 *	inode lock		heal; mmap() of a file takes it under mmap_lock
 *	hugepoison_heal_mutex	one heal at a time
 *	mf_mutex		one error at a time; the records
 *	hugetlb VMA lock	page tables that are shared
 *	folio lock		which pages faults may map
 *	i_mmap_rwsem		the mappings of a file's hugepage
 *	anon_vma		those of a private one
 *	page table lock		an entry
 *	hugetlb_lock		the list of raw pages, the pool
 *	hugepoison_records_lock	the records, for faults
 *
 * The lock of the fresh hugepage of a heal is taken outside of mf_mutex, see
 * hugepoison_end_exchange().
 */
#ifndef _MM_HUGEPOISON_INTERNAL_H
#define _MM_HUGEPOISON_INTERNAL_H

#include <linux/ktime.h>
#include <linux/mm_types.h>

struct anon_vma;
struct workqueue_struct;

/* What becomes of those who touch a file's hugepage. */
enum hugepoison_fate {
	HUGEPOISON_HEALTHY,	/* there is no error in it, or no hugepage */
	HUGEPOISON_NARROW,	/* they lose the raw pages */
	HUGEPOISON_WIDE,	/* they lose all of it */
	HUGEPOISON_UNDECIDED,	/* its error is being handled */
};

/* Some of those who map a poisoned hugepage; each holds its address space. */
struct hugepoison_mappers {
	unsigned int skip;	/* so many of them are passed over */
	unsigned int nr;
	struct hugepoison_mapper {
		struct mm_struct *mm;
		unsigned long address;
	} at[32];
};

/**
 * struct hugepage_rmap_lock - what keeps the mappings of a hugepage as they are
 * @mapping: its file, i_mmap_rwsem held for writing; or
 * @anon_vma: of a private hugepage, held for reading
 */
struct hugepage_rmap_lock {
	struct address_space *mapping;
	struct anon_vma *anon_vma;
};

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

/*
 * What has become of a hugepage so far. hugepoison_become() alone changes it, from one
 * of hugepoison_steps[] to the next. To add one: give it its steps, and say in
 * hugepoison_is_open() and hugepoison_is_whole() what it is.
 */
enum hugepoison_state {
	HUGEPOISON_STATE_NEW,		/* the handler has yet to decide */
	HUGEPOISON_STATE_FAILED,	/* not contained: the worker tries again */
	HUGEPOISON_STATE_NARROWED,	/* the raw pages alone are out of use */
	HUGEPOISON_STATE_CONTAINED,	/* all of it is, and a file has it */
	HUGEPOISON_STATE_PINNED,	/* all of it is, and somebody holds it */
	HUGEPOISON_STATE_ISOLATED,	/* all of it is, and nobody has it */
	HUGEPOISON_STATE_LEAVING,	/* it comes apart */
	HUGEPOISON_STATE_RELEASED,	/* a raw page is left of it */
	NR_HUGEPOISON_STATES
};

/**
 * struct hugepoison_worker - what the workers know of a poisoned hugepage
 * @eager: how many times more the narrow worker looks for mappers
 * @pass: when it did last
 * @looked: the same, in jiffies
 * @untold: raw page of which the log has to be told, 0 for none
 * @round: when the release worker looked last whether nobody uses the hugepage
 * @stuck: nobody does, and the pool did not get the hugepage back: the log says so
 */
struct hugepoison_worker {
	unsigned int eager;
	unsigned int pass;
	unsigned long looked;
	unsigned long untold;
	unsigned int round;
	bool stuck;
};

/**
 * struct hugepoison_record - one poisoned hugepage, or what was left of it
 * @node: in hugepoison_records, by @pfn
 * @rcu: readers of the gauges go by the hash without a lock
 * @pfn: page frame of the hugepage's head; where the healthy pages are back in
 *	 use, of the one raw page that is not
 * @order: of the hugepage
 * @nid: node it is on, also when its memory is offline
 * @nr_bad: base pages out of use, as counted in HardwareCorrupted; with the raw page
 *	    of the error at hand, which is counted there in the end
 * @state: changed under mf_mutex by hugepoison_become(); page faults read it without,
 *	   and keep the record by hugepoison_records_lock
 * @worker: what is left to do
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
	enum hugepoison_state state;
	struct hugepoison_worker worker;
	bool referenced;
	unsigned long *lost;
	unsigned int nr_lost;
	struct anon_vma *anon_vma;
};

/*
 * An error on its way through the handler. Its record is there before the handler looks
 * for the hugepage. Where there was no memory for one it is @unrecorded, which nobody
 * finds: page faults then take all of the hugepage to be bad, and the worker makes the
 * record when there is memory, see hugepoison_record_late().
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
	bool accessed;		/* by current, which is to be signalled */
	unsigned int order;
	struct hugepoison_record *record;
	struct hugepoison_record *blank;	/* for @record; nobody finds it yet */
	struct hugepoison_record unrecorded;
	u64 begin;
	struct folio *held;		/* locked before the error is recorded */
	struct hugepage_rmap_lock rmap;	/* of @held */
	struct anon_vma *unused;	/* to be put when the locks are dropped */
};

/*
 * When something begins of which a trace event tells at its end; @traced is
 * trace_EVENT_enabled(), a no-op as long as nobody listens.
 */
static inline u64 hugepoison_trace_begin(bool traced)
{
	return traced ? ktime_get_ns() : 0;
}

/* wq.c: the workqueue */
extern struct workqueue_struct *hugepoison_wq;
void hugepoison_begin_urgent(void);
void hugepoison_end_urgent(void);

/* small-rmap.c: count the mappings of a hugepage below its size */
void hugepage_enable_small_rmap(void);
void hugepage_await_small_rmap(void);
bool hugepage_small_rmap_enabled(void);
bool hugepage_get_small_rmap(void);
void hugepage_dup_small_rmap(void);
void hugepage_put_small_rmap(void);
bool hugepage_may_add_rmap(struct folio *folio, int nr_pages);
void hugepage_add_file_rmap(struct folio *folio, int nr_pages);
void hugepage_add_anon_rmap(struct folio *folio, struct page *page,
			    int nr_pages, struct vm_area_struct *vma,
			    unsigned long address);

/* raw.c: which pages of a hugepage are bad */
void hugepoison_raw_pages(struct folio *folio, unsigned long first,
			  unsigned long *bad, unsigned int nr);
bool hugepoison_page_is_raw(struct folio *folio, unsigned long at);
bool hugepoison_peek_raw(struct folio *folio, unsigned long size,
			 unsigned long at);

/* record.c: what is known of a poisoned hugepage */
bool hugepoison_is_handling(void);
bool hugepoison_has_errors(void);
enum hugepoison_fate hugepoison_fate(struct folio *folio);
void hugepoison_refilled(unsigned int order, int nid, int from);

/* queue.c: what is left to do after an error */
void hugepoison_hurry(struct folio *folio);
void hugepoison_await_handled(void);

/* pool.c: the pool */
bool hugepoison_pool_replacing(void);
void hugepoison_pool_set_replacing(bool replacing);
void hugepoison_pool_flush(void);
bool hugepoison_pool_isolate(struct page *page, bool poisoned);
void hugepoison_pool_put_back(struct folio *folio);
int hugepoison_pool_seize(struct folio *folio);
void hugepoison_pool_uncharge(struct folio *folio);
bool hugepoison_pool_leave(struct folio *folio);
void hugepoison_pool_give_back(unsigned long pfn, unsigned long nr);
struct folio *hugepoison_pool_spare(unsigned int order, int nid);
void hugepoison_pool_take_over(struct folio *old, struct folio *fresh);
struct folio *hugepoison_pool_find_free(unsigned long size, int nid);

/* mapping.c: what a narrowed VMA is */
const char *hugepoison_vma_is_wide(struct vm_area_struct *vma);

/* private.c: what a narrowed private mapping has */
bool hugepoison_vma_lost(struct vm_area_struct *vma, unsigned long address);

/* loss.c: what a mapping has lost */
enum hugepoison_fate hugepoison_vma_loss(struct vm_area_struct *vma,
					 unsigned long address);

/* zap.c: narrowed VMAs lose entries */
void hugepoison_zap_poisoned(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end);

/* unmap.c: take a poisoned hugepage away from every mapper */
bool hugepage_lock_rmap(struct folio *folio, struct hugepage_rmap_lock *rmap,
			bool wait);
void hugepage_unlock_rmap(struct hugepage_rmap_lock *rmap);
void hugepage_hold_rmap(struct hugepage_rmap_lock *rmap);
void hugepage_release_rmap(void);
void hugepage_unmap_small(struct folio *folio, struct page *page,
			  unsigned long nr_pages);

/* mappers.c: narrow for others */
bool hugepoison_is_kept(struct folio *folio, struct anon_vma *anon_vma);
bool hugepoison_find_mappers(struct folio *folio, struct anon_vma *anon_vma,
			     struct hugepoison_mappers *mappers);
unsigned int hugepoison_narrow_mappers(struct hugepoison_mappers *mappers);

/* inject.c: what the injector needs of the handler */
int hugepoison_corrupt_free(unsigned long size, int nid, unsigned long subpage);
extern u64 hugepoison_filter_size;
extern u64 hugepoison_filter_cgroup;

#endif /* _MM_HUGEPOISON_INTERNAL_H */
