// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: a process fills a lost page again.
 *
 * In a private mapping the new contents are an anonymous page of the process, as a copy on
 * write is. In a shared mapping they are a page that stands in for the raw page, see
 * stand-in.c: all mappings get it. In both cases the hugepage stays as it is, and nothing
 * of its size is allocated, copied or unmapped.
 *
 * The page is complete before anybody can find it, and one store makes it found: an entry
 * with the page table locked, or the table of stand-ins with the hugepage locked. Before
 * that an access is SIGBUS, after it the access gets the new contents.
 *
 * Which page is lost is tested twice: before memory is allocated for it, and under the lock
 * under which that changes. In between no lock is held, as reading the caller's memory may
 * fault.
 */
#include <linux/highmem.h>
#include <linux/memcontrol.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/**
 * struct hugepoison_new_page - a page to be filled again
 * @mm: the address space, the caller's
 * @address: of the page
 * @raw: page frame of the raw page, once it is filled; 0 if it is not known
 * @order: of its hugepage
 * @shared: whether @stand_in has the contents, else @folio
 * @stand_in: for a shared mapping
 * @folio: an anonymous page, for a private mapping
 */
struct hugepoison_new_page {
	struct mm_struct *mm;
	unsigned long address;
	unsigned long raw;
	unsigned int order;
	bool shared;
	struct hugepoison_stand_in *stand_in;
	struct folio *folio;
};

/* --- what is there now -------------------------------------------------------------- */

/*
 * The handler lists a page before it unmaps the page from all, with the hugepage locked or
 * not: until it has ended some can still write there. @ret says that a page is lost, or not.
 */
static int hugepoison_check_settled(int ret)
{
	/* pairs with hugepoison_begin_handling(): the count comes before the list */
	smp_rmb();
	return !ret && hugepoison_handling_now() ? -EAGAIN : ret;
}

/*
 * Whether a page is lost that has this fate in its mapping, and not with all of its
 * hugepage.
 *
 * Return: 0 if it is, -EAGAIN when the handler has yet to decide, else the error.
 */
static int hugepoison_check_fate(struct vm_area_struct *vma, unsigned long address,
				 enum hugepoison_fate fate)
{
	bool lost;

	if (fate == HUGEPOISON_UNDECIDED)
		return -EAGAIN;
	if (fate == HUGEPOISON_WIDE)
		return -EOPNOTSUPP;
	lost = fate == HUGEPOISON_NARROW;
	if (lost && vma->vm_flags & VM_MAYSHARE)
		lost = hugepoison_file_is_poisoned(vma, address);
	else if (lost)
		lost = hugepoison_private_is_poisoned(vma, address);
	return lost ? 0 : -EEXIST;
}

/*
 * Whether a page of a mapping is lost and can be filled again. A private mapping narrows
 * first, as its hwpoison entry has no place for one page.
 *
 * Return: 0 if so, -ENOTBLK when the mapping has to be narrowed, -EAGAIN when the handler
 * has yet to decide, else the error.
 */
static int hugepoison_check_lost(struct vm_area_struct *vma, unsigned long address)
{
	const bool narrowed = !is_vm_hugetlb_page(vma);
	const bool shared = vma->vm_flags & VM_MAYSHARE;
	int ret;

	if (!hugepoison_is_in_file(vma, address))
		return -EFAULT;
	/* a zap clears anonymous entries before it flushes: others may still write there */
	if (narrowed && !shared)
		return hugepoison_check_settled(hugepoison_private_is_poisoned(vma, address) ?
						0 : -EEXIST);
	ret = hugepoison_check_fate(vma, address,
				    narrowed ? hugepoison_file_fate(vma, address) :
					       hugepoison_fate_at(vma, address));
	return ret || shared ? hugepoison_check_settled(ret) : -ENOTBLK;
}

/* The mapping to fill a page of, or ERR_PTR(). mmap_lock held for reading. */
static struct vm_area_struct *hugepoison_refill_vma(struct hugepoison_new_page *refill)
{
	struct vm_area_struct *vma = vma_lookup(refill->mm, refill->address);

	mmap_assert_locked(refill->mm);
	if (!vma)
		return ERR_PTR(-EFAULT);
	if (!hugepoison_vma_is_hugetlb(vma))
		return ERR_PTR(-EINVAL);
	if (!(vma->vm_flags & VM_WRITE))
		return ERR_PTR(-EACCES);
	return vma;
}

/* --- memory for the new contents --------------------------------------------------- */

static void hugepoison_free_refill(struct hugepoison_new_page *refill)
{
	if (refill->stand_in)
		hugepoison_free_stand_in(refill->stand_in);
	if (refill->folio)
		folio_put(refill->folio);
	refill->stand_in = NULL;
	refill->folio = NULL;
}

/* An anonymous page, charged. A limit is an error, never an OOM kill. */
static struct folio *hugepoison_new_anon_page(struct vm_area_struct *vma,
					      unsigned long address)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct folio *folio = vma_alloc_folio(gfp, 0, vma, address);

	if (!folio || !mem_cgroup_charge(folio, vma->vm_mm, gfp))
		return folio;
	folio_put(folio);
	return NULL;
}

/* Allocate for a mapping, unless it is done. Return: -ENOMEM. */
static int hugepoison_alloc_refill(struct hugepoison_new_page *refill,
				   struct vm_area_struct *vma)
{
	refill->shared = vma->vm_flags & VM_MAYSHARE;
	if (refill->shared && !refill->stand_in)
		refill->stand_in = hugepoison_new_stand_in();
	if (!refill->shared && !refill->folio)
		refill->folio = hugepoison_new_anon_page(vma, refill->address);
	return (refill->shared ? !!refill->stand_in : !!refill->folio) ? 0 : -ENOMEM;
}

/* Read the new contents. No lock is held: they may have to be faulted in. */
static int hugepoison_read_refill(struct hugepoison_new_page *refill,
				  const char __user *from)
{
	struct page *page = refill->shared ?
			    refill->stand_in->page :
			    &refill->folio->page;
	unsigned long left;
	void *to = kmap_local_page(page);

	left = copy_from_user(to, from, PAGE_SIZE);
	kunmap_local(to);
	if (left)
		return -EFAULT;
	flush_dcache_page(page);
	return 0;
}

/* --- in a shared mapping ------------------------------------------------------------ */

/* Have the new page stand in for a page of a narrowed hugepage, which is locked. */
static int hugepoison_add_refill(struct hugepoison_new_page *refill,
				 struct folio *folio, unsigned long at)
{
	int ret = hugepoison_good_page(folio, at) ? -EEXIST : 0;

	/* hugepoison_delete() would not find the stand-in in a list that is not complete */
	if (folio_test_hugetlb_raw_hwp_unreliable(folio))
		return -EOPNOTSUPP;
	ret = hugepoison_check_settled(ret);
	if (ret)
		return ret;
	hugepoison_add_stand_in(refill->stand_in, folio_page(folio, at));
	refill->raw = folio_pfn(folio) + at;
	refill->stand_in = NULL;
	hugepoison_queue_reheal(folio);
	return 0;
}

/*
 * Have the new page stand in for the raw one. The hugepage is locked: the handler of another
 * error, a heal or a truncation comes before, and then the page may not be lost any more, or
 * afterwards, and finds the stand-in.
 */
static int hugepoison_refill_shared(struct hugepoison_new_page *refill,
				    struct vm_area_struct *vma)
{
	pgoff_t index = linear_page_index(vma, refill->address);
	int ret = -EEXIST;
	struct folio *folio;

	folio = hugepoison_lock_briefly_at(vma->vm_file->f_mapping, index);
	if (!folio)
		return -EEXIST;
	switch (hugepoison_fate(folio)) {
	case HUGEPOISON_UNDECIDED:
		ret = -EAGAIN;
		break;
	case HUGEPOISON_WIDE:
		ret = -EOPNOTSUPP;
		break;
	case HUGEPOISON_NARROW:
		ret = hugepoison_add_refill(refill, folio,
					    index & (folio_nr_pages(folio) - 1));
		break;
	default:
		break;
	}
	hugepoison_unlock_briefly(folio);
	folio_put(folio);
	return ret;
}

/* --- in a private mapping ----------------------------------------------------------- */

/* The PMD for an address, whose page table is allocated as well; NULL without memory. */
static pmd_t *hugepoison_alloc_table(struct mm_struct *mm, unsigned long address)
{
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, address), address);
	pud_t *pud = p4d ? pud_alloc(mm, p4d, address) : NULL;
	pmd_t *pmd = pud ? pmd_alloc(mm, pud, address) : NULL;

	if (!pmd || pte_alloc(mm, pmd))
		return NULL;
	return pmd;
}

/* Map the new page in place of an entry that maps nothing. Page table lock held. */
static void hugepoison_map_refill(struct hugepoison_new_page *refill,
				  struct vm_area_struct *vma, pte_t *pte)
{
	struct folio *folio = refill->folio;
	pte_t entry = mk_pte(&folio->page, vma->vm_page_prot);

	entry = pte_mkwrite(pte_sw_mkyoung(pte_mkdirty(entry)), vma);
	if (pte_is_uffd_wp_marker(ptep_get(pte)))
		entry = pte_mkuffd(entry);
	folio_get(folio);
	__folio_mark_uptodate(folio);
	folio_add_new_anon_rmap(folio, vma, refill->address, RMAP_EXCLUSIVE);
	folio_add_lru_vma(folio, vma);
	inc_mm_counter(vma->vm_mm, MM_ANONPAGES);
	set_pte_at(vma->vm_mm, refill->address, pte, entry);
	update_mmu_cache(vma, refill->address, pte);
}

/*
 * The page frame of a lost page of a narrowed private mapping, by its entry; 0 where a hole
 * has just removed the hugepage from the file, or swapoff has lost the mapping's own page,
 * which has no frame. Page table lock held.
 */
static unsigned long hugepoison_lost_pfn(struct vm_area_struct *vma,
					 unsigned long address, pte_t entry)
{
	unsigned long nr = pages_per_huge_page(hstate_vma(vma));
	struct folio *folio = hugepoison_private_folio(vma, address);
	unsigned long head;

	if (hugepoison_is_poison_marker(entry))
		return 0;
	if (!hugepoison_none_mostly(entry))
		return softleaf_to_pfn(softleaf_from_pte(entry));
	head = folio ? folio_pfn(folio) : hugepoison_file_pfn(vma, address);
	return head ? head + (linear_page_index(vma, address) & (nr - 1)) : 0;
}

/*
 * Map the new page in a narrowed private mapping, as a copy on write: other processes keep
 * what they have. The page table lock is held from the test on: a discard, a fault or a
 * truncation comes before or after.
 */
static int hugepoison_refill_private(struct hugepoison_new_page *refill,
				     struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = NULL;
	int ret = -EEXIST;
	pte_t *pte;
	pmd_t *pmd;

	if (anon_vma_prepare(vma))
		return -ENOMEM;
	pmd = hugepoison_alloc_table(mm, refill->address);
	if (!pmd)
		return -ENOMEM;
	pte = pte_offset_map_lock(mm, pmd, refill->address, &ptl);
	/* the handler has yet to unmap a block of the hugepage, or the table is gone */
	if (!pte)
		return -EAGAIN;
	if (hugepoison_is_in_file(vma, refill->address) &&
	    hugepoison_entry_is_poisoned(vma, refill->address, ptep_get(pte))) {
		refill->raw = hugepoison_lost_pfn(vma, refill->address,
						  ptep_get(pte));
		hugepoison_map_refill(refill, vma, pte);
		ret = 0;
	}
	pte_unmap_unlock(pte, ptl);
	return ret;
}

/*
 * A private range of 2 MiB that has lost nothing any more may become a hugepage again, which
 * a task of the process does when the pool has one to spare.
 */
static void hugepoison_promote_refilled(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	if (priv && huge_page_size(hstate_vma(vma)) <= PMD_SIZE &&
	    !hugepoison_folio_is_poisoned(vma, priv->folio))
		hugepoison_queue_promotion(vma);
}

/* --- both --------------------------------------------------------------------------- */

/*
 * Take mmap_lock, and find the mapping if the page is lost there. Return: the mapping, or
 * ERR_PTR() of hugepoison_check_lost()'s errors, without the lock.
 */
static struct vm_area_struct *hugepoison_lock_lost(struct hugepoison_new_page *refill)
{
	struct vm_area_struct *vma;
	int ret;

	if (mmap_read_lock_killable(refill->mm))
		return ERR_PTR(-EINTR);
	vma = hugepoison_refill_vma(refill);
	ret = PTR_ERR_OR_ZERO(vma);
	if (!ret)
		ret = hugepoison_check_lost(vma, refill->address);
	if (!ret)
		return vma;
	mmap_read_unlock(refill->mm);
	return ERR_PTR(ret);
}

/* The first test, and memory for the new contents. Return: as hugepoison_check_lost(). */
static int hugepoison_prepare_refill(struct hugepoison_new_page *refill)
{
	struct vm_area_struct *vma = hugepoison_lock_lost(refill);
	int ret;

	if (IS_ERR(vma))
		return PTR_ERR(vma);
	ret = hugepoison_alloc_refill(refill, vma);
	mmap_read_unlock(refill->mm);
	return ret;
}

/* The second test, and the change. Return: as hugepoison_check_lost(). */
static int hugepoison_finish_refill(struct hugepoison_new_page *refill)
{
	struct vm_area_struct *vma = hugepoison_lock_lost(refill);
	int ret = -EAGAIN;

	if (IS_ERR(vma))
		return PTR_ERR(vma);
	/* else another mapping is there by now */
	if (refill->shared == !!(vma->vm_flags & VM_MAYSHARE))
		ret = refill->shared ? hugepoison_refill_shared(refill, vma) :
				       hugepoison_refill_private(refill, vma);
	if (!ret)
		refill->order = huge_page_order(hstate_vma(vma));
	if (!ret && !refill->shared)
		hugepoison_promote_refilled(vma);
	mmap_read_unlock(refill->mm);
	return ret;
}

/* Narrow a private mapping. Return: 0 if that is done, or worth another try. */
static int hugepoison_narrow_refill(struct hugepoison_new_page *refill)
{
	enum hugepoison_reason why;

	hugepoison_await_small_rmap();
	if (mmap_write_lock_killable(refill->mm))
		return -EINTR;
	why = hugepoison_narrow(refill->mm, refill->address, true);
	mmap_write_unlock(refill->mm);
	if (!why)
		return 0;
	return why == HUGEPOISON_WHY_USERFAULTFD ? -EOPNOTSUPP : -ENOMEM;
}

/* One try. Return: 0, -EAGAIN or -ENOTBLK for another one, else the error. */
static int hugepoison_refill_once(struct hugepoison_new_page *refill,
				  const char __user *from)
{
	int ret = hugepoison_prepare_refill(refill);

	if (!ret)
		ret = hugepoison_read_refill(refill, from);
	if (!ret)
		ret = hugepoison_finish_refill(refill);
	return ret;
}

/* Count and trace a refill: no more than errors have come before. */
static void hugepoison_end_refill(struct hugepoison_new_page *refill, u64 begin)
{
	hugepoison_count_refill(refill->order, refill->raw ?
				pfn_to_nid(refill->raw) : numa_mem_id());
	trace_hugepoison_refill(refill->raw, refill->order, "refilled", begin);
}

/**
 * hugepoison_refill - fill a lost page again
 * @mm: the address space, the caller's
 * @address: of the page
 * @from: its new contents
 *
 * All that map the page of a file see SIGBUS before and the new contents after; of a
 * private mapping, its process does. Nothing is changed on an error.
 *
 * Context: Process context of a task with @mm, may sleep and allocate; no lock held.
 * Return: 0; -EEXIST when nothing is lost there, or no longer; -EACCES when the caller may
 * not write there; -EFAULT when there is no memory, or none to read from; -EINVAL when it is
 * no hugepage; -EOPNOTSUPP when all of the hugepage is lost; -ENOMEM, -EINTR; -EAGAIN when
 * each try met another error.
 */
int hugepoison_refill(struct mm_struct *mm, unsigned long address,
		      const char __user *from)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_refill_enabled());
	struct hugepoison_new_page refill = { .mm = mm, .address = address };
	int tries, ret = -EAGAIN;

	for (tries = 0; tries < HUGEPOISON_FAULT_TRIES; tries++) {
		ret = hugepoison_refill_once(&refill, from);
		if (ret == -ENOTBLK)
			ret = hugepoison_narrow_refill(&refill) ?: -EAGAIN;
		else if (ret == -EAGAIN)
			hugepoison_await_handled();
		if (ret != -EAGAIN)
			break;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
	}
	if (!ret)
		hugepoison_end_refill(&refill, begin);
	hugepoison_free_refill(&refill);
	return ret;
}

/**
 * hugepoison_delete - remove what stands in for raw pages of a hugepage
 * @folio: the hugepage, locked; its file is about to drop it
 *
 * A process may map a stand-in and no page of the hugepage: then the caller has seen
 * nothing to unmap.
 *
 * Context: Process context, may sleep; takes i_mmap_rwsem.
 */
void hugepoison_delete(struct folio *folio)
{
	struct page *raw;

	if (likely(!folio_test_hwpoison(folio)))
		return;
	while ((raw = hugepoison_next_refilled(folio))) {
		if (folio_mapped(page_folio(hugepoison_stand_in_of(raw))))
			hugepoison_unmap_small(folio, raw, 1);
		hugepoison_remove_stand_in(raw);
	}
}
