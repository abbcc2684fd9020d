// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: good memory in place of the bad.
 *
 * Included by hugepoison/memory-failure.c. The owner of a narrowed hugepage says
 * that it does not need what is lost: it punches the raw page out of the file.
 * Then a fresh hugepage, with the healthy contents, takes the place of the
 * poisoned one, and the next touch promotes the mappings.
 *
 * There is no moment at which anybody could find something wrong:
 *
 *	hugepoison_heal_hole()
 *	  hugepoison_pool_spare()	a good hugepage, charged to the caller
 *	  hugepage_unmap_small()	nobody reads or writes the old one by its
 *					mappings, the folio lock sees to that
 *	  hugepoison_begin_exchange()	mf_mutex held
 *	    hugepoison_exchange()	the file has the fresh one, locked: lookups
 *					of the hugepage block on that lock
 *	  hugepoison_fill()		mf_mutex not held
 *	    hugepoison_users()		lookups that had found the old one let go
 *	    hugepoison_copy()		nobody changes what is copied, nobody sees
 *					what is not copied yet
 *	  hugepoison_end_exchange()	mf_mutex held
 *
 * Raw pages that are not in the hole stay lost: the fresh hugepage has good
 * memory there, and keeps it from use in the same way, with a list of raw pages
 * and a record of its own. Punched out later, such a page needs no other
 * hugepage any more; when the hugepage is free it is good for everybody.
 *
 * Where somebody does not let go, or there is another error in what is copied,
 * the old one is put back. In the file that is an exchange as before, and those
 * who wait for the fresh one look again, as they would after any truncation.
 *
 * Locks, outermost first: inode, hugepoison_heal_mutex, mf_mutex, folio (the
 * poisoned one), i_mmap_rwsem. The lock of the fresh hugepage is outside of
 * mf_mutex when the exchange ends, see hugepoison_end_exchange(). mmap_lock is
 * taken under none of them: mmap() of a hugetlb file takes the inode lock under
 * mmap_lock.
 */
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

/*
 * One heal at a time. A heal has a hugepage more than its file, so the mutex
 * bounds those to one in the system, whatever the number of healers. Healers of
 * one file queue for the inode lock first, so that a file has one place in the
 * queue for this mutex. Both are waited for killably. The holder allocates,
 * copies one hugepage and waits HUGEPOISON_HEAL_TRIES times for its users, each
 * time for a bounded number of moments: nothing that a user can prolong. What
 * needs mf_mutex is left to a worker, see hugepoison_heal_by_worker().
 */
static DEFINE_MUTEX(hugepoison_heal_mutex);

/*
 * How often a heal is tried while somebody holds the hugepage. Each try waits a
 * moment by itself, see hugepoison_users().
 */
#define HUGEPOISON_HEAL_TRIES		5

/**
 * struct hugepoison_heal - a hole in a file that is smaller than a hugepage
 * @inode: the file
 * @index: of the hugepage that the hole is in, in base pages of the file
 * @nid: node of the hugepage
 * @first: the first base page of the hugepage that is all in the hole
 * @end: the first one behind it that is not
 * @record: of the hugepage
 * @folio: the hugepage, poisoned, locked and with a reference
 * @fresh: the one to take its place, NULL as long as there is none
 * @raw: one of the raw pages that the hole discards, a bad one if there is any
 * @nr_raw: raw pages of the hugepage when the exchange began
 * @nr_kept: raw pages that the hole does not discard
 * @heir: the record of @fresh, with those
 * @raws: the list of raw pages of @fresh to be, one for each of those
 * @work: the worker that does @step
 * @step: what takes mf_mutex, from @ret so far to @ret
 * @ret: of the step
 */
struct hugepoison_heal {
	struct inode *inode;
	pgoff_t index;
	int nid;
	unsigned long first;
	unsigned long end;
	struct hugepoison_record *record;
	struct folio *folio;
	struct folio *fresh;
	struct page *raw;
	unsigned long nr_raw;
	unsigned int nr_kept;
	struct hugepoison_record *heir;
	struct llist_head raws;
	struct work_struct work;
	int (*step)(struct hugepoison_heal *heal, int ret);
	int ret;
};

static void hugepoison_heal_work(struct work_struct *work)
{
	struct hugepoison_heal *heal =
		container_of(work, struct hugepoison_heal, work);

	hugepoison_begin_urgent();
	heal->ret = heal->step(heal, heal->ret);
	hugepoison_end_urgent();
}

/*
 * A step of a heal that needs mf_mutex. The caller may be at a low priority, or in
 * a cgroup that is out of CPU time: all errors would wait for it to get on. The
 * worker is at its own priority, and waits for nothing that the caller holds.
 *
 * Return: as @step.
 */
static int hugepoison_heal_by_worker(struct hugepoison_heal *heal,
				     int (*step)(struct hugepoison_heal *heal,
						 int ret), int ret)
{
	heal->step = step;
	heal->ret = ret;
	INIT_WORK_ONSTACK(&heal->work, hugepoison_heal_work);
	queue_work(hugepoison_wq, &heal->work);
	flush_work(&heal->work);
	destroy_work_on_stack(&heal->work);
	return heal->ret;
}

/* The fresh hugepage is not to have anything lost after all. */
static void hugepoison_disinherit(struct hugepoison_heal *heal)
{
	struct raw_hwp_page *raw, *next;

	llist_for_each_entry_safe(raw, next, llist_del_all(&heal->raws), node)
		kfree(raw);
	if (heal->heir)
		hugepoison_erase(heal->heir);
	heal->heir = NULL;
}

static bool hugepoison_is_in_hole(struct hugepoison_heal *heal,
				  struct raw_hwp_page *raw)
{
	unsigned long i = folio_page_idx(heal->folio, raw->page);

	return i >= heal->first && i < heal->end;
}

/* One raw page that stays lost. */
static int hugepoison_bequeath(struct hugepoison_heal *heal, unsigned long i)
{
	struct raw_hwp_page *raw = kmalloc(sizeof(*raw), GFP_KERNEL);

	if (!raw)
		return -ENOMEM;
	raw->page = folio_page(heal->fresh, i);
	llist_add(&raw->node, &heal->raws);
	heal->heir->lost[heal->heir->nr_lost++] = i;
	return 0;
}

/* All that stays lost, before anything is changed. The list is stable. */
static int hugepoison_bequeath_all(struct hugepoison_heal *heal)
{
	struct raw_hwp_page *raw;
	int ret = 0;

	if (!heal->nr_kept)
		return 0;
	heal->heir = hugepoison_add(folio_pfn(heal->fresh),
				    heal->record->order);
	if (!heal->heir)
		return -ENOMEM;
	heal->heir->lost = kcalloc(heal->nr_kept, sizeof(*heal->heir->lost),
				   GFP_KERNEL);
	if (!heal->heir->lost)
		return -ENOMEM;
	llist_for_each_entry(raw, raw_hwp_list_head(heal->folio)->first, node) {
		if (!hugepoison_is_in_hole(heal, raw))
			ret = hugepoison_bequeath(heal, folio_page_idx(heal->folio,
								       raw->page));
		if (ret)
			break;
	}
	return ret;
}

/*
 * The fresh hugepage is one with raw pages, narrowed as the old one was. Who
 * looks without its lock goes by the flag first and the record then, so those
 * are set the other way round.
 */
static void hugepoison_inherit(struct hugepoison_heal *heal)
{
	struct hugepoison_record *heir = heal->heir;
	struct folio *fresh = heal->fresh;
	struct raw_hwp_page *raw;

	folio_get(fresh);
	heir->referenced = true;
	hugepoison_become(heir, HUGEPOISON_STATE_NARROWED);

	llist_for_each_entry(raw, heal->raws.first, node) {
		hugepoison_account(heir, page_to_pfn(raw->page), 1);
		hugepoison_mark_raw(fresh, raw->page);
	}
	spin_lock_irq(&hugetlb_lock);
	raw_hwp_list_head(fresh)->first = llist_del_all(&heal->raws);
	folio_set_hwpoison(fresh);
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_narrow_later(heir);
	/* it is not the caller's to drop any more */
	heal->heir = NULL;
}

/*
 * In the file, @to is in @from's place. Both are locked: who finds @to waits for
 * that, and who waits for @from finds it without a mapping and looks again. The
 * page cache holds a reference for each base page; @from keeps the handler's.
 */
static void hugepoison_exchange(struct address_space *mapping,
				struct folio *from, struct folio *to)
{
	const int nr = folio_nr_pages(from);
	XA_STATE(xas, &mapping->i_pages, from->index);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(from), from);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(to), to);
	folio_ref_add(to, nr);
	to->index = from->index;

	xas_lock_irq(&xas);
	to->mapping = mapping;
	xas_store(&xas, to);
	from->mapping = NULL;
	xas_unlock_irq(&xas);
	folio_put_refs(from, nr);
}

/* Copy what is good of as many pages as a page table takes, zero the others. */
static int hugepoison_copy_block(struct hugepoison_heal *heal,
				 unsigned long first)
{
	DECLARE_BITMAP(bad, PTRS_PER_PTE);
	unsigned long i;

	hugepoison_raw_pages(heal->folio, first, bad, PTRS_PER_PTE);
	for (i = 0; i < PTRS_PER_PTE; i++) {
		struct page *to = folio_page(heal->fresh, first + i);

		if (test_bit(i, bad))
			clear_highpage(to);
		else if (copy_mc_highpage(to, folio_page(heal->folio,
							 first + i)))
			return -EHWPOISON;
	}
	return 0;
}

/*
 * The raw pages are not touched. An error in another one that the hardware
 * finds now ends the copy, and is queued for the handler.
 */
static int hugepoison_copy(struct hugepoison_heal *heal)
{
	unsigned long nr = folio_nr_pages(heal->folio), first;
	int ret;

	for (first = 0; first < nr; first += PTRS_PER_PTE) {
		ret = hugepoison_copy_block(heal, first);
		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/*
 * Wait until nobody else has the old hugepage, then fill the fresh one. mf_mutex
 * is not held: neither a reference that stays nor a GiB to copy delays an error.
 *
 * Nobody comes to the old hugepage meanwhile but the error handler and unpoison.
 * It is in no file, mapped nowhere, and its lock is free for them. Unpoison finds
 * one reference too many. An error in it is put into the list of raw pages, which
 * hugepoison_end_exchange() looks at. An error in the fresh hugepage is recorded
 * without its lock or a reference, as it is not marked migratable yet.
 */
static int hugepoison_fill(struct hugepoison_heal *heal)
{
	return hugepoison_users(heal->folio, 2) ? -EBUSY :
						  hugepoison_copy(heal);
}

/* The fresh hugepage is the file's now; the old one goes, with its raw pages. */
static void hugepoison_healed(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct folio *fresh = heal->fresh;

	hugepoison_pool_take_over(heal->folio, fresh);
	folio_clear_dirty(heal->folio);
	folio_clear_uptodate(heal->folio);
	folio_set_dirty(fresh);
	folio_mark_uptodate(fresh);
	/* the error handler takes only those that can be migrated */
	if (heal->heir)
		hugepoison_inherit(heal);
	else
		folio_set_hugetlb_migratable(fresh);

	hugepoison_tell(record);
	hugepoison_outcome(page_to_pfn(heal->raw), record->order,
			   HUGEPOISON_HEALED, record->nr_bad);
	hugepoison_deleted(heal->folio);
}

/*
 * Put the fresh hugepage in the place of the poisoned one in the file, locked and
 * not filled yet.
 *
 * Return: 1 when hugepoison_end_exchange() has to follow, -EBUSY with nothing
 * changed.
 */
static int hugepoison_begin_exchange(struct hugepoison_heal *heal)
{
	struct folio *folio = heal->folio;

	lockdep_assert_held(&mf_mutex);
	if (folio_mapped(folio))
		return -EBUSY;
	heal->nr_raw = hugepoison_nr_raw(folio);
	folio_lock(heal->fresh);
	hugepoison_healing = heal->fresh;
	hugepoison_exchange(heal->inode->i_mapping, folio, heal->fresh);
	return 1;
}

/*
 * Whether no error was reported in either hugepage since the exchange began. Raw
 * pages are only added meanwhile, so their number tells.
 */
static bool hugepoison_is_unchanged(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record =
		hugepoison_lookup(folio_pfn(heal->folio));

	lockdep_assert_held(&mf_mutex);
	return !folio_test_hwpoison(heal->fresh) &&
	       record == heal->record &&
	       hugepoison_is(record, HUGEPOISON_STATE_NARROWED) &&
	       !folio_test_hugetlb_raw_hwp_unreliable(heal->folio) &&
	       hugepoison_nr_raw(heal->folio) == heal->nr_raw;
}

/* The file has the poisoned hugepage again, and the worker looks for its mappers. */
static void hugepoison_undo_exchange(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record =
		hugepoison_lookup(folio_pfn(heal->folio));

	hugepoison_disinherit(heal);
	hugepoison_exchange(heal->inode->i_mapping, heal->fresh, heal->folio);
	if (record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED))
		hugepoison_narrow_later(record);
}

/*
 * Keep the fresh hugepage in the file if it could be filled, with @ret 0, else
 * put the poisoned one back.
 *
 * mf_mutex is waited for with the fresh hugepage locked. This is safe because
 * under mf_mutex the lock of that one folio, hugepoison_healing, is only tried.
 *
 * Return: @ret, or with nothing changed -ENOMEM, -EBUSY when it is worth another
 * try, -EHWPOISON.
 */
static int hugepoison_end_exchange(struct hugepoison_heal *heal, int ret)
{
	hugepoison_lock_handled(heal->folio);
	/* an error in the old one meanwhile: the next try knows of it */
	if (!ret && !hugepoison_is_unchanged(heal))
		ret = folio_test_hwpoison(heal->fresh) ? -EHWPOISON : -EBUSY;
	if (!ret)
		ret = hugepoison_bequeath_all(heal);
	if (ret)
		hugepoison_undo_exchange(heal);
	else
		hugepoison_healed(heal);
	folio_unlock(heal->fresh);
	hugepoison_healing = NULL;
	folio_unlock(heal->folio);
	mutex_unlock(&mf_mutex);
	return ret;
}

/* A page of the hole that is good, and only kept from use. */
static struct page *hugepoison_next_lost(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	unsigned int i;

	for (i = 0; i < record->nr_lost; i++)
		if (record->lost[i] >= heal->first &&
		    record->lost[i] < heal->end)
			return folio_page(heal->folio, record->lost[i]);
	return NULL;
}

/*
 * What is punched out is good memory: in use again, where it is. It has been
 * zero since the hugepage was filled, as nobody could reach it.
 */
static void hugepoison_heal_in_place(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct folio *folio = heal->folio;
	unsigned long left = 1;
	struct page *page;

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
		return;
	}
	hugepoison_back_in_use(record, folio, HUGEPOISON_HEALED);
	folio_put(folio);
}

/* What raw pages there are in the hole, and how many outside. */
static void hugepoison_survey(struct hugepoison_heal *heal)
{
	struct hugepoison_record *record = heal->record;
	struct raw_hwp_page *raw;

	lockdep_assert_held(&mf_mutex);
	heal->nr_kept = 0;
	llist_for_each_entry(raw, raw_hwp_list_head(heal->folio)->first, node) {
		if (!hugepoison_is_in_hole(heal, raw))
			heal->nr_kept++;
		else if (!heal->raw ||
			 hugepoison_is_lost(record, page_to_pfn(heal->raw)))
			heal->raw = raw->page;
	}
}

/*
 * The hugepage is locked, and the handler's, as it has a record.
 *
 * Return: 0 when it is healed or there is nothing to heal, -EAGAIN when a fresh
 * hugepage is needed for it, else as hugepoison_begin_exchange().
 */
static int hugepoison_heal_folio(struct hugepoison_heal *heal)
{
	struct folio *folio = heal->folio;

	lockdep_assert_held(&mf_mutex);
	heal->record = hugepoison_lookup(folio_pfn(folio));
	if (!folio_test_hwpoison(folio) || !heal->record ||
	    !hugepoison_is(heal->record, HUGEPOISON_STATE_NARROWED) ||
	    !heal->record->referenced)
		return 0;
	hugepoison_survey(heal);
	if (!heal->raw)
		return 0;
	if (hugepoison_is_lost(heal->record, page_to_pfn(heal->raw))) {
		hugepoison_heal_in_place(heal);
		return 0;
	}
	return heal->fresh ? hugepoison_begin_exchange(heal) : -EAGAIN;
}

/*
 * Lock the hugepage, unmap it if it is to be exchanged, and try mf_mutex, which
 * comes before the folio lock. The file may have very many mappings: they are
 * walked before all errors would wait for that. The folio lock keeps faults from
 * mapping the hugepage again.
 *
 * Return: 1 with the hugepage and mf_mutex, 0 when there is none, -EBUSY when other
 * errors had mf_mutex each time.
 */
static int hugepoison_heal_lock(struct hugepoison_heal *heal)
{
	struct folio *folio;
	int tries;

	for (tries = 0; tries < HUGEPOISON_HOLD_TRIES; tries++) {
		folio = filemap_lock_folio(heal->inode->i_mapping, heal->index);
		if (IS_ERR(folio))
			return 0;
		if (heal->fresh)
			hugepage_unmap_small(folio, &folio->page,
					     folio_nr_pages(folio));
		if (mutex_trylock(&mf_mutex)) {
			heal->folio = folio;
			return 1;
		}
		folio_unlock(folio);
		folio_put(folio);
		/* until the error at hand is handled */
		mutex_lock(&mf_mutex);
		mutex_unlock(&mf_mutex);
	}
	return -EBUSY;
}

/*
 * Find the hugepage, which stays with a reference, and begin. With mf_mutex held
 * there is no error of which is not known what becomes of it.
 *
 * Return: as hugepoison_heal_folio(), which knows no @ret.
 */
static int hugepoison_heal_begin(struct hugepoison_heal *heal, int ret)
{
	heal->raw = NULL;
	heal->folio = NULL;
	ret = hugepoison_heal_lock(heal);
	if (ret <= 0)
		return ret;
	ret = hugepoison_heal_folio(heal);
	mutex_unlock(&mf_mutex);
	folio_unlock(heal->folio);
	return ret;
}

/* One try. Return: as hugepoison_heal_folio() and hugepoison_end_exchange(). */
static int hugepoison_heal_once(struct hugepoison_heal *heal)
{
	int ret = hugepoison_heal_by_worker(heal, hugepoison_heal_begin, 0);

	if (ret > 0)
		ret = hugepoison_heal_by_worker(heal, hugepoison_end_exchange,
						hugepoison_fill(heal));
	if (heal->folio)
		folio_put(heal->folio);
	return ret;
}

/*
 * The hugepage that a file has at an index in base pages, or NULL. RCU keeps its
 * memory. It takes no reference: the error handler would take that for a user,
 * and punching healthy hugepages is not to wait for it.
 */
static struct folio *hugepoison_peek_at(struct address_space *mapping,
					pgoff_t index)
{
	struct folio *folio = xa_load(&mapping->i_pages, index);

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "needs RCU to keep the folio");
	return xa_is_value(folio) ? NULL : folio;
}

/* Whether the file has a poisoned hugepage there, and of which node. */
static bool hugepoison_is_ill(struct hugepoison_heal *heal)
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

/* A holder of the hugepage, or of mf_mutex, gets some moments to let go. */
static int hugepoison_heal_patiently(struct hugepoison_heal *heal)
{
	int tries, ret;

	for (tries = 0; tries < HUGEPOISON_HEAL_TRIES; tries++) {
		ret = hugepoison_heal_once(heal);
		if (ret != -EBUSY || fatal_signal_pending(current))
			break;
		usleep_range(500, 1000);
	}
	return ret;
}

/* The only heal in the system, so its fresh hugepage is the only one as well. */
static int hugepoison_heal_alone(struct hugepoison_heal *heal,
				 unsigned int order)
{
	int ret;

	if (mutex_lock_killable(&hugepoison_heal_mutex))
		return -EINTR;
	ret = hugepoison_heal_patiently(heal);
	if (ret == -EAGAIN) {
		heal->fresh = hugepoison_pool_spare(order, heal->nid);
		ret = heal->fresh ? hugepoison_heal_patiently(heal) : -ENOMEM;
		if (heal->fresh)
			folio_put(heal->fresh);
	}
	mutex_unlock(&hugepoison_heal_mutex);
	return ret;
}

/*
 * The inode lock keeps seals from being set; with one stock says what is wrong.
 * It keeps the hugepage in the file as well, until the exchange has ended.
 */
static int hugepoison_heal_unsealed(struct hugepoison_heal *heal,
				    unsigned int order)
{
	const unsigned int sealed = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
	int ret = 0;

	if (inode_lock_killable(heal->inode))
		return -EINTR;
	if (!(HUGETLBFS_I(heal->inode)->seals & sealed) &&
	    hugepoison_is_ill(heal))
		ret = hugepoison_heal_alone(heal, order);
	inode_unlock(heal->inode);
	return ret;
}

static void hugepoison_log_not_healed(struct hugepoison_heal *heal, int err)
{
	const char *why = "somebody holds its hugepage";

	if (err == -EINTR || !heal->raw)
		return;
	if (err == -EHWPOISON)
		why = "there is one more error in it";
	if (err == -ENOMEM)
		why = "no memory for it: free memory, or a hugepage, or raise the cgroup's limit";
	pr_err_ratelimited("%#lx: not healed: %s\n", page_to_pfn(heal->raw),
			   why);
}

/* Return: 0 when the hugepage is healed, or there is nothing to heal. */
static int hugepoison_heal(struct hugepoison_heal *heal, unsigned int order)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_heal_enabled());
	int ret = hugepoison_heal_unsealed(heal, order);

	if (heal->raw)
		trace_hugepoison_heal(page_to_pfn(heal->raw), order,
				      ret ? "failed" : "healed", begin);
	if (ret)
		hugepoison_log_not_healed(heal, ret);
	return ret;
}

/* A hole that lies in one hugepage: a page only part of which it takes stays. */
static int hugepoison_heal_part(struct inode *inode, loff_t start, loff_t end)
{
	struct hstate *h = hstate_inode(inode);
	loff_t base = ALIGN_DOWN(start, huge_page_size(h));
	struct hugepoison_heal heal = {
		.inode = inode,
		.index = base >> PAGE_SHIFT,
		.first = PFN_UP(start - base),
		.end = PFN_DOWN(end - base),
	};

	if (heal.first >= heal.end)
		return 0;
	return hugepoison_heal(&heal, huge_page_order(h));
}

/**
 * hugepoison_heal_hole - before a hole is punched into a hugetlb file
 * @inode: the file
 * @offset: of the hole, in bytes
 * @len: of the hole, in bytes
 *
 * A hugepage that the hole takes only part of is healed if that part has raw
 * pages in it. Stock zeroes the part afterwards, and takes out what hugepages
 * the hole takes all of. The inode lock is dropped in between: healing changes
 * nothing but what nobody can read.
 *
 * A raw page that the hole takes only part of stays as it is: what was in it is
 * lost, and zeros beside what is lost would be a wrong byte.
 *
 * Context: Process context, may sleep and allocate; takes the inode lock,
 * hugepoison_heal_mutex, mf_mutex, folio locks and i_mmap_rwsem.
 * Return: 0 to go on; with the hole not punched, -ENOMEM where there is no fresh
 * hugepage or the caller may not be charged for it, -EBUSY where somebody holds
 * the poisoned one, -EHWPOISON when there is one more error in it, -EINTR on a
 * fatal signal. A hole that has an end in each of two hugepages may have healed
 * the first one by then.
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

/**
 * hugepoison_lock_folio - look up a hugepage, to change part of its contents
 * @h: its hstate
 * @mapping: the file
 * @idx: of the hugepage in the file, in hugepages
 *
 * The error handler takes i_mmap_rwsem under the folio lock, so it cannot be
 * taken the other way round. Nothing is lost by letting go of it: what keeps the
 * hugepage in the file is its lock, and before that nothing was looked at.
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

/**
 * hugepoison_zero_segment - zero part of a file's hugepage
 * @folio: the hugepage
 * @start: the first byte of it to be zeroed
 * @end: the first one not to
 *
 * Stock's folio_zero_segment(), but it never touches a raw page: that would be
 * a machine check in the kernel.
 *
 * Context: Process context; folio lock held.
 */
void hugepoison_zero_segment(struct folio *folio, size_t start, size_t end)
{
	size_t step;

	if (!folio_test_hwpoison(folio)) {
		folio_zero_segment(folio, start, end);
		return;
	}
	for (; start < end; start += step) {
		step = min(end - start, PAGE_SIZE - offset_in_page(start));
		if (!hugepoison_page_is_raw(folio, start >> PAGE_SHIFT))
			folio_zero_segment(folio, start, start + step);
	}
}
