// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: narrow a hugetlb VMA, and promote it again.
 *
 * promote.c promotes private mappings.
 */
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <asm/tlb.h>
#include <trace/events/hugepoison.h>

#include "../vma.h"
#include "internal.h"

/* Split the range of one hugepage off as a VMA of its own, or return ERR_PTR(). */
static struct vm_area_struct *hugepoison_isolate_vma(struct vm_area_struct *vma,
						     unsigned long start,
						     unsigned long end)
{
	VMA_ITERATOR(vmi, vma->vm_mm, start);
	vma_flags_t flags = legacy_to_vma_flags(vma->vm_flags & ~VM_HUGETLB);
	struct vm_area_struct *prev;

	mmap_assert_write_locked(vma->vm_mm);
	prev = vma->vm_start < start ? vma : vma_prev(&vmi);
	vma_iter_set(&vmi, start);
	return vma_modify_flags(&vmi, prev, vma, start, end, &flags);
}

/* Lock a file's mappings; without @wait only if nobody else has. Return: true if done. */
static bool hugepoison_lock_mappings(struct address_space *mapping, bool wait)
{
	if (!wait)
		return i_mmap_trylock_write(mapping);
	i_mmap_lock_write(mapping);
	return true;
}

/* As hugepoison_lock_mappings(), with the hugetlb VMA lock, which comes before it. */
static bool hugepoison_lock_shared(struct vm_area_struct *vma, bool wait)
{
	if (wait)
		hugetlb_vma_lock_write(vma);
	else if (!hugetlb_vma_trylock_write(vma))
		return false;
	if (hugepoison_lock_mappings(vma->vm_file->f_mapping, wait))
		return true;
	hugetlb_vma_unlock_write(vma);
	return false;
}

/*
 * Make a hugetlb VMA an ordinary one. The hugetlb VMA lock is freed with the flag; a
 * waiter for the lock finds it detached. i_mmap_rwsem keeps walks of the file's
 * mappings out: by the flag they decide what the entries are.
 */
static enum hugepoison_reason hugepoison_make_narrow(struct vm_area_struct *vma,
						     bool wait)
{
	struct address_space *mapping = vma->vm_file->f_mapping;

	vma_start_write(vma);
	if (!hugepoison_lock_shared(vma, wait))
		return HUGEPOISON_WHY_LOCKED;
	unmap_hugepage_range(vma, vma->vm_start, vma->vm_end, NULL,
			     ZAP_FLAG_DROP_MARKER);
	__hugetlb_vma_unlock_write_free(vma);
	vm_flags_clear(vma, VM_HUGETLB);
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);
	return 0;
}

/* Why a VMA could not be split. */
static enum hugepoison_reason hugepoison_why_whole(struct vm_area_struct *error)
{
	return PTR_ERR(error) == -ENOMEM ? HUGEPOISON_WHY_MAP_COUNT :
					   HUGEPOISON_WHY_NO_SPLIT;
}

/*
 * Narrow a shared mapping of the hugepage at @start.
 *
 * Return: 0 when it is done, else why it cannot be.
 */
static enum hugepoison_reason
hugepoison_narrow_shared(struct vm_area_struct *vma, unsigned long start,
			 bool wait)
{
	unsigned long end = start + huge_page_size(hstate_vma(vma));
	struct vm_area_struct *isolated;

	isolated = hugepoison_isolate_vma(vma, start, end);
	if (IS_ERR(isolated))
		return hugepoison_why_whole(isolated);
	return hugepoison_make_narrow(isolated, wait);
}

/* Make a private hugetlb VMA a narrowed one, which holds the hugepage it had. */
static enum hugepoison_reason
hugepoison_make_private(struct vm_area_struct *vma,
			struct hugepoison_private *priv, bool wait)
{
	struct address_space *mapping = vma->vm_file->f_mapping;

	vma_start_write(vma);
	if (!hugepoison_lock_mappings(mapping, wait))
		return HUGEPOISON_WHY_LOCKED;
	/* punching a hole clears the entry and drops its reference under i_mmap_rwsem */
	priv->folio = hugepoison_kept_folio(hugepoison_entry_at(vma,
								vma->vm_start));
	if (priv->folio)
		folio_get(priv->folio);
	unmap_hugepage_range(vma, vma->vm_start, vma->vm_end, NULL,
			     ZAP_FLAG_DROP_MARKER);
	priv->reserved = vma->vm_private_data;
	priv->added = VM_NORESERVE & ~vma->vm_flags;
	vma->vm_private_data = priv;
	/* pairs with hugepoison_vma_keeps(): the flag says what the pointer is */
	smp_wmb();
	vm_flags_mod(vma, VM_NORESERVE, VM_HUGETLB);
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);
	return 0;
}

/*
 * Narrow a private mapping of the hugepage at @start. No memory is committed, as the
 * hugepage stays in use.
 *
 * Return: 0 when it is done, else why it cannot be now.
 */
static enum hugepoison_reason
hugepoison_narrow_private(struct vm_area_struct *vma, unsigned long start,
			  bool wait)
{
	struct hstate *h = hstate_vma(vma);
	struct hugepoison_private *priv =
		hugepoison_private_alloc(vma->vm_mm, pages_per_huge_page(h));
	enum hugepoison_reason why;

	if (!priv)
		return HUGEPOISON_WHY_NO_PRIVATE;
	vma = hugepoison_isolate_vma(vma, start, start + huge_page_size(h));
	why = IS_ERR(vma) ? hugepoison_why_whole(vma) :
			    hugepoison_make_private(vma, priv, wait);
	if (why)
		hugepoison_private_free(priv);
	return why;
}

/* Narrow a VMA. A narrowed VMA is a user of the key that counts small mappings. */
static enum hugepoison_reason hugepoison_narrow_vma(struct vm_area_struct *vma,
						    unsigned long address,
						    bool wait)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_narrow_enabled());
	struct hstate *h = hstate_vma(vma);
	unsigned long start = address & huge_page_mask(h);
	unsigned long pfn = begin ? hugepoison_poisoned_pfn(vma, start) : 0;
	enum hugepoison_reason why;

	if (!hugepoison_get_small_rmap())
		return 0;
	if (vma->vm_flags & VM_MAYSHARE)
		why = hugepoison_narrow_shared(vma, start, wait);
	else
		why = hugepoison_narrow_private(vma, start, wait);
	if (why)
		hugepoison_put_small_rmap();
	trace_hugepoison_narrow(pfn, huge_page_order(h),
				why ? "failed" : "narrowed", begin);
	return why;
}

/*
 * Narrow the mapping at @address, if that is still a hugetlb VMA with an error. Without
 * @wait the mapping is left alone where another task has locked the file's mappings. Stock
 * locks them to split a VMA, and waits where another task has come in between.
 *
 * Return: 0 when the fault is worth another try, else why it is not.
 */
static enum hugepoison_reason hugepoison_narrow(struct mm_struct *mm,
						unsigned long address, bool wait)
{
	struct vm_area_struct *vma = vma_lookup(mm, address);
	enum hugepoison_reason why;

	mmap_assert_write_locked(mm);
	if (!vma || !is_vm_hugetlb_page(vma))
		return 0;
	/* a fault with only this VMA's lock may be mapping something */
	vma_start_write(vma);
	why = hugepoison_why_wide(vma);
	if (why)
		return why;
	if (hugepoison_vma_fate(vma, address) != HUGEPOISON_NARROW ||
	    hugepoison_has_uffd_poison(vma, address))
		return 0;
	if (!wait && rwsem_is_locked(&vma->vm_file->f_mapping->i_mmap_rwsem))
		return HUGEPOISON_WHY_LOCKED;
	return hugepoison_narrow_vma(vma, address, wait);
}

/* --- promote ---------------------------------------------------------------------- */

/* Unmap all pages of part of a range, and free the page tables that only it has. */
static void hugepoison_free_tables(struct vm_area_struct *vma,
				   unsigned long start, unsigned long end)
{
	struct mmu_gather tlb;

	zap_vma_range(vma, start, end - start);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	free_pgd_range(&tlb, start, end, start, end);
	tlb_finish_mmu(&tlb);
}

/*
 * Make a narrowed shared VMA a hugetlb VMA again. Its entries are cleared, and its page
 * tables freed where the hugepage's entry goes. The hugetlb VMA lock is allocated
 * before punching a hole can find the VMA: else that would unlock a lock that it has
 * not taken.
 */
static void hugepoison_promote(struct mm_struct *mm, unsigned long address)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_promote_enabled());
	struct vm_area_struct *vma = vma_lookup(mm, address);
	struct address_space *mapping;

	mmap_assert_write_locked(mm);
	/* mmap_lock was dropped since the fault: a private VMA may be here now */
	if (!vma || !hugepoison_vma_is_narrowed(vma) ||
	    !(vma->vm_flags & VM_MAYSHARE) ||
	    hugepoison_vma_fate(vma, address) != HUGEPOISON_HEALTHY)
		return;

	mapping = vma->vm_file->f_mapping;
	vma_start_write(vma);
	hugetlb_vma_lock_alloc(vma);
	i_mmap_lock_write(mapping);
	hugepoison_free_tables(vma, vma->vm_start, vma->vm_end);
	vm_flags_set(vma, VM_HUGETLB);
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);
	hugepoison_put_small_rmap();
	if (begin)
		trace_hugepoison_promote(hugepoison_file_pfn(vma, address),
					 huge_page_order(hstate_vma(vma)),
					 "promoted", begin);
}

/* --- open and close a narrowed VMA ------------------------------------------------- */

/* Each narrowed VMA is a user of the key that counts small mappings. */
static void hugepoison_narrowed_open(struct vm_area_struct *vma)
{
	hugepoison_dup_small_rmap();
	if (!(vma->vm_flags & VM_MAYSHARE))
		hugepoison_private_open(vma);
}

static void hugepoison_narrowed_close(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		hugepoison_private_close(vma);
	hugepoison_put_small_rmap();
}

/**
 * hugepoison_vm_op_open - open a VMA of a hugetlb file that was duplicated
 * @vma: the copy
 *
 * A narrowed VMA has no hugetlb VMA lock and no reservation to duplicate.
 *
 * Context: mmap_lock held for writing.
 */
void hugepoison_vm_op_open(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma))
		hugetlb_vm_op_open(vma);
	else
		hugepoison_narrowed_open(vma);
}

/**
 * hugepoison_vm_op_close - close a VMA of a hugetlb file
 * @vma: the VMA
 *
 * Context: mmap_lock held for writing.
 */
void hugepoison_vm_op_close(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma))
		hugetlb_vm_op_close(vma);
	else
		hugepoison_narrowed_close(vma);
}

/* --- a range that begins or ends in a hugepage -------------------------------------- */

/* The VMA at @at, hugetlb or narrowed, if @at is inside a hugepage; or NULL. */
static struct vm_area_struct *hugepoison_cut_mapping(struct mm_struct *mm,
						     unsigned long at)
{
	struct vm_area_struct *vma = vma_lookup(mm, at);

	mmap_assert_locked(mm);
	if (!vma || !hugepoison_vma_is_hugetlb(vma) ||
	    IS_ALIGNED(at, huge_page_size(hstate_vma(vma))))
		return NULL;
	return vma;
}

/* The hugetlb VMA at @at, if @at, an end of a range, is inside a hugepage; or NULL. */
static struct vm_area_struct *hugepoison_cut_vma(struct mm_struct *mm,
						 unsigned long at)
{
	struct vm_area_struct *vma = hugepoison_cut_mapping(mm, at);

	return vma && is_vm_hugetlb_page(vma) ? vma : NULL;
}

/* Whether @at, an end of a range, is inside a hugepage that the mapping has narrowed. */
static bool hugepoison_cuts_narrowed(struct mm_struct *mm, unsigned long at)
{
	struct vm_area_struct *vma = hugepoison_cut_mapping(mm, at);

	return vma && !is_vm_hugetlb_page(vma);
}

/*
 * If the range ends inside a hugepage with an error, wait for the error handler's
 * decision and narrow the hugepage.
 *
 * Return: true when @at is no longer inside a hugepage of a hugetlb VMA.
 */
static bool hugepoison_narrow_at(struct mm_struct *mm, unsigned long at)
{
	enum hugepoison_fate fate = HUGEPOISON_UNDECIDED;
	struct vm_area_struct *vma;
	int tries;

	for (tries = 0; tries < HUGEPOISON_FAULT_TRIES; tries++) {
		if (mmap_read_lock_killable(mm))
			return false;
		vma = hugepoison_cut_vma(mm, at);
		if (vma)
			fate = hugepoison_fate_at(vma, at);
		mmap_read_unlock(mm);
		if (!vma)
			return true;
		if (fate != HUGEPOISON_UNDECIDED)
			break;
		hugepoison_await_handled();
	}
	if (fate != HUGEPOISON_NARROW)
		return false;
	hugepoison_await_small_rmap();
	if (mmap_write_lock_killable(mm))
		return false;
	hugepoison_narrow(mm, at, true);
	vma = hugepoison_cut_vma(mm, at);
	mmap_write_unlock(mm);
	return !vma;
}

/**
 * hugepoison_narrow_ends - narrow where a range that cannot be discarded ends
 * @mm: the address space
 * @start: the first byte
 * @len: bytes; the last page counts as a whole
 * @raced: set when somebody else has narrowed where the range ends, the worker for
 *	   instance; this is worth one more try, so only if it was false
 *
 * A hugetlb mapping can discard whole hugepages only. If no fault has narrowed a
 * hugepage since its error, it has to be narrowed before its raw page can be
 * discarded alone.
 *
 * Context: Process context, may sleep; no lock held.
 * Return: true when another try may succeed.
 */
bool hugepoison_narrow_ends(struct mm_struct *mm, unsigned long start,
			    size_t len, bool *raced)
{
	bool first, last, narrowed;

	len = PAGE_ALIGN(len);
	/* the lock alone is refused only to a task that would have to wait for it */
	if (fatal_signal_pending(current) || mmap_read_lock_killable(mm))
		return false;
	start = untagged_addr_remote(mm, start);
	first = hugepoison_cut_vma(mm, start);
	last = hugepoison_cut_vma(mm, start + len);
	narrowed = hugepoison_cuts_narrowed(mm, start) ||
		   hugepoison_cuts_narrowed(mm, start + len);
	mmap_read_unlock(mm);
	/* progress is an end that was inside a hugepage and no longer is */
	first = first && hugepoison_narrow_at(mm, start);
	last = last && hugepoison_narrow_at(mm, start + len);
	if (first || last)
		return true;
	/* the advice may have failed for another reason, and fail again */
	if (*raced || !narrowed)
		return false;
	*raced = true;
	return true;
}
