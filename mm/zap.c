// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: clear entries of narrowed VMAs.
 */
#include "internal.h"

/* Return: false when @vma is a hugetlb VMA. */
static bool hugepoison_zap(struct vm_area_struct *vma, pgoff_t start,
			   pgoff_t end, bool even_cows)
{
	pgoff_t last = vma->vm_pgoff + vma_pages(vma);
	unsigned long address, size;

	if (is_vm_hugetlb_page(vma))
		return false;
	start = max(start, vma->vm_pgoff);
	end = end ? min(end, last) : last;
	if (start >= end)
		return true;
	address = vma->vm_start + ((start - vma->vm_pgoff) << PAGE_SHIFT);
	size = (end - start) << PAGE_SHIFT;
	if (even_cows) {
		hugepoison_discard(vma, address, address + size);
		zap_vma_range(vma, address, size);
	} else {
		hugepoison_zap_but_cows(vma, address, size);
	}
	return true;
}

/**
 * hugepoison_zap_narrowed - unmap part of a file from a narrowed VMA
 * @vma: a VMA that maps some of it
 * @start: offset in the file of the first page to unmap, in base pages
 * @end: offset of the page after the last, 0 for all that follow
 *
 * For truncation and hole punching. Like unmap_mapping_range() for one VMA, it needs no
 * mmap_lock. A private mapping also loses its copies, as stock unmaps its hugepages.
 *
 * Context: Process context, may sleep; i_mmap_rwsem held.
 * Return: false when @vma is a hugetlb VMA, which the caller has to unmap.
 */
bool hugepoison_zap_narrowed(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end)
{
	i_mmap_assert_locked(vma->vm_file->f_mapping);
	return hugepoison_zap(vma, start, end, true);
}

/**
 * hugepoison_zap_hugepage - unmap pages of one hugepage from a narrowed VMA
 * @vma: a VMA that maps some of it
 * @start: offset in the file of the first page to unmap, in base pages
 * @end: offset of the page after the last
 *
 * For the handler, and for a hole whose hugepage a fault has mapped again after
 * hugepoison_zap_narrowed(). A private mapping keeps its copies, which are not part of
 * the hugepage, and discards nothing: pages written after the hole would be lost.
 *
 * Context: Process context, may sleep; i_mmap_rwsem or the anon_vma's lock held.
 * Return: false when @vma is a hugetlb VMA, for the caller to unmap.
 */
bool hugepoison_zap_hugepage(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end)
{
	return hugepoison_zap(vma, start, end, false);
}
