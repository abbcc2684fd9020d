// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: page faults.
 *
 * Included by hugepoison/hugetlb.c. A fault that stock ends with an error narrows, or
 * waits until that is decided; a fault in a narrowed VMA maps what is healthy.
 */

/* The hook in hugetlb_vm_ops took the only use away; it stays for =n. */
static vm_fault_t __maybe_unused hugetlb_vm_op_fault(struct vm_fault *vmf);

/* The worker is to narrow for who maps the hugepage at an address. */
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

/* The log says which mapping lost more than the raw page, and why. */
static void hugepoison_log_wide(struct mm_struct *mm, unsigned long address,
				enum hugepoison_reason why)
{
	pr_err_ratelimited("%s:%d: containment hugepage at %#lx: %s\n",
			   current->comm, task_pid_nr(current), address,
			   hugepoison_why(why));
}

/* mmap_lock is held for reading, and not any more afterwards. */
static vm_fault_t hugepoison_narrow_fault(struct mm_struct *mm,
					  unsigned long address)
{
	enum hugepoison_reason why;

	mmap_read_unlock(mm);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	why = hugepoison_narrow(mm, address);
	mmap_write_unlock(mm);
	if (why) {
		hugepoison_log_wide(mm, address, why);
		hugepoison_end_retries(address);
	}
	return VM_FAULT_RETRY;
}

/*
 * Take away the hwpoison entry that a mapping has, if it still has it. Where others
 * share the page table the entry goes for all of them. Unmapping would leave the
 * table to them, with the entry, and the next fault would share it again.
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
		hugepoison_clear_entry(mm, start, ptep, huge_page_size(h), NULL);
	spin_unlock(ptl);
}

/*
 * The file has no poisoned hugepage here any more, but the entry may say that it
 * had: punching a hole passes by a mapping whose lock is taken, and what looks
 * for those later looks for mapped hugepages only. Take the entry away.
 *
 * If the entry is another one by now the fault is worth another try. All that
 * hugetlb_fault() takes for an error is a hwpoison entry, a poisoned hugepage in
 * the file, which is not there any more, user space's marker, or copying for a
 * write that ran into an error: that leaves a private entry as it was, present
 * and not to be written.
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
	if (is_hugetlb_entry_hwpoisoned(entry) &&
	    hugepoison_vma_fate(vma, start) == HUGEPOISON_HEALTHY)
		hugepoison_clear_stale(vma, start, entry);
	i_mmap_unlock_write(mapping);
	hugetlb_vma_unlock_write(vma);

	if (hugepoison_is_uffd_poison(entry))
		return ret;
	if (!(vma->vm_flags & VM_MAYSHARE) && pte_present(entry) &&
	    !huge_pte_write(entry) &&
	    flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE))
		return ret;
	return 0;
}

/*
 * Where a private mapping kept a hugepage it is mapped again, if it is healthy and
 * nobody else has it: stock counts the sharers of a private hugepage by mappings,
 * and those that keep it have none. With others it is narrowed.
 */
static void hugepoison_map_again(struct vm_area_struct *vma,
				 unsigned long start, pte_t *ptep,
				 struct folio *folio)
{
	bool write = vma->vm_flags & VM_WRITE && PageAnonExclusive(&folio->page);
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	/* the caller's reference, and the entry's */
	if (hugepoison_kept_folio(huge_ptep_get(mm, start, ptep)) != folio ||
	    folio_test_hwpoison(folio) || folio_ref_count(folio) != 2)
		return;
	hugetlb_add_anon_rmap(folio, vma, start, RMAP_NONE);
	set_huge_pte_at(mm, start, ptep,
			make_huge_pte(vma, &folio->page, write),
			huge_page_size(h));
	hugetlb_count_add(pages_per_huge_page(h), mm);
	folio_set_hugetlb_migratable(folio);
}

/*
 * The errors in a private hugepage were undone while the mapping had a hwpoison
 * entry for it: map it as it was. Under the folio lock, which the error handler
 * holds while it unmaps.
 *
 * Return: true when the entry was one that keeps a hugepage: it is mapped now, or
 * hugepoison_private_fate() says another thing by now. The fault is worth another
 * try.
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
 * A fault found no hugepage, maybe one that was promised. The pool may be short
 * of one only for as long as the handler needs to replace it, or the worker to
 * look for a fresh one. What comes back after that and finds none either gets
 * the error, unless more errors keep the pool short, for some times.
 */
static vm_fault_t hugepoison_pool_fault(struct vm_area_struct *vma,
					unsigned long address,
					unsigned int flags, vm_fault_t ret)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;

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
 * A fault that cannot wait leaves it to the worker to narrow. Some come back
 * later: KVM's, by a thread of its own, while the virtual machine does something
 * else. For a healthy page that is well. Who touches the raw page has to hear it
 * now: later the machine would be blamed for it in the middle of that.
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
 * hugepoison_poisoned_fault - a page fault found a poisoned hugepage, or none
 * @vma: the hugetlb VMA
 * @address: where, in bytes
 * @flags: FAULT_FLAG_*
 * @ret: what hugetlb_fault() says: VM_FAULT_HWPOISON_LARGE and the size, or
 *	 VM_FAULT_SIGBUS
 *
 * Whether it is worth another try has to be decided without dropping the lock,
 * so that @ret can be returned with it held; see struct hugepoison_retry.
 *
 * Context: Process context; @vma's lock or mmap_lock held for reading as @flags
 * say. Neither is held any more on VM_FAULT_RETRY, except with
 * FAULT_FLAG_RETRY_NOWAIT.
 * Return: VM_FAULT_RETRY where the range is narrowed by now or will be, or the
 * pool refilled; 0 where the entry is proven to be another one by now; else @ret.
 * Documentation/mm/hugepoison.rst has the event that ends each of these.
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

/* The file has no poisoned hugepage here any more. */
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
 * VM_FAULT_HWPOISON on a raw page, VM_FAULT_HWPOISON_LARGE where containment
 * has become all of the hugepage, VM_FAULT_RETRY where the range is a hugetlb
 * range again, VM_FAULT_SIGBUS beyond the end of the file, or when there are
 * more mappings than can be counted.
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
 * hugepoison_fault_in - a fault that could not wait failed
 * @mm: the address space
 * @address: where, in bytes
 * @flags: the fault's FAULT_FLAG_*, without FAULT_FLAG_ALLOW_RETRY
 *
 * Most that fault in memory themselves may drop mmap_lock for it. For the others
 * healthy pages of a poisoned hugepage would be lost until the worker has been
 * there. A mapping that userfaultfd watches stays as it is.
 *
 * Context: Process context, may sleep; mmap_lock held for reading, dropped and
 * taken again: no VMA is what it was.
 * Return: true when what is mapped there now is worth another look.
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
