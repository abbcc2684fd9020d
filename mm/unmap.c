// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: take a poisoned hugepage away from every mapper.
 *
 * Included by hugepoison/rmap.c.
 */

/*
 * Whose mappings the error handler has locked, and which task it is: with mf_mutex
 * held there is one at a time.
 */
static struct hugepoison_rmap_lock *hugepoison_held_rmap;
static struct task_struct *hugepoison_rmap_holder;

static bool hugepoison_holds_rmap(void)
{
	return READ_ONCE(hugepoison_rmap_holder) == current;
}

/* The anon_vma of a private hugepage, NULL in @rmap if nobody maps it. */
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
 * @wait: for who holds the lock; else it is only tried
 *
 * Context: Process context, sleeps with @wait.
 * Return: false when the lock is taken, and not waited for.
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
 * hugepoison_hold_rmap - what follows finds the mappings locked already
 * @rmap: what hugepoison_lock_rmap() has locked
 *
 * The error handler locks them by trying, and keeps the lock for all steps that
 * need it, stock's as well.
 *
 * Context: mf_mutex held, until hugepoison_release_rmap().
 */
void hugepoison_hold_rmap(struct hugepoison_rmap_lock *rmap)
{
	hugepoison_held_rmap = rmap;
	WRITE_ONCE(hugepoison_rmap_holder, current);
}

/**
 * hugepoison_release_rmap - unlock what hugepoison_hold_rmap() was called for
 *
 * Context: mf_mutex held. Does nothing where it was not called.
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
 * Context: Process context, may sleep, unless the task holds them already.
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
 * Context: Process context, may sleep, unless the task holds them already.
 * Return: the anon_vma; NULL when nobody maps it.
 */
struct anon_vma *hugepoison_lock_anon_mappers(struct folio *folio)
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

/* Walk the mappings; a private hugepage that nobody maps needs no walk. */
static void hugepoison_walk_rmap(struct folio *folio, struct rmap_walk_control *rwc)
{
	if (!hugepoison_holds_rmap())
		rmap_walk(folio, rwc);
	else if (hugepoison_held_rmap->mapping || hugepoison_held_rmap->anon_vma)
		rmap_walk_locked(folio, rwc);
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
static bool hugepoison_unmap_one(struct folio *folio, struct vm_area_struct *vma,
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
		hugepoison_poison_entry(folio, vma, address, ptep, *(bool *)arg);
	mmu_notifier_invalidate_range_end(&range);
	return true;
}

/**
 * hugepoison_unmap_poisoned - put hwpoison entries in place of every mapping of
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

/* One step of the walk that takes pages from private mappings; see below. */
static bool hugepoison_unmap_small_one(struct folio *folio,
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
static void hugepoison_unmap_small_anon(struct folio *folio, pgoff_t first,
					pgoff_t end)
{
	pgoff_t pages[] = { first, end };
	struct rmap_walk_control rwc = {
		.rmap_one = hugepoison_unmap_small_one,
		.arg = pages,
		.anon_lock = folio_lock_anon_vma_read,
	};

	hugepoison_walk_rmap(folio, &rwc);
}

/**
 * hugepoison_unmap_small - unmap pages of a poisoned hugepage where it is mapped
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
void hugepoison_unmap_small(struct folio *folio, struct page *page,
			    unsigned long nr_pages)
{
	struct address_space *mapping = folio_mapping(folio);
	pgoff_t first = folio->index + folio_page_idx(folio, page);
	struct vm_area_struct *vma;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (folio_test_anon(folio)) {
		hugepoison_unmap_small_anon(folio, first, first + nr_pages);
		return;
	}
	if (!mapping)
		return;
	hugepoison_lock_file_mappers(mapping);
	vma_interval_tree_foreach(vma, &mapping->i_mmap, first,
				  first + nr_pages - 1)
		hugepoison_zap_poisoned(vma, first, first + nr_pages);
	hugepoison_unlock_file_mappers(mapping);
}
