// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the fate of a hugepage in a mapping.
 */
#include <linux/sched/signal.h>

#include "internal.h"

/*
 * The fate of the hugepage at an address. For a shared mapping the page cache decides: an
 * entry may be stale or none.
 */
static enum hugepoison_fate hugepoison_vma_fate(struct vm_area_struct *vma,
						unsigned long address)
{
	if (is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_MAYSHARE))
		return hugepoison_private_fate(vma, address);
	return hugepoison_file_fate(vma, address);
}

/*
 * The fate of a narrowed private mapping: test each page, as any may be a copy. A task
 * that is killed does not need it any more.
 */
static enum hugepoison_fate hugepoison_narrowed_fate(struct vm_area_struct *vma)
{
	unsigned long address;

	for (address = vma->vm_start; address < vma->vm_end;
	     address += PAGE_SIZE) {
		if (hugepoison_private_is_poisoned(vma, address))
			return HUGEPOISON_NARROW;
		if (fatal_signal_pending(current))
			return HUGEPOISON_UNDECIDED;
		cond_resched();
	}
	return HUGEPOISON_HEALTHY;
}

/**
 * hugepoison_mapping_fate - which pages of a hugepage a mapping loses
 * @vma: a hugetlb VMA, or a narrowed one
 * @address: of the hugepage, in bytes
 *
 * The same as a page fault would find.
 *
 * Context: mmap_lock held for reading, which keeps the page table: page tables of
 * private mappings are never shared with other processes.
 * Return: HUGEPOISON_HEALTHY for none, HUGEPOISON_NARROW for the raw pages,
 * HUGEPOISON_WIDE for all, HUGEPOISON_UNDECIDED if the handler has yet to decide or
 * the task is killed.
 */
enum hugepoison_fate hugepoison_mapping_fate(struct vm_area_struct *vma,
					     unsigned long address)
{
	enum hugepoison_fate fate;

	mmap_assert_locked(vma->vm_mm);
	if (!is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_MAYSHARE))
		return hugepoison_narrowed_fate(vma);
	fate = hugepoison_vma_fate(vma, address);
	if (fate == HUGEPOISON_NARROW && hugepoison_why_wide(vma))
		return HUGEPOISON_WIDE;
	return fate;
}

/* The fate of the hugepage at an address of a hugetlb VMA after narrowing it. */
static enum hugepoison_fate hugepoison_fate_at(struct vm_area_struct *vma,
					       unsigned long address)
{
	if (hugepoison_why_wide(vma) || hugepoison_has_uffd_poison(vma, address))
		return HUGEPOISON_WIDE;
	return hugepoison_vma_fate(vma, address);
}

/**
 * hugepoison_accessed_shift - how much a process loses that accessed a known error
 * @mm: the address space
 * @address: of the raw page
 * @shift: the size that the entry there has: a hugepage's, or a base page's
 *
 * Two CPUs may access the same raw page before the mapping is narrowed. The second one
 * then finds the hwpoison entry that the handler has set for the first.
 *
 * Context: Process context, may sleep; mmap_lock held for reading.
 * Return: PAGE_SHIFT where narrowing keeps the healthy pages, else @shift.
 */
short hugepoison_accessed_shift(struct mm_struct *mm, unsigned long address,
				short shift)
{
	struct vm_area_struct *vma = vma_lookup(mm, address);

	mmap_assert_locked(mm);
	if (vma && is_vm_hugetlb_page(vma) &&
	    hugepoison_fate_at(vma, address) == HUGEPOISON_NARROW)
		return PAGE_SHIFT;
	return shift;
}

/**
 * hugepoison_discard_end - end a range that MADV_DONTNEED discards with a whole hugepage
 * @vma: a hugetlb VMA
 * @end: where the range ends, rounded down here
 * @size: of @vma's hugepages
 *
 * Stock skips a hugepage that is only partly in the range. If it can be narrowed, the
 * process may want to discard its raw page. Not inline, and the last call of stock's
 * function: ordinary mappings must not pay for it.
 *
 * Context: mmap_lock held for reading.
 * Return: false if the range ends in a hugepage that can be narrowed, or may be soon.
 */
bool hugepoison_discard_end(struct vm_area_struct *vma, unsigned long *end,
			    unsigned long size)
{
	enum hugepoison_fate fate;

	if (!IS_ALIGNED(*end, size)) {
		fate = hugepoison_fate_at(vma, *end);
		if (fate == HUGEPOISON_NARROW || fate == HUGEPOISON_UNDECIDED)
			return false;
		*end = ALIGN_DOWN(*end, size);
	}
	return true;
}
