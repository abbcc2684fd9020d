// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: good memory in place of the bad.
 *
 * When the owner of a narrowed hugepage does not need the lost contents it punches the raw
 * page out of the file. Then a fresh hugepage with the healthy contents takes the place of
 * the poisoned one, and the next fault promotes each mapping.
 *
 * At no moment can a reader find wrong contents. All that look up a hugepage in the file take
 * its lock before they use it, or wait for it: in memfd_pin_folios() a hook does.
 *
 *	hugepoison_heal_hole()		heal-worker.c
 *	  hugepoison_pool_get_payer()	the caller pays
 *	hugepoison_heal_work()		a worker does the rest, one heal at a time
 *	  hugepoison_pool_spare()	a good hugepage; no lock is held
 *	  hugepoison_unmap_soon()	no mapping reads or writes the old one, the
 *					folio lock keeps faults out
 *	  hugepoison_begin_exchange()	mf_mutex held
 *	    hugepoison_exchange()	the file has the fresh one, locked: lookups
 *					block on the folio lock
 *	  hugepoison_fill()		mf_mutex not held
 *	    hugepoison_await_users()	earlier lookups drop the old one
 *	    hugepoison_alloc_lost()	what may reclaim
 *	    hugepoison_copy()		nobody can change the source, nobody can see
 *					the unfinished copy
 *	  hugepoison_end_exchange()	mf_mutex held
 *
 * The contents of raw pages outside of the hole stay lost. The fresh hugepage has good
 * memory there, and keeps it out of use by a list of raw pages and a record of its own.
 * When such a page is punched out later no other hugepage is needed; when the hugepage
 * is freed all of it can be used.
 *
 * If a user does not drop the old one, or the copy hits another error, the old one is
 * exchanged back into the file. Lookups that wait for the fresh one then repeat, as
 * after any truncation.
 *
 * Locks, outermost first: hugepoison_heal_mutex, inode, folio lock of the fresh hugepage,
 * mf_mutex, folio lock of the poisoned hugepage, i_mmap_rwsem. Users hold all of these but
 * the two mutexes for as long as they like, so the worker only tries them. mmap_lock
 * is taken under none of them: mmap() of a hugetlb file takes the inode lock under
 * mmap_lock.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/llist.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/*
 * How often a heal is tried while a user has a reference to the hugepage, or its lock. Each
 * try waits up to 20 ms in hugepoison_await_users(), and for each lock.
 */
#define HUGEPOISON_HEAL_TRIES		5

/**
 * struct hugepoison_heal - a hole in a file that is smaller than a hugepage, or a hugepage
 *			    with pages that were refilled
 * @inode: the file
 * @index: of the hugepage that the hole is in, in base pages of the file
 * @order: of the hugepage
 * @nid: node of the hugepage
 * @first: the first base page of the hugepage that is entirely in the hole
 * @end: the first one after @first that is not; 0 if there is no hole
 * @record: of the hugepage
 * @folio: the hugepage, poisoned, locked and with a reference
 * @fresh: the hugepage to take its place, NULL before it is allocated
 * @raw: one of the raw pages to heal, a bad one if there is any
 * @nr_raw: number of raw pages of the hugepage when the exchange began
 * @nr_refilled: number of those that a page stands in for
 * @nr_kept: number of raw pages whose contents stay lost
 * @fresh_record: the record of @fresh if @nr_kept is not 0
 * @lost: the future list of lost pages in that record, @nr_kept entries
 * @raws: the future list of raw pages of @fresh, @nr_kept entries
 * @needs_fresh: a worker has found that it cannot heal without @fresh
 * @needs_unmap: a worker has found the hugepage mapped, so the next try unmaps it first
 * @contended: a worker has found the inode lock taken
 * @keeps_inode: the caller has the inode lock until the worker has ended
 * @worked: the workers' time, in ns, see hugepoison_heal_clock()
 * @payer: the caller, who pays for @fresh, or NULL
 * @work: does the heal in a worker
 * @done: when the worker has
 * @killed: the caller was killed, and waits for the worker to end
 * @ret: the result
 */
struct hugepoison_heal {
	struct inode *inode;
	pgoff_t index;
	unsigned int order;
	int nid;
	unsigned long first;
	unsigned long end;
	struct hugepoison_record *record;
	struct folio *folio;
	struct folio *fresh;
	struct page *raw;
	unsigned long nr_raw;
	unsigned long nr_refilled;
	unsigned int nr_kept;
	struct hugepoison_record *fresh_record;
	unsigned long *lost;
	struct llist_head raws;
	bool needs_fresh;
	bool needs_unmap;
	bool contended;
	bool keeps_inode;
	u64 worked;
	struct hugepoison_payer *payer;
	struct work_struct work;
	struct completion done;
	bool killed;
	int ret;
};

/* Drop the fresh hugepage's record and list of raw pages. */
static void hugepoison_drop_fresh_record(struct hugepoison_heal *heal)
{
	struct raw_hwp_page *raw, *next;

	llist_for_each_entry_safe(raw, next, llist_del_all(&heal->raws), node)
		kfree(raw);
	kfree(heal->lost);
	heal->lost = NULL;
	if (heal->fresh_record)
		hugepoison_erase(heal->fresh_record);
	heal->fresh_record = NULL;
}

static bool hugepoison_is_in_hole(struct hugepoison_heal *heal,
				  struct raw_hwp_page *raw)
{
	unsigned long i = folio_page_idx(heal->folio, raw->page);

	return i >= heal->first && i < heal->end;
}

/* Whether a raw page has neither been punched out nor refilled. */
static bool hugepoison_stays_lost(struct hugepoison_heal *heal,
				  struct raw_hwp_page *raw)
{
	return !hugepoison_is_in_hole(heal, raw) &&
	       !hugepoison_is_refilled(raw->page);
}

/*
 * Allocate what the record of the fresh hugepage needs for the raw pages that are kept. The
 * caller holds no mf_mutex: the allocations may reclaim, and a user can make memory short.
 */
static int hugepoison_alloc_lost(struct hugepoison_heal *heal)
{
	struct raw_hwp_page *raw;
	unsigned int i;

	if (!heal->nr_kept)
		return 0;
	heal->lost = kcalloc(heal->nr_kept, sizeof(*heal->lost), GFP_KERNEL);
	if (!heal->lost)
		return -ENOMEM;
	for (i = 0; i < heal->nr_kept; i++) {
		raw = kmalloc_obj(*raw, GFP_KERNEL);
		if (!raw)
			return -ENOMEM;
		llist_add(&raw->node, &heal->raws);
	}
	return 0;
}

/*
 * Prepare the record of the fresh hugepage, before anything is changed: the contents of its
 * pages in place of raw ones stay lost. mf_mutex keeps the old hugepage's list, which is as
 * it was when the exchange began, so there are enough entries.
 */
static int hugepoison_add_fresh_record(struct hugepoison_heal *heal)
{
	struct llist_node *entry = heal->raws.first;
	struct hugepoison_record *record;
	struct raw_hwp_page *raw;
	unsigned long i;

	if (!heal->nr_kept)
		return 0;
	record = hugepoison_add(folio_pfn(heal->fresh), heal->record->order);
	if (!record)
		return -ENOMEM;
	heal->fresh_record = record;
	record->lost = heal->lost;
	heal->lost = NULL;
	llist_for_each_entry(raw, raw_hwp_list_head(heal->folio)->first, node) {
		if (!hugepoison_stays_lost(heal, raw))
			continue;
		i = folio_page_idx(heal->folio, raw->page);
		llist_entry(entry, struct raw_hwp_page, node)->page =
			folio_page(heal->fresh, i);
		record->lost[record->nr_lost++] = i;
		entry = entry->next;
	}
	return 0;
}

/*
 * Make the fresh hugepage a narrowed one with raw pages. A reader without the folio lock
 * tests PG_hwpoison first, then looks for the record: so the record comes first here.
 */
static void hugepoison_publish_fresh_record(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->fresh_record;
	struct folio *fresh = heal->fresh;
	struct raw_hwp_page *raw;

	folio_get(fresh);
	record->referenced = true;
	hugepoison_become(record, HUGEPOISON_STATE_NARROWED);

	llist_for_each_entry(raw, heal->raws.first, node) {
		hugepoison_account(record, page_to_pfn(raw->page), 1);
		hugepoison_mark_raw(fresh, raw->page);
	}
	spin_lock_irq(&hugetlb_lock);
	raw_hwp_list_head(fresh)->first = llist_del_all(&heal->raws);
	folio_set_hwpoison(fresh);
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_queue_narrow(record);
	/* published: hugepoison_drop_fresh_record() must not erase it */
	heal->fresh_record = NULL;
}

/*
 * Put @to in @from's place in the file. @from is locked: a lookup that waits for it finds
 * it without a mapping and repeats. The fresh one is locked as @to as well, so that a
 * lookup that finds it blocks on the folio lock.
 * The page cache holds a reference for each base page; @from keeps the handler's.
 */
static void hugepoison_exchange(struct address_space *mapping,
				struct folio *from, struct folio *to)
{
	const int nr = folio_nr_pages(from);
	XA_STATE(xas, &mapping->i_pages, from->index);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(from), from);
	folio_ref_add(to, nr);
	to->index = from->index;

	xas_lock_irq(&xas);
	to->mapping = mapping;
	xas_store(&xas, to);
	from->mapping = NULL;
	xas_unlock_irq(&xas);
	folio_put_refs(from, nr);
}

/*
 * Copy what stands in for a raw page, or zero the page if nothing does. An error in the
 * stand-in may have removed it since the heal began: hugepoison_is_unchanged() sees that.
 */
static int hugepoison_copy_raw(struct page *to, struct page *raw)
{
	struct page *from = hugepoison_get_stand_in(raw);
	int ret = 0;

	if (!from) {
		clear_highpage(to);
		return 0;
	}
	if (copy_mc_highpage(to, from))
		ret = -EHWPOISON;
	put_page(from);
	return ret;
}

/* Copy the good pages of one page table's range, and what stands in for the others. */
static int hugepoison_copy_block(struct hugepoison_heal *heal,
				 unsigned long first)
{
	DECLARE_BITMAP(bad, PTRS_PER_PTE);
	unsigned long i;

	hugepoison_raw_pages(heal->folio, first, bad, PTRS_PER_PTE);
	for (i = 0; i < PTRS_PER_PTE; i++) {
		struct page *from = folio_page(heal->folio, first + i);
		struct page *to = folio_page(heal->fresh, first + i);

		if (test_bit(i, bad) ? hugepoison_copy_raw(to, from) :
				       copy_mc_highpage(to, from))
			return -EHWPOISON;
	}
	return 0;
}

/*
 * Copy the hugepage without touching its raw pages. If the hardware finds an error in
 * another page the copy ends, and the error is queued for the handler.
 */
static int hugepoison_copy(struct hugepoison_heal *heal)
{
	unsigned long nr = folio_nr_pages(heal->folio), first;
	int ret;

	for (first = 0; first < nr; first += PTRS_PER_PTE) {
		ret = hugepoison_copy_block(heal, first);
		if (ret)
			return ret;
		if (READ_ONCE(heal->killed))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/*
 * Wait until nobody else has the old hugepage, then fill the fresh one. mf_mutex is not
 * held: neither a lasting reference, nor want of memory, nor copying a GiB delays an error.
 *
 * Meanwhile only the error handler and unpoison can reach the old hugepage: it is in no
 * file, not mapped, and its folio lock is free for them. Unpoison fails as there is one
 * reference too many. An error in it goes to the list of raw pages, which
 * hugepoison_end_exchange() checks. An error in the fresh hugepage is recorded without
 * its lock or a reference, as the fresh one is not marked migratable yet.
 */
static int hugepoison_fill(struct hugepoison_heal *heal)
{
	if (hugepoison_await_users(heal->folio, 2))
		return -EBUSY;
	return hugepoison_alloc_lost(heal) ?: hugepoison_copy(heal);
}

/*
 * Remove what stood in for raw pages: their contents are in the fresh hugepage. Nothing maps
 * them, as the hugepage was unmapped with them, and no fault finds it.
 */
static void hugepoison_remove_stand_ins(struct folio *folio)
{
	struct page *raw;

	while ((raw = hugepoison_next_refilled(folio)))
		hugepoison_remove_stand_in(raw);
}

/* The exchange is final: the file has the fresh hugepage, the old one is released. */
static void hugepoison_healed(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct folio *fresh = heal->fresh;

	hugepoison_pool_take_over(heal->folio, fresh);
	folio_clear_dirty(heal->folio);
	folio_clear_uptodate(heal->folio);
	folio_set_dirty(fresh);
	folio_mark_uptodate(fresh);
	/* from here on the error handler can take a reference to the fresh one */
	if (heal->fresh_record)
		hugepoison_publish_fresh_record(heal);
	else
		folio_set_hugetlb_migratable(fresh);

	hugepoison_remove_stand_ins(heal->folio);
	hugepoison_log_narrowed(record);
	hugepoison_outcome(page_to_pfn(heal->raw), record->order,
			   HUGEPOISON_HEALED, record->nr_bad);
	hugepoison_deleted(heal->folio);
}

/*
 * Whether somebody has a reference to a page that stands in for a raw one, with all of them
 * unmapped: a device may be writing to it. A read() of the file has a reference to the
 * hugepage as well.
 */
static bool hugepoison_holds_stand_in(struct folio *folio)
{
	struct raw_hwp_page *raw;
	struct page *page;

	lockdep_assert_held(&mf_mutex);
	llist_for_each_entry(raw, raw_hwp_list_head(folio)->first, node) {
		page = hugepoison_stand_in_of(raw->page);
		if (page && page_count(page) > 1)
			return true;
	}
	return false;
}

/*
 * Put the fresh hugepage, locked and not filled yet, in the place of the poisoned one in
 * the file. From here on the handler does not wait for its lock, see hugepoison_healing.
 *
 * Return: 1 when hugepoison_end_exchange() has to follow, -EBUSY with nothing changed.
 */
static int hugepoison_begin_exchange(struct hugepoison_heal *heal)
{
	struct folio *folio = heal->folio;

	lockdep_assert_held(&mf_mutex);
	if (folio_mapped(folio) || hugepoison_holds_stand_in(folio))
		return -EBUSY;
	heal->nr_raw = hugepoison_nr_raw(folio);
	heal->nr_refilled = hugepoison_nr_refilled(folio);
	hugepoison_healing = heal->fresh;
	/* a lookup without the lock goes by this; the pool keeps a former owner's */
	folio_clear_uptodate(heal->fresh);
	hugepoison_exchange(heal->inode->i_mapping, folio, heal->fresh);
	return 1;
}

/*
 * Whether no error was reported in either hugepage, or in what stands in for a raw page,
 * since the exchange began. Raw pages are only added meanwhile, and stand-ins only removed,
 * so comparing their numbers is enough.
 */
static bool hugepoison_is_unchanged(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record =
		hugepoison_lookup(folio_pfn(heal->folio));

	lockdep_assert_held(&mf_mutex);
	return !folio_test_hwpoison(heal->fresh) &&
	       record == heal->record &&
	       hugepoison_nr_refilled(heal->folio) == heal->nr_refilled &&
	       hugepoison_is(record, HUGEPOISON_STATE_NARROWED) &&
	       !folio_test_hugetlb_raw_hwp_unreliable(heal->folio) &&
	       hugepoison_nr_raw(heal->folio) == heal->nr_raw;
}

/*
 * Put the poisoned hugepage back into the file; the worker narrows its mappings.
 *
 * Its lock is not needed. Users who looked it up before the exchange queue for the lock, and
 * get it in turn, at their own pace. A user that has it finds the hugepage in no file, and
 * looks again, or in its file, where it is from now on. The inode lock keeps truncation
 * out, mf_mutex the handler; the handler looks again at what it locked without mf_mutex
 * (hugepoison_wait_hold()). Migration leaves narrowed hugepages alone.
 */
static void hugepoison_undo_exchange(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record =
		hugepoison_lookup(folio_pfn(heal->folio));

	lockdep_assert_held(&mf_mutex);
	hugepoison_drop_fresh_record(heal);
	hugepoison_exchange(heal->inode->i_mapping, heal->fresh, heal->folio);
	if (record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED))
		hugepoison_queue_narrow(record);
}

/*
 * End the exchange. With @ret 0 the fresh hugepage is filled and stays in the file, else
 * the poisoned one is put back.
 *
 * This waits for mf_mutex with the fresh hugepage locked. That is safe because under
 * mf_mutex the lock of that one folio, hugepoison_healing, is only tried.
 *
 * Return: @ret, or with nothing changed -ENOMEM, -EHWPOISON, or -EBUSY if another try may
 * succeed.
 */
static int hugepoison_end_exchange(struct hugepoison_heal *heal, int ret)
{
	bool filled = !ret;

	hugepoison_begin_urgent();
	/* nobody waits for the lock of one that was filled: there was no other reference */
	if (filled)
		hugepoison_lock_handled(heal->folio);
	else
		mutex_lock(&mf_mutex);
	/* another error in the old one: the next try takes it into account */
	if (!ret && !hugepoison_is_unchanged(heal))
		ret = folio_test_hwpoison(heal->fresh) ? -EHWPOISON : -EBUSY;
	if (!ret)
		ret = hugepoison_add_fresh_record(heal);
	if (ret)
		hugepoison_undo_exchange(heal);
	else
		hugepoison_healed(heal);
	folio_unlock(heal->fresh);
	hugepoison_healing = NULL;
	if (filled)
		folio_unlock(heal->folio);
	mutex_unlock(&mf_mutex);
	hugepoison_end_urgent();
	return ret;
}

/* A page in the hole that is good memory and only out of use, or NULL. */
static struct page *hugepoison_next_lost(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct page *page;
	unsigned int i;

	for (i = 0; i < record->nr_lost; i++) {
		page = folio_page(heal->folio, record->lost[i]);
		/* one that was refilled is not lost: the hole zeroes its stand-in */
		if (record->lost[i] >= heal->first &&
		    record->lost[i] < heal->end &&
		    !hugepoison_is_refilled(page))
			return page;
	}
	return NULL;
}

/*
 * Put good pages in the hole back into use where they are. They are zero since the
 * hugepage was filled, as nobody could reach them. A hugepage without raw pages must not be
 * mapped below its size: the next try unmaps it before it takes mf_mutex.
 *
 * Return: 0, or -EBUSY for that try.
 */
static int hugepoison_heal_in_place(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct folio *folio = heal->folio;
	unsigned long left = 1;
	struct page *page;

	if (!heal->nr_kept && !hugepoison_nr_refilled(folio) && folio_mapped(folio)) {
		heal->needs_unmap = true;
		return -EBUSY;
	}
	while (left && (page = hugepoison_next_lost(heal))) {
		hugepoison_forget_lost(record, page_to_pfn(page));
		spin_lock_irq(&hugetlb_lock);
		left = hugepoison_forget(folio, page);
		spin_unlock_irq(&hugetlb_lock);
		hugepoison_unmark_raw(folio, page);
		if (left)
			hugepoison_account(record, page_to_pfn(page), -1);
	}
	if (left) {
		hugepoison_outcome(page_to_pfn(heal->raw), record->order,
				   HUGEPOISON_HEALED, record->nr_bad);
		return 0;
	}
	hugepoison_back_in_use(record, folio, HUGEPOISON_HEALED);
	folio_put(folio);
	return 0;
}

/*
 * Find a raw page that is to be healed, and count those whose contents stay lost. In a hole
 * a page that was refilled needs no heal; where there is no hole it is the reason for one.
 */
static void hugepoison_scan_raw_pages(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct raw_hwp_page *raw;

	lockdep_assert_held(&mf_mutex);
	heal->nr_kept = 0;
	llist_for_each_entry(raw, raw_hwp_list_head(heal->folio)->first, node) {
		if (hugepoison_stays_lost(heal, raw))
			heal->nr_kept++;
		else if (heal->end && hugepoison_is_refilled(raw->page))
			continue;
		else if (!heal->raw ||
			 hugepoison_is_lost(record, page_to_pfn(heal->raw)))
			heal->raw = raw->page;
	}
}

/*
 * Heal a locked hugepage in place, or begin an exchange.
 *
 * Return: 0 when it is healed or there is nothing to heal, -EAGAIN when the caller has to
 * allocate a fresh hugepage, else as hugepoison_heal_in_place() and
 * hugepoison_begin_exchange().
 */
static int hugepoison_heal_folio(struct hugepoison_heal *heal)
{
	struct folio *folio = heal->folio;

	lockdep_assert_held(&mf_mutex);
	heal->raw = NULL;
	heal->record = hugepoison_lookup(folio_pfn(folio));
	if (!folio_test_hwpoison(folio) || !heal->record ||
	    !hugepoison_is(heal->record, HUGEPOISON_STATE_NARROWED) ||
	    !heal->record->referenced)
		return 0;
	hugepoison_scan_raw_pages(heal);
	if (!heal->raw)
		return 0;
	if (heal->end && hugepoison_is_lost(heal->record, page_to_pfn(heal->raw)))
		return hugepoison_heal_in_place(heal);
	if (heal->fresh)
		return hugepoison_begin_exchange(heal);
	heal->needs_fresh = true;
	return -EAGAIN;
}

/*
 * Unmap the hugepage, and what stands in for its raw pages, if that is needed. Return: false
 * when users keep the lock to do so.
 */
static bool hugepoison_heal_unmap(struct hugepoison_heal *heal, struct folio *folio)
{
	if (!heal->fresh && !heal->needs_unmap)
		return true;
	if (!folio_mapped(folio) && !hugepoison_next_refilled(folio))
		return true;
	return hugepoison_unmap_soon(folio);
}

/*
 * The hugepage in the file, unmapped if needed, locked and with a reference; NULL when there
 * is none, ERR_PTR(-EBUSY) when users keep a lock of it. The inode lock and
 * hugepoison_heal_mutex keep one that is not being migrated in the file.
 */
static struct folio *hugepoison_heal_get(struct hugepoison_heal *heal)
{
	struct address_space *mapping = heal->inode->i_mapping;
	struct folio *folio = filemap_get_folio(mapping, heal->index);

	if (IS_ERR(folio))
		return NULL;
	if (hugepoison_lock_soon(folio)) {
		if (folio->mapping == mapping && hugepoison_heal_unmap(heal, folio))
			return folio;
		folio_unlock(folio);
	}
	folio_put(folio);
	return ERR_PTR(-EBUSY);
}

/*
 * Lock the hugepage, unmap it, and try mf_mutex, which comes before the folio lock. Walking
 * a file's very many mappings under mf_mutex would delay all errors, so the walk comes first;
 * the folio lock keeps faults from mapping the hugepage again. The walk is not urgent: it
 * takes as long as the file has mappings.
 *
 * Return: 1 with the hugepage, mf_mutex and urgent, 0 when there is no hugepage, -EBUSY when
 * users keep a lock of it, or other errors had mf_mutex each time.
 */
static int hugepoison_heal_lock(struct hugepoison_heal *heal)
{
	struct folio *folio;
	int tries;

	for (tries = 0; tries < HUGEPOISON_HOLD_TRIES; tries++) {
		folio = hugepoison_heal_get(heal);
		if (IS_ERR_OR_NULL(folio))
			return PTR_ERR_OR_ZERO(folio);
		hugepoison_begin_urgent();
		if (mutex_trylock(&mf_mutex)) {
			heal->folio = folio;
			return 1;
		}
		folio_unlock(folio);
		folio_put(folio);
		/* wait until the current error is handled */
		mutex_lock(&mf_mutex);
		mutex_unlock(&mf_mutex);
		hugepoison_end_urgent();
	}
	return -EBUSY;
}

/*
 * Find the hugepage, keep a reference to it, and begin the heal. With mf_mutex held no
 * error is undecided.
 *
 * Return: as hugepoison_heal_folio().
 */
static int hugepoison_heal_begin(struct hugepoison_heal *heal)
{
	int ret = hugepoison_heal_lock(heal);

	if (!ret)
		heal->raw = NULL;
	if (ret <= 0)
		return ret;
	ret = hugepoison_heal_folio(heal);
	mutex_unlock(&mf_mutex);
	folio_unlock(heal->folio);
	hugepoison_end_urgent();
	return ret;
}

/*
 * One try. The fresh hugepage is locked before mf_mutex is taken: since the last try had it in
 * the file any number of users may wait for its lock, and they get it in turn. It is in no
 * file now: the handler neither has a reference to it, nor waits for its lock.
 *
 * Return: as hugepoison_heal_folio() and hugepoison_end_exchange().
 */
static int hugepoison_heal_once(struct hugepoison_heal *heal)
{
	int ret;

	heal->folio = NULL;
	if (heal->fresh && !hugepoison_lock_soon(heal->fresh))
		return -EBUSY;
	ret = hugepoison_heal_begin(heal);
	if (ret > 0)
		ret = hugepoison_end_exchange(heal, hugepoison_fill(heal));
	else if (heal->fresh)
		folio_unlock(heal->fresh);
	if (heal->folio)
		folio_put(heal->folio);
	return ret;
}

/* Try several times: users may drop the hugepage, or other errors mf_mutex. */
static int hugepoison_heal_retrying(struct hugepoison_heal *heal)
{
	int tries, ret;

	for (tries = 0; tries < HUGEPOISON_HEAL_TRIES; tries++) {
		ret = hugepoison_heal_once(heal);
		if (ret != -EBUSY || READ_ONCE(heal->killed))
			break;
		usleep_range(500, 1000);
	}
	return ret;
}
