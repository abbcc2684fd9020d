// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: map the healthy pages.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "internal.h"

/* Count @nr mappings of base pages, or one mapping of a block. */
static void hugepoison_count_mapped(struct vm_area_struct *vma,
				    unsigned long address, struct page *page,
				    int nr)
{
	struct folio *folio = page_folio(page);

	/* mapping another subpage would show data at the wrong address */
	VM_WARN_ON_ONCE_FOLIO(folio_page_idx(folio, page) !=
			      (linear_page_index(vma, address) &
			       (folio_nr_pages(folio) - 1)), folio);
	if (folio_test_anon(folio))
		hugepage_add_anon_rmap(folio, page, nr, vma, address);
	else
		hugepoison_add_file_rmap(folio, nr);
}

/*
 * Whether to make an entry writable at once. In a private hugepage: if the process
 * writes in place, and the first write need not be tracked. In a file's: if @wanted, as
 * the protection of the mapping decides the rest.
 */
static bool hugepoison_may_write(struct vm_area_struct *vma,
				 struct folio *folio, bool wanted)
{
	if (!folio_test_anon(folio))
		return wanted && vma->vm_flags & VM_SHARED;
	return vma->vm_flags & VM_WRITE && PageAnonExclusive(&folio->page) &&
	       (wanted || !vma_soft_dirty_enabled(vma));
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/*
 * Whether a PMD can map a healthy block. An unsharing fault needs base pages: it has
 * just split such a PMD to copy one page, and would find the block again for ever.
 */
static bool hugepoison_may_map_block(struct vm_fault *vmf, struct folio *folio)
{
	return folio_order(folio) > HPAGE_PMD_ORDER &&
	       !(vmf->flags & FAULT_FLAG_UNSHARE) &&
	       pmd_none(pmdp_get_lockless(vmf->pmd)) &&
	       !thp_disabled_by_hw() && !arch_needs_pgtable_deposit();
}

/*
 * Map one healthy block of a 1 GiB page by a PMD. With base pages 4096 mappers would
 * come near the limit of the reference count, and use up the TLB.
 */
static vm_fault_t hugepoison_map_block(struct vm_fault *vmf,
				       struct folio *folio, unsigned long first,
				       unsigned long *bad)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & HPAGE_PMD_MASK;
	struct page *page = folio_page(folio, first);
	pmd_t entry = pmd_mkhuge(pfn_pmd(page_to_pfn(page), vma->vm_page_prot));
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	if (folio_test_anon(folio))
		entry = pmd_mkdirty(entry);
	if (hugepoison_may_write(vma, folio, write))
		entry = maybe_pmd_mkwrite(pmd_mkdirty(entry), vma);

	vmf->ptl = pmd_lock(vma->vm_mm, vmf->pmd);
	hugepoison_mask_discarded(vma, folio, first, bad);
	if (pmd_none(*vmf->pmd) && bitmap_empty(bad, PTRS_PER_PTE)) {
		folio_get(folio);
		hugepoison_count_mapped(vma, address, page, 1);
		add_mm_counter(vma->vm_mm, mm_counter(folio), HPAGE_PMD_NR);
		set_pmd_at(vma->vm_mm, address, vmf->pmd, entry);
		update_mmu_cache_pmd(vma, address, vmf->pmd);
	}
	spin_unlock(vmf->ptl);
	return VM_FAULT_NOPAGE;
}
#else
static bool hugepoison_may_map_block(struct vm_fault *vmf, struct folio *folio)
{
	return false;
}

static vm_fault_t hugepoison_map_block(struct vm_fault *vmf,
				       struct folio *folio, unsigned long first,
				       unsigned long *bad)
{
	return VM_FAULT_SIGBUS;
}
#endif

/*
 * Map @nr consecutive healthy pages; @vmf->pte is the first one's entry. The entries are
 * as writable as the mapping. Where first writes are tracked (soft dirty) they are
 * read-only: the faulting write faults again.
 */
static void hugepoison_map_run(struct vm_fault *vmf, struct folio *folio,
			       struct page *page, unsigned int nr,
			       unsigned long address, bool uffd_wp)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = pte_sw_mkyoung(mk_pte(page, vma->vm_page_prot));

	if (folio_test_anon(folio))
		entry = pte_mkdirty(entry);
	if (hugepoison_may_write(vma, folio, false))
		entry = pte_mkwrite(entry, vma);
	/* makes the entry read-only: userfaultfd handles the first write */
	if (uffd_wp)
		entry = pte_mkuffd(entry);
	flush_icache_pages(vma, page, nr);
	folio_ref_add(folio, nr);
	hugepoison_count_mapped(vma, address, page, nr);
	add_mm_counter(vma->vm_mm, mm_counter(folio), nr);
	set_ptes(vma->vm_mm, address, vmf->pte, entry, nr);
	update_mmu_cache_range(vmf, vma, address, vmf->pte, nr);
}

/*
 * Map all healthy pages of one page table whose entries are none. Other entries stay:
 * userfaultfd's markers, NUMA hints.
 */
static void hugepoison_map_healthy(struct vm_fault *vmf, struct folio *folio,
				   unsigned long first, pte_t *ptes,
				   const unsigned long *bad)
{
	unsigned long address = vmf->address & PMD_MASK;
	unsigned int i, end;

	for (i = 0; i < PTRS_PER_PTE; i = end) {
		i = find_next_zero_bit(bad, PTRS_PER_PTE, i);
		end = find_next_bit(bad, PTRS_PER_PTE, i);
		while (i < end && !pte_none(ptep_get(ptes + i)))
			i++;
		if (i == end)
			continue;
		vmf->pte = ptes + i;
		while (vmf->pte < ptes + end && pte_none(ptep_get(vmf->pte)))
			vmf->pte++;
		end = vmf->pte - ptes;
		vmf->pte = ptes + i;
		hugepoison_map_run(vmf, folio, folio_page(folio, first + i),
				   end - i, address + i * PAGE_SIZE, false);
	}
}

/* Map a page that stands in for a raw page, where the entry is none or @uffd_wp's marker. */
static void hugepoison_map_stand_in(struct vm_fault *vmf, struct page *page,
				    unsigned long address, bool uffd_wp)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = pte_sw_mkyoung(mk_pte(page, vma->vm_page_prot));
	struct folio *folio = page_folio(page);

	if (uffd_wp)
		entry = pte_mkuffd(entry);
	flush_icache_page(vma, page);
	folio_get(folio);
	folio_add_file_rmap_pte(folio, page, vma);
	inc_mm_counter(vma->vm_mm, mm_counter_file(folio));
	set_pte_at(vma->vm_mm, address, vmf->pte, entry);
	update_mmu_cache_range(vmf, vma, address, vmf->pte, 1);
}

/*
 * Map the stand-ins for bad pages of one page table, where the entries are none. The
 * hugepage is locked: who removes a stand-in blocks on that lock, then unmaps.
 *
 * A private mapping may have a hugepage of its own that covers the file's: there the file's
 * stand-in would show the process what it has not discarded of its own.
 */
static void hugepoison_map_stand_ins(struct vm_fault *vmf, struct folio *folio,
				     unsigned long first, pte_t *ptes,
				     const unsigned long *bad)
{
	unsigned long address = vmf->address & PMD_MASK;
	DECLARE_BITMAP(masked, PTRS_PER_PTE);
	struct page *page;
	unsigned int i;

	/* what a private mapping has discarded is bad as well, and has none */
	if (folio_test_anon(folio))
		return;
	bitmap_zero(masked, PTRS_PER_PTE);
	hugepoison_mask_discarded(vmf->vma, folio, first, masked);
	for_each_andnot_bit(i, bad, masked, PTRS_PER_PTE) {
		page = hugepoison_stand_in_of(folio_page(folio, first + i));
		vmf->pte = ptes + i;
		if (page && pte_none(ptep_get(vmf->pte)))
			hugepoison_map_stand_in(vmf, page, address + i * PAGE_SIZE,
						false);
	}
}

/*
 * Map the one page that userfaultfd has write-protected, whose entry is its marker, and no
 * other.
 */
static void hugepoison_map_protected(struct vm_fault *vmf, struct folio *folio,
				     unsigned long at, bool bad)
{
	unsigned long address = vmf->address & PAGE_MASK;
	struct page *page = folio_page(folio, at);

	if (!pte_same(ptep_get(vmf->pte), vmf->orig_pte))
		return;
	if (!bad)
		hugepoison_map_run(vmf, folio, page, 1, address, true);
	else if (!folio_test_anon(folio) && hugepoison_stand_in_of(page))
		hugepoison_map_stand_in(vmf, hugepoison_stand_in_of(page), address,
					true);
}

/*
 * Make sure that the fault has a page table, which then stays as long as mmap_lock or
 * the VMA lock is held. __do_fault() has allocated one if the PMD was none. Return: false
 * if the PMD is changing; then the fault comes again.
 */
static bool hugepoison_has_table(struct vm_fault *vmf)
{
	pmd_t entry;

	if (pmd_none(pmdp_get_lockless(vmf->pmd)) && vmf->prealloc_pte)
		pmd_install(vmf->vma->vm_mm, vmf->pmd, &vmf->prealloc_pte);
	/* read once: a block zapped between two reads would pass for a table */
	entry = pmdp_get_lockless(vmf->pmd);
	return pmd_present(entry) && !pmd_leaf(entry);
}

/* Map the healthy pages around the fault by base pages. */
static vm_fault_t hugepoison_map_table(struct vm_fault *vmf,
				       struct folio *folio, unsigned long first,
				       unsigned long *bad)
{
	unsigned int at = pte_index(vmf->address);
	struct mm_struct *mm = vmf->vma->vm_mm;
	pte_t *ptes;

	if (!hugepoison_has_table(vmf))
		return VM_FAULT_NOPAGE;
	ptes = pte_offset_map_lock(mm, vmf->pmd, vmf->address & PMD_MASK,
				   &vmf->ptl);
	if (!ptes)
		return VM_FAULT_NOPAGE;
	hugepoison_mask_discarded(vmf->vma, folio, first, bad);
	if (vmf->flags & FAULT_FLAG_ORIG_PTE_VALID &&
	    pte_is_uffd_wp_marker(vmf->orig_pte)) {
		vmf->pte = ptes + at;
		hugepoison_map_protected(vmf, folio, first + at,
					 test_bit(at, bad));
	} else {
		hugepoison_map_healthy(vmf, folio, first, ptes, bad);
		hugepoison_map_stand_ins(vmf, folio, first, ptes, bad);
	}
	vmf->pte = NULL;
	pte_unmap_unlock(ptes, vmf->ptl);
	return VM_FAULT_NOPAGE;
}

/*
 * Lock a hugepage in a fault, with preemption off.
 *
 * The error handler waits for the folio lock, and all other errors wait for the
 * handler. A task preempted with the lock would keep it until other tasks leave it the
 * CPU, and folio_lock() hands the lock to a sleeping waiter long before that runs. So a
 * fault only tries the lock, and then waits until the holder unlocks, which is soon: the
 * holder is a fault with preemption off, the handler, or a heal. With PREEMPT_RT
 * spinlocks sleep, so preemption stays on.
 *
 * Return: false after such a wait, without the lock.
 */
static bool hugepoison_trylock_briefly(struct folio *folio)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_disable();
	if (folio_trylock(folio))
		return true;
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
	folio_wait_locked(folio);
	return false;
}

static void hugepoison_unlock_briefly(struct folio *folio)
{
	folio_unlock(folio);
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
}

/*
 * Look up the hugepage that a file has at an index in base pages. Return: the hugepage with
 * a reference, locked by hugepoison_trylock_briefly(), or NULL.
 */
static struct folio *hugepoison_lock_briefly_at(struct address_space *mapping,
						pgoff_t index)
{
	struct folio *folio;

	for (;;) {
		folio = filemap_get_folio(mapping, index);
		if (IS_ERR(folio))
			return NULL;
		if (hugepoison_trylock_briefly(folio)) {
			if (folio->mapping == mapping)
				return folio;
			hugepoison_unlock_briefly(folio);
		}
		folio_put(folio);
	}
}

/* hugepoison_lock_briefly_at() for a fault. */
static struct folio *hugepoison_lock_briefly(struct vm_fault *vmf)
{
	return hugepoison_lock_briefly_at(vmf->vma->vm_file->f_mapping,
					  vmf->pgoff);
}

/*
 * Map the healthy pages around a fault. The folio lock is held from before the raw pages
 * are read until after the mapping. So an error reported meanwhile is not missed: the
 * handler blocks on the folio lock, then unmaps.
 */
static vm_fault_t hugepoison_map(struct vm_fault *vmf, struct folio *folio)
{
	DECLARE_BITMAP(bad, PTRS_PER_PTE);
	unsigned long at = vmf->pgoff & (folio_nr_pages(folio) - 1);
	unsigned long first = round_down(at, PTRS_PER_PTE);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	hugepoison_raw_pages(folio, first, bad, PTRS_PER_PTE);
	if (test_bit(at - first, bad) &&
	    !hugepoison_is_refilled(folio_page(folio, at)))
		return VM_FAULT_HWPOISON;
	hugepoison_mask_discarded(vmf->vma, folio, first, bad);
	if (!hugepoison_may_add_rmap(folio, PTRS_PER_PTE))
		return VM_FAULT_SIGBUS;
	if (hugepoison_may_map_block(vmf, folio) &&
	    bitmap_empty(bad, PTRS_PER_PTE))
		return hugepoison_map_block(vmf, folio, first, bad);
	return hugepoison_map_table(vmf, folio, first, bad);
}
