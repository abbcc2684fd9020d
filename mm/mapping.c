// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what a narrowed VMA is.
 *
 * After an error in a file's hugepage every mapping has a hwpoison entry in its place. The
 * next fault narrows: the range of that one hugepage becomes a VMA of its own without
 * VM_HUGETLB, so no hugetlb VMA. Then file faults map the healthy pages: by a PMD where a
 * 2 MiB block is healthy, else by base pages. The raw page stays unmapped, and an access
 * to it is SIGBUS. private.c has what differs for private mappings.
 *
 * A narrowed VMA keeps its file, offset and operations. It covers exactly one hugepage
 * as long as it is narrowed: may_split() forbids splitting it, and VM_DONTEXPAND, which
 * all hugetlb VMAs have, forbids merging and growing. When the file no longer has the
 * hugepage, or it is healthy, the next fault promotes: the VMA is a hugetlb VMA again.
 * So only poisoned hugepages are ever mapped below their size.
 */

#include "internal.h"

/**
 * hugepoison_vma_is_narrowed - whether a VMA maps a hugepage below its size
 * @vma: any VMA
 *
 * Context: mmap_lock, the VMA lock, or i_mmap_rwsem of the file held: each keeps
 * @vma's flags.
 * Return: true for a narrowed VMA.
 */
bool hugepoison_vma_is_narrowed(struct vm_area_struct *vma)
{
	return !is_vm_hugetlb_page(vma) && vma->vm_file &&
	       is_file_hugepages(vma->vm_file);
}

/**
 * hugepoison_vma_is_hugetlb - whether a VMA is a hugetlb VMA for user space
 * @vma: any VMA
 *
 * For what user space can query of a mapping: narrowing must not change that.
 *
 * Context: As hugepoison_vma_is_narrowed().
 * Return: true for a hugetlb VMA, and for a narrowed one.
 */
bool hugepoison_vma_is_hugetlb(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma) || hugepoison_vma_is_narrowed(vma);
}

/**
 * hugepoison_why_wide - why a VMA loses all of a poisoned hugepage
 * @vma: a mapping of it
 *
 * Context: As hugepoison_vma_is_narrowed().
 * Return: the reason, 0 if it can be narrowed or is narrowed.
 */
enum hugepoison_reason hugepoison_why_wide(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma) && userfaultfd_armed(vma))
		return HUGEPOISON_WHY_USERFAULTFD;
	return 0;
}

/**
 * hugepoison_vm_op_pagesize - the page size that a VMA of a hugetlb file is mapped by
 * @vma: the VMA
 *
 * Context: As hugepoison_vma_is_narrowed().
 * Return: bytes.
 */
unsigned long hugepoison_vm_op_pagesize(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma) ? hugetlb_vm_op_pagesize(vma) :
					 PAGE_SIZE;
}

/**
 * hugepoison_entry_nr - how many base pages a PMD maps
 * @page: the first one
 *
 * For statistics of VMAs that are no hugetlb VMAs: in a narrowed one a PMD maps a block.
 *
 * Context: Page table lock held.
 * Return: base pages.
 */
int hugepoison_entry_nr(struct page *page)
{
	return PageHuge(page) ? PTRS_PER_PTE : compound_nr(page);
}

/*
 * The hugepage that the file has at an address of a mapping, or NULL. No reference is
 * taken: the error handler would take it for a user's.
 */
static struct folio *hugepoison_peek(struct vm_area_struct *vma,
				     unsigned long address)
{
	struct folio *folio;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "needs RCU to keep the folio");
	address &= huge_page_mask(hstate_vma(vma));
	folio = xa_load(&vma->vm_file->f_mapping->i_pages,
			linear_page_index(vma, address));
	return xa_is_value(folio) ? NULL : folio;
}

/* Page frame of the file's hugepage at an address, 0 for none. */
static unsigned long hugepoison_file_pfn(struct vm_area_struct *vma,
					 unsigned long address)
{
	struct folio *folio;
	unsigned long pfn;

	rcu_read_lock();
	folio = hugepoison_peek(vma, address);
	pfn = folio ? folio_pfn(folio) : 0;
	rcu_read_unlock();
	return pfn;
}

/* The fate of the file's hugepage at an address. */
static enum hugepoison_fate hugepoison_file_fate(struct vm_area_struct *vma,
						 unsigned long address)
{
	enum hugepoison_fate fate = HUGEPOISON_HEALTHY;
	struct folio *folio;

	rcu_read_lock();
	folio = hugepoison_peek(vma, address);
	if (folio)
		fate = hugepoison_fate(folio);
	rcu_read_unlock();
	return fate;
}

/*
 * Whether a page of the file's hugepage is poisoned, and no other page stands in for it.
 * Any user can ask at any rate, by /proc/hugepoison/own: taking the folio lock would delay
 * the error handler.
 */
static bool hugepoison_file_is_poisoned(struct vm_area_struct *vma,
					unsigned long address)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	unsigned long at = linear_page_index(vma, address) &
			   ((size >> PAGE_SHIFT) - 1);
	struct folio *folio;
	bool poisoned;

	rcu_read_lock();
	folio = hugepoison_peek(vma, address);
	poisoned = folio && hugepoison_peek_raw(folio, size, at) &&
		   !hugepoison_is_refilled(folio_page(folio, at));
	rcu_read_unlock();
	return poisoned;
}

/*
 * A hugetlb VMA's entry for a hugepage, read under its page table lock; a none entry
 * where there is no page table. The caller keeps the page table: by mmap_lock or the VMA
 * lock, and one that may be shared by the hugetlb VMA lock or i_mmap_rwsem as well.
 */
static pte_t hugepoison_entry_at(struct vm_area_struct *vma,
				 unsigned long address)
{
	struct hstate *h = hstate_vma(vma);
	spinlock_t *ptl = NULL;
	pte_t *ptep, entry;

	address &= huge_page_mask(h);
	ptep = hugetlb_walk(vma, address, huge_page_size(h));
	if (!ptep)
		return __pte(0);
	ptl = huge_pte_lock(h, vma->vm_mm, ptep);
	entry = huge_ptep_get(vma->vm_mm, address, ptep);
	spin_unlock(ptl);
	return entry;
}

/*
 * Whether this entry is a marker that fails: user space has set it (UFFDIO_POISON), or
 * swapoff could not read a page that a private mapping has copied. It keeps failing,
 * whatever the file has.
 */
static bool hugepoison_is_poison_marker(pte_t entry)
{
	return softleaf_is_poison_marker(softleaf_from_pte(entry));
}

/* hugepoison_entry_at() for a caller without the hugetlb VMA lock. */
static pte_t hugepoison_look_at_entry(struct vm_area_struct *vma,
				      unsigned long address)
{
	pte_t entry;

	hugetlb_vma_lock_read(vma);
	entry = hugepoison_entry_at(vma, address);
	hugetlb_vma_unlock_read(vma);
	return entry;
}

/* Whether user space has set the entry at an address of a hugetlb VMA to fail. */
static bool hugepoison_has_uffd_poison(struct vm_area_struct *vma,
				       unsigned long address)
{
	return hugepoison_is_poison_marker(hugepoison_look_at_entry(vma,
								    address));
}
