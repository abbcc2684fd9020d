// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: page faults.
 *
 * Where stock ends a fault with an error, the fault narrows, or waits for the handler's
 * decision. A fault in a narrowed VMA maps the healthy pages.
 */
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include "internal.h"

/* The hook in hugetlb_vm_ops replaces the only use; the function stays for =n. */
static vm_fault_t __maybe_unused hugetlb_vm_op_fault(struct vm_fault *vmf);

/* Have the worker narrow the mappings of the hugepage at an address. */
static void hugepoison_queue_narrow_at(struct vm_area_struct *vma,
				       unsigned long address)
{
	struct folio *folio = NULL;

	if (is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_MAYSHARE))
		folio = hugepoison_kept_folio(hugepoison_entry_at(vma, address));
	rcu_read_lock();
	if (!folio)
		folio = hugepoison_peek(vma, address);
	if (folio)
		hugepoison_queue_narrow_folio(folio);
	rcu_read_unlock();
}

/* Log which mapping loses more than the raw page, and why. */
static void hugepoison_log_wide(struct mm_struct *mm, unsigned long address,
				enum hugepoison_reason why)
{
	pr_err_ratelimited("%s:%d: containment hugepage at %#lx: %s\n",
			   current->comm, task_pid_nr(current), address,
			   hugepoison_why(why));
}

/* Narrow in a fault. mmap_lock is held for reading; it is dropped. */
static vm_fault_t hugepoison_narrow_fault(struct mm_struct *mm,
					  unsigned long address)
{
	enum hugepoison_reason why;

	mmap_read_unlock(mm);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	why = hugepoison_narrow(mm, address, true);
	mmap_write_unlock(mm);
	if (why) {
		hugepoison_log_wide(mm, address, why);
		hugepoison_end_retries(address);
	}
	return VM_FAULT_RETRY;
}

/*
 * Clear a mapping's hwpoison entry, if it still is @stale. In a shared page table this
 * clears the entry for all sharers. Unmapping would only unshare the table: the other
 * sharers keep it with the entry, and the next fault would share it again.
 */
static void hugepoison_clear_stale(struct vm_area_struct *vma,
				   unsigned long start, pte_t stale)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = NULL;
	pte_t *ptep = hugetlb_walk(vma, start, huge_page_size(h));

	if (!ptep)
		return;
	ptl = huge_pte_lock(h, mm, ptep);
	if (pte_same(huge_ptep_get(mm, start, ptep), stale))
		hugepoison_clear_entry(mm, start, huge_page_size(h), false,
				       ptep);
	spin_unlock(ptl);
}

/*
 * Clear a hwpoison entry that is left though the file no longer has a poisoned
 * hugepage: punching a hole skips a mapping whose lock is taken, and its second pass
 * looks for mapped hugepages only.
 *
 * If the entry has changed the fault is worth another try. hugetlb_fault() fails with
 * poison for four reasons: a hwpoison entry; a poisoned hugepage in the file, which is
 * gone; a marker set by user space; and a copy for a write that hit an error, which
 * leaves a private entry as it was: present and not writable.
 */
static vm_fault_t hugepoison_stale_fault(struct vm_area_struct *vma,
					 unsigned long address,
					 unsigned int flags, vm_fault_t ret)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	unsigned long size = huge_page_size(hstate_vma(vma));
	unsigned long start = ALIGN_DOWN(address, size);
	pte_t entry;

	hugetlb_vma_lock_write(vma);
	i_mmap_lock_write(mapping);
	entry = hugepoison_entry_at(vma, start);
	if (hugepoison_is_hwpoison(entry) &&
	    hugepoison_vma_fate(vma, start) == HUGEPOISON_HEALTHY)
		hugepoison_clear_stale(vma, start, entry);
	i_mmap_unlock_write(mapping);
	hugetlb_vma_unlock_write(vma);

	if (hugepoison_is_poison_marker(entry))
		return ret;
	if (!(vma->vm_flags & VM_MAYSHARE) && pte_present(entry) &&
	    !huge_pte_write(entry) &&
	    flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE))
		return ret;
	return 0;
}

/*
 * Map a hugepage that a private mapping's hwpoison entry kept, if the hugepage is
 * healthy and nobody else holds it: stock counts the sharers of a private hugepage by
 * its mappings, and a hwpoison entry is none. A shared one gets narrowed instead.
 */
static void hugepoison_map_again(struct vm_area_struct *vma,
				 unsigned long start, pte_t *ptep,
				 struct folio *folio)
{
	bool write = vma->vm_flags & VM_WRITE && PageAnonExclusive(&folio->page);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	/* two references: the caller's and the entry's */
	if (hugepoison_kept_folio(huge_ptep_get(vma->vm_mm, start,
						ptep)) == folio &&
	    !folio_test_hwpoison(folio) && folio_ref_count(folio) == 2)
		hugepoison_set_huge_entry(vma, start, ptep, folio, write);
}

/*
 * Map a private hugepage whose errors were undone while the mapping had a hwpoison
 * entry for it. The folio lock keeps the error handler, which holds it to unmap, out.
 *
 * Return: true if the entry kept a hugepage: the fault is worth another try, as the
 * hugepage is mapped now or hugepoison_private_fate() has changed.
 */
static bool hugepoison_restore_entry(struct vm_area_struct *vma,
				     unsigned long address)
{
	struct hstate *h = hstate_vma(vma);
	unsigned long start = ALIGN_DOWN(address, huge_page_size(h));
	pte_t *ptep = hugetlb_walk(vma, start, huge_page_size(h));
	spinlock_t *ptl = NULL;
	struct folio *folio;

	if (!ptep)
		return false;
	ptl = huge_pte_lock(h, vma->vm_mm, ptep);
	folio = hugepoison_kept_folio(huge_ptep_get(vma->vm_mm, start, ptep));
	if (folio)
		folio_get(folio);
	spin_unlock(ptl);
	if (!folio)
		return false;
	folio_lock(folio);
	spin_lock(ptl);
	hugepoison_map_again(vma, start, ptep, folio);
	spin_unlock(ptl);
	folio_unlock(folio);
	folio_put(folio);
	return true;
}

/*
 * Whether an address is beyond the end of the file. As in hugetlb_no_page() a hugepage of
 * which the file has a part only is: fallocate() can leave such a size.
 */
static bool hugepoison_is_beyond_end(struct vm_area_struct *vma,
				     unsigned long address)
{
	struct hstate *h = hstate_vma(vma);
	pgoff_t end = i_size_read(vma->vm_file->f_mapping->host) >>
		      huge_page_shift(h);

	return linear_page_index(vma, address) >> huge_page_order(h) >= end;
}

/*
 * A fault found no hugepage, though one may be reserved for it. The pool may lack the
 * hugepage only until the handler has replaced it, or the worker has looked for a fresh
 * one: wait for that. A fault that comes back and finds none gets the error, unless
 * further errors take hugepages: then it waits again, a bounded number of times. No
 * hugepage helps a fault beyond the end of the file.
 */
static vm_fault_t hugepoison_pool_fault(struct vm_area_struct *vma,
					unsigned long address,
					unsigned int flags, vm_fault_t ret)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;

	if (hugepoison_is_beyond_end(vma, address))
		return ret;
	if (!hugepoison_handled_recently() &&
	    !hugepoison_pool_is_short(h))
		return ret;
	if (flags & FAULT_FLAG_VMA_LOCK) {
		vma_end_read(vma);
		return VM_FAULT_RETRY;
	}
	if (hugepoison_cannot_wait(flags))
		return flags & FAULT_FLAG_RETRY_NOWAIT ? VM_FAULT_RETRY : ret;
	if (!hugepoison_may_retry(address, flags))
		return ret;
	mmap_read_unlock(mm);
	schedule_timeout_killable(1);
	hugepoison_await_handled();
	hugepoison_pool_await(h);
	return VM_FAULT_RETRY;
}

/*
 * A fault that cannot wait queues the worker, which narrows. With
 * FAULT_FLAG_RETRY_NOWAIT the fault comes back later: KVM's in a thread of its own,
 * while the guest does something else. That is right for a healthy page. A fault on the
 * raw page gets the error now: reported later, it would hit the guest in other work.
 */
static vm_fault_t hugepoison_nowait_fault(struct vm_area_struct *vma,
					  unsigned long address,
					  unsigned int flags, vm_fault_t ret)
{
	bool poisoned;

	hugepoison_queue_narrow_at(vma, address);
	if (!(flags & FAULT_FLAG_RETRY_NOWAIT))
		return ret;
	if (hugepoison_vma_fate(vma, address) != HUGEPOISON_NARROW)
		return VM_FAULT_RETRY;
	poisoned = vma->vm_flags & VM_MAYSHARE ?
		   hugepoison_file_is_poisoned(vma, address) :
		   hugepoison_private_is_poisoned(vma, address);
	return poisoned ? ret : VM_FAULT_RETRY;
}

/**
 * hugepoison_hit_fault - page fault in a hugetlb VMA whose file has been hit by errors
 * @mm: the address space
 * @vma: the hugetlb VMA
 * @address: where, in bytes
 * @flags: FAULT_FLAG_*
 *
 * hugetlb_fault() reads the entry under a mutex that it shares by a hash with faults of
 * all users: a process that touches a raw page would wait for strangers, as long as they
 * lack the CPU. The mutex serializes who sets an entry. A hwpoison entry is there
 * already, and hugepoison_poisoned_fault() reads all that it goes by again.
 *
 * Context: Process context, may sleep; @vma's lock or mmap_lock held for reading.
 * Return: as hugetlb_fault().
 */
vm_fault_t hugepoison_hit_fault(struct mm_struct *mm, struct vm_area_struct *vma,
				unsigned long address, unsigned int flags)
{
	if (hugepoison_is_hwpoison(hugepoison_look_at_entry(vma, address)))
		return VM_FAULT_HWPOISON_LARGE |
		       VM_FAULT_SET_HINDEX(hstate_index(hstate_vma(vma)));
	return hugetlb_fault(mm, vma, address, flags);
}

/**
 * hugepoison_poisoned_fault - a page fault found a poisoned hugepage, or none
 * @vma: the hugetlb VMA
 * @address: where, in bytes
 * @flags: FAULT_FLAG_*
 * @ret: what hugetlb_fault() says: VM_FAULT_HWPOISON_LARGE and the size, or
 *	 VM_FAULT_SIGBUS
 *
 * The lock must be held to return @ret, so whether to try again is decided before
 * the lock is dropped; see struct hugepoison_retry.
 *
 * Context: Process context; @vma's lock or mmap_lock held for reading as @flags
 * say. VM_FAULT_RETRY drops it, except with FAULT_FLAG_RETRY_NOWAIT.
 * Return: VM_FAULT_RETRY where the range is narrowed or will be, or the pool is
 * refilled; 0 where the entry has certainly changed; else @ret.
 * Documentation/mm/hugepoison.rst has the event that ends each wait.
 */
vm_fault_t hugepoison_poisoned_fault(struct vm_area_struct *vma,
				     unsigned long address, unsigned int flags,
				     vm_fault_t ret)
{
	const enum hugepoison_reason why = hugepoison_why_wide(vma);
	enum hugepoison_fate fate;

	if (!(ret & VM_FAULT_HWPOISON_LARGE))
		return hugepoison_pool_fault(vma, address, flags, ret);
	if (hugepoison_has_uffd_poison(vma, address))
		return ret;
	fate = hugepoison_vma_fate(vma, address);
	if (fate == HUGEPOISON_HEALTHY) {
		if (!(vma->vm_flags & VM_MAYSHARE) &&
		    hugepoison_restore_entry(vma, address))
			return 0;
		return hugepoison_stale_fault(vma, address, flags, ret);
	}
	if (fate != HUGEPOISON_NARROW && fate != HUGEPOISON_UNDECIDED)
		return ret;
	if (why) {
		hugepoison_log_wide(vma->vm_mm, address, why);
		return ret;
	}
	if (flags & FAULT_FLAG_VMA_LOCK) {
		vma_end_read(vma);
		return VM_FAULT_RETRY;
	}
	if (hugepoison_cannot_wait(flags))
		return hugepoison_nowait_fault(vma, address, flags, ret);
	if (!hugepoison_may_retry(address, flags))
		return ret;
	if (fate == HUGEPOISON_UNDECIDED || !hugepoison_small_rmap_enabled())
		return hugepoison_wait_fault(vma->vm_mm, fate);
	return hugepoison_narrow_fault(vma->vm_mm, address);
}

/* A fault in a narrowed VMA whose file no longer has a poisoned hugepage: promote. */
static vm_fault_t hugepoison_promote_fault(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned long address = vmf->address;
	vm_fault_t ret = hugepoison_check_retry(vmf);

	if (ret)
		return ret;
	mmap_read_unlock(mm);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	hugepoison_promote(mm, address);
	mmap_write_unlock(mm);
	return VM_FAULT_RETRY;
}

/**
 * hugepoison_vm_op_fault - page fault in a narrowed VMA
 * @vmf: the fault
 *
 * Context: Process context, mmap_lock held for reading.
 * Return: VM_FAULT_NOPAGE with the healthy pages around the fault mapped,
 * VM_FAULT_HWPOISON on a raw page, VM_FAULT_HWPOISON_LARGE where all of the
 * hugepage is out of use, VM_FAULT_RETRY where the range is a hugetlb range again,
 * VM_FAULT_SIGBUS beyond the end of the file, or when the mapcount is at its limit.
 */
vm_fault_t hugepoison_vm_op_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct hstate *h = hstate_vma(vma);
	enum hugepoison_fate fate;
	struct folio *folio;
	vm_fault_t ret;

	if (WARN_ON_ONCE(is_vm_hugetlb_page(vma)))
		return VM_FAULT_SIGBUS;
	if (vmf->pgoff >= i_size_read(mapping->host) >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	if (!(vma->vm_flags & VM_MAYSHARE))
		return hugepoison_private_fault(vmf);
	folio = hugepoison_lock_briefly(vmf);
	if (!folio)
		return hugepoison_promote_fault(vmf);

	fate = hugepoison_fate(folio);
	if (fate == HUGEPOISON_NARROW)
		ret = hugepoison_map(vmf, folio);
	else
		ret = VM_FAULT_HWPOISON_LARGE |
		      VM_FAULT_SET_HINDEX(hstate_index(h));
	hugepoison_unlock_briefly(folio);
	folio_put(folio);
	if (fate == HUGEPOISON_UNDECIDED)
		return hugepoison_undecided_fault(vmf);
	return fate == HUGEPOISON_HEALTHY ? hugepoison_promote_fault(vmf) : ret;
}

/**
 * hugepoison_fault_in - fault in a page after a fault that could not wait failed
 * @mm: the address space
 * @address: where, in bytes
 * @flags: the fault's FAULT_FLAG_*, without FAULT_FLAG_ALLOW_RETRY
 *
 * Most callers that fault in memory may drop mmap_lock for it. The others would
 * fail on healthy pages of a poisoned hugepage until the worker has narrowed. A
 * mapping that userfaultfd watches is left alone.
 *
 * Context: Process context, may sleep; mmap_lock held for reading, dropped and
 * taken again: the caller's VMAs may be gone.
 * Return: true when the caller should look at the mapping again.
 */
bool hugepoison_fault_in(struct mm_struct *mm, unsigned long address,
			 unsigned int flags)
{
	struct vm_area_struct *vma;
	bool unlocked = false;

	mmap_assert_locked(mm);
	vma = vma_lookup(mm, untagged_addr_remote(mm, address));
	if (!vma || !hugepoison_vma_is_hugetlb(vma) || userfaultfd_armed(vma))
		return false;
	return !fixup_user_fault(mm, address, flags, &unlocked);
}
