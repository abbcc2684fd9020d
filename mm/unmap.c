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
static struct hugepage_rmap_lock *hugepage_held;
static struct task_struct *hugepage_holder;

static bool hugepage_is_holder(void)
{
	return READ_ONCE(hugepage_holder) == current;
}

/* The anon_vma of a private hugepage, NULL in @rmap if nobody maps it. */
static bool hugepage_lock_anon_rmap(struct folio *folio,
				    struct hugepage_rmap_lock *rmap, bool wait)
{
	struct rmap_walk_control rwc = { .try_lock = !wait };

	rmap->mapping = NULL;
	rmap->anon_vma = folio_lock_anon_vma_read(folio, &rwc);
	return !rwc.contended;
}

/**
 * hugepage_lock_rmap - keep the mappings of a hugepage from changing
 * @folio: the hugepage, locked, with a reference
 * @rmap: gets what is locked; a private hugepage without mappers has no lock
 * @wait: for who holds the lock; else it is only tried
 *
 * Context: Process context, sleeps with @wait.
 * Return: false when the lock is taken, and not waited for.
 */
bool hugepage_lock_rmap(struct folio *folio, struct hugepage_rmap_lock *rmap,
			bool wait)
{
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (folio_test_anon(folio) || !folio->mapping)
		return hugepage_lock_anon_rmap(folio, rmap, wait);
	rmap->mapping = folio->mapping;
	rmap->anon_vma = NULL;
	if (!wait)
		return i_mmap_trylock_write(rmap->mapping);
	i_mmap_lock_write(rmap->mapping);
	return true;
}

/**
 * hugepage_unlock_rmap - the counterpart of hugepage_lock_rmap()
 * @rmap: what it has locked; the folio is still locked
 *
 * Context: Process context.
 */
void hugepage_unlock_rmap(struct hugepage_rmap_lock *rmap)
{
	if (rmap->mapping)
		i_mmap_unlock_write(rmap->mapping);
	else if (rmap->anon_vma)
		anon_vma_unlock_read(rmap->anon_vma);
}

/**
 * hugepage_hold_rmap - what follows finds the mappings locked already
 * @rmap: what hugepage_lock_rmap() has locked
 *
 * The error handler locks them by trying, and keeps the lock for all steps that
 * need it, stock's as well.
 *
 * Context: mf_mutex held, until hugepage_release_rmap().
 */
void hugepage_hold_rmap(struct hugepage_rmap_lock *rmap)
{
	hugepage_held = rmap;
	WRITE_ONCE(hugepage_holder, current);
}

/**
 * hugepage_release_rmap - unlock what hugepage_hold_rmap() was called for
 *
 * Context: mf_mutex held. Does nothing where it was not called.
 */
void hugepage_release_rmap(void)
{
	if (!hugepage_is_holder())
		return;
	WRITE_ONCE(hugepage_holder, NULL);
	hugepage_unlock_rmap(hugepage_held);
}

/**
 * hugepage_lock_file_mappers - keep a file's mappings from changing
 * @mapping: the file of a page with an error
 *
 * Context: Process context, may sleep, unless the task holds them already.
 */
void hugepage_lock_file_mappers(struct address_space *mapping)
{
	if (!hugepage_is_holder())
		i_mmap_lock_read(mapping);
}

/**
 * hugepage_unlock_file_mappers - the counterpart of hugepage_lock_file_mappers()
 * @mapping: the file
 *
 * Context: Process context.
 */
void hugepage_unlock_file_mappers(struct address_space *mapping)
{
	if (!hugepage_is_holder())
		i_mmap_unlock_read(mapping);
}

/**
 * hugepage_lock_anon_mappers - keep the mappings of a private page from changing
 * @folio: with an error
 *
 * Context: Process context, may sleep, unless the task holds them already.
 * Return: the anon_vma; NULL when nobody maps it.
 */
struct anon_vma *hugepage_lock_anon_mappers(struct folio *folio)
{
	if (hugepage_is_holder())
		return hugepage_held->anon_vma;
	return folio_lock_anon_vma_read(folio, NULL);
}

/**
 * hugepage_unlock_anon_mappers - the counterpart of hugepage_lock_anon_mappers()
 * @anon_vma: what it returned, not NULL
 *
 * Context: Process context.
 */
void hugepage_unlock_anon_mappers(struct anon_vma *anon_vma)
{
	if (!hugepage_is_holder())
		anon_vma_unlock_read(anon_vma);
}

/* Walk the mappings; a private hugepage that nobody maps needs no walk. */
static void hugepage_walk(struct folio *folio, struct rmap_walk_control *rwc)
{
	if (!hugepage_is_holder())
		rmap_walk(folio, rwc);
	else if (hugepage_held->mapping || hugepage_held->anon_vma)
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
			hugepoison_zap_hugepage(vma, folio->index, folio->index +
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
	if (!mapping || hugepage_is_holder()) {
		hugepage_walk(folio, &rwc);
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
		hugepoison_zap_hugepage(vma, pages[0], pages[1]);
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

	hugepage_walk(folio, &rwc);
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
	hugepage_lock_file_mappers(mapping);
	vma_interval_tree_foreach(vma, &mapping->i_mmap, first,
				  first + nr_pages - 1)
		hugepoison_zap_hugepage(vma, first, first + nr_pages);
	hugepage_unlock_file_mappers(mapping);
}

/**
 * hugepoison_cannot_move - whether migration has to leave a hugepage alone
 * @folio: the hugepage, which migration has isolated
 *
 * Migration isolates many hugepages and then moves one by one. An error may come in
 * between, and its hugepage be narrowed before its turn. try_to_migrate_one() and
 * remove_migration_pte() know entries of a hugepage's size only: they would map the
 * head page at the address of each healthy page, without a warning.
 *
 * The rest is stock's condition: a hugepage that is being freed has no mapping, and
 * would be moved without its subpool.
 *
 * Context: @folio locked. Healthy pages are mapped, and an error is narrowed, with
 * that lock held: the answer lasts until it is dropped.
 * Return: true when @folio is narrowed, or on its way to the pool.
 */
bool hugepoison_cannot_move(struct folio *folio)
{
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (hugetlb_folio_subpool(folio) && !folio_mapping(folio))
		return true;
	return folio_mapcount(folio) != folio_entire_mapcount(folio) ||
	       hugepoison_fate(folio) == HUGEPOISON_NARROW;
}
