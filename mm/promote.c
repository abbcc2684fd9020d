// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: a private range becomes a hugepage again.
 *
 * Included by hugepoison/private.c. What was a private hugepage is base pages
 * since it was narrowed. When its owner has discarded what was lost and the pool
 * has a hugepage to spare, the base pages are copied to that one. It costs about
 * what clearing a fresh hugepage does, and the huge TLB entry is back.
 */

/* The base pages of a private range, taken from its page table for a while. */
struct hugepoison_range {
	struct vm_area_struct *vma;
	unsigned long nr;
	struct folio *fresh;
	pte_t entries[];
};

/* Whether a page can go over into a hugepage, and its entry with it. */
static bool hugepoison_is_plain(struct vm_area_struct *vma,
				unsigned long address, pte_t entry)
{
	struct page *page;

	if (pte_none(entry))
		return true;
	if (!pte_present(entry))
		return false;
	page = vm_normal_page(vma, address, entry);
	return page && PageAnon(page) && !PageCompound(page) &&
	       !PageKsm(page) && !PageHWPoison(page);
}

/* Whether that is so of all that one page table maps. */
static bool hugepoison_table_is_plain(struct vm_area_struct *vma,
				      unsigned long address)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	pte_t *ptes, *pte, *end;
	spinlock_t *ptl = NULL;

	if (!pmd)
		return true;
	ptes = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!ptes)
		return true;
	end = ptes + PTRS_PER_PTE;
	for (pte = ptes; pte < end; pte++, address += PAGE_SIZE)
		if (!hugepoison_is_plain(vma, address, ptep_get(pte)))
			break;
	pte_unmap_unlock(ptes, ptl);
	return pte == end;
}

/*
 * Return: false when something in the range is no plain page, or is missing.
 * mmap_lock is held for reading at least; it keeps the page tables.
 */
static bool hugepoison_range_is_whole(struct vm_area_struct *vma)
{
	unsigned long address;

	for (address = vma->vm_start; address < vma->vm_end;
	     address += PMD_SIZE) {
		if (!hugepoison_table_is_plain(vma, address))
			return false;
		cond_resched();
	}
	return true;
}

/* Take one entry out of the page table, or put it back. */
static void hugepoison_swap_entry(struct hugepoison_range *range,
				  unsigned long i, bool out)
{
	unsigned long address = range->vma->vm_start + (i << PAGE_SHIFT);
	struct mm_struct *mm = range->vma->vm_mm;
	pmd_t *pmd = mm_find_pmd(mm, address);
	spinlock_t *ptl = NULL;
	pte_t *pte;

	if (!pmd)
		return;
	pte = pte_offset_map_lock(mm, pmd, address, &ptl);
	if (!pte)
		return;
	if (out)
		range->entries[i] = ptep_get_and_clear(mm, address, pte);
	else
		set_pte_at(mm, address, pte, range->entries[i]);
	pte_unmap_unlock(pte, ptl);
}

/*
 * Take all entries out of the page table, or put them back. While they are out
 * nobody comes to the pages: not by a fault, as the VMA is locked, nor without
 * one, as get_user_pages() looks at the entry once more when it has a page.
 */
static void hugepoison_swap_entries(struct hugepoison_range *range, bool out)
{
	struct vm_area_struct *vma = range->vma;
	unsigned long i;

	for (i = 0; i < range->nr; i++) {
		hugepoison_swap_entry(range, i, out);
		cond_resched();
	}
	if (out)
		flush_tlb_range(vma, vma->vm_start, vma->vm_end);
}

/* Whether a page has no users but those who map it, and the swap cache. */
static bool hugepoison_is_only_mapped(struct folio *folio)
{
	return folio_ref_count(folio) ==
	       folio_mapcount(folio) + folio_test_swapcache(folio);
}

/* Whether nobody comes to any of the pages while it is copied. */
static bool hugepoison_is_at_rest(struct hugepoison_range *range)
{
	struct vm_area_struct *vma = range->vma;
	unsigned long i;

	for (i = 0; i < range->nr; i++) {
		unsigned long address = vma->vm_start + (i << PAGE_SHIFT);
		pte_t entry = range->entries[i];

		if (pte_none(entry))
			continue;
		if (!hugepoison_is_plain(vma, address, entry) ||
		    !hugepoison_is_only_mapped(page_folio(pte_page(entry))))
			return false;
		cond_resched();
	}
	return true;
}

/* Copy what there is; what was discarded is zero. */
static bool hugepoison_fill_fresh(struct hugepoison_range *range)
{
	struct vm_area_struct *vma = range->vma;
	unsigned long i;

	for (i = 0; i < range->nr; i++) {
		unsigned long address = vma->vm_start + (i << PAGE_SHIFT);
		struct page *to = folio_page(range->fresh, i);
		pte_t entry = range->entries[i];

		if (pte_none(entry))
			clear_user_highpage(to, address);
		else if (copy_mc_user_highpage(to, pte_page(entry), address,
					       vma))
			return false;
		cond_resched();
	}
	return true;
}

/* This mapping lets go of a page; counting that needs the page table's lock. */
static void hugepoison_drop_entry(struct vm_area_struct *vma,
				  unsigned long address, struct page *page)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	spinlock_t *ptl = NULL;

	if (WARN_ON_ONCE(!pmd))
		return;
	ptl = pmd_lock(vma->vm_mm, pmd);
	folio_remove_rmap_pte(page_folio(page), page, vma);
	dec_mm_counter(vma->vm_mm, MM_ANONPAGES);
	spin_unlock(ptl);
	free_page_and_swap_cache(page);
}

/* The pages were copied. */
static void hugepoison_drop_entries(struct hugepoison_range *range)
{
	unsigned long i;

	for (i = 0; i < range->nr; i++) {
		if (!pte_none(range->entries[i]))
			hugepoison_drop_entry(range->vma,
					      range->vma->vm_start +
					      (i << PAGE_SHIFT),
					      pte_page(range->entries[i]));
		cond_resched();
	}
}

/* From an ordinary private VMA back to a hugetlb VMA. */
static void hugepoison_make_hugetlb(struct vm_area_struct *vma)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, vma->vm_mm);
	free_pgd_range(&tlb, vma->vm_start, vma->vm_end, vma->vm_start,
		       vma->vm_end);
	tlb_finish_mmu(&tlb);
	if (vma->vm_flags & VM_ACCOUNT)
		vm_unacct_memory(vma_pages(vma));
	vm_flags_mod(vma, VM_HUGETLB, VM_ACCOUNT);
	vma_set_page_prot(vma);
	hugepage_put_small_rmap();
}

/* The fresh hugepage takes the place of the base pages. */
static void hugepoison_map_fresh(struct vm_area_struct *vma,
				 struct folio *fresh, pte_t *ptep)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = NULL;

	__folio_mark_uptodate(fresh);
	ptl = huge_pte_lock(h, mm, ptep);
	hugetlb_add_new_anon_rmap(fresh, vma, vma->vm_start);
	set_huge_pte_at(mm, vma->vm_start, ptep,
			make_huge_pte(vma, &fresh->page,
				      !!(vma->vm_flags & VM_WRITE)),
			huge_page_size(h));
	hugetlb_count_add(pages_per_huge_page(h), mm);
	spin_unlock(ptl);
	folio_set_hugetlb_migratable(fresh);
}

/*
 * Copy the range's pages to the fresh hugepage and map that. The anon_vma's lock
 * keeps the reverse map's walks out of page tables that are about to go.
 */
static bool hugepoison_become_huge(struct hugepoison_range *range)
{
	struct vm_area_struct *vma = range->vma;
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct mmu_notifier_range notifier;
	bool done;

	mmu_notifier_range_init(&notifier, MMU_NOTIFY_CLEAR, 0, vma->vm_mm,
				vma->vm_start, vma->vm_end);
	i_mmap_lock_write(mapping);
	anon_vma_lock_write(vma->anon_vma);
	mmu_notifier_invalidate_range_start(&notifier);
	hugepoison_swap_entries(range, true);
	done = hugepoison_is_at_rest(range) && hugepoison_fill_fresh(range);
	if (!done)
		hugepoison_swap_entries(range, false);
	mmu_notifier_invalidate_range_end(&notifier);
	if (done) {
		hugepoison_drop_entries(range);
		hugepoison_make_hugetlb(vma);
	}
	anon_vma_unlock_write(vma->anon_vma);
	i_mmap_unlock_write(mapping);
	return done;
}

/*
 * Where the hugepage's own entry is to be. NULL where there are no page tables:
 * the fault that brought us here made them, but the lock was dropped since.
 */
static pte_t *hugepoison_entry_slot(struct vm_area_struct *vma)
{
	unsigned long address = vma->vm_start;
	pgd_t *pgd = pgd_offset(vma->vm_mm, address);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (huge_page_size(hstate_vma(vma)) == PUD_SIZE)
		return (pte_t *)pud;
	return pud_none(*pud) ? NULL : (pte_t *)pmd_offset(pud, address);
}

/*
 * A hugepage to spare. It is taken as the child of a fork takes one, without a
 * reservation: the VMA gave its own back.
 */
static struct folio *hugepoison_spare(struct vm_area_struct *vma)
{
	struct vm_area_struct taker;

	vma_init(&taker, vma->vm_mm);
	vm_flags_init(&taker, VM_HUGETLB);
	taker.vm_file = vma->vm_file;
	taker.vm_start = vma->vm_start;
	taker.vm_end = vma->vm_end;
	taker.vm_pgoff = vma->vm_pgoff;
#ifdef CONFIG_NUMA
	taker.vm_policy = vma->vm_policy;
#endif
	return alloc_hugetlb_folio(&taker, vma->vm_start, false);
}

/* Make a narrowed private range a hugepage again if nothing stands against it. */
static void hugepoison_promote_private(struct mm_struct *mm,
				       unsigned long address)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_promote_enabled());
	struct vm_area_struct *vma = vma_lookup(mm, address);
	struct hugepoison_range *range;
	unsigned long size;
	pte_t *slot;
	bool done;

	mmap_assert_write_locked(mm);
	if (!vma || !hugepoison_vma_is_narrowed(vma) ||
	    vma->vm_flags & VM_MAYSHARE || userfaultfd_armed(vma))
		return;
	size = huge_page_size(hstate_vma(vma));
	slot = hugepoison_entry_slot(vma);
	if (!slot || !IS_ALIGNED(vma->vm_start, size) ||
	    vma->vm_end - vma->vm_start != size || anon_vma_prepare(vma))
		return;
	vma_start_write(vma);
	if (!hugepoison_range_is_whole(vma))
		return;

	range = kvzalloc(struct_size(range, entries, size >> PAGE_SHIFT),
			 GFP_KERNEL);
	if (!range)
		return;
	range->vma = vma;
	range->nr = size >> PAGE_SHIFT;
	range->fresh = hugepoison_spare(vma);
	if (IS_ERR(range->fresh))
		goto out;
	done = hugepoison_become_huge(range);
	trace_hugepoison_promote(folio_pfn(range->fresh),
				 folio_order(range->fresh),
				 done ? "promoted" : "failed", begin);
	if (done)
		hugepoison_map_fresh(vma, range->fresh, slot);
	else
		folio_put(range->fresh);
out:
	kvfree(range);
}
