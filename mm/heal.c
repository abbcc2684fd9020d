// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: good memory in place of the bad.
 *
 * Included by hugepoison/memory-failure.c. When the owner of a narrowed hugepage does
 * not need the lost contents it punches the raw page out of the file. Then a fresh
 * hugepage with the healthy contents takes the place of the poisoned one, and the next
 * fault promotes each mapping.
 *
 * At no moment can a reader find wrong contents. All that look up a hugepage in the file take
 * its lock before they use it, or wait for it: in memfd_pin_folios() a hook does.
 *
 *	hugepoison_heal_hole()
 *	  hugepoison_pool_get_payer()	the caller pays
 *	hugepoison_heal_work()		a worker does the rest, one heal at a time
 *	  hugepoison_pool_spare()	a good hugepage; no lock is held
 *	  hugepoison_unmap_small()	no mapping reads or writes the old one, the
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
#include <linux/folio_batch.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

/*
 * One heal at a time. Only workers take the mutex, and with it they wait for no user: they
 * try the locks of the file and of its hugepages, wait HUGEPOISON_HEAL_TRIES times for
 * references, each time bounded, and copy one hugepage. A caller of any priority waits for
 * its worker, killably. So neither a caller nor a task that holds a lock of its file can
 * prolong the heals of others.
 *
 * A heal needs one hugepage more than its file has. Of the ordinary hugepages there is one
 * such in the system, however many processes heal: their workqueue does one heal after the
 * other. A gigantic one is allocated for each poisoned file that is healed: its allocation
 * migrates the pages of others, and may wait for a file system of one of them for ever.
 */
static DEFINE_MUTEX(hugepoison_heal_mutex);

/*
 * The heals that wait for a worker, or have one: one for each file, so that the others
 * in the workqueue wait for as many as there are poisoned files, not processes.
 */
static LIST_HEAD(hugepoison_healers);
static DEFINE_SPINLOCK(hugepoison_healers_lock);

/*
 * How often a heal is tried while a user has a reference to the hugepage, or its lock. Each
 * try waits up to 20 ms in hugepoison_await_users(), and for each lock.
 */
#define HUGEPOISON_HEAL_TRIES		5

/* How often the log has the same hugepage, where heals fail. */
#define HUGEPOISON_TELL_AGAIN		(5 * HZ)

/*
 * How often a caller needs a worker: one finds out that users have the inode lock, one that a
 * fresh hugepage is needed, one allocates it while users have the inode lock, one heals.
 */
#define HUGEPOISON_HEAL_ROUNDS		4

/* How long a caller whose heal fails waits, for each ns of the worker's, and at most. */
#define HUGEPOISON_HEAL_PAUSE		10
#define HUGEPOISON_HEAL_PAUSE_MAX	(10 * NSEC_PER_SEC)

/**
 * struct hugepoison_heal - a hole in a file that is smaller than a hugepage, or a hugepage
 *			    with pages that were refilled
 * @waiting: in hugepoison_healers
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
 * @needs_unmap: a worker has found that it cannot heal what is mapped
 * @contended: a worker has found the inode lock taken
 * @keeps_inode: the caller has the inode lock until the worker has ended
 * @worked: CPU time of the workers, in ns
 * @payer: the caller, who pays for @fresh, or NULL
 * @work: does the heal in a worker
 * @done: when the worker has
 * @killed: the caller was killed, and waits for the worker to end
 * @ret: the result
 */
struct hugepoison_heal {
	struct list_head waiting;
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

/* As hugepoison_lock_soon(), for the file: any call that changes it has its lock. */
static bool hugepoison_heal_try_inode(struct inode *inode)
{
	int tries;

	for (tries = 0; tries < 20; tries++) {
		if (inode_trylock(inode))
			return true;
		usleep_range(500, 1000);
	}
	return false;
}

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

/* Unmap the hugepage if that is needed. Return: false when users keep the lock to do so. */
static bool hugepoison_heal_unmap(struct hugepoison_heal *heal, struct folio *folio)
{
	return (!heal->fresh && !heal->needs_unmap) || hugepoison_unmap_soon(folio);
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

/*
 * The hugepage that a file has at an index in base pages, or NULL. RCU keeps its memory.
 * No reference is taken: the error handler would take it for a user's. No lock is
 * taken: punching healthy hugepages must not wait.
 */
static struct folio *hugepoison_peek_at(struct address_space *mapping,
					pgoff_t index)
{
	struct folio *folio = xa_load(&mapping->i_pages, index);

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "needs RCU to keep the folio");
	return xa_is_value(folio) ? NULL : folio;
}

/* Whether the file has a poisoned hugepage at the index; notes its node. */
static bool hugepoison_file_has_poison(struct hugepoison_heal *heal)
{
	struct folio *folio;
	bool ret = false;

	rcu_read_lock();
	folio = hugepoison_peek_at(heal->inode->i_mapping, heal->index);
	if (folio) {
		ret = folio_test_hwpoison(folio);
		heal->nid = folio_nid(folio);
	}
	rcu_read_unlock();
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

/*
 * Whether there is something to heal and no seal forbids writing; else stock refuses the hole
 * afterwards. The contents stay where there is no hole, so seals do not matter.
 */
static bool hugepoison_heal_is_wanted(struct hugepoison_heal *heal)
{
	const unsigned int sealed = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

	lockdep_assert_held(&heal->inode->i_rwsem);
	if (!(heal->end && HUGETLBFS_I(heal->inode)->seals & sealed) &&
	    hugepoison_file_has_poison(heal))
		return true;
	heal->raw = NULL;
	return false;
}

/*
 * Heal with the inode lock, unless other users keep it. It keeps seals from being set, and
 * keeps the hugepage in the file until the exchange has ended.
 *
 * Return: as hugepoison_heal_once(); -EAGAIN also when other users have the inode lock.
 */
static int hugepoison_heal_with_inode(struct hugepoison_heal *heal)
{
	int ret = 0;

	if (!hugepoison_heal_try_inode(heal->inode)) {
		heal->contended = true;
		return -EAGAIN;
	}
	if (hugepoison_heal_is_wanted(heal))
		ret = hugepoison_heal_retrying(heal);
	inode_unlock(heal->inode);
	return ret;
}

/* Heal in a worker. Return: as hugepoison_heal_with_inode(). */
static int hugepoison_heal_exclusively(struct hugepoison_heal *heal)
{
	int ret;

	mutex_lock(&hugepoison_heal_mutex);
	/* a caller that keeps the inode lock has looked, and waits for the worker */
	if (heal->keeps_inode)
		ret = hugepoison_heal_retrying(heal);
	else
		ret = hugepoison_heal_with_inode(heal);
	mutex_unlock(&hugepoison_heal_mutex);
	return ret;
}

/*
 * Allocate the fresh hugepage if it is needed, with no lock held: that may migrate a GiB.
 * It is allocated once: a worker that finds the inode lock taken leaves it to the next one.
 */
static int hugepoison_heal_with_spare(struct hugepoison_heal *heal)
{
	if (heal->needs_fresh && !heal->fresh) {
		heal->fresh = hugepoison_pool_spare(heal->order, heal->nid,
						    heal->payer);
		if (!heal->fresh)
			return -ENOMEM;
	}
	return hugepoison_heal_exclusively(heal);
}

static void hugepoison_heal_work(struct work_struct *work)
{
	struct hugepoison_heal *heal =
		container_of(work, struct hugepoison_heal, work);
	u64 begin = task_sched_runtime(current);

	heal->ret = READ_ONCE(heal->killed) ? -EINTR :
					      hugepoison_heal_with_spare(heal);
	heal->worked += task_sched_runtime(current) - begin;
	complete(&heal->done);
}

/*
 * Have a worker heal. The caller may have a low priority, or a cgroup that is out of CPU
 * time: with a lock it would delay all errors, or all heals. The worker has its own priority,
 * and waits for nothing that the caller holds. It is urgent only while it has mf_mutex:
 * what it does before takes as long as a user wants.
 *
 * Return: the result; -EINTR if a fatal signal has ended the wait.
 */
static int hugepoison_heal_by_worker(struct hugepoison_heal *heal)
{
	heal->ret = -EINTR;
	init_completion(&heal->done);
	INIT_WORK_ONSTACK(&heal->work, hugepoison_heal_work);
	queue_work(hugepoison_heal_wq(heal->order), &heal->work);
	if (wait_for_completion_killable(&heal->done))
		WRITE_ONCE(heal->killed, true);
	/* a worker that has begun allocates to the end, and does not copy on */
	cancel_work_sync(&heal->work);
	destroy_work_on_stack(&heal->work);
	return heal->ret;
}

/* The caller pays if a fresh hugepage is needed, the worker heals. */
static int hugepoison_heal_paid(struct hugepoison_heal *heal)
{
	struct hugepoison_payer payer = { };
	int ret;

	if (heal->needs_fresh && !heal->fresh &&
	    hugepoison_pool_get_payer(heal->order, &payer))
		return -ENOMEM;
	heal->payer = &payer;
	ret = hugepoison_heal_by_worker(heal);
	hugepoison_pool_put_payer(&payer);
	heal->payer = NULL;
	return ret;
}

/*
 * One round: wait for the inode lock and look, then have a worker heal. The wait is for other
 * users of the file, and no other lock is held. Where they keep the lock from a worker, the
 * caller, for which the lock is fair, keeps it from them: after the allocation, as that may
 * take long.
 *
 * Return: as hugepoison_heal_with_inode(), or -EINTR.
 */
static int hugepoison_heal_round(struct hugepoison_heal *heal)
{
	int ret = 0;
	bool wanted;

	if (inode_lock_killable(heal->inode))
		return -EINTR;
	wanted = hugepoison_heal_is_wanted(heal);
	heal->keeps_inode = wanted && heal->contended &&
			    (heal->fresh || !heal->needs_fresh);
	if (!heal->keeps_inode)
		inode_unlock(heal->inode);
	if (wanted)
		ret = hugepoison_heal_paid(heal);
	if (heal->keeps_inode)
		inode_unlock(heal->inode);
	return ret;
}

static int hugepoison_heal_rounds(struct hugepoison_heal *heal)
{
	int rounds, ret = -EAGAIN;

	for (rounds = 0; ret == -EAGAIN && rounds < HUGEPOISON_HEAL_ROUNDS; rounds++)
		ret = hugepoison_heal_round(heal);
	if (heal->fresh)
		folio_put(heal->fresh);
	heal->fresh = NULL;
	return ret == -EAGAIN ? -EBUSY : ret;
}

/*
 * Wait after a heal that healed nothing. The worker's CPU time is on nobody's account, at a
 * high priority, and a caller can have heals fail as often as it likes: the wait leaves the
 * worker a tenth of a CPU for each poisoned file. The file's other healers wait as well.
 */
static void hugepoison_heal_pause(struct hugepoison_heal *heal)
{
	u64 ns = min_t(u64, heal->worked * HUGEPOISON_HEAL_PAUSE,
		       HUGEPOISON_HEAL_PAUSE_MAX);
	ktime_t pause = ns_to_ktime(ns);

	set_current_state(TASK_KILLABLE);
	schedule_hrtimeout_range(&pause, ns / 8, HRTIMER_MODE_REL);
}

/* Become the one healer of the file, unless there is another one. */
static bool hugepoison_become_healer(struct hugepoison_heal *heal)
{
	struct hugepoison_heal *other;
	bool ret = true;

	spin_lock(&hugepoison_healers_lock);
	list_for_each_entry(other, &hugepoison_healers, waiting)
		if (other->inode == heal->inode)
			ret = false;
	if (ret)
		list_add(&heal->waiting, &hugepoison_healers);
	spin_unlock(&hugepoison_healers_lock);
	return ret;
}

static void hugepoison_end_healer(struct hugepoison_heal *heal)
{
	spin_lock(&hugepoison_healers_lock);
	list_del(&heal->waiting);
	spin_unlock(&hugepoison_healers_lock);
	/* a waiter queues, then looks at the list: one side sees the other */
	smp_mb();
	wake_up_var(heal->inode);
}

/*
 * Wait for the inode lock, and look. Return: 1 if there is something to heal, else 0, or
 * -EINTR.
 */
static int hugepoison_heal_look(struct hugepoison_heal *heal)
{
	int ret;

	if (inode_lock_killable(heal->inode))
		return -EINTR;
	ret = hugepoison_heal_is_wanted(heal);
	inode_unlock(heal->inode);
	return ret;
}

/* Heal, after the other healers of the file. A caller with nothing to heal does not wait. */
static int hugepoison_heal_in_turn(struct hugepoison_heal *heal)
{
	int ret = hugepoison_heal_look(heal);

	if (ret <= 0)
		return ret;
	if (wait_var_event_killable(heal->inode, hugepoison_become_healer(heal)))
		return -EINTR;
	ret = hugepoison_heal_rounds(heal);
	if (ret || !heal->raw)
		hugepoison_heal_pause(heal);
	hugepoison_end_healer(heal);
	return ret;
}

/*
 * Whether to tell that a heal failed. A user whose cgroup is at its limit can cause that as
 * often as system calls return: each poisoned hugepage has a limit for the log and the event,
 * so nobody floods a listener, or keeps it from hearing of the hugepages of others.
 */
static bool hugepoison_may_tell(struct hugepoison_heal *heal)
{
	unsigned long pfn = page_to_pfn(heal->raw), now = jiffies ?: 1;
	struct hugepoison_record *record;
	bool ret = false;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(ALIGN_DOWN(pfn, 1UL << heal->order));
	if (record && (!record->worker.told ||
		       time_after_eq(now, record->worker.told + HUGEPOISON_TELL_AGAIN))) {
		record->worker.told = now;
		ret = true;
	}
	spin_unlock(&hugepoison_records_lock);
	return ret;
}

/* Tell that a heal failed. */
static void hugepoison_tell_not_healed(struct hugepoison_heal *heal, int err, u64 begin)
{
	enum hugepoison_reason why = HUGEPOISON_WHY_HELD;

	if (err == -EINTR || !hugepoison_may_tell(heal))
		return;
	if (err == -EHWPOISON)
		why = HUGEPOISON_WHY_ANOTHER_ERROR;
	if (err == -ENOMEM)
		why = HUGEPOISON_WHY_NO_SPARE;
	pr_err("%#lx: not healed: %s\n", page_to_pfn(heal->raw), hugepoison_why(why));
	trace_hugepoison_heal(page_to_pfn(heal->raw), heal->order, "failed", begin);
}

/* Return: 0 when the hugepage is healed, or there is nothing to heal. */
static int hugepoison_heal(struct hugepoison_heal *heal)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_heal_enabled());
	int ret = hugepoison_heal_in_turn(heal);

	if (heal->raw && ret)
		hugepoison_tell_not_healed(heal, ret, begin);
	else if (heal->raw)
		trace_hugepoison_heal(page_to_pfn(heal->raw), heal->order, "healed", begin);
	return ret;
}

/* Heal for a hole in one hugepage. A page that is only partly in the hole stays. */
static int hugepoison_heal_part(struct inode *inode, loff_t start, loff_t end)
{
	struct hstate *h = hstate_inode(inode);
	loff_t base = ALIGN_DOWN(start, huge_page_size(h));
	struct hugepoison_heal heal = {
		.inode = inode,
		.index = base >> PAGE_SHIFT,
		.order = huge_page_order(h),
		.first = PFN_UP(start - base),
		.end = PFN_DOWN(end - base),
	};

	if (heal.first >= heal.end)
		return 0;
	return hugepoison_heal(&heal);
}

/**
 * hugepoison_heal_hole - heal before stock punches a hole into a hugetlb file
 * @inode: the file
 * @offset: of the hole, in bytes
 * @len: of the hole, in bytes
 *
 * A hugepage that is partly in the hole is healed if that part has raw pages. Stock
 * then zeroes the part, and removes the hugepages that are entirely in the hole. The
 * inode lock is dropped in between, which is safe: a heal changes only bytes that nobody
 * can read.
 *
 * A raw page that is partly in the hole stays as it is: its other bytes are lost, and
 * reading zeros beside them would be wrong.
 *
 * Context: Process context, may sleep; takes the inode lock. A worker, for which it waits
 * killably, allocates and takes hugepoison_heal_mutex, the inode lock, mf_mutex, folio locks
 * and i_mmap_rwsem.
 * Return: 0 to go on; else the hole must not be punched: -ENOMEM if there is no fresh
 * hugepage or the cgroup's limit forbids it, -EBUSY if a user holds the poisoned one, or
 * its lock, or the file's, -EHWPOISON if it has another error, -EINTR on a fatal signal.
 * If a hole ends in two hugepages the first one may be healed by then.
 */
long hugepoison_heal_hole(struct inode *inode, loff_t offset, loff_t len)
{
	loff_t size = huge_page_size(hstate_inode(inode));
	loff_t end = offset + len;
	loff_t head = min(ALIGN(offset, size), end);
	loff_t tail = max(ALIGN_DOWN(end, size), head);
	int ret = 0;

	if (offset < head)
		ret = hugepoison_heal_part(inode, offset, head);
	if (!ret && tail < end)
		ret = hugepoison_heal_part(inode, tail, end);
	return ret;
}

/* --- after a refill ----------------------------------------------------------- */

/* A file that the worker holds. The last reference of either may be the worker's. */
struct hugepoison_held_file {
	struct super_block *sb;
	struct inode *inode;
};

/*
 * Hold the file that has a hugepage: its super block as well, as an inode with users would
 * be there when that is unmounted. Without an inode the hugepage is on its way out.
 */
static void hugepoison_hold_file(struct folio *folio,
				 struct hugepoison_held_file *file)
{
	struct address_space *mapping = folio_mapping(folio);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!mapping || !atomic_inc_not_zero(&mapping->host->i_sb->s_active))
		return;
	file->sb = mapping->host->i_sb;
	file->inode = igrab(mapping->host);
}

/*
 * Removing a file waits for its folio locks, and takes as long as the file is large;
 * unmounting waits for the last user of an inode. So the caller may hold no lock.
 */
static void hugepoison_drop_file(struct hugepoison_held_file *file)
{
	might_sleep();
	if (file->inode)
		iput(file->inode);
	if (file->sb)
		deactivate_super(file->sb);
}

/*
 * Find the file of a hugepage that was refilled, and hold it. Return: false when the hugepage
 * is no longer that, or a user has it locked or pinned.
 */
static bool hugepoison_begin_reheal(struct hugepoison_heal *heal, unsigned long pfn,
				    struct hugepoison_held_file *file)
{
	struct folio *folio = hugepoison_get_narrowed(pfn, NULL);

	if (!folio)
		return false;
	if (folio_trylock(folio)) {
		if (folio_order(folio) == heal->order &&
		    !folio_maybe_dma_pinned(folio) && hugepoison_next_refilled(folio))
			hugepoison_hold_file(folio, file);
		heal->inode = file->inode;
		heal->index = folio->index;
		heal->nid = folio_nid(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return heal->inode;
}

/*
 * Heal a hugepage that was refilled, by a worker of the queue of heals, which comes after the
 * heals of others and only tries the inode lock. Its hugepage is charged to nobody; the
 * file's charge moves to it.
 *
 * Return: false if it is not healed.
 */
static bool hugepoison_reheal(const struct hugepoison_record *picked,
			      struct hugepoison_held_file *file)
{
	struct hugepoison_heal heal = {
		.order = picked->order,
		.needs_fresh = true,
	};
	bool healed = hugepoison_begin_reheal(&heal, picked->pfn, file) &&
		      !hugepoison_heal_by_worker(&heal);

	if (heal.fresh)
		folio_put(heal.fresh);
	return healed;
}

/* The next hugepage to heal in this pass; @picked gets its page frame and order. */
static bool hugepoison_pick_reheal(unsigned int pass,
				   struct hugepoison_record *picked)
{
	struct hugepoison_record *record;
	bool found = false;
	unsigned int tries;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(hugepoison_records, bucket, record, node) {
		tries = READ_ONCE(record->worker.reheal);
		if (found || !tries || record->worker.reheal_pass == pass)
			continue;
		record->worker.reheal_pass = pass;
		/* fails if a refill has reset the tries, which then counts */
		cmpxchg(&record->worker.reheal, tries, tries - 1);
		picked->pfn = record->pfn;
		picked->order = record->order;
		found = true;
	}
	rcu_read_unlock();
	return found;
}

/* Heal the next hugepage of this pass. Return: false when the pass is over. */
static bool hugepoison_reheal_next(unsigned int pass, bool *again)
{
	struct hugepoison_held_file file = { };
	struct hugepoison_record picked;

	if (!hugepoison_pick_reheal(pass, &picked))
		return false;
	*again |= !hugepoison_reheal(&picked, &file);
	hugepoison_drop_file(&file);
	return true;
}

/* Heal the hugepages that were refilled; the tries of each are bounded. */
static void hugepoison_reheal_work(struct work_struct *work)
{
	static unsigned int pass;
	bool again = false;

	pass++;
	while (hugepoison_reheal_next(pass, &again))
		cond_resched();
	if (again)
		hugepoison_queue_reheal_work();
}

/*
 * As hugepoison_alloc_wq(): before the first hugepage. A queue that cannot be allocated leaves
 * its heals to workers that have no order; the mutex still lets in one at a time.
 */
static int __init hugepoison_alloc_heal_wqs(void)
{
	hugepoison_heal_wqs[0] = alloc_ordered_workqueue("hugepoison_heal", WQ_HIGHPRI);
	hugepoison_heal_wqs[1] = alloc_workqueue("hugepoison_heal_gigantic",
						 WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!hugepoison_heal_wqs[0])
		hugepoison_heal_wqs[0] = system_unbound_wq;
	if (!hugepoison_heal_wqs[1])
		hugepoison_heal_wqs[1] = system_unbound_wq;
	return 0;
}
core_initcall(hugepoison_alloc_heal_wqs);

/* As hugepoison_alloc_heal_wqs(). */
static int __init hugepoison_init_reheal(void)
{
	INIT_DELAYED_WORK(&hugepoison_reheal_dwork, hugepoison_reheal_work);
	return 0;
}
core_initcall(hugepoison_init_reheal);

/* --- stock's changes of a part of a hugepage ---------------------------------------- */

/**
 * hugepoison_lock_folio - look up and lock a hugepage to change part of it
 * @h: its hstate
 * @mapping: the file
 * @idx: of the hugepage in the file, in hugepages
 *
 * The error handler takes i_mmap_rwsem under the folio lock, so the folio lock must not
 * be taken under i_mmap_rwsem. Dropping i_mmap_rwsem is safe: the folio lock keeps the
 * hugepage in the file, and the caller has read nothing before.
 *
 * Context: Process context; i_mmap_rwsem held for writing, and dropped in between.
 * Return: the hugepage, locked and with a reference, or ERR_PTR(-ENOENT).
 */
struct folio *hugepoison_lock_folio(struct hstate *h,
				    struct address_space *mapping, pgoff_t idx)
{
	struct folio *folio;

	i_mmap_unlock_write(mapping);
	folio = filemap_lock_hugetlb_folio(h, mapping, idx);
	i_mmap_lock_write(mapping);
	return folio;
}

/* Copy a part of one page of a hugepage to user space, or of what stands in for it. */
static size_t hugepoison_copy_page_to_iter(struct folio *folio, size_t offset,
					   size_t len, struct iov_iter *to)
{
	struct page *page = folio_page(folio, offset >> PAGE_SHIFT);
	struct page *stand_in = hugepoison_get_stand_in(page);
	size_t copied = 0;

	if (stand_in) {
		copied = copy_page_to_iter(stand_in, offset_in_page(offset), len, to);
		put_page(stand_in);
	} else if (!hugepoison_page_is_raw(folio, offset >> PAGE_SHIFT)) {
		copied = copy_page_to_iter(page, offset_in_page(offset), len, to);
	}
	return copied;
}

/**
 * hugepoison_copy_to_iter - copy part of a file's hugepage to user space
 * @folio: the hugepage, with a reference
 * @offset: the first byte
 * @len: bytes
 * @to: where to
 *
 * Like copy_folio_to_iter(), but it reads what stands in for a raw page. The reference
 * keeps a heal from ending.
 *
 * Context: Process context, may sleep.
 * Return: bytes copied; less at a page that is lost.
 */
size_t hugepoison_copy_to_iter(struct folio *folio, size_t offset, size_t len,
			       struct iov_iter *to)
{
	size_t done = 0, step, copied;

	if (!folio_test_hwpoison(folio))
		return copy_folio_to_iter(folio, offset, len, to);
	while (done < len) {
		step = min(len - done, PAGE_SIZE - offset_in_page(offset + done));
		copied = hugepoison_copy_page_to_iter(folio, offset + done, step,
						      to);
		done += copied;
		if (copied < step)
			break;
	}
	return done;
}

/*
 * Whether a file has a hugepage that was looked up without its lock. A heal's fresh hugepage
 * is locked until it stays in the file, or is out of it.
 */
static bool hugepoison_is_settled(struct address_space *mapping,
				  struct folio *folio)
{
	if (!folio_test_hugetlb(folio))
		return true;
	folio_wait_locked(folio);
	/* pairs with the unlock: it comes after the fresh hugepage has left the file */
	smp_rmb();
	if (READ_ONCE(folio->mapping) != mapping)
		return false;
	/* the next try of a heal may have put it there again, to be filled */
	smp_rmb();
	return folio_test_uptodate(folio);
}

/* Whether a file has all of the folios that were looked up. */
static bool hugepoison_are_settled(struct address_space *mapping,
				   struct folio_batch *fbatch)
{
	unsigned int i;

	for (i = 0; i < folio_batch_count(fbatch); i++)
		if (!hugepoison_is_settled(mapping, fbatch->folios[i]))
			return false;
	return true;
}

/**
 * hugepoison_refuse_folios - refuse to give a device hugepages that are poisoned
 * @folios: folios that are about to be given, with a pin each
 * @nr: how many
 *
 * A device that has a hugepage whole reads what is in its raw pages, or in the place of
 * lost ones, while a process gets SIGBUS; and it does not see what a refill has put there.
 *
 * Context: Any but interrupts.
 * Return: 0, or -EHWPOISON if one is poisoned: no folio is pinned any more then.
 */
long hugepoison_refuse_folios(struct folio **folios, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (!folio_test_hugetlb(folios[i]) || !folio_test_hwpoison(folios[i]))
			continue;
		unpin_folios(folios, nr);
		return -EHWPOISON;
	}
	return 0;
}

/**
 * hugepoison_get_folios_contig - look up folios of a file to keep them
 * @mapping: the file
 * @start: the first page to look for; gets the one after the last that was found
 * @end: the last page to look for
 * @fbatch: to fill, empty
 *
 * Like filemap_get_folios_contig(), but it waits for a heal in one of them: before the heal
 * ends its fresh hugepage is in the file, but has other contents, and may be taken out.
 *
 * A caller that pins a hugepage without a heal pays for a test of its lock.
 *
 * Context: Process context, waits for the folio locks of hugepages, and takes none.
 * Return: the number of folios found.
 */
unsigned int hugepoison_get_folios_contig(struct address_space *mapping,
					  pgoff_t *start, pgoff_t end,
					  struct folio_batch *fbatch)
{
	const pgoff_t first = *start;
	unsigned int nr;

	for (;;) {
		nr = filemap_get_folios_contig(mapping, start, end, fbatch);
		if (hugepoison_are_settled(mapping, fbatch))
			return nr;
		folio_batch_release(fbatch);
		*start = first;
	}
}

/**
 * hugepoison_zero_segment - zero part of a file's hugepage
 * @folio: the hugepage
 * @start: the first byte to zero
 * @end: the byte after the last
 *
 * Like folio_zero_segment(), but it skips raw pages: touching one would be a machine
 * check in the kernel. Where another page stands in for a raw page, that one is zeroed.
 *
 * Context: Process context; folio lock held.
 */
void hugepoison_zero_segment(struct folio *folio, size_t start, size_t end)
{
	struct page *page;
	size_t step;

	if (!folio_test_hwpoison(folio)) {
		folio_zero_segment(folio, start, end);
		return;
	}
	for (; start < end; start += step) {
		step = min(end - start, PAGE_SIZE - offset_in_page(start));
		page = hugepoison_good_page(folio, start >> PAGE_SHIFT);
		if (page)
			memzero_page(page, offset_in_page(start), step);
	}
}
