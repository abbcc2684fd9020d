// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: lose the raw page, not the hugepage.
 *
 * Included by hugepoison/hugetlb.c; what is special with private mappings is in
 * hugepoison/private.c. After an error in a file's hugepage every
 * mapper has a hwpoison entry where it was. The next touch narrows: the range
 * of that one hugepage becomes a VMA of its own that is no hugetlb VMA any more
 * (no VM_HUGETLB), and an ordinary file fault maps the healthy pages, by 2 MiB
 * blocks where all of a block is healthy, by base pages where it is not. The
 * raw page stays unmapped, and touching it is SIGBUS.
 *
 * A narrowed VMA keeps its file, offset and operations. It covers exactly one
 * hugepage for all its life: may_split() forbids less, VM_DONTEXPAND, which all
 * hugetlb VMAs have, forbids merging and growing. When the hugepage is gone
 * from the file, or healthy, the next touch promotes: the VMA is a hugetlb VMA
 * again. So only poisoned hugepages are ever mapped below their size.
 *
 * Locks, outermost first: mmap_lock for writing, hugetlb VMA lock, i_mmap_rwsem.
 * Never mf_mutex: the error handler takes the folio lock under it, and mmap_lock
 * is always outside of it.
 */
#include <linux/hash.h>
#include <linux/huge_mm.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include "vma.h"

/* The hook in hugetlb_vm_ops took the only use away; it stays for =n. */
static vm_fault_t __maybe_unused hugetlb_vm_op_fault(struct vm_fault *vmf);

/**
 * hugepoison_vma_is_narrowed - whether a VMA maps a hugepage below its size
 * @vma: any VMA
 *
 * Context: What keeps @vma's flags from changing: mmap_lock, its VMA lock, or
 * i_mmap_rwsem of its file.
 * Return: true for a narrowed VMA.
 */
bool hugepoison_vma_is_narrowed(struct vm_area_struct *vma)
{
	return !is_vm_hugetlb_page(vma) && vma->vm_file &&
	       is_file_hugepages(vma->vm_file);
}

/**
 * hugepoison_vma_is_hugetlb - whether a VMA is one of hugetlb to its user
 * @vma: any VMA
 *
 * For what user space may ask of a mapping: narrowing must not change the
 * answer.
 *
 * Context: As hugepoison_vma_is_narrowed().
 * Return: true for a hugetlb VMA, and for a narrowed one.
 */
bool hugepoison_vma_is_hugetlb(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma) || hugepoison_vma_is_narrowed(vma);
}

/**
 * hugepoison_vma_is_wide - whether a VMA loses all of a poisoned hugepage
 * @vma: a mapping of it
 *
 * Context: As hugepoison_vma_is_narrowed().
 * Return: the reason, for the log, NULL when it can be narrowed or is.
 */
const char *hugepoison_vma_is_wide(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma) && userfaultfd_armed(vma))
		return "userfaultfd watches the mapping: unregister it";
	return NULL;
}

/*
 * The hugepage that the file has at an address of a mapping, or NULL. Takes no
 * reference: the error handler would take it for a user.
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

/* Page frame of the hugepage that the file has there, 0 for none. */
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

/* What a mapping loses of the file's hugepage. */
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

/* Whether one page of a hugepage is bad, as hugepoison_raw_pages() sees it. */
static bool hugepoison_page_is_raw(struct folio *folio, unsigned long at)
{
	DECLARE_BITMAP(bad, 1);

	hugepoison_raw_pages(folio, at, bad, 1);
	return test_bit(0, bad);
}

/*
 * Whether a page of the file's hugepage is lost. The folio lock is not taken: any
 * user may ask as often as he likes, by /proc/hugepoison/own.
 */
static bool hugepoison_file_is_lost(struct vm_area_struct *vma,
				    unsigned long address)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	unsigned long at = linear_page_index(vma, address) &
			   ((size >> PAGE_SHIFT) - 1);
	struct folio *folio;
	bool lost;

	rcu_read_lock();
	folio = hugepoison_peek(vma, address);
	lost = folio && hugepoison_peek_raw(folio, size, at);
	rcu_read_unlock();
	return lost;
}

/*
 * A hugetlb VMA's entry for a hugepage, read under its lock; none where there is
 * no page table. The caller keeps the page table: by mmap_lock or the VMA's lock,
 * and one that may be shared by the hugetlb VMA lock or i_mmap_rwsem as well.
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
 * Whether it is user space that wants an error here (UFFDIO_POISON). Such an
 * entry stays an error, whatever is in the file.
 */
static bool hugepoison_is_wanted(pte_t entry)
{
	return is_pte_marker(entry) &&
	       pte_marker_get(pte_to_swp_entry(entry)) & PTE_MARKER_POISONED;
}

/* The same of what is at an address of a hugetlb VMA. */
static bool hugepoison_wants_error(struct vm_area_struct *vma,
				   unsigned long address)
{
	bool wanted;

	hugetlb_vma_lock_read(vma);
	wanted = hugepoison_is_wanted(hugepoison_entry_at(vma, address));
	hugetlb_vma_unlock_read(vma);
	return wanted;
}

#include "private.c"

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
static enum hugepoison_fate hugepoison_private_loss(struct vm_area_struct *vma)
{
	unsigned long address;

	for (address = vma->vm_start; address < vma->vm_end;
	     address += PAGE_SIZE) {
		if (hugepoison_vma_lost(vma, address))
			return HUGEPOISON_NARROW;
		cond_resched();
	}
	return HUGEPOISON_HEALTHY;
}

/**
 * hugepoison_vma_loss - what a mapping has lost of a hugepage
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
enum hugepoison_fate hugepoison_vma_loss(struct vm_area_struct *vma,
					 unsigned long address)
{
	enum hugepoison_fate fate;

	mmap_assert_locked(vma->vm_mm);
	if (!is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_MAYSHARE))
		return hugepoison_private_loss(vma);
	fate = hugepoison_vma_fate(vma, address);
	if (fate == HUGEPOISON_NARROW && hugepoison_vma_is_wide(vma))
		return HUGEPOISON_WIDE;
	return fate;
}

/* The worker is to narrow for who maps the hugepage at an address. */
static void hugepoison_call_worker(struct vm_area_struct *vma,
				   unsigned long address)
{
	struct folio *folio = NULL;

	if (is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_MAYSHARE))
		folio = hugepoison_kept_folio(hugepoison_entry_at(vma, address));
	rcu_read_lock();
	if (!folio)
		folio = hugepoison_peek(vma, address);
	if (folio)
		hugepoison_hurry(folio);
	rcu_read_unlock();
}

/* Make the hugepage at @start a VMA of its own; ERR_PTR() if that cannot be. */
static struct vm_area_struct *hugepoison_isolate_vma(struct vm_area_struct *vma,
						     unsigned long start,
						     unsigned long end)
{
	VMA_ITERATOR(vmi, vma->vm_mm, start);
	struct vm_area_struct *prev;

	mmap_assert_write_locked(vma->vm_mm);
	prev = vma->vm_start < start ? vma : vma_prev(&vmi);
	vma_iter_set(&vmi, start);
	return vma_modify_flags(&vmi, prev, vma, start, end,
				vma->vm_flags & ~VM_HUGETLB);
}

/*
 * From a hugetlb VMA to an ordinary one. The hugetlb VMA lock goes with the
 * flag; whoever waits for it finds it detached. i_mmap_rwsem keeps those away
 * who come by the file: they look at the flag to know what the entries are.
 */
static void hugepoison_make_narrow(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_file->f_mapping;

	vma_start_write(vma);
	hugetlb_vma_lock_write(vma);
	i_mmap_lock_write(mapping);
	unmap_hugepage_range(vma, vma->vm_start, vma->vm_end, NULL,
			     ZAP_FLAG_DROP_MARKER);
	__hugetlb_vma_unlock_write_free(vma);
	vm_flags_clear(vma, VM_HUGETLB);
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);
}

/* Why a VMA could not be made one of its own. */
static const char *hugepoison_why_whole(struct vm_area_struct *error)
{
	return PTR_ERR(error) == -ENOMEM ?
	       "no memory, or vm.max_map_count reached" :
	       "the mapping cannot be split";
}

/*
 * Narrow a shared mapping of the hugepage at @start.
 *
 * Return: NULL when it is done, else why it cannot be.
 */
static const char *hugepoison_narrow_shared(struct vm_area_struct *vma,
					    unsigned long start)
{
	unsigned long end = start + huge_page_size(hstate_vma(vma));
	struct vm_area_struct *own;

	own = hugepoison_isolate_vma(vma, start, end);
	if (IS_ERR(own))
		return hugepoison_why_whole(own);
	hugepoison_make_narrow(own);
	return NULL;
}

/* The hugepage, or the file's that is to come, becomes a narrowed VMA's. */
static void hugepoison_make_private(struct vm_area_struct *vma,
				    struct hugepoison_private *own)
{
	struct address_space *mapping = vma->vm_file->f_mapping;

	vma_start_write(vma);
	i_mmap_lock_write(mapping);
	unmap_hugepage_range(vma, vma->vm_start, vma->vm_end, NULL,
			     ZAP_FLAG_DROP_MARKER);
	own->reserved = vma->vm_private_data;
	own->added = VM_NORESERVE & ~vma->vm_flags;
	vma->vm_private_data = own;
	/* pairs with hugepoison_vma_keeps(): the flag tells what it is */
	smp_wmb();
	vm_flags_mod(vma, VM_NORESERVE, VM_HUGETLB);
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);
}

/*
 * Narrow a private mapping of the hugepage at @start. Nothing is charged or
 * committed: the hugepage stays in use, as it was.
 *
 * Return: NULL when it is done, else why it cannot be now.
 */
static const char *hugepoison_narrow_private(struct vm_area_struct *vma,
					     unsigned long start)
{
	struct hstate *h = hstate_vma(vma);
	struct folio *folio =
		hugepoison_kept_folio(hugepoison_entry_at(vma, start));
	struct hugepoison_private *own;

	own = hugepoison_private_alloc(vma->vm_mm, folio,
				       pages_per_huge_page(h));
	if (!own)
		return "no memory to tell which of its pages are in use";
	vma = hugepoison_isolate_vma(vma, start, start + huge_page_size(h));
	if (IS_ERR(vma)) {
		hugepoison_private_free(own);
		return hugepoison_why_whole(vma);
	}
	hugepoison_make_private(vma, own);
	return NULL;
}

/* The VMA that is narrowed is a user of what counts such mappings from now on. */
static const char *hugepoison_narrow_vma(struct vm_area_struct *vma,
					 unsigned long address)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_narrow_enabled());
	struct hstate *h = hstate_vma(vma);
	unsigned long start = address & huge_page_mask(h);
	unsigned long pfn = begin ? hugepoison_poisoned_pfn(vma, start) : 0;
	const char *why;

	if (!hugepage_get_small_rmap())
		return NULL;
	if (vma->vm_flags & VM_MAYSHARE)
		why = hugepoison_narrow_shared(vma, start);
	else
		why = hugepoison_narrow_private(vma, start);
	if (why)
		hugepage_put_small_rmap();
	trace_hugepoison_narrow(pfn, huge_page_order(h),
				why ? "failed" : "narrowed", begin);
	return why;
}

/*
 * Narrow what is mapped at @address, whatever that is by now.
 *
 * Return: NULL when a fault is worth another try, else why it is not.
 */
static const char *hugepoison_narrow(struct mm_struct *mm,
				     unsigned long address)
{
	struct vm_area_struct *vma = vma_lookup(mm, address);
	const char *why;

	mmap_assert_write_locked(mm);
	if (!vma || !is_vm_hugetlb_page(vma))
		return NULL;
	/* a fault may hold this VMA's lock alone, and map something meanwhile */
	vma_start_write(vma);
	why = hugepoison_vma_is_wide(vma);
	if (why)
		return why;
	if (hugepoison_vma_fate(vma, address) != HUGEPOISON_NARROW ||
	    hugepoison_wants_error(vma, address))
		return NULL;
	return hugepoison_narrow_vma(vma, address);
}

/* The log says which mapping lost more than the raw page, and why. */
static void hugepoison_log_wide(struct mm_struct *mm, unsigned long address,
				const char *why)
{
	pr_err_ratelimited("%s:%d: containment hugepage at %#lx: %s\n",
			   current->comm, task_pid_nr(current),
			   address, why);
}

/*
 * A fault that may not give up mmap_lock: fail, or say that it is worth coming
 * back; the worker narrows meanwhile.
 */
static bool hugepoison_cannot_wait(unsigned int flags)
{
	return !(flags & FAULT_FLAG_ALLOW_RETRY) ||
	       flags & FAULT_FLAG_RETRY_NOWAIT;
}

/*
 * How often a fault comes back before it gets the error. Each time it has waited
 * for an event; this bounds how often the event may be in vain: an error that
 * hits again what was just healed, a hugepage that was refilled and taken.
 */
#define HUGEPOISON_FAULT_TRIES	16
#define HUGEPOISON_FAULT_BITS	8

/**
 * struct hugepoison_visitor - a fault that was asked to come back
 * @task: whose it is; never dereferenced
 * @address: of the base page it wants
 * @tries: how often it came back
 *
 * A fault that has dropped mmap_lock must not return anything but
 * VM_FAULT_RETRY: its caller's VMA may be gone. So the error comes out at its
 * next visit, which has to know. Callers say FAULT_FLAG_TRIED then. A visitor
 * that never returns, killed, is overwritten by the next one of its slot; so is
 * one that does return, now and then, and then begins to count anew.
 */
struct hugepoison_visitor {
	struct task_struct *task;
	unsigned long address;
	unsigned int tries;
};

static struct hugepoison_visitor hugepoison_visitors[1 << HUGEPOISON_FAULT_BITS];
static DEFINE_SPINLOCK(hugepoison_visitors_lock);

/* The visit of a fault is one of @tries; it has been @tries times already. */
static struct hugepoison_visitor *hugepoison_visitor(unsigned long address,
						     unsigned int flags)
{
	struct hugepoison_visitor *visitor;

	lockdep_assert_held(&hugepoison_visitors_lock);
	address &= PAGE_MASK;
	visitor = &hugepoison_visitors[hash_ptr(current, HUGEPOISON_FAULT_BITS)];
	if (!(flags & FAULT_FLAG_TRIED) || visitor->task != current ||
	    visitor->address != address)
		*visitor = (struct hugepoison_visitor){ current, address, 0 };
	return visitor;
}

/* Whether a fault may drop mmap_lock and return VM_FAULT_RETRY once more. */
static bool hugepoison_may_retry(unsigned long address, unsigned int flags)
{
	struct hugepoison_visitor *visitor;
	bool may;

	spin_lock(&hugepoison_visitors_lock);
	visitor = hugepoison_visitor(address, flags);
	may = visitor->tries < HUGEPOISON_FAULT_TRIES;
	visitor->tries++;
	spin_unlock(&hugepoison_visitors_lock);
	return may;
}

/* The next visit of a fault is to get the error. */
static void hugepoison_retry_no_more(unsigned long address)
{
	spin_lock(&hugepoison_visitors_lock);
	hugepoison_visitor(address, FAULT_FLAG_TRIED)->tries =
		HUGEPOISON_FAULT_TRIES;
	spin_unlock(&hugepoison_visitors_lock);
}

/* mmap_lock is held for reading, and not any more afterwards. */
static vm_fault_t hugepoison_narrow_fault(struct mm_struct *mm,
					  unsigned long address)
{
	const char *why;

	mmap_read_unlock(mm);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	why = hugepoison_narrow(mm, address);
	mmap_write_unlock(mm);
	if (why) {
		hugepoison_log_wide(mm, address, why);
		hugepoison_retry_no_more(address);
	}
	return VM_FAULT_RETRY;
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
		unmap_hugepage_range(vma, start, start + size, NULL,
				     ZAP_FLAG_DROP_MARKER);
	i_mmap_unlock_write(mapping);
	hugetlb_vma_unlock_write(vma);

	if (hugepoison_is_wanted(entry))
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
 * Wait for the error handler, or for the key without which nothing is narrowed;
 * the fault comes back. mmap_lock is held for reading, and not any more
 * afterwards.
 */
static vm_fault_t hugepoison_wait_fault(struct mm_struct *mm,
					enum hugepoison_fate fate)
{
	mmap_read_unlock(mm);
	if (fate == HUGEPOISON_UNDECIDED)
		hugepoison_await_handled();
	hugepage_await_small_rmap();
	return VM_FAULT_RETRY;
}

/*
 * A fault found no hugepage, maybe one that was promised. The pool may be short
 * of one only for as long as the handler needs to replace it, or the worker to
 * look for a fresh one. What comes back after that and finds none either gets
 * the error, unless more errors keep the pool short, for some times.
 */
static vm_fault_t hugepoison_short_fault(struct vm_area_struct *vma,
					 unsigned long address,
					 unsigned int flags, vm_fault_t ret)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;

	if (!hugepoison_is_handling() &&
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
static vm_fault_t hugepoison_hasty_fault(struct vm_area_struct *vma,
					 unsigned long address,
					 unsigned int flags, vm_fault_t ret)
{
	bool lost;

	hugepoison_call_worker(vma, address);
	if (!(flags & FAULT_FLAG_RETRY_NOWAIT))
		return ret;
	if (hugepoison_vma_fate(vma, address) != HUGEPOISON_NARROW)
		return VM_FAULT_RETRY;
	lost = vma->vm_flags & VM_MAYSHARE ?
	       hugepoison_file_is_lost(vma, address) :
	       hugepoison_vma_lost(vma, address);
	return lost ? ret : VM_FAULT_RETRY;
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
 * so that @ret can be returned with it held; see struct hugepoison_visitor.
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
	const char *why = hugepoison_vma_is_wide(vma);
	enum hugepoison_fate fate;

	if (!(ret & VM_FAULT_HWPOISON_LARGE))
		return hugepoison_short_fault(vma, address, flags, ret);
	if (hugepoison_wants_error(vma, address))
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
		return hugepoison_hasty_fault(vma, address, flags, ret);
	if (!hugepoison_may_retry(address, flags))
		return ret;
	if (fate == HUGEPOISON_UNDECIDED || !hugepage_small_rmap_enabled())
		return hugepoison_wait_fault(vma->vm_mm, fate);
	return hugepoison_narrow_fault(vma->vm_mm, address);
}

/*
 * From a narrowed VMA back to a hugetlb VMA. Nothing may be left in its page
 * tables, and no page table where the hugepage's own entry is to be.
 */
static void hugepoison_promote(struct mm_struct *mm, unsigned long address)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_promote_enabled());
	struct vm_area_struct *vma = vma_lookup(mm, address);
	struct address_space *mapping;
	struct mmu_gather tlb;

	mmap_assert_write_locked(mm);
	if (!vma || !hugepoison_vma_is_narrowed(vma) ||
	    hugepoison_vma_fate(vma, address) != HUGEPOISON_HEALTHY)
		return;

	mapping = vma->vm_file->f_mapping;
	vma_start_write(vma);
	i_mmap_lock_write(mapping);
	zap_page_range_single(vma, vma->vm_start, vma->vm_end - vma->vm_start,
			      NULL);
	tlb_gather_mmu(&tlb, mm);
	free_pgd_range(&tlb, vma->vm_start, vma->vm_end, vma->vm_start,
		       vma->vm_end);
	tlb_finish_mmu(&tlb);
	vm_flags_set(vma, VM_HUGETLB);
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);
	hugepage_put_small_rmap();
	hugetlb_vma_lock_alloc(vma);
	if (begin)
		trace_hugepoison_promote(hugepoison_file_pfn(vma, address),
					 huge_page_order(hstate_vma(vma)),
					 "promoted", begin);
}

/* Whether a fault in a narrowed VMA may come back; else what it gets. */
static vm_fault_t hugepoison_unless_retried(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (hugepoison_cannot_wait(vmf->flags) ||
	    !hugepoison_may_retry(vmf->address, vmf->flags))
		return VM_FAULT_SIGBUS;
	return 0;
}

/* What becomes of a narrowed hugepage is about to be known. */
static vm_fault_t hugepoison_undecided_fault(struct vm_fault *vmf)
{
	return hugepoison_unless_retried(vmf) ?:
	       hugepoison_wait_fault(vmf->vma->vm_mm,
				     HUGEPOISON_UNDECIDED);
}

/* The file has no poisoned hugepage here any more. */
static vm_fault_t hugepoison_promote_fault(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned long address = vmf->address;
	vm_fault_t ret = hugepoison_unless_retried(vmf);

	if (ret)
		return ret;
	mmap_read_unlock(mm);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	hugepoison_promote(mm, address);
	mmap_write_unlock(mm);
	return VM_FAULT_RETRY;
}

/* Count mappings of pages of a hugepage, or one of a block. */
static void hugepoison_count_mapped(struct vm_area_struct *vma,
				    unsigned long address, struct page *page,
				    int nr)
{
	struct folio *folio = page_folio(page);

	if (folio_test_anon(folio))
		hugepage_add_anon_rmap(folio, page, nr, vma, address);
	else
		hugepage_add_file_rmap(folio, nr);
}

/*
 * Whether an entry is to be writable at once. Of a private hugepage it is where
 * the process writes in place, and no first write is to be noticed; of a file's
 * where @wanted says so, as the protection of the mapping tells the rest.
 */
static bool hugepoison_may_write(struct vm_area_struct *vma,
				 struct folio *folio, bool wanted)
{
	if (!folio_test_anon(folio))
		return wanted;
	return vma->vm_flags & VM_WRITE && PageAnonExclusive(&folio->page) &&
	       !vma_soft_dirty_enabled(vma);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/* Whether a healthy block can be mapped by one entry. */
static bool hugepoison_may_map_block(struct vm_fault *vmf, struct folio *folio)
{
	return folio_order(folio) > HPAGE_PMD_ORDER &&
	       pmd_none(pmdp_get_lockless(vmf->pmd)) &&
	       !thp_disabled_by_hw() && !arch_needs_pgtable_deposit();
}

/*
 * Map one healthy block of a 1 GiB page. With base pages 4096 mappers would
 * come near the limit of a reference count, and the TLB would suffer.
 */
static vm_fault_t hugepoison_map_block(struct vm_fault *vmf,
				       struct folio *folio, unsigned long first)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & HPAGE_PMD_MASK;
	struct page *page = folio_page(folio, first);
	pmd_t entry = mk_huge_pmd(page, vma->vm_page_prot);
	bool write = vmf->flags & FAULT_FLAG_WRITE && vma->vm_flags & VM_SHARED;

	if (hugepoison_may_write(vma, folio, write))
		entry = maybe_pmd_mkwrite(pmd_mkdirty(entry), vma);

	vmf->ptl = pmd_lock(vma->vm_mm, vmf->pmd);
	if (pmd_none(*vmf->pmd)) {
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
				       struct folio *folio, unsigned long first)
{
	return VM_FAULT_SIGBUS;
}
#endif

/*
 * Map @nr healthy pages in a row; @vmf->pte is the first one's entry. They are
 * as writable as the mapping is. Where each first write is to be noticed (soft
 * dirty), the one that brought us here comes again as such.
 */
static void hugepoison_map_run(struct vm_fault *vmf, struct folio *folio,
			       struct page *page, unsigned int nr,
			       unsigned long address, bool uffd_wp)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t entry = pte_sw_mkyoung(mk_pte(page, vma->vm_page_prot));

	if (uffd_wp)
		entry = pte_mkuffd_wp(entry);
	if (folio_test_anon(folio))
		entry = pte_mkdirty(entry);
	if (hugepoison_may_write(vma, folio, false))
		entry = pte_mkwrite(entry, vma);
	flush_icache_pages(vma, page, nr);
	folio_ref_add(folio, nr);
	hugepoison_count_mapped(vma, address, page, nr);
	add_mm_counter(vma->vm_mm, mm_counter(folio), nr);
	set_ptes(vma->vm_mm, address, vmf->pte, entry, nr);
	update_mmu_cache_range(vmf, vma, address, vmf->pte, nr);
}

/*
 * Map all the healthy pages that one page table takes. Those that have an entry
 * keep it: userfaultfd's markers, NUMA hints.
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

/*
 * Whether there is a page table for the fault, from here on as long as mmap_lock
 * or the VMA's is held. What __do_fault() has allocated is used: it does so where
 * there is no entry. Else somebody else changes the entry, and it comes again.
 */
static bool hugepoison_has_table(struct vm_fault *vmf)
{
	pmd_t entry;

	if (pmd_none(pmdp_get_lockless(vmf->pmd)) && vmf->prealloc_pte)
		pmd_install(vmf->vma->vm_mm, vmf->pmd, &vmf->prealloc_pte);
	/* one look: a block that goes between two would pass for a table */
	entry = pmdp_get_lockless(vmf->pmd);
	return pmd_present(entry) && !pmd_leaf(entry);
}

/* Map what is healthy around the fault, by base pages. */
static vm_fault_t hugepoison_map_table(struct vm_fault *vmf,
				       struct folio *folio, unsigned long first,
				       const unsigned long *bad)
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
	if (vmf->flags & FAULT_FLAG_ORIG_PTE_VALID &&
	    pte_marker_uffd_wp(vmf->orig_pte)) {
		/* userfaultfd wants this page write-protected, and only this */
		vmf->pte = ptes + at;
		if (pte_same(ptep_get(vmf->pte), vmf->orig_pte))
			hugepoison_map_run(vmf, folio,
					   folio_page(folio, first + at), 1,
					   vmf->address & PAGE_MASK, true);
	} else {
		hugepoison_map_healthy(vmf, folio, first, ptes, bad);
	}
	vmf->pte = NULL;
	pte_unmap_unlock(ptes, vmf->ptl);
	return VM_FAULT_NOPAGE;
}

/* What a private mapping has discarded of a page table's pages is not mapped. */
static void hugepoison_leave_out(struct vm_area_struct *vma,
				 unsigned long first, unsigned long *bad)
{
	struct hugepoison_private *own = vma->vm_private_data;
	const unsigned long *discarded = own->discarded + BIT_WORD(first);
	int i;

	/* a hole in the file does not wait for us, see hugepoison_discard() */
	for (i = 0; i < BITS_TO_LONGS(PTRS_PER_PTE); i++)
		bad[i] |= READ_ONCE(discarded[i]);
}

/*
 * Lock a hugepage in a fault, with preemption off.
 *
 * The error handler waits for that lock, and all other errors for the handler. A
 * task that loses the CPU with it gets on after all that other users compute, and
 * one that queues for it is handed it long before it runs. So the lock is tried,
 * and the end of somebody's turn waited for, which is an event that comes soon: a
 * turn without preemption, the handler's, or the copy of a heal. Spinlocks sleep
 * with PREEMPT_RT, so preemption stays on there.
 *
 * Return: false when that was waited for.
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
 * The file's hugepage at a fault, with a reference and locked briefly; NULL where
 * the file has none.
 */
static struct folio *hugepoison_lock_briefly(struct vm_fault *vmf)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	struct folio *folio;

	for (;;) {
		folio = filemap_get_folio(mapping, vmf->pgoff);
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

/*
 * Map the healthy pages around a fault. The folio lock, held from before the
 * raw pages are looked up until after the mapping, keeps errors reported later
 * from being missed: their handler waits for it, then unmaps.
 */
static vm_fault_t hugepoison_map(struct vm_fault *vmf, struct folio *folio)
{
	DECLARE_BITMAP(bad, PTRS_PER_PTE);
	unsigned long at = vmf->pgoff & (folio_nr_pages(folio) - 1);
	unsigned long first = round_down(at, PTRS_PER_PTE);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	hugepoison_raw_pages(folio, first, bad, PTRS_PER_PTE);
	if (test_bit(at - first, bad))
		return VM_FAULT_HWPOISON;
	if (folio_test_anon(folio))
		hugepoison_leave_out(vmf->vma, first, bad);
	if (!hugepage_may_add_rmap(folio, PTRS_PER_PTE))
		return VM_FAULT_SIGBUS;
	if (hugepoison_may_map_block(vmf, folio) &&
	    bitmap_empty(bad, PTRS_PER_PTE))
		return hugepoison_map_block(vmf, folio, first);
	return hugepoison_map_table(vmf, folio, first, bad);
}

#include "promote.c"

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

/* Each narrowed VMA is a user of the reverse map that counts small mappings. */
static void hugepoison_narrowed_open(struct vm_area_struct *vma)
{
	hugepage_dup_small_rmap();
	if (!(vma->vm_flags & VM_MAYSHARE))
		hugepoison_private_open(vma);
}

static void hugepoison_narrowed_close(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		hugepoison_private_close(vma);
	hugepage_put_small_rmap();
}

/**
 * hugepoison_vm_op_open - a VMA of a hugetlb file was duplicated
 * @vma: the copy
 *
 * A narrowed VMA has no lock and no reservation of its own to be duplicated.
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
 * hugepoison_vm_op_close - a VMA of a hugetlb file goes away
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

/**
 * hugepoison_vm_op_pagesize - by what size a VMA of a hugetlb file is mapped
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
 * hugepoison_entry_nr - how many base pages an entry above page tables maps
 * @page: the first one
 *
 * For statistics of what is not a hugetlb VMA: in a narrowed one it is a block.
 *
 * Context: Page table lock held.
 * Return: base pages.
 */
int hugepoison_entry_nr(struct page *page)
{
	return PageHuge(page) ? PTRS_PER_PTE : compound_nr(page);
}

/* Return: false when @vma is a hugetlb VMA. */
static bool hugepoison_zap(struct vm_area_struct *vma, pgoff_t start,
			   pgoff_t end, bool even_cows)
{
	struct zap_details details = { .even_cows = even_cows };
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
	if (even_cows)
		hugepoison_discard(vma, address, address + size, false);
	zap_page_range_single(vma, address, size, &details);
	return true;
}

/**
 * hugepoison_zap_narrowed - unmap part of a file from a narrowed VMA
 * @vma: a VMA that maps some of it
 * @start: offset in the file of the first page to unmap, in base pages
 * @end: offset of the first one not to, 0 for all that follow
 *
 * For truncation and hole punching. It is what unmap_mapping_range() does to a
 * VMA, and needs no lock of the address space either. A private mapping loses
 * its own pages as well, as stock takes its hugepages.
 *
 * Context: Process context, may sleep; i_mmap_rwsem held.
 * Return: false when @vma is a hugetlb VMA, for the caller to unmap.
 */
bool hugepoison_zap_narrowed(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end)
{
	i_mmap_assert_locked(vma->vm_file->f_mapping);
	return hugepoison_zap(vma, start, end, true);
}

/**
 * hugepoison_zap_poisoned - unmap pages of a poisoned hugepage
 * @vma: a VMA that maps some of it
 * @start: offset in the file of the first page to unmap, in base pages
 * @end: offset of the first one not to
 *
 * As hugepoison_zap_narrowed(), but pages that a private mapping has copied are
 * no part of the hugepage, and nothing is discarded.
 *
 * Context: Process context, may sleep; i_mmap_rwsem or the anon_vma's lock held.
 */
void hugepoison_zap_poisoned(struct vm_area_struct *vma, pgoff_t start,
			     pgoff_t end)
{
	hugepoison_zap(vma, start, end, false);
}

/**
 * hugepoison_zero_segment - zero part of a file's hugepage
 * @folio: the hugepage
 * @start: the first byte of it to be zeroed
 * @end: the first one not to
 *
 * Stock's folio_zero_segment(), but it never touches a raw page: that would be
 * a machine check in the kernel.
 *
 * Context: Process context; folio lock held.
 */
void hugepoison_zero_segment(struct folio *folio, size_t start, size_t end)
{
	size_t step;

	if (!folio_test_hwpoison(folio)) {
		folio_zero_segment(folio, start, end);
		return;
	}
	for (; start < end; start += step) {
		step = min(end - start, PAGE_SIZE - offset_in_page(start));
		if (!hugepoison_page_is_raw(folio, start >> PAGE_SHIFT))
			folio_zero_segment(folio, start, start + step);
	}
}

/*
 * Note a mapping that could be narrowed, unless it is one of those to pass over.
 *
 * Return: false when there is no room for it.
 */
static bool hugepoison_note_mapper(struct vm_area_struct *vma, pgoff_t index,
				   struct hugepoison_mappers *mappers)
{
	struct hugepoison_mapper *mapper = &mappers->at[mappers->nr];

	if (mappers->nr == ARRAY_SIZE(mappers->at))
		return false;
	if (!is_vm_hugetlb_page(vma) || hugepoison_vma_is_wide(vma))
		return true;
	if (mappers->skip) {
		mappers->skip--;
		return true;
	}
	if (!mmget_not_zero(vma->vm_mm))
		return true;
	mapper->mm = vma->vm_mm;
	mapper->address = vma->vm_start +
			  ((index - vma->vm_pgoff) << PAGE_SHIFT);
	mappers->nr++;
	return true;
}

/*
 * Whether a mapping keeps a private hugepage. Many VMAs that its anon_vma knows
 * have copied it since. The anon_vma's lock keeps the page tables of all: a VMA
 * leaves its anon_vmas before its page tables go.
 */
static bool hugepoison_vma_keeps(struct vm_area_struct *vma,
				 struct folio *folio)
{
	unsigned long address = vma->vm_start +
			((folio->index - vma->vm_pgoff) << PAGE_SHIFT);
	struct hugepoison_private *own;

	if (is_vm_hugetlb_page(vma))
		return hugepoison_kept_folio(hugepoison_entry_at(vma, address)) ==
		       folio;
	if (!hugepoison_vma_is_narrowed(vma) || vma->vm_flags & VM_MAYSHARE)
		return false;
	/* pairs with hugepoison_make_private() */
	smp_rmb();
	own = READ_ONCE(vma->vm_private_data);
	return own && READ_ONCE(own->folio) == folio;
}

/**
 * hugepoison_is_kept - whether some mapping keeps a private hugepage
 * @folio: the hugepage, poisoned
 * @anon_vma: its anon_vma, with a reference
 *
 * Context: Process context, may sleep; folio lock held, unless @folio is free.
 * Return: false when nobody has any of it but those who have references.
 */
bool hugepoison_is_kept(struct folio *folio, struct anon_vma *anon_vma)
{
	struct anon_vma_chain *avc;
	bool kept = false;

	if (!folio_test_anon(folio))
		return false;
	anon_vma_lock_read(anon_vma);
	anon_vma_interval_tree_foreach(avc, &anon_vma->rb_root, folio->index,
				       folio->index)
		kept |= hugepoison_vma_keeps(avc->vma, folio);
	anon_vma_unlock_read(anon_vma);
	return kept;
}

/* The same for a private hugepage, by the mappings that keep it. */
static bool hugepoison_find_private(struct folio *folio,
				    struct anon_vma *anon_vma,
				    struct hugepoison_mappers *mappers)
{
	struct anon_vma_chain *avc;

	if (!anon_vma_trylock_read(anon_vma))
		return false;
	anon_vma_interval_tree_foreach(avc, &anon_vma->rb_root, folio->index,
				       folio->index)
		if (hugepoison_vma_keeps(avc->vma, folio) &&
		    !hugepoison_note_mapper(avc->vma, folio->index, mappers))
			break;
	anon_vma_unlock_read(anon_vma);
	return true;
}

/* The same for a file's hugepage: its mappers are in the file's tree. */
static bool hugepoison_find_shared(struct folio *folio,
				   struct address_space *mapping,
				   struct hugepoison_mappers *mappers)
{
	struct vm_area_struct *vma;

	if (!i_mmap_trylock_read(mapping))
		return false;
	vma_interval_tree_foreach(vma, &mapping->i_mmap, folio->index,
				  folio->index)
		if (!hugepoison_note_mapper(vma, folio->index, mappers))
			break;
	i_mmap_unlock_read(mapping);
	return true;
}

/**
 * hugepoison_find_mappers - mappers of a poisoned hugepage that could be narrowed
 * @folio: the hugepage
 * @anon_vma: of a private one, with a reference, else NULL
 * @mappers: to fill, but for those to @skip that could not be narrowed before; not
 *	     more than it takes, the others are found another time
 *
 * Context: Process context; folio lock held, which keeps the file. The caller
 * passes @mappers to hugepoison_narrow_mappers() with no lock held.
 * Return: false when that could not be found out without waiting for somebody who
 * maps the hugepage.
 */
bool hugepoison_find_mappers(struct folio *folio, struct anon_vma *anon_vma,
			     struct hugepoison_mappers *mappers)
{
	struct address_space *mapping = folio_mapping(folio);

	if (anon_vma)
		return hugepoison_find_private(folio, anon_vma, mappers);
	return !mapping || hugepoison_find_shared(folio, mapping, mappers);
}

/* What linux/mmap_lock.h has for readers alone. */
static bool hugepoison_trylock_mm(struct mm_struct *mm)
{
	bool locked;

	__mmap_lock_trace_start_locking(mm, true);
	locked = down_write_trylock(&mm->mmap_lock);
	if (locked)
		mm_lock_seqcount_begin(mm);
	__mmap_lock_trace_acquire_returned(mm, true, locked);
	return locked;
}

/*
 * A process may keep its mmap_lock for as long as it likes: asleep in a page
 * fault that a FUSE server answers, or does not. Others are not to wait for it.
 * Nor is it to wait for the worker longer than that takes.
 * Nor is the last user of an address space to be the worker: freeing it may
 * wait for such a server as well.
 */
static bool hugepoison_try_narrow(struct hugepoison_mapper *mapper)
{
	struct vm_area_struct *vma;
	bool done = false;

	hugepoison_begin_urgent();
	if (hugepoison_trylock_mm(mapper->mm)) {
		hugepoison_narrow(mapper->mm, mapper->address);
		/* one that has lost nothing stays as it is, and is found again */
		vma = vma_lookup(mapper->mm, mapper->address);
		done = !vma || !is_vm_hugetlb_page(vma);
		mmap_write_unlock(mapper->mm);
	}
	hugepoison_end_urgent();
	mmput_async(mapper->mm);
	return done;
}

/**
 * hugepoison_narrow_mappers - narrow for others
 * @mappers: from hugepoison_find_mappers(), used up
 *
 * Context: Process context, may sleep, but waits for no mmap_lock.
 * Return: how many could not be narrowed for now. Their faults do it for
 * themselves, or call the worker again.
 */
unsigned int hugepoison_narrow_mappers(struct hugepoison_mappers *mappers)
{
	unsigned int failed = 0;

	while (mappers->nr) {
		failed += !hugepoison_try_narrow(&mappers->at[--mappers->nr]);
		cond_resched();
	}
	return failed;
}

/* What narrowing would give of the hugepage at an address of a hugetlb VMA. */
static enum hugepoison_fate hugepoison_fate_at(struct vm_area_struct *vma,
					       unsigned long address)
{
	if (hugepoison_vma_is_wide(vma) || hugepoison_wants_error(vma, address))
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

/* The hugetlb VMA that @at, where a range begins or ends, lies in a hugepage of. */
static struct vm_area_struct *hugepoison_cut_vma(struct mm_struct *mm,
						 unsigned long at)
{
	struct vm_area_struct *vma = vma_lookup(mm, at);

	mmap_assert_locked(mm);
	if (!vma || !is_vm_hugetlb_page(vma) ||
	    IS_ALIGNED(at, huge_page_size(hstate_vma(vma))))
		return NULL;
	return vma;
}

/*
 * Narrow the hugepage that a range begins or ends in if there is an error, after
 * the error handler has decided.
 *
 * Return: true when the range cuts no hugepage there any more.
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
	hugepage_await_small_rmap();
	if (mmap_write_lock_killable(mm))
		return false;
	hugepoison_narrow(mm, at);
	vma = hugepoison_cut_vma(mm, at);
	mmap_write_unlock(mm);
	return !vma;
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

/**
 * hugepoison_narrow_ends - a range of memory could not be discarded
 * @mm: the address space
 * @start: the first byte
 * @end: the first one behind it
 *
 * A hugetlb mapping can be discarded by hugepages only. The raw page of one that
 * nobody has touched since the error has to be narrowed to be discarded alone.
 *
 * Context: Process context, may sleep; mmap_lock held for reading, dropped and
 * taken again: no VMA is what it was.
 * Return: true when it is worth another try.
 */
bool hugepoison_narrow_ends(struct mm_struct *mm, unsigned long start,
			    unsigned long end)
{
	bool first = hugepoison_cut_vma(mm, start);
	bool last = hugepoison_cut_vma(mm, end);

	if (!first && !last)
		return false;
	mmap_read_unlock(mm);
	/* only an end that was in the way and is not any more is progress */
	first &= hugepoison_narrow_at(mm, start);
	last &= hugepoison_narrow_at(mm, end);
	mmap_read_lock(mm);
	return first || last;
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
