// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: unmap a poisoned hugepage.
 */
#include <linux/hash.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <asm/tlb.h>

#include "internal.h"

/*
 * The lock of the mappings that the error handler holds, and the handler's task. Under
 * mf_mutex there is one at a time.
 */
static struct hugepoison_rmap_lock *hugepoison_held_rmap;
static struct task_struct *hugepoison_rmap_holder;

static bool hugepoison_holds_rmap(void)
{
	return READ_ONCE(hugepoison_rmap_holder) == current;
}

/* Lock a private hugepage's anon_vma; NULL in @rmap if nobody maps the hugepage. */
static bool hugepoison_lock_anon_rmap(struct folio *folio,
				      struct hugepoison_rmap_lock *rmap, bool wait)
{
	struct rmap_walk_control rwc = { .try_lock = !wait };

	rmap->mapping = NULL;
	rmap->anon_vma = folio_lock_anon_vma_read(folio, &rwc);
	return !rwc.contended;
}

/**
 * hugepoison_lock_rmap - keep the mappings of a hugepage from changing
 * @folio: the hugepage, locked, with a reference
 * @rmap: gets what is locked; a private hugepage without mappers has no lock
 * @wait: for the lock; else only try it
 *
 * Context: Process context, sleeps with @wait.
 * Return: false when the lock is taken and @wait is false.
 */
bool hugepoison_lock_rmap(struct folio *folio, struct hugepoison_rmap_lock *rmap,
			  bool wait)
{
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (folio_test_anon(folio) || !folio->mapping)
		return hugepoison_lock_anon_rmap(folio, rmap, wait);
	rmap->mapping = folio->mapping;
	rmap->anon_vma = NULL;
	if (!wait)
		return i_mmap_trylock_write(rmap->mapping);
	i_mmap_lock_write(rmap->mapping);
	return true;
}

/**
 * hugepoison_unlock_rmap - the counterpart of hugepoison_lock_rmap()
 * @rmap: what it has locked; the folio is still locked
 *
 * Context: Process context.
 */
void hugepoison_unlock_rmap(struct hugepoison_rmap_lock *rmap)
{
	if (rmap->mapping)
		i_mmap_unlock_write(rmap->mapping);
	else if (rmap->anon_vma)
		anon_vma_unlock_read(rmap->anon_vma);
}

/**
 * hugepoison_hold_rmap - have the following steps use a lock that is held already
 * @rmap: what hugepoison_lock_rmap() has locked
 *
 * The error handler tries for the lock of the mappings, then holds it for all steps that
 * need it, including stock's.
 *
 * Context: mf_mutex held, until hugepoison_release_rmap().
 */
void hugepoison_hold_rmap(struct hugepoison_rmap_lock *rmap)
{
	hugepoison_held_rmap = rmap;
	WRITE_ONCE(hugepoison_rmap_holder, current);
}

/**
 * hugepoison_release_rmap - unlock what hugepoison_hold_rmap() holds
 *
 * Context: mf_mutex held. Does nothing if the task holds no such lock.
 */
void hugepoison_release_rmap(void)
{
	if (!hugepoison_holds_rmap())
		return;
	WRITE_ONCE(hugepoison_rmap_holder, NULL);
	hugepoison_unlock_rmap(hugepoison_held_rmap);
}

/**
 * hugepoison_lock_file_mappers - keep a file's mappings from changing
 * @mapping: the file of a page with an error
 *
 * Context: Process context, may sleep, unless the task holds the lock already.
 */
void hugepoison_lock_file_mappers(struct address_space *mapping)
{
	if (!hugepoison_holds_rmap())
		i_mmap_lock_read(mapping);
}

/**
 * hugepoison_unlock_file_mappers - the counterpart of hugepoison_lock_file_mappers()
 * @mapping: the file
 *
 * Context: Process context.
 */
void hugepoison_unlock_file_mappers(struct address_space *mapping)
{
	if (!hugepoison_holds_rmap())
		i_mmap_unlock_read(mapping);
}

/**
 * hugepoison_lock_anon_mappers - keep the mappings of a private page from changing
 * @folio: with an error
 *
 * Context: Process context, may sleep, unless the task holds the lock already.
 * Return: the anon_vma; NULL when nobody maps @folio.
 */
struct anon_vma *hugepoison_lock_anon_mappers(const struct folio *folio)
{
	if (hugepoison_holds_rmap())
		return hugepoison_held_rmap->anon_vma;
	return folio_lock_anon_vma_read(folio, NULL);
}

/**
 * hugepoison_unlock_anon_mappers - the counterpart of hugepoison_lock_anon_mappers()
 * @anon_vma: what it returned, not NULL
 *
 * Context: Process context.
 */
void hugepoison_unlock_anon_mappers(struct anon_vma *anon_vma)
{
	if (!hugepoison_holds_rmap())
		anon_vma_unlock_read(anon_vma);
}

/* Walk the mappings; an unmapped private hugepage has no lock and needs no walk. */
static void hugepoison_walk_rmap(struct folio *folio, struct rmap_walk_control *rwc)
{
	if (!hugepoison_holds_rmap())
		rmap_walk(folio, rwc);
	else if (hugepoison_held_rmap->mapping || hugepoison_held_rmap->anon_vma)
		rmap_walk_locked(folio, rwc);
}

/*
 * The files that have had a hwpoison entry. Their page faults look at the entry first, see
 * hugepoison_hit_fault(); those of other files do not pay for it. An entry does not get
 * into a VMA of another file, neither by fork nor by mremap. A bit stays set: looking in
 * vain costs a fault some hundred instructions, and files are not poisoned often.
 */
unsigned long hugepoison_hit_files[BITS_TO_LONGS(1 << HUGEPOISON_HIT_FILES_BITS)];

static void hugepoison_mark_hit(const struct vm_area_struct *vma)
{
	set_bit(hash_ptr(vma->vm_file->f_mapping, HUGEPOISON_HIT_FILES_BITS),
		hugepoison_hit_files);
}

/*
 * Replace a mapping of @folio by a hwpoison entry. With @keep the entry, marked by the
 * exclusive bit, keeps the mapping's reference: a private hugepage has no file that
 * would hold it until its mappings narrow.
 *
 * Other processes may share the page table (shared mappings, 1 GiB aligned). Then the
 * first mapping visited changes the entry for all, and the walk finds it changed in each
 * of the others. Their TLBs still have to be flushed, mapping by mapping.
 */
static void hugepoison_poison_entry(struct folio *folio,
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
	/* in a private mapping of a file's hugepage faults look in the file */
	hugepoison_mark_hit(vma);
	if (vma->vm_flags & VM_MAYSHARE || folio_test_anon(folio))
		set_huge_pte_at(mm, address, ptep, entry, huge_page_size(h));
	if (huge_pte_dirty(old))
		folio_mark_dirty(folio);
	/* the entry of a shared table may be counted in another sharer's mm */
	if (atomic_long_read(&mm->hugetlb_usage) >= folio_nr_pages(folio))
		hugetlb_count_sub(folio_nr_pages(folio), mm);
	hugetlb_remove_rmap(folio);
	spin_unlock(ptl);
	if (!keep)
		folio_put(folio);
}

/*
 * Unmap pages of a private hugepage from a narrowed VMA. The index of an anonymous page
 * tells its place in the VMA, but not in the file.
 */
static void hugepoison_zap_anon(struct vm_area_struct *vma, pgoff_t index,
				unsigned long nr_pages)
{
	pgoff_t start = index - vma_start_anon_pgoff(vma) + vma->vm_pgoff;

	hugepoison_zap_hugepage(vma, start, start + nr_pages);
}

/* One step of the reverse map walk; @arg points to @keep. Always continues the walk. */
static bool hugepoison_unmap_one(struct folio *folio, struct vm_area_struct *vma,
				 unsigned long address, void *arg)
{
	unsigned long size = folio_size(folio);
	struct mmu_notifier_range range;
	pte_t *ptep;

	if (!is_vm_hugetlb_page(vma)) {
		/* its private mapping is narrowed still, from an error since undone */
		if (folio_test_anon(folio))
			hugepoison_zap_anon(vma, folio->index,
					    folio_nr_pages(folio));
		return true;
	}

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm,
				address, address + size);
	mmu_notifier_invalidate_range_start(&range);
	flush_cache_range(vma, address, address + size);
	ptep = hugetlb_walk(vma, address, size);
	if (ptep)
		hugepoison_poison_entry(folio, vma, address, ptep, *(bool *)arg);
	mmu_notifier_invalidate_range_end(&range);
	return true;
}

/**
 * hugepoison_unmap_poisoned - put hwpoison entries in place of every mapping of
 *			     a poisoned hugepage
 * @folio: the folio that the error handler wants unmapped
 *
 * Stock unmaps hugepages through try_to_unmap(), which has to unshare page tables and
 * so needs the hugetlb VMA lock of each mapping. It can only try for that lock, and
 * fails when a page fault elsewhere in the mapping holds it: then the raw page stays
 * mapped and the processes are killed. This walk unshares nothing, so it needs no VMA
 * lock. It is safe because
 *
 *  1. i_mmap_rwsem is held for writing (anonymous: the page table is never
 *     shared), so page tables are neither shared nor unshared meanwhile;
 *  2. the entry changes under its page table lock, as for every other change;
 *  3. the folio lock keeps faults from mapping the folio again behind the walk
 *     (with the lock they find it poisoned), and fork inserts the child's VMA
 *     behind the parent's before it copies an entry;
 *  4. collect_procs() has just taken i_mmap_rwsem under the folio lock as well.
 *
 * Context: Process context, may sleep; folio lock held.
 * Return: false when @folio is no hugepage and the caller has to unmap it; true when
 * the walk has cleared all entries it found. folio_mapped() may still be true if it
 * missed some.
 */
bool hugepoison_unmap_poisoned(struct folio *folio)
{
	bool keep = folio_test_anon(folio) &&
		    hugepoison_fate(folio) == HUGEPOISON_NARROW;
	struct rmap_walk_control rwc = {
		.rmap_one = hugepoison_unmap_one,
		.arg = &keep,
		.anon_lock = folio_lock_anon_vma_read,
	};
	struct address_space *mapping;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!folio_test_hugetlb(folio))
		return false;

	mapping = folio_test_anon(folio) ? NULL : folio->mapping;
	if (!mapping || hugepoison_holds_rmap()) {
		hugepoison_walk_rmap(folio, &rwc);
		return true;
	}
	i_mmap_lock_write(mapping);
	rmap_walk_locked(folio, &rwc);
	i_mmap_unlock_write(mapping);
	return true;
}

/* One step of the walk that unmaps pages from private mappings; see below. */
static bool hugepoison_unmap_small_one(struct folio *folio,
				       struct vm_area_struct *vma,
				       unsigned long address, void *arg)
{
	const pgoff_t *pages = arg;

	if (!is_vm_hugetlb_page(vma))
		hugepoison_zap_anon(vma, pages[0], pages[1]);
	return true;
}

/*
 * Unmap pages of a private hugepage. Its anon_vma has the VMAs that may map them, and the
 * anon_vma lock keeps their page tables.
 */
static void hugepoison_unmap_small_anon(struct folio *folio, pgoff_t first,
					unsigned long nr_pages)
{
	pgoff_t pages[] = { first, nr_pages };
	struct rmap_walk_control rwc = {
		.rmap_one = hugepoison_unmap_small_one,
		.arg = pages,
		.anon_lock = folio_lock_anon_vma_read,
	};

	hugepoison_walk_rmap(folio, &rwc);
}

/* Unmap pages of a file's hugepage. The lock of the file's mappings is held. */
static void hugepoison_unmap_small_file(struct address_space *mapping, pgoff_t first,
					unsigned long nr_pages)
{
	struct vm_area_struct *vma;

	mapping_rmap_tree_foreach(vma, mapping, first, first + nr_pages - 1) {
		hugepoison_zap_hugepage(vma, first, first + nr_pages);
		cond_resched();
	}
}

/**
 * hugepoison_unmap_small - unmap pages of a poisoned hugepage where it is mapped
 *			  below its size
 * @folio: the hugepage, private, in the page cache or just out of it
 * @page: the first one to unmap
 * @nr_pages: how many
 *
 * The entries become none: only the hugepage's list of raw pages says what is bad, and
 * the next fault reads that. A PMD of a 1 GiB page is cleared as a whole; the next fault
 * maps the healthy pages of the block again, by base pages.
 *
 * Context: Process context, may sleep; folio lock held, so that no fault maps the pages
 * again behind the walk.
 */
void hugepoison_unmap_small(struct folio *folio, struct page *page,
			    unsigned long nr_pages)
{
	struct address_space *mapping = folio_mapping(folio);
	pgoff_t first = folio->index + folio_page_idx(folio, page);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (folio_test_anon(folio)) {
		hugepoison_unmap_small_anon(folio, first, nr_pages);
		return;
	}
	if (!mapping)
		return;
	hugepoison_lock_file_mappers(mapping);
	hugepoison_unmap_small_file(mapping, first, nr_pages);
	hugepoison_unlock_file_mappers(mapping);
}

/**
 * hugepoison_try_unmap_small - hugepoison_unmap_small() of all pages, without a wait
 * @folio: the poisoned hugepage, in the page cache
 *
 * A user may hold the lock of the file's mappings, and be preempted with it.
 *
 * Context: Process context, may sleep; folio lock held, i_mmap_rwsem only tried.
 * Return: false with nothing unmapped if the lock is taken.
 */
bool hugepoison_try_unmap_small(struct folio *folio)
{
	struct address_space *mapping = folio_mapping(folio);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!i_mmap_trylock_read(mapping))
		return false;
	hugepoison_unmap_small_file(mapping, folio->index, folio_nr_pages(folio));
	i_mmap_unlock_read(mapping);
	return true;
}

/**
 * hugepoison_cannot_move - whether migration has to leave a narrowed hugepage alone
 * @folio: the hugepage, which migration has isolated
 *
 * Migration isolates many hugepages and then moves one by one. An error may come in
 * between, and its hugepage be narrowed before its turn. try_to_migrate_one() and
 * remove_migration_pte() know entries of a hugepage's size only: they would map the
 * head page at the address of each healthy page, without a warning.
 *
 * Context: @folio locked. Healthy pages are mapped, and an error is narrowed, with
 * that lock held: the answer lasts until it is dropped.
 * Return: true when @folio is narrowed, or mapped below its size still.
 */
bool hugepoison_cannot_move(struct folio *folio)
{
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	return folio_mapcount(folio) != folio_entire_mapcount(folio) ||
	       hugepoison_fate(folio) == HUGEPOISON_NARROW;
}
