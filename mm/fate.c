// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what a mapping has lost.
 *
 * Included by hugepoison/hugetlb.c.
 */

/*
 * What a mapping loses of the hugepage at an address. To a shared one the page
 * cache is the truth: an entry may be older, or not there yet.
 */
static enum hugepoison_fate hugepoison_vma_fate(struct vm_area_struct *vma,
						unsigned long address)
{
	if (is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_MAYSHARE))
		return hugepoison_private_fate(vma, address);
	return hugepoison_file_fate(vma, address);
}

/* What a narrowed private mapping loses: any page of it may be one it copied. */
static enum hugepoison_fate hugepoison_narrowed_fate(struct vm_area_struct *vma)
{
	unsigned long address;

	for (address = vma->vm_start; address < vma->vm_end;
	     address += PAGE_SIZE) {
		if (hugepoison_private_is_poisoned(vma, address))
			return HUGEPOISON_NARROW;
		cond_resched();
	}
	return HUGEPOISON_HEALTHY;
}

/**
 * hugepoison_mapping_fate - what a mapping has lost of a hugepage
 * @vma: a hugetlb VMA, or a narrowed one
 * @address: of the hugepage, in bytes
 *
 * What a page fault would find there.
 *
 * Context: mmap_lock held for reading, which keeps the page table: those of
 * private mappings are never shared with other processes.
 * Return: HUGEPOISON_HEALTHY for nothing, HUGEPOISON_NARROW for the raw pages,
 * HUGEPOISON_WIDE for all of it, HUGEPOISON_UNDECIDED when that is about to be
 * known.
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

/* What narrowing would give of the hugepage at an address of a hugetlb VMA. */
static enum hugepoison_fate hugepoison_fate_at(struct vm_area_struct *vma,
					       unsigned long address)
{
	if (hugepoison_why_wide(vma) || hugepoison_has_uffd_poison(vma, address))
		return HUGEPOISON_WIDE;
	return hugepoison_vma_fate(vma, address);
}

/**
 * hugepoison_accessed_shift - how much is lost to who ran into a known error
 * @mm: the address space
 * @address: where it has the raw page
 * @shift: what its entry says: the hugepage's size, or a base page's
 *
 * Two CPUs may run into one error before anybody has narrowed: the second one
 * finds the entry that the handler of the first one left.
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
 * hugepoison_cuts_poison - whether a range ends in a poisoned hugepage
 * @vma: a hugetlb VMA
 * @end: where the range ends
 *
 * Stock leaves out what is not a whole hugepage. Where that can be narrowed the
 * raw page in it may be what is to be discarded.
 *
 * Context: mmap_lock held for reading.
 * Return: true for one that may be narrowed.
 */
bool hugepoison_cuts_poison(struct vm_area_struct *vma, unsigned long end)
{
	enum hugepoison_fate fate;

	if (IS_ALIGNED(end, huge_page_size(hstate_vma(vma))))
		return false;
	fate = hugepoison_fate_at(vma, end);
	return fate == HUGEPOISON_NARROW || fate == HUGEPOISON_UNDECIDED;
}
