// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: faults of private mappings, and promoting them.
 *
 * A fault maps the pages that the mapping has of its hugepage. Where the process has
 * discarded a page the fault allocates an anonymous page, as in a private mapping of any
 * file: so a private raw page heals. When no page is poisoned and the pool has a hugepage
 * to spare, that fault makes the range a hugepage again. If the pool has none the range
 * waits in a list.
 *
 * Copying a GiB would hold mmap_lock for too long. So the range moves to the fresh
 * hugepage by one page table each time that mmap_lock is held. In between, faults of
 * other threads map each page from where it is, the fresh hugepage below its size:
 * a store goes to the hugepage that has the page, so none is lost. When all page tables
 * have moved, one entry maps the fresh hugepage. If that cannot go on (a device has
 * pinned the poisoned hugepage, or fork shares the fresh one) the range stays as it is,
 * and a task tries again each few seconds.
 */
#include <linux/cgroup.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/init.h>
#include <linux/oom.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/task_work.h>
#include <asm/tlb.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/* --- promote ---------------------------------------------------------------- */

/*
 * Whether a page can be copied to a hugepage and its entry dropped. Entries of the
 * poisoned hugepage are cleared before.
 */
static bool hugepoison_is_plain(struct vm_area_struct *vma,
				unsigned long address, pte_t entry)
{
	struct page *page;

	if (pte_none(entry))
		return true;
	if (!pte_present(entry))
		return false;
	page = vm_normal_page(vma, address, entry);
	if (!page || PageHuge(page))
		return page;
	return PageAnon(page) && !PageCompound(page) && !folio_test_ksm(page_folio(page)) &&
	       !PageHWPoison(page);
}

/* Whether all pages of one page table are plain. */
static bool hugepoison_table_is_plain(struct vm_area_struct *vma,
				      unsigned long address)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	pte_t *ptes, *pte, *end;
	spinlock_t *ptl = NULL;

	if (!pmd)
		return true;
	ptes = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!ptes)
		return true;
	end = ptes + PTRS_PER_PTE;
	for (pte = ptes; pte < end; pte++, address += PAGE_SIZE)
		if (!hugepoison_is_plain(vma, address, ptep_get(pte)))
			break;
	pte_unmap_unlock(ptes, ptl);
	return pte == end;
}

/* Whether a page that the mapping has of a hugepage is poisoned. */
static bool hugepoison_folio_is_poisoned(struct vm_area_struct *vma,
					 struct folio *folio)
{
	unsigned long i;

	if (!folio)
		return false;
	if (hugepoison_fate(folio) == HUGEPOISON_WIDE)
		return true;
	for (i = hugepoison_next_raw(folio, 0); i < folio_nr_pages(folio);
	     i = hugepoison_next_raw(folio, i + 1))
		if (hugepoison_private_is_poisoned(vma, vma->vm_start +
						   i * PAGE_SIZE))
			return true;
	return false;
}

/*
 * Whether a range can become a hugepage: no page is poisoned, all pages are plain, and
 * the file has no hugepage there, which the mapping would see where it has discarded. A
 * poisoned copy is not plain. mmap_lock, held at least for reading, keeps the page
 * tables.
 */
static bool hugepoison_range_is_whole(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	unsigned long address = vma->vm_start;

	if (hugepoison_file_pfn(vma, address) ||
	    hugepoison_folio_is_poisoned(vma, priv->folio))
		return false;
	while (address < vma->vm_end && hugepoison_table_is_plain(vma, address))
		address += PMD_SIZE;
	return address == vma->vm_end;
}

/* Whether only mappings and the swap cache have references to a page. */
static bool hugepoison_is_only_mapped(struct folio *folio)
{
	return folio_ref_count(folio) ==
	       folio_mapcount(folio) + folio_test_swapcache(folio);
}

/*
 * Whether the hugepage that has a page table's pages has no references but those of
 * entries, the mapping's and, while it is poisoned, the handler's: else a device may be
 * writing to it. That is the poisoned one, or once the table has moved the fresh one. A
 * shared hugepage is read-only.
 */
static bool hugepoison_held_is_unused(struct vm_area_struct *vma,
				      unsigned long table)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	struct folio *folio = hugepoison_table_folio(priv, table * PTRS_PER_PTE);

	return !folio || !PageAnonExclusive(&folio->page) ||
	       folio_ref_count(folio) - folio_mapcount(folio) <=
	       1 + folio_test_hwpoison(folio);
}

/*
 * Copy a page to the fresh hugepage, or zeros for a discarded one. @bad: the page of the
 * poisoned hugepage there is. Return: false for a bad page, or one with other users: a
 * device may be writing to it.
 */
static bool hugepoison_copy_page(struct vm_area_struct *vma,
				 unsigned long address, struct folio *fresh, bool bad)
{
	struct page *to = folio_page(fresh,
				     (address - vma->vm_start) >> PAGE_SHIFT);
	pte_t entry = hugepoison_base_entry(vma, address);
	struct folio *from;

	if (pte_none(entry)) {
		from = hugepoison_private_folio(vma, address);
		if (from == fresh)
			return true;
		return !(from && bad) &&
		       hugepoison_fill_page(vma, address, to, from);
	}
	return hugepoison_is_plain(vma, address, entry) &&
	       hugepoison_is_only_mapped(page_folio(pte_page(entry))) &&
	       !copy_mc_user_highpage(to, pte_page(entry), address, vma);
}

/*
 * The bad pages of a page table's part of the poisoned hugepage. Errors may have come
 * since the range began to move, or since promoting looked at it. An error that the handler
 * lists from now on is one during the copy, which the copy notices or not.
 */
static void hugepoison_bad_of_table(struct hugepoison_private *priv,
				    unsigned long at, unsigned long *bad)
{
	if (!priv->folio)
		bitmap_zero(bad, PTRS_PER_PTE);
	else if (hugepoison_fate(priv->folio) == HUGEPOISON_WIDE)
		bitmap_fill(bad, PTRS_PER_PTE);
	else
		hugepoison_raw_pages(priv->folio, at, bad, PTRS_PER_PTE);
}

static bool hugepoison_copy_table(struct vm_area_struct *vma,
				  unsigned long start, struct folio *fresh)
{
	unsigned long at = (start - vma->vm_start) >> PAGE_SHIFT;
	DECLARE_BITMAP(bad, PTRS_PER_PTE);
	unsigned int i;

	hugepoison_bad_of_table(hugepoison_private_of(vma), at, bad);
	for (i = 0; i < PTRS_PER_PTE; i++) {
		if (!hugepoison_copy_page(vma, start + i * PAGE_SIZE, fresh,
					  test_bit(i, bad)))
			return false;
		cond_resched();
	}
	return true;
}

/*
 * Change the protection of a page table's range. With VM_NONE nobody can access the pages
 * during the copy: a fault blocks on the VMA lock, and get_user_pages_fast() has to fault.
 */
static void hugepoison_protect(struct vm_area_struct *vma, unsigned long start,
			       pgprot_t prot)
{
	struct mmu_gather tlb;

	vma->vm_page_prot = prot;
	tlb_gather_mmu(&tlb, vma->vm_mm);
	/* after the old protection is back, write faults make pages writable again */
	change_protection(&tlb, vma, start, start + PMD_SIZE, 0);
	tlb_finish_mmu(&tlb);
}

/*
 * Move the pages of one page table to the fresh hugepage, where discarded pages are
 * zero.
 */
static bool hugepoison_move_table(struct vm_area_struct *vma,
				  unsigned long start, struct folio *fresh)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	unsigned long at = (start - vma->vm_start) >> PAGE_SHIFT;
	pgprot_t prot = vma->vm_page_prot;
	unsigned long *discarded;

	hugepoison_drop_hugepage(vma, start, PMD_SIZE);
	hugepoison_protect(vma, start, vm_get_page_prot(VM_NONE));
	if (!hugepoison_held_is_unused(vma, at / PTRS_PER_PTE) ||
	    !hugepoison_copy_table(vma, start, fresh)) {
		hugepoison_protect(vma, start, prot);
		return false;
	}
	vma->vm_page_prot = prot;
	hugepoison_free_tables(vma, start, start + PMD_SIZE);
	discarded = hugepoison_discarded_part(priv, at);
	if (discarded)
		bitmap_zero(discarded, PTRS_PER_PTE);
	set_bit(at / PTRS_PER_PTE, priv->moved);
	return true;
}

/*
 * The next page table to move. That is one that has not moved; one of which the process
 * has discarded pages since; or any that exists, as it may have pages of the process's
 * own. Return: the end of the range if there is none.
 */
static unsigned long hugepoison_next_to_move(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	unsigned long *discarded, address, at;
	pmd_t *pmd;

	for (address = vma->vm_start; address < vma->vm_end;
	     address += PMD_SIZE) {
		at = (address - vma->vm_start) >> PAGE_SHIFT;
		discarded = hugepoison_discarded_part(priv, at);
		pmd = mm_find_pmd(vma->vm_mm, address);
		if (!test_bit(at / PTRS_PER_PTE, priv->moved) ||
		    (discarded && !bitmap_empty(discarded, PTRS_PER_PTE)) ||
		    (pmd && pmd_present(*pmd) && !pmd_leaf(*pmd)))
			break;
	}
	return address;
}

/* Make a narrowed private VMA, of which nothing is mapped, a hugetlb VMA again. */
static void hugepoison_make_hugetlb(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	vm_flags_t added = priv->added;

	vma->vm_private_data = priv->reserved;
	vm_flags_mod(vma, VM_HUGETLB, added);
	vma_set_page_prot(vma);
	hugepoison_private_free(priv);
	hugepoison_put_small_rmap();
}

/*
 * Uncharge the reservation of the fresh hugepage: the cgroup is charged for the
 * mapping's reservation already, and the fresh one takes the poisoned one's part.
 */
static void hugepoison_uncharge_reserved(struct vm_area_struct *vma,
					 struct folio *fresh)
{
	struct hstate *h = hstate_vma(vma);

	if (!is_vma_resv_set(vma, HPAGE_RESV_OWNER))
		return;
	spin_lock_irq(&hugetlb_lock);
	hugetlb_cgroup_uncharge_folio_rsvd(hstate_index(h),
					   pages_per_huge_page(h), fresh);
	spin_unlock_irq(&hugetlb_lock);
}

/*
 * Map a hugepage that the VMA has a reference to. The page table lock is held. It is marked
 * migratable already: marking it here once more would have one isolated twice.
 */
static void hugepoison_set_huge_entry(struct vm_area_struct *vma,
				      unsigned long start, pte_t *ptep,
				      struct folio *folio, bool write)
{
	struct hstate *h = hstate_vma(vma);

	hugetlb_add_anon_rmap(folio, vma, start, RMAP_NONE);
	set_huge_pte_at(vma->vm_mm, start, ptep,
			make_huge_pte(vma, folio, write),
			huge_page_size(h));
	hugetlb_count_add(pages_per_huge_page(h), vma->vm_mm);
}

/*
 * Map the fresh hugepage at its size, unless it has an error. The folio lock is held from
 * the test on: the handler unmaps with it, so it has not yet and will find the entry.
 *
 * Return: 0, -EBUSY for an error, 1 where another has the folio lock.
 */
static int hugepoison_map_fresh(struct vm_area_struct *vma,
				struct folio *fresh, pte_t *ptep)
{
	spinlock_t *ptl = huge_pte_lock(hstate_vma(vma), vma->vm_mm, ptep);
	int ret = 1;

	/* only tried: the handler has it, and waits for locks that the caller holds */
	if (folio_trylock(fresh)) {
		ret = -EBUSY;
		if (hugepoison_fate(fresh) == HUGEPOISON_HEALTHY) {
			hugepoison_set_huge_entry(vma, vma->vm_start, ptep, fresh,
						  vma->vm_flags & VM_WRITE);
			ret = 0;
		}
		folio_unlock(fresh);
	}
	spin_unlock(ptl);
	return ret;
}

/*
 * All page tables have moved: map the fresh hugepage in place of its pages. Return: as
 * hugepoison_map_fresh(). Until the range is a hugepage faults map its pages again.
 */
static int hugepoison_end_move(struct vm_area_struct *vma, pte_t *ptep)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	struct folio *fresh = priv->fresh;
	int ret;

	hugepoison_free_tables(vma, vma->vm_start, vma->vm_end);
	ret = hugepoison_map_fresh(vma, fresh, ptep);
	if (ret)
		return ret;
	priv->fresh = NULL;
	hugepoison_make_hugetlb(vma);
	hugepoison_uncharge_reserved(vma, fresh);
	return 0;
}

/* The first page table has moved: from now on faults map the fresh hugepage as well. */
static void hugepoison_begin_move(struct vm_area_struct *vma,
				  struct folio *fresh)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	__folio_mark_uptodate(fresh);
	/* private and exclusive, but not mapped yet */
	hugetlb_add_new_anon_rmap(fresh, vma, vma->vm_start);
	hugetlb_remove_rmap(fresh);
	folio_set_hugetlb_migratable(fresh);
	WRITE_ONCE(priv->fresh, fresh);
}

/*
 * Move the next page table. The anon_vma lock keeps reverse map walks out of the page
 * table, which is freed. i_mmap_rwsem keeps holes and truncation out: they come before the
 * copy, or find what has moved.
 *
 * Return: 1 if there are more to move, 0 if the fresh hugepage is mapped, -EBUSY.
 */
static int hugepoison_move_next(struct vm_area_struct *vma, struct folio *fresh,
				pte_t *ptep)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	struct address_space *mapping = vma->vm_file->f_mapping;
	unsigned long address;
	int ret = -EBUSY;

	i_mmap_lock_write(mapping);
	anon_vma_lock_write(vma->anon_vma);
	if (!hugepoison_is_in_file(vma, vma->vm_start) ||
	    hugepoison_file_pfn(vma, vma->vm_start) ||
	    hugepoison_fate(fresh) != HUGEPOISON_HEALTHY)
		goto unlock;
	address = hugepoison_next_to_move(vma);
	if (address < vma->vm_end &&
	    !hugepoison_move_table(vma, address, fresh))
		goto unlock;
	if (!priv->fresh)
		hugepoison_begin_move(vma, fresh);
	ret = hugepoison_next_to_move(vma) < vma->vm_end;
	if (!ret)
		ret = hugepoison_end_move(vma, ptep);
unlock:
	anon_vma_unlock_write(vma->anon_vma);
	i_mmap_unlock_write(mapping);
	return ret;
}

/*
 * Make a pseudo VMA: the hugetlb VMA that the narrowed one was. alloc_hugetlb_folio()
 * takes a hugepage from its reservation, or from the pool where the poisoned hugepage
 * has used that up.
 */
static void hugepoison_init_pseudo_vma(struct vm_area_struct *pseudo_vma,
				       struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	vma_init(pseudo_vma, vma->vm_mm);
	vm_flags_init(pseudo_vma, VM_HUGETLB);
	pseudo_vma->vm_private_data = priv->reserved;
	pseudo_vma->vm_file = vma->vm_file;
	pseudo_vma->vm_start = vma->vm_start;
	pseudo_vma->vm_end = vma->vm_end;
	pseudo_vma->vm_pgoff = vma->vm_pgoff;
#ifdef CONFIG_NUMA
	pseudo_vma->vm_policy = vma->vm_policy;
#endif
}

/* Where a hugepage's entry goes, or NULL. */
static pte_t *hugepoison_huge_slot(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long address = vma->vm_start;
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, address), address);
	pud_t *pud = p4d ? pud_alloc(mm, p4d, address) : NULL;

	if (!pud || vma->vm_end - address > PMD_SIZE)
		return (pte_t *)pud;
	return (pte_t *)pmd_alloc(mm, pud, address);
}

/*
 * Whether a range can move on to a fresh hugepage: no other process shares that, as a
 * child forked meanwhile does. Only fork could change that, and mmap_lock is held.
 *
 * Return: 0, -EBUSY where it is shared, 1 where another had the folio lock. Faults of
 * children may have it over and over: so this does not try again with mmap_lock held.
 */
static int hugepoison_check_fresh(struct folio *fresh)
{
	bool exclusive;

	if (!hugepoison_trylock_briefly(fresh))
		return 1;
	exclusive = hugepoison_private_is_exclusive(fresh);
	hugepoison_unlock_briefly(fresh);
	return exclusive ? 0 : -EBUSY;
}

/*
 * Move the next page table of a narrowed private range to a fresh hugepage. Return: 1 if
 * there are more, 0 if the range is a hugepage again, -EBUSY if it cannot become one now,
 * or the pool has none.
 */
static int hugepoison_promote_step(struct vm_area_struct *vma, u64 begin)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	pte_t *slot = hugepoison_huge_slot(vma);
	struct folio *fresh = priv->fresh;
	struct vm_area_struct pseudo_vma;
	unsigned long pfn;
	int ret = 0;

	if (!slot || userfaultfd_armed(vma) || anon_vma_prepare(vma))
		return -EBUSY;
	vma_start_write(vma);
	if (fresh)
		ret = hugepoison_check_fresh(fresh);
	else if (!hugepoison_range_is_whole(vma))
		ret = -EBUSY;
	if (ret)
		return ret;
	hugepoison_init_pseudo_vma(&pseudo_vma, vma);
	if (!fresh)
		fresh = alloc_hugetlb_folio(&pseudo_vma, vma->vm_start, false);
	if (IS_ERR(fresh))
		return -EBUSY;
	/* once it is mapped, truncation may free it */
	pfn = folio_pfn(fresh);
	ret = hugepoison_move_next(vma, fresh, slot);
	if (ret <= 0)
		trace_hugepoison_promote(pfn, huge_page_order(hstate_vma(vma)),
					 ret ? "failed" : "promoted", begin);
	if (ret < 0 && !priv->fresh) {
		restore_reserve_on_error(hstate_vma(vma), &pseudo_vma,
					 vma->vm_start, fresh);
		folio_put(fresh);
	}
	return ret;
}

/* --- a range that waits for a hugepage --------------------------------------- */

/*
 * How often the worker looks at the pool while ranges wait, and at how many ranges each
 * time. A range gets one try: if that fails, for a pinned page say, the range is not
 * listed again, except where it has moved in part.
 */
#define HUGEPOISON_PROMOTE_AGAIN	(4 * HZ)
#define HUGEPOISON_PROMOTE_BATCH	64

static struct delayed_work hugepoison_promote_dwork;

/*
 * Add a range to the list that waits for a hugepage. The process's cgroup is charged
 * for the list entry, and a mapping has at most one.
 */
static void hugepoison_queue_promotion(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	struct hugepoison_promotion *promotion;

	if (READ_ONCE(priv->waiting))
		return;
	promotion = kmalloc_obj(*promotion, GFP_KERNEL_ACCOUNT |
				__GFP_NORETRY | __GFP_NOWARN);
	if (!promotion)
		return;
	promotion->priv = priv;
	promotion->mm = vma->vm_mm;
	promotion->address = vma->vm_start;
	promotion->pool = hstate_index(hstate_vma(vma));

	spin_lock(&hugepoison_promotions_lock);
	if (!priv->waiting) {
		WRITE_ONCE(priv->waiting, promotion);
		list_add_tail(&promotion->node, &hugepoison_promotions);
		promotion = NULL;
	}
	spin_unlock(&hugepoison_promotions_lock);
	kfree(promotion);
	queue_delayed_work(hugepoison_wq, &hugepoison_promote_dwork,
			   HUGEPOISON_PROMOTE_AGAIN);
}

/* Whether a range has moved in part to a fresh hugepage that has no error. */
static bool hugepoison_has_begun(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	return priv->fresh && !folio_test_hwpoison(priv->fresh);
}

/* --- one try ------------------------------------------------------------------ */

/* The narrowed private range at an address that may be promoted, or NULL. */
static struct vm_area_struct *hugepoison_promotable(struct mm_struct *mm,
						    unsigned long address)
{
	struct vm_area_struct *vma = vma_lookup(mm, address);
	unsigned long size;

	mmap_assert_locked(mm);
	if (check_stable_address_space(mm) || !vma ||
	    !hugepoison_vma_is_narrowed(vma) || vma->vm_flags & VM_MAYSHARE)
		return NULL;
	size = huge_page_size(hstate_vma(vma));
	if (!vma->vm_private_data || !IS_ALIGNED(vma->vm_start, size) ||
	    vma->vm_end - vma->vm_start != size)
		return NULL;
	return vma;
}

/*
 * Promote a private range by one page table. The obstacle may last (a pinned page, a
 * cgroup at its limit), and each try drains the LRU lists of all CPUs and takes a hugepage
 * from the pool for a while. So after a failure no fault tries again until the process
 * discards something; one task does if the range is listed. A range that has moved in
 * part to a hugepage without an error stays listed, or is again.
 *
 * Return: whether there is more to move.
 */
static bool hugepoison_promote_private(struct mm_struct *mm,
				       unsigned long address, u64 begin)
{
	struct vm_area_struct *vma = hugepoison_promotable(mm, address);
	struct hugepoison_private *priv;
	int ret;

	if (!vma)
		return false;
	priv = hugepoison_private_of(vma);
	ret = hugepoison_promote_step(vma, begin);
	if (ret < 0)
		WRITE_ONCE(priv->tried, true);
	/* with mmap_lock still held: if mremap() moves the range its entry comes along */
	if (ret && hugepoison_has_begun(vma))
		hugepoison_queue_promotion(vma);
	return ret > 0;
}

/*
 * Promote the range if that is still possible; no lock is held. mmap_lock is dropped after
 * each page table: faults of other threads come in between. They can have page tables
 * moved again, so the number of steps is limited.
 */
static void hugepoison_try_promote(struct mm_struct *mm, unsigned long address)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_promote_enabled());
	unsigned int steps = 2 * PTRS_PER_PMD;
	bool more = true;

	/* a page in a CPU's LRU batch has one reference too many */
	lru_add_drain_all();
	while (more && steps--) {
		if (mmap_write_lock_killable(mm))
			return;
		more = hugepoison_promote_private(mm, address, begin);
		mmap_write_unlock(mm);
		cond_resched();
	}
}

/* --- the worker and the tasks --------------------------------------------------- */

/* Free hugepages that are not reserved, and the surplus that the pool may still add. */
static long hugepoison_nr_spare(struct hstate *h)
{
	long spare = READ_ONCE(h->free_huge_pages) -
		     READ_ONCE(h->resv_huge_pages);
	long more = READ_ONCE(h->nr_overcommit_huge_pages) -
		    READ_ONCE(h->surplus_huge_pages);

	return max(spare, 0L) + max(more, 0L);
}

#ifdef CONFIG_MEMCG
/*
 * Whether a task will soon run what it is given to do: a thread of vhost's never returns to
 * user mode, one of io_uring's runs it nevertheless.
 */
static bool hugepoison_is_runner(struct task_struct *task)
{
	const unsigned int flags = READ_ONCE(task->flags);

	if (flags & PF_EXITING || (flags & PF_USER_WORKER && !(flags & PF_IO_WORKER)))
		return false;
	return task_is_running(task);
}

/* A running task among a process's first threads, or NULL. RCU read lock held. */
static struct task_struct *hugepoison_find_runner(struct task_struct *process,
						  struct mm_struct *mm)
{
	struct task_struct *task;
	int nr = 0;

	for_each_thread(process, task) {
		if (hugepoison_is_runner(task) && READ_ONCE(task->mm) == mm)
			return task;
		if (++nr == HUGEPOISON_PROMOTE_BATCH)
			break;
	}
	return NULL;
}
#endif

/*
 * A task of the address space that will soon return to user mode, with a reference;
 * NULL if all of them sleep, or the owner is unknown.
 */
static struct task_struct *hugepoison_get_runner(struct mm_struct *mm)
{
	struct task_struct *task = NULL;
#ifdef CONFIG_MEMCG

	rcu_read_lock();
	task = rcu_dereference(mm->owner);
	if (task)
		task = hugepoison_find_runner(task, mm);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
#endif
	return task;
}

/*
 * Promote from a task that returns to user mode: it holds no lock, and its cgroup is
 * charged. The address space, or the mapping at the address, may be another one by now.
 */
static void hugepoison_promote_task(struct callback_head *work)
{
	struct hugepoison_promotion *promotion =
		container_of(work, struct hugepoison_promotion, work);
	unsigned long address = promotion->address;

	kfree(promotion);
	if (current->mm)
		hugepoison_try_promote(current->mm, address);
}

/*
 * Hand the first listed range to a task, or move it to the end of the list. @spare says
 * how many hugepages each pool has left for that. A range that has moved in part needs
 * none.
 *
 * Return: false for an empty list.
 */
static bool hugepoison_promote_next(long *spare)
{
	struct hugepoison_promotion *promotion;
	struct task_struct *task = NULL;

	spin_lock(&hugepoison_promotions_lock);
	promotion = list_first_entry_or_null(&hugepoison_promotions,
					     struct hugepoison_promotion, node);
	if (promotion && (spare[promotion->pool] > 0 ||
			  READ_ONCE(promotion->priv->fresh)))
		task = hugepoison_get_runner(promotion->mm);
	if (task) {
		spare[promotion->pool]--;
		list_del(&promotion->node);
		WRITE_ONCE(promotion->priv->waiting, NULL);
	} else if (promotion) {
		list_move_tail(&promotion->node, &hugepoison_promotions);
	}
	spin_unlock(&hugepoison_promotions_lock);

	if (!task)
		return promotion;
	init_task_work(&promotion->work, hugepoison_promote_task);
	if (task_work_add(task, &promotion->work, TWA_RESUME))
		kfree(promotion);
	put_task_struct(task);
	return true;
}

static void hugepoison_promote_work(struct work_struct *work)
{
	long spare[HUGE_MAX_HSTATE];
	struct hstate *h;
	int nr = 0;

	for_each_hstate(h)
		spare[hstate_index(h)] = hugepoison_nr_spare(h);
	while (nr++ < HUGEPOISON_PROMOTE_BATCH && hugepoison_promote_next(spare))
		;
	if (!list_empty_careful(&hugepoison_promotions))
		queue_delayed_work(hugepoison_wq, to_delayed_work(work),
				   HUGEPOISON_PROMOTE_AGAIN);
}

/* As hugepoison_alloc_wq(): before the first hugepage. */
static int __init hugepoison_init_promote(void)
{
	INIT_DELAYED_WORK(&hugepoison_promote_dwork, hugepoison_promote_work);
	return 0;
}
core_initcall(hugepoison_init_promote);

/* --- faults --------------------------------------------------------------- */

/*
 * Whether a fault should try to promote its range: this fault has not tried yet and
 * will set FAULT_FLAG_TRIED when it returns, no try has failed, the file has no
 * hugepage here, the pool has one to spare, and no page is poisoned. Cheap tests first.
 */
static bool hugepoison_may_promote(struct vm_fault *vmf, struct folio *folio)
{
	struct hugepoison_private *priv = hugepoison_private_of(vmf->vma);
	struct hstate *h = hstate_vma(vmf->vma);

	if (folio || vmf->flags & FAULT_FLAG_TRIED ||
	    !hugepoison_says_tried(vmf->flags) ||
	    hugepoison_cannot_wait(vmf->flags) || !priv || READ_ONCE(priv->tried))
		return false;
	if (!priv->fresh && !hugepoison_nr_spare(h)) {
		hugepoison_queue_promotion(vmf->vma);
		return false;
	}
	if (!hugepoison_range_is_whole(vmf->vma))
		return false;
	/* a short reference to the hugepage may spoil this try: a task tries again */
	hugepoison_queue_promotion(vmf->vma);
	return true;
}

static vm_fault_t hugepoison_promote_private_fault(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned long address = vmf->address;

	mmap_read_unlock(mm);
	hugepoison_try_promote(mm, address);
	return VM_FAULT_RETRY;
}

/*
 * A write fault: fill and map the page that the caller has allocated. On
 * VM_FAULT_NOPAGE the caller drops its reference.
 */
static vm_fault_t hugepoison_cow_fault(struct vm_fault *vmf,
				       struct folio *folio)
{
	if (hugepoison_has_table(vmf) &&
	    hugepoison_fill_anon_page(vmf->vma, vmf->address,
				      page_folio(vmf->cow_page), folio))
		return VM_FAULT_HWPOISON;
	return VM_FAULT_NOPAGE;
}

/*
 * A read fault where the file has no poisoned hugepage: map an anonymous page, as a
 * healthy hugepage is never mapped below its size.
 */
static vm_fault_t hugepoison_anon_fault(struct vm_fault *vmf,
					struct folio *folio)
{
	vm_fault_t ret = vmf_anon_prepare(vmf);
	int err;

	if (ret)
		return ret;
	if (!hugepoison_has_table(vmf))
		return VM_FAULT_NOPAGE;
	err = hugepoison_add_anon_page(vmf->vma, vmf->address, folio,
				       vmf->vma->vm_mm);
	if (err)
		return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_HWPOISON;
	return VM_FAULT_NOPAGE;
}

/*
 * A fault on a poisoned hugepage that the process must not write to: the file's, or the
 * mapping's while another process shares it. The folio is locked and preemption off:
 * nothing is allocated here, as the page table is there.
 */
static vm_fault_t hugepoison_copying_fault(struct vm_fault *vmf,
					   struct folio *folio)
{
	unsigned long at = vmf->pgoff & (folio_nr_pages(folio) - 1);

	if (!vmf->cow_page)
		return hugepoison_map(vmf, folio);
	if (!hugepoison_good_page(folio, at))
		return VM_FAULT_HWPOISON;
	return hugepoison_cow_fault(vmf, folio);
}

/*
 * A fault where neither the mapping nor the file has a poisoned hugepage. If the file
 * has one by now the fault comes again.
 */
static vm_fault_t hugepoison_healthy_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct hstate *h = hstate_vma(vma);
	struct folio *folio;
	vm_fault_t ret = 0;
	bool anon = false;

	folio = filemap_lock_hugetlb_folio(h, vma->vm_file->f_mapping,
					   vmf->pgoff >> huge_page_order(h));
	if (IS_ERR(folio))
		folio = NULL;

	if (folio && hugepoison_fate(folio) != HUGEPOISON_HEALTHY) {
		ret = VM_FAULT_NOPAGE;
	} else if (!hugepoison_may_promote(vmf, folio)) {
		anon = !vmf->cow_page;
		if (!anon)
			ret = hugepoison_cow_fault(vmf, folio);
	}

	if (folio)
		folio_unlock(folio);
	/* allocating may take long: not with the file's folio locked */
	if (anon)
		ret = hugepoison_anon_fault(vmf, folio);
	if (folio)
		folio_put(folio);
	return ret ?: hugepoison_promote_private_fault(vmf);
}

/* The mapping has no page here: map the file's, or a new one. */
static vm_fault_t hugepoison_discarded_fault(struct vm_fault *vmf)
{
	struct folio *folio = hugepoison_lock_briefly(vmf);
	enum hugepoison_fate fate = HUGEPOISON_HEALTHY;
	struct hstate *h = hstate_vma(vmf->vma);
	vm_fault_t ret = 0;

	if (folio) {
		fate = hugepoison_fate(folio);
		if (fate == HUGEPOISON_NARROW)
			ret = hugepoison_copying_fault(vmf, folio);
		else if (fate == HUGEPOISON_WIDE)
			ret = VM_FAULT_HWPOISON_LARGE |
			      VM_FAULT_SET_HINDEX(hstate_index(h));
		hugepoison_unlock_briefly(folio);
		folio_put(folio);
	}
	if (fate == HUGEPOISON_HEALTHY)
		return hugepoison_healthy_fault(vmf);
	return ret ?: hugepoison_undecided_fault(vmf);
}

/*
 * A fault where the mapping holds its hugepage, locked. A hugepage that is healthy,
 * because its errors were undone, stays mapped below its size.
 *
 * Return: 0 if the error handler has yet to decide.
 */
static vm_fault_t hugepoison_held_fault(struct vm_fault *vmf,
					struct folio *folio)
{
	struct hstate *h = hstate_vma(vmf->vma);

	switch (hugepoison_fate(folio)) {
	case HUGEPOISON_UNDECIDED:
		return 0;
	case HUGEPOISON_WIDE:
		return VM_FAULT_HWPOISON_LARGE |
		       VM_FAULT_SET_HINDEX(hstate_index(h));
	default:
		if (hugepoison_private_is_exclusive(folio))
			return hugepoison_map(vmf, folio);
		return hugepoison_copying_fault(vmf, folio);
	}
}

/*
 * A fault on a none entry of a narrowed private VMA. If the process discards the page
 * meanwhile nothing gets mapped, and the fault comes again.
 */
static vm_fault_t hugepoison_private_fault(struct vm_fault *vmf)
{
	struct folio *folio = hugepoison_private_folio(vmf->vma, vmf->address);
	vm_fault_t ret;

	/* pages that the OOM reaper took from a dying process must not come back */
	ret = check_stable_address_space(vmf->vma->vm_mm);
	if (ret)
		return ret;
	if (!folio)
		return hugepoison_discarded_fault(vmf);
	while (!hugepoison_trylock_briefly(folio))
		;
	ret = hugepoison_held_fault(vmf, folio);
	hugepoison_unlock_briefly(folio);
	return ret ?: hugepoison_undecided_fault(vmf);
}

/**
 * hugepoison_writes_in_place - whether a write fault needs no copy
 * @vma: a narrowed private VMA
 * @address: where nothing is mapped
 *
 * If so the fault allocates and charges no page. Only fork could change the answer,
 * and fork waits for the fault's lock.
 *
 * Context: mmap_lock or the VMA's lock held for reading.
 * Return: true where the process writes to its hugepage.
 */
bool hugepoison_writes_in_place(struct vm_area_struct *vma,
				unsigned long address)
{
	struct folio *folio = hugepoison_private_folio(vma, address);

	return folio && PageAnonExclusive(&folio->page);
}
