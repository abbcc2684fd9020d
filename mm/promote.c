// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: faults of private mappings, and promoting them.
 *
 * Included by hugepoison/hugetlb.c. A fault maps the pages that the mapping has of
 * its hugepage. Where the process has discarded a page the fault allocates an
 * anonymous page, as in a private mapping of any file: so a private raw page heals.
 * When no page is poisoned and the pool has a hugepage to spare, that fault makes a
 * 2 MiB range a hugepage again. If the pool has none the range waits in a list. A
 * 1 GiB range stays mapped by 2 MiB blocks: copying it would hold mmap_lock too long.
 */
#include <linux/oom.h>

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

/* Whether all pages of the page table are plain. */
static bool hugepoison_table_is_plain(struct vm_area_struct *vma)
{
	unsigned long address = vma->vm_start;
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	pte_t *ptes, *pte, *end;
	spinlock_t *ptl = NULL;

	if (!pmd)
		return true;
	ptes = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!ptes)
		return true;
	end = ptes + vma_pages(vma);
	for (pte = ptes; pte < end; pte++, address += PAGE_SIZE)
		if (!hugepoison_is_plain(vma, address, ptep_get(pte)))
			break;
	pte_unmap_unlock(ptes, ptl);
	return pte == end;
}

/* Whether a page of the mapping's hugepage is poisoned: raw pages only can be. */
static bool hugepoison_range_is_poisoned(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;
	DECLARE_BITMAP(bad, PTRS_PER_PTE);
	unsigned int i;

	if (!priv->folio)
		return false;
	if (hugepoison_fate(priv->folio) == HUGEPOISON_WIDE)
		return true;
	hugepoison_raw_pages(priv->folio, 0, bad, PTRS_PER_PTE);
	for_each_set_bit(i, bad, PTRS_PER_PTE)
		if (hugepoison_private_is_poisoned(vma, vma->vm_start +
						   i * PAGE_SIZE))
			return true;
	return false;
}

/*
 * Whether a range of 2 MiB can become a hugepage: no page is poisoned, all pages are
 * plain, and the file has no hugepage there, which the mapping would see where it has
 * discarded. A poisoned copy is not plain. mmap_lock, held at least for reading, keeps
 * the page table.
 */
static bool hugepoison_range_is_whole(struct vm_area_struct *vma)
{
	return !hugepoison_file_pfn(vma, vma->vm_start) &&
	       !hugepoison_range_is_poisoned(vma) && hugepoison_table_is_plain(vma);
}

/* Whether only mappings and the swap cache have references to a page. */
static bool hugepoison_is_only_mapped(struct folio *folio)
{
	return folio_ref_count(folio) ==
	       folio_mapcount(folio) + folio_test_swapcache(folio);
}

/*
 * Whether the hugepage that the range is copied from has no references but the
 * mapping's and, while it is poisoned, the handler's: else a device may be writing to
 * it. A shared hugepage is read-only.
 */
static bool hugepoison_held_is_unused(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;

	return !priv->folio || !PageAnonExclusive(&priv->folio->page) ||
	       folio_ref_count(priv->folio) <=
	       1 + folio_test_hwpoison(priv->folio);
}

/*
 * Copy a page to the fresh hugepage, or zeros for a discarded one. Return: false for a
 * bad page, or one with other users: a device may be writing to it.
 */
static bool hugepoison_copy_page(struct vm_area_struct *vma,
				 unsigned long address, struct folio *fresh)
{
	struct page *to = folio_page(fresh,
				     (address - vma->vm_start) >> PAGE_SHIFT);
	pte_t entry = hugepoison_base_entry(vma, address);

	if (pte_none(entry))
		return hugepoison_fill_page(vma, address, to,
				hugepoison_private_folio(vma, address));
	return hugepoison_is_plain(vma, address, entry) &&
	       hugepoison_is_only_mapped(page_folio(pte_page(entry))) &&
	       !copy_mc_user_highpage(to, pte_page(entry), address, vma);
}

static bool hugepoison_copy_range(struct vm_area_struct *vma,
				  struct folio *fresh)
{
	unsigned long address;

	if (!hugepoison_held_is_unused(vma))
		return false;
	for (address = vma->vm_start; address < vma->vm_end;
	     address += PAGE_SIZE) {
		if (!hugepoison_copy_page(vma, address, fresh))
			return false;
		cond_resched();
	}
	return true;
}

/*
 * Change the protection of the range. With VM_NONE nobody can access the pages during
 * the copy: a fault blocks on the VMA lock, and get_user_pages_fast() has to fault.
 */
static void hugepoison_protect(struct vm_area_struct *vma, pgprot_t prot)
{
	struct mmu_gather tlb;

	vma->vm_page_prot = prot;
	tlb_gather_mmu(&tlb, vma->vm_mm);
	/* after the old protection is back, write faults make pages writable again */
	change_protection(&tlb, vma, vma->vm_start, vma->vm_end, 0);
	tlb_finish_mmu(&tlb);
}

/* Make a narrowed private VMA a hugetlb VMA again. */
static void hugepoison_make_hugetlb(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;
	vm_flags_t added = priv->added;
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, vma->vm_mm);
	free_pgd_range(&tlb, vma->vm_start, vma->vm_end, vma->vm_start,
		       vma->vm_end);
	tlb_finish_mmu(&tlb);
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

/* Map the fresh hugepage in place of the base pages. */
static void hugepoison_map_fresh(struct vm_area_struct *vma,
				 struct folio *fresh, pte_t *ptep)
{
	struct hstate *h = hstate_vma(vma);
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = NULL;

	__folio_mark_uptodate(fresh);
	ptl = huge_pte_lock(h, mm, ptep);
	hugetlb_add_new_anon_rmap(fresh, vma, vma->vm_start);
	set_huge_pte_at(mm, vma->vm_start, ptep,
			make_huge_pte(vma, fresh,
				      !!(vma->vm_flags & VM_WRITE)),
			huge_page_size(h));
	hugetlb_count_add(pages_per_huge_page(h), mm);
	spin_unlock(ptl);
	folio_set_hugetlb_migratable(fresh);
}

/*
 * Copy the range's pages to the fresh hugepage, and map it in their place. The anon_vma
 * lock keeps reverse map walks out of the page table, which is freed. i_mmap_rwsem is
 * held until the hugepage is mapped: a hole or truncation comes before the copy, or
 * finds the mapping.
 */
static bool hugepoison_collapse_range(struct vm_area_struct *vma,
				      struct folio *fresh, pte_t *ptep)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	pgprot_t prot = vma->vm_page_prot;
	bool done;

	i_mmap_lock_write(mapping);
	anon_vma_lock_write(vma->anon_vma);
	hugepoison_drop_hugepage(vma);
	hugepoison_protect(vma, vm_get_page_prot(VM_NONE));
	done = hugepoison_is_in_file(vma, vma->vm_start) &&
	       !hugepoison_file_pfn(vma, vma->vm_start) &&
	       hugepoison_copy_range(vma, fresh);
	if (done) {
		zap_vma(vma);
		hugepoison_make_hugetlb(vma);
		hugepoison_uncharge_reserved(vma, fresh);
		hugepoison_map_fresh(vma, fresh, ptep);
	} else {
		hugepoison_protect(vma, prot);
	}
	anon_vma_unlock_write(vma->anon_vma);
	i_mmap_unlock_write(mapping);
	return done;
}

/*
 * Make a pseudo VMA: the hugetlb VMA that the narrowed one was. alloc_hugetlb_folio()
 * takes a hugepage from its reservation, or from the pool where the poisoned hugepage
 * has used that up.
 */
static void hugepoison_init_pseudo_vma(struct vm_area_struct *pseudo_vma,
				       struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;

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

/*
 * Make a narrowed private range of 2 MiB a hugepage again. Return: false if the range
 * cannot become one now, or the pool has none.
 */
static bool hugepoison_promote_range(struct vm_area_struct *vma)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_promote_enabled());
	/* the hugepage's entry goes here, if there are page tables */
	pte_t *slot = (pte_t *)mm_find_pmd(vma->vm_mm, vma->vm_start);
	struct vm_area_struct pseudo_vma;
	struct folio *fresh;
	unsigned long pfn;
	bool done;

	if (!slot || userfaultfd_armed(vma) || anon_vma_prepare(vma))
		return false;
	vma_start_write(vma);
	if (!hugepoison_range_is_whole(vma))
		return false;

	hugepoison_init_pseudo_vma(&pseudo_vma, vma);
	fresh = alloc_hugetlb_folio(&pseudo_vma, vma->vm_start, false);
	if (IS_ERR(fresh))
		return false;
	/* once it is mapped, truncation may free it */
	pfn = folio_pfn(fresh);
	done = hugepoison_collapse_range(vma, fresh, slot);
	trace_hugepoison_promote(pfn, huge_page_order(hstate_vma(vma)),
				 done ? "promoted" : "failed", begin);
	if (done)
		return true;
	restore_reserve_on_error(hstate_vma(vma), &pseudo_vma, vma->vm_start,
				 fresh);
	folio_put(fresh);
	return false;
}

/*
 * Try once to promote a private range. The obstacle may last (a pinned page, a cgroup
 * at its limit), and each try drains the LRU lists of all CPUs and takes a hugepage
 * from the pool for a while. So after a failure no fault tries again until the process
 * discards something; one task does if the range is listed.
 */
static void hugepoison_promote_private(struct mm_struct *mm,
				       unsigned long address)
{
	struct vm_area_struct *vma = vma_lookup(mm, address);
	struct hugepoison_private *priv;
	unsigned long size;

	mmap_assert_write_locked(mm);
	if (check_stable_address_space(mm) || !vma ||
	    !hugepoison_vma_is_narrowed(vma) || vma->vm_flags & VM_MAYSHARE)
		return;
	/* mmap_lock was dropped since the fault: a 1 GiB range may be here now */
	size = huge_page_size(hstate_vma(vma));
	priv = vma->vm_private_data;
	if (!priv || size > PMD_SIZE || !IS_ALIGNED(vma->vm_start, size) ||
	    vma->vm_end - vma->vm_start != size)
		return;
	if (hugepoison_promote_range(vma))
		return;
	WRITE_ONCE(priv->tried, true);
}

/* Promote the range if that is still possible; no lock is held. */
static void hugepoison_try_promote(struct mm_struct *mm, unsigned long address)
{
	/* a page in a CPU's LRU batch has one reference too many */
	lru_add_drain_all();
	if (mmap_write_lock_killable(mm))
		return;
	hugepoison_promote_private(mm, address);
	mmap_write_unlock(mm);
}

/* --- a range that waits for a hugepage --------------------------------------- */

/*
 * How often the worker looks at the pool while ranges wait, and at how many ranges each
 * time. A range gets one try: if that fails, for a pinned page say, the range is not
 * listed again.
 */
#define HUGEPOISON_PROMOTE_AGAIN	(4 * HZ)
#define HUGEPOISON_PROMOTE_BATCH	64

/* Free hugepages that are not reserved, and the surplus that the pool may still add. */
static long hugepoison_nr_spare(struct hstate *h)
{
	long spare = READ_ONCE(h->free_huge_pages) -
		     READ_ONCE(h->resv_huge_pages);
	long more = READ_ONCE(h->nr_overcommit_huge_pages) -
		    READ_ONCE(h->surplus_huge_pages);

	return max(spare, 0L) + max(more, 0L);
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
	struct mm_struct *mm = current->mm;

	kfree(promotion);
	if (mm)
		hugepoison_try_promote(mm, address);
}

#ifdef CONFIG_MEMCG
/* A running task among a process's first threads, or NULL. RCU read lock held. */
static struct task_struct *hugepoison_find_runner(struct task_struct *process,
						  struct mm_struct *mm)
{
	struct task_struct *task;
	int nr = 0;

	for_each_thread(process, task) {
		if (task_is_running(task) && READ_ONCE(task->mm) == mm)
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
 * Hand the first listed range to a task, or move it to the end of the list.
 *
 * Return: 1 if handed over, 0 if moved, -ENOENT for an empty list.
 */
static int hugepoison_promote_next(void)
{
	struct hugepoison_promotion *promotion;
	struct task_struct *task = NULL;

	spin_lock(&hugepoison_promotions_lock);
	promotion = list_first_entry_or_null(&hugepoison_promotions,
					     struct hugepoison_promotion, node);
	if (promotion)
		task = hugepoison_get_runner(promotion->mm);
	if (task) {
		list_del(&promotion->node);
		WRITE_ONCE(promotion->priv->waiting, NULL);
	} else if (promotion) {
		list_move_tail(&promotion->node, &hugepoison_promotions);
	}
	spin_unlock(&hugepoison_promotions_lock);

	if (!task)
		return promotion ? 0 : -ENOENT;
	if (task_work_add(task, &promotion->work, TWA_RESUME))
		kfree(promotion);
	put_task_struct(task);
	return 1;
}

static void hugepoison_promote_work(struct work_struct *work)
{
	long spare = hugepoison_nr_spare(size_to_hstate(PMD_SIZE));
	int nr, ret = 0;

	for (nr = 0; nr < HUGEPOISON_PROMOTE_BATCH && spare > 0 && ret >= 0; nr++) {
		ret = hugepoison_promote_next();
		spare -= ret;
	}
	if (!list_empty_careful(&hugepoison_promotions))
		queue_delayed_work(hugepoison_wq, to_delayed_work(work),
				   HUGEPOISON_PROMOTE_AGAIN);
}

static DECLARE_DELAYED_WORK(hugepoison_promote_dwork, hugepoison_promote_work);

/*
 * Add a range to the list that waits for a hugepage. The process's cgroup is charged
 * for the list entry, and a mapping has at most one.
 */
static void hugepoison_queue_promotion(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;
	struct hugepoison_promotion *promotion;

	if (READ_ONCE(priv->waiting))
		return;
	promotion = kmalloc(sizeof(*promotion), GFP_KERNEL_ACCOUNT |
			    __GFP_NORETRY | __GFP_NOWARN);
	if (!promotion)
		return;
	init_task_work(&promotion->work, hugepoison_promote_task);
	promotion->priv = priv;
	promotion->mm = vma->vm_mm;
	promotion->address = vma->vm_start;

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

/* --- faults --------------------------------------------------------------- */

/*
 * Whether a fault should try to promote its range: this fault has not tried yet and
 * will set FAULT_FLAG_TRIED when it returns, no try has failed, the file has no
 * hugepage here, the pool has one to spare, and no page is poisoned. Cheap tests first.
 */
static bool hugepoison_may_promote(struct vm_fault *vmf, struct folio *folio)
{
	struct hugepoison_private *priv = vmf->vma->vm_private_data;
	struct hstate *h = hstate_vma(vmf->vma);

	if (folio || vmf->flags & FAULT_FLAG_TRIED ||
	    !hugepoison_says_tried(vmf->flags) ||
	    hugepoison_cannot_wait(vmf->flags) ||
	    huge_page_size(h) > PMD_SIZE || !priv || READ_ONCE(priv->tried))
		return false;
	if (!hugepoison_nr_spare(h)) {
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
	struct hugepoison_private *priv = vmf->vma->vm_private_data;
	struct folio *folio = priv ? priv->folio : NULL;
	vm_fault_t ret;

	/* pages that the OOM reaper took from a dying process must not come back */
	ret = check_stable_address_space(vmf->vma->vm_mm);
	if (ret)
		return ret;
	if (!folio)
		return hugepoison_discarded_fault(vmf);
	while (!hugepoison_trylock_briefly(folio))
		;
	if (!hugepoison_private_folio(vmf->vma, vmf->address)) {
		hugepoison_unlock_briefly(folio);
		return hugepoison_discarded_fault(vmf);
	}
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
