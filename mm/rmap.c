// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the reverse map.
 *
 * Included at the end of the stock file of this name. First half: take a
 * poisoned hugepage away from every mapper. Second half: count the mappings of
 * a hugepage that is mapped below its size.
 */
#ifdef CONFIG_HUGEPOISON
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

/*
 * Runs what is left to do after an error.
 *
 * Its works hold mf_mutex, which each error needs. A worker of an ordinary
 * workqueue runs at nice 0: any user's thousand processes that have something to
 * compute would come first, whatever it holds.
 */
struct workqueue_struct *hugepoison_wq __ro_after_init;

/* Comes before the first hugepage, and so before the first error in one. */
static int __init hugepoison_alloc_wq(void)
{
	hugepoison_wq = alloc_workqueue("hugepoison", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (hugepoison_wq)
		return 0;
	pr_err("hugepoison: no memory for a workqueue: busy processes will delay errors\n");
	hugepoison_wq = system_unbound_wq;
	return -ENOMEM;
}
core_initcall(hugepoison_alloc_wq);

/**
 * hugepoison_begin_urgent - a worker is about to take what others wait for
 *
 * mf_mutex, the locks of a hugepage and its file, or the mmap_lock of a process
 * that has lost nothing yet. From here on no ordinary task delays the worker: at
 * the highest of their priorities it would still be off the CPU for seconds, among
 * very many of them.
 *
 * Context: A worker of hugepoison_wq; for short.
 */
void hugepoison_begin_urgent(void)
{
	sched_set_fifo_low(current);
}

/**
 * hugepoison_end_urgent - nobody waits for the worker any more
 *
 * Context: As hugepoison_begin_urgent().
 */
void hugepoison_end_urgent(void)
{
	sched_set_normal(current, task_nice(current));
}

/*
 * Replace a mapping of @folio by a hwpoison entry. With @keep the entry, marked
 * by the exclusive bit, keeps the mapping's reference: a private hugepage has no
 * file that would hold it until its mappers narrow.
 *
 * The page table may be shared with other processes (shared mappings, 1 GiB
 * aligned). Then the first mapper visited changes the entry of all of them,
 * and each of the others finds it changed. Their TLBs still have to be
 * flushed, and flushing by mapper is what this function is called for.
 */
static void hugepage_poison_entry(struct folio *folio,
				  struct vm_area_struct *vma,
				  unsigned long address, pte_t *ptep, bool keep)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;
	pte_t entry = swp_entry_to_pte(make_hwpoison_entry(&folio->page));
	spinlock_t *ptl = huge_pte_lock(h, mm, ptep);
	pte_t old = huge_ptep_get(mm, address, ptep);

	if (!pte_present(old) || pte_pfn(old) != folio_pfn(folio)) {
		bool shared = !huge_pte_none(old) && pte_same(old, entry);

		spin_unlock(ptl);
		if (shared)
			flush_hugetlb_tlb_range(vma, address,
						address + huge_page_size(h));
		return;
	}

	old = huge_ptep_clear_flush(vma, address, ptep);
	if (keep)
		entry = pte_swp_mkexclusive(entry);
	/* to a private mapping the file's hugepage is what faults find there */
	if (vma->vm_flags & VM_MAYSHARE || folio_test_anon(folio))
		set_huge_pte_at(mm, address, ptep, entry, huge_page_size(h));
	if (huge_pte_dirty(old))
		folio_mark_dirty(folio);
	/* in a shared table the entry may be on another mapper's account */
	if (atomic_long_read(&mm->hugetlb_usage) >= folio_nr_pages(folio))
		hugetlb_count_sub(folio_nr_pages(folio), mm);
	hugetlb_remove_rmap(folio);
	spin_unlock(ptl);
	if (!keep)
		folio_put(folio);
}

/* One step of the reverse map walk, which no step ends; @arg points to keep. */
static bool hugepage_unmap_one(struct folio *folio, struct vm_area_struct *vma,
			       unsigned long address, void *arg)
{
	unsigned long size = folio_size(folio);
	struct mmu_notifier_range range;
	pte_t *ptep;

	if (!is_vm_hugetlb_page(vma)) {
		/* a private one that was unpoisoned is still narrowed */
		if (folio_test_anon(folio))
			hugepoison_zap_poisoned(vma, folio->index, folio->index +
						folio_nr_pages(folio));
		return true;
	}

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm,
				address, address + size);
	mmu_notifier_invalidate_range_start(&range);
	flush_cache_range(vma, address, address + size);
	ptep = hugetlb_walk(vma, address, size);
	if (ptep)
		hugepage_poison_entry(folio, vma, address, ptep, *(bool *)arg);
	mmu_notifier_invalidate_range_end(&range);
	return true;
}

/**
 * hugepage_unmap_poisoned - put hwpoison entries in place of every mapping of
 *			     a poisoned hugepage
 * @folio: the folio that the error handler wants unmapped
 *
 * Stock unmaps hugepages through try_to_unmap(), which has to unshare page
 * tables and therefore needs the hugetlb VMA lock of each mapper. It can only
 * try for it, and page faults elsewhere in the same mapping make it fail: the
 * raw page stays mapped and the mappers are killed. This walk needs no VMA
 * lock, because it unshares nothing. It is safe because
 *
 *  1. i_mmap_rwsem is held for writing (anonymous: the page table is never
 *     shared), so page tables are neither shared nor unshared meanwhile;
 *  2. the entry changes under its page table lock, as every other change;
 *  3. the folio lock keeps faults from mapping the folio anew behind the walk
 *     (they find it poisoned once they get the lock), and fork inserts the
 *     child's VMA behind the parent's before it copies an entry;
 *  4. waiting for i_mmap_rwsem under the folio lock is what collect_procs()
 *     did a moment ago.
 *
 * Context: Process context, may sleep; folio lock held.
 * Return: false when @folio is no hugepage and the caller has to unmap it;
 * true when no mapping is left. A caller that counts (folio_mapped()) may
 * still find some where a mapper's page tables did not tell of them.
 */
bool hugepage_unmap_poisoned(struct folio *folio)
{
	bool keep = folio_test_anon(folio) &&
		    hugepoison_fate(folio) == HUGEPOISON_NARROW;
	struct rmap_walk_control rwc = {
		.rmap_one = hugepage_unmap_one,
		.arg = &keep,
		.anon_lock = folio_lock_anon_vma_read,
	};
	struct address_space *mapping;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!folio_test_hugetlb(folio))
		return false;

	mapping = folio_test_anon(folio) ? NULL : folio->mapping;
	if (!mapping) {
		rmap_walk(folio, &rwc);
		return true;
	}
	i_mmap_lock_write(mapping);
	rmap_walk_locked(folio, &rwc);
	i_mmap_unlock_write(mapping);
	return true;
}

/* One step of the walk that takes pages from private mappings; see below. */
static bool hugepage_unmap_small_one(struct folio *folio,
				     struct vm_area_struct *vma,
				     unsigned long address, void *arg)
{
	const pgoff_t *pages = arg;

	if (!is_vm_hugetlb_page(vma))
		hugepoison_zap_poisoned(vma, pages[0], pages[1]);
	return true;
}

/*
 * The anon_vma names the VMAs that may map a private hugepage. Its lock keeps
 * their page tables; a hugepage that nobody maps needs no walk.
 */
static void hugepage_unmap_small_anon(struct folio *folio, pgoff_t first,
				      pgoff_t end)
{
	pgoff_t pages[] = { first, end };
	struct rmap_walk_control rwc = {
		.rmap_one = hugepage_unmap_small_one,
		.arg = pages,
		.anon_lock = folio_lock_anon_vma_read,
	};

	rmap_walk(folio, &rwc);
}

/**
 * hugepage_unmap_small - unmap pages of a poisoned hugepage where it is mapped
 *			  below its size
 * @folio: the hugepage, private, in the page cache or just out of it
 * @page: the first one to unmap
 * @nr_pages: how many
 *
 * The entries become none: the hugepage's list of raw pages alone says what is
 * bad, and the next fault asks that. A block of a 1 GiB page that one entry
 * maps goes as a whole; the next fault maps its healthy pages again, one by one.
 *
 * Context: Process context, may sleep; folio lock held, so that no fault maps
 * the pages anew behind the walk.
 */
void hugepage_unmap_small(struct folio *folio, struct page *page,
			  unsigned long nr_pages)
{
	struct address_space *mapping = folio_mapping(folio);
	pgoff_t first = folio->index + folio_page_idx(folio, page);
	struct vm_area_struct *vma;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (folio_test_anon(folio)) {
		hugepage_unmap_small_anon(folio, first, first + nr_pages);
		return;
	}
	if (!mapping)
		return;
	i_mmap_lock_read(mapping);
	vma_interval_tree_foreach(vma, &mapping->i_mmap, first,
				  first + nr_pages - 1)
		hugepoison_zap_poisoned(vma, first, first + nr_pages);
	i_mmap_unlock_read(mapping);
}

/*
 * Hugepages mapped below their size. _large_mapcount counts every such
 * mapping, whatever its size, and is all there is: it says whether the
 * hugepage is mapped, and page_vma_mapped_walk() finds where.
 */
DEFINE_STATIC_KEY_FALSE(hugepage_small_rmap_key);

/*
 * Each narrowed VMA, and each that is about to be narrowed, is a user of the key.
 * VMAs alone map hugepages below their size, so without users the key may be off:
 *
 *	hugepage_get_small_rmap()	hugepage_stop_small_rmap()
 *	  users++			  ready = false
 *	  smp_mb()			  smp_mb()
 *	  if (!ready) users--, fail	  if (users) ready = true, fail
 *					  key off
 *
 * At least one of the two sees what the other one did. ready becomes true when
 * the key is on everywhere, and the key goes off with ready false.
 *
 * Patching the kernel's code interrupts all CPUs. A user who narrows and unmaps
 * over and over must not cause more than two of that in HUGEPAGE_SMALL_IDLE.
 */
#define HUGEPAGE_SMALL_IDLE	(60 * HZ)

static atomic_long_t hugepage_small_users = ATOMIC_LONG_INIT(0);
static bool hugepage_small_ready;
static unsigned long hugepage_small_used;	/* when last, in jiffies */
static DEFINE_MUTEX(hugepage_small_mutex);	/* one switches at a time */

static void hugepage_small_idle_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(hugepage_small_idle_dwork,
			    hugepage_small_idle_work);

static void hugepage_small_on_work(struct work_struct *work)
{
	hugepage_enable_small_rmap();
}

static DECLARE_WORK(hugepage_small_on, hugepage_small_on_work);

/**
 * hugepage_enable_small_rmap - from now on hugepages may be mapped below size
 *
 * Without users it lasts for HUGEPAGE_SMALL_IDLE.
 *
 * Context: Process context, may sleep; takes cpu_hotplug_lock, so no lock of
 * memory management may be held.
 */
void hugepage_enable_small_rmap(void)
{
	mutex_lock(&hugepage_small_mutex);
	WRITE_ONCE(hugepage_small_used, jiffies);
	if (!hugepage_small_ready) {
		static_branch_enable(&hugepage_small_rmap_key);
		/* a user that sees it finds all CPUs counting */
		smp_store_release(&hugepage_small_ready, true);
		queue_delayed_work(hugepoison_wq, &hugepage_small_idle_dwork,
				   HUGEPAGE_SMALL_IDLE);
	}
	mutex_unlock(&hugepage_small_mutex);
}

/**
 * hugepage_small_rmap_enabled - whether hugepages may be mapped below size now
 *
 * Context: Any. hugepage_get_small_rmap() makes it last.
 * Return: true for yes.
 */
bool hugepage_small_rmap_enabled(void)
{
	return READ_ONCE(hugepage_small_ready);
}

/**
 * hugepage_await_small_rmap - wait until hugepages may be mapped below size
 *
 * A work of its own switches the key on, so nothing but the patching of code is
 * waited for.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
void hugepage_await_small_rmap(void)
{
	while (!hugepage_small_rmap_enabled() &&
	       !fatal_signal_pending(current)) {
		queue_work(hugepoison_wq, &hugepage_small_on);
		schedule_timeout_killable(1);
	}
}

/**
 * hugepage_get_small_rmap - a VMA is about to map a hugepage below its size
 *
 * Context: Any.
 * Return: true with the key on until hugepage_put_small_rmap(), false when
 * hugepage_await_small_rmap() has to come before.
 */
bool hugepage_get_small_rmap(void)
{
	atomic_long_inc(&hugepage_small_users);
	/* pairs with hugepage_stop_small_rmap() */
	smp_mb__after_atomic();
	/* pairs with hugepage_enable_small_rmap() */
	if (smp_load_acquire(&hugepage_small_ready))
		return true;
	hugepage_put_small_rmap();
	return false;
}

/**
 * hugepage_dup_small_rmap - another VMA maps what a narrowed one does
 *
 * Context: Any; the narrowed VMA is there, and a user.
 */
void hugepage_dup_small_rmap(void)
{
	atomic_long_inc(&hugepage_small_users);
}

/**
 * hugepage_put_small_rmap - a VMA maps no hugepage below its size any more
 *
 * Context: Any; the VMA's entries are gone from the reverse map.
 */
void hugepage_put_small_rmap(void)
{
	WRITE_ONCE(hugepage_small_used, jiffies);
	/* counting the last entries comes before the key goes off */
	smp_mb__before_atomic();
	atomic_long_dec(&hugepage_small_users);
}

/* Return: false when there are users after all. */
static bool hugepage_stop_small_rmap(void)
{
	lockdep_assert_held(&hugepage_small_mutex);
	WRITE_ONCE(hugepage_small_ready, false);
	/* pairs with hugepage_get_small_rmap() */
	smp_mb();
	if (atomic_long_read(&hugepage_small_users)) {
		WRITE_ONCE(hugepage_small_ready, true);
		return false;
	}
	static_branch_disable(&hugepage_small_rmap_key);
	pr_info("hugepoison: no mapping is narrowed any more\n");
	return true;
}

/* Nobody else has to pay when there was no narrowed VMA for long. */
static void hugepage_small_idle_work(struct work_struct *work)
{
	unsigned long until;

	mutex_lock(&hugepage_small_mutex);
	until = READ_ONCE(hugepage_small_used) + HUGEPAGE_SMALL_IDLE;
	if (atomic_long_read(&hugepage_small_users))
		until = jiffies + HUGEPAGE_SMALL_IDLE;
	if (time_before(jiffies, until) || !hugepage_stop_small_rmap())
		queue_delayed_work(hugepoison_wq, &hugepage_small_idle_dwork,
				   max(1L, (long)(until - jiffies)));
	mutex_unlock(&hugepage_small_mutex);
}

/**
 * hugepage_may_add_rmap - whether a hugepage takes more mappings below its size
 * @folio: the hugepage
 * @nr_pages: mappings to be added
 *
 * Each mapping holds a reference and a count in signed 32 bits; 8192 mappers
 * of all the base pages of a 1 GiB page would overflow them. Stop at half of
 * the range: the other half is more than all CPUs can add between this check
 * and their adding.
 *
 * Context: Any; folio lock held against the error handler.
 * Return: false when the caller has to give up.
 */
bool hugepage_may_add_rmap(struct folio *folio, int nr_pages)
{
	const int limit = INT_MAX / 2 - nr_pages;

	return folio_ref_count(folio) < limit &&
	       atomic_read(&folio->_large_mapcount) < limit;
}

/**
 * hugepage_add_file_rmap - count mappings of a shared hugepage below its size
 * @folio: the hugepage, in the page cache
 * @nr_pages: mappings added, each of one base page or of one PMD block
 *
 * Context: Page table lock held; the caller has a reference for each mapping.
 */
void hugepage_add_file_rmap(struct folio *folio, int nr_pages)
{
	VM_WARN_ON_FOLIO(!folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(nr_pages <= 0, folio);

	atomic_add(nr_pages, &folio->_large_mapcount);
}

/**
 * hugepage_mapcount - about how many map a page of a hugepage
 * @folio: the hugepage, mapped below its size or not
 *
 * For statistics (smaps, numa_maps): there is no count for each base page, so
 * this is the number of mappers that would need that many entries, the block
 * with the raw page mapped by base pages.
 *
 * Context: Any.
 * Return: the estimate; exact where all map it at its size.
 */
int hugepage_mapcount(struct folio *folio)
{
	int whole = folio_entire_mapcount(folio);
	int entries = folio_nr_pages(folio) / PTRS_PER_PTE - 1 + PTRS_PER_PTE;

	return whole + DIV_ROUND_UP(folio_mapcount(folio) - whole, entries);
}

/**
 * hugepage_add_anon_rmap - count mappings of a private hugepage below its size
 * @folio: the hugepage; hugetlb_add_new_anon_rmap() made it anonymous
 * @page: the first base page mapped
 * @nr_pages: base pages mapped, in a row
 * @vma: the mapping, private
 * @address: where in @vma the first base page is mapped
 *
 * PageAnonExclusive is kept in the head page, for the whole hugepage: the
 * tails may be read-only (HVO).
 *
 * Context: Page table lock held; the caller has a reference for each mapping.
 */
void hugepage_add_anon_rmap(struct folio *folio, struct page *page,
			    int nr_pages, struct vm_area_struct *vma,
			    unsigned long address)
{
	VM_WARN_ON_FOLIO(!folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(!folio_test_anon(folio), folio);
	VM_WARN_ON_FOLIO(nr_pages <= 0, folio);
	VM_WARN_ON_FOLIO(folio_page_idx(folio, page) + nr_pages >
			 folio_nr_pages(folio), folio);
	VM_WARN_ON_FOLIO(folio->index + folio_page_idx(folio, page) !=
			 linear_page_index(vma, address), folio);

	atomic_add(nr_pages, &folio->_large_mapcount);
}

/**
 * hugepage_remove_rmap - uncount mappings of a hugepage below its size
 * @folio: the hugepage
 * @nr_pages: mappings taken away
 *
 * Context: Page table lock held. The caller drops the references after it.
 */
void hugepage_remove_rmap(struct folio *folio, int nr_pages)
{
	VM_WARN_ON_FOLIO(!folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(atomic_read(&folio->_large_mapcount) + 1 < nr_pages,
			 folio);

	atomic_sub(nr_pages, &folio->_large_mapcount);
}

#ifdef CONFIG_HUGEPOISON_KUNIT_TEST
#include "tests/rmap.c"
#endif
#endif /* CONFIG_HUGEPOISON */
