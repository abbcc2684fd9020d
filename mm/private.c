// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: private mappings.
 *
 * Included by hugepoison/hugetlb.c. A private mapping is narrowed as a shared
 * one is: its VMA keeps file, offset and operations and is no hugetlb VMA any
 * more. What it has of its own is ordinary anonymous memory then, as in a
 * private mapping of any file: fork, COW, pins, swap and later errors are the
 * kernel's as ever. Where it has nothing of its own it maps the file's poisoned
 * hugepage below its size, to read, or gets a copy of its own.
 *
 * The raw page is a hwpoison entry in the page table. Discarding it
 * (MADV_DONTNEED, MADV_FREE) takes the entry away, and the next touch gets good
 * memory: this is how a private raw page heals. When nothing is missing any
 * more and the pool has a hugepage to spare, that touch makes all of the range
 * a hugepage again.
 */
#include <linux/memcontrol.h>
#include <linux/mman.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/security.h>

#include "promote.c"

/* --- page tables ---------------------------------------------------------- */

/* All the page tables below a hugepage's entry, made before it is taken away. */
struct hugepoison_tables {
	pmd_t *pmds;
	unsigned int nr;
	pgtable_t ptes[];
};

static void hugepoison_free_tables(struct mm_struct *mm,
				   struct hugepoison_tables *tables)
{
	if (!tables)
		return;
	while (tables->nr--)
		if (tables->ptes[tables->nr])
			pte_free(mm, tables->ptes[tables->nr]);
	if (tables->pmds)
		pmd_free(mm, tables->pmds);
	kvfree(tables);
}

static struct hugepoison_tables *hugepoison_alloc_tables(struct mm_struct *mm,
							 unsigned long address,
							 unsigned long size)
{
	unsigned int nr = size / PMD_SIZE;
	struct hugepoison_tables *tables;

	tables = kvzalloc(struct_size(tables, ptes, nr), GFP_KERNEL);
	if (!tables)
		return NULL;
	for (; tables->nr < nr; tables->nr++) {
		tables->ptes[tables->nr] = pte_alloc_one(mm);
		if (!tables->ptes[tables->nr])
			goto fail;
	}
	if (nr > 1)
		tables->pmds = pmd_alloc_one(mm, address);
	if (nr == 1 || tables->pmds)
		return tables;
fail:
	hugepoison_free_tables(mm, tables);
	return NULL;
}

static pud_t *hugepoison_pud(struct mm_struct *mm, unsigned long address)
{
	return pud_offset(p4d_offset(pgd_offset(mm, address), address),
			  address);
}

/* The hugepage's entry is gone, and nobody else can make one here. */
static void hugepoison_install_tables(struct vm_area_struct *vma,
				      struct hugepoison_tables *tables)
{
	struct mm_struct *mm = vma->vm_mm;
	pud_t *pud = hugepoison_pud(mm, vma->vm_start);
	spinlock_t *ptl = NULL;
	unsigned int i;

	mmap_assert_write_locked(mm);
	if (tables->pmds) {
		ptl = pud_lock(mm, pud);
		mm_inc_nr_pmds(mm);
		/* the table is all zero before it can be seen */
		smp_wmb();
		pud_populate(mm, pud, tables->pmds);
		spin_unlock(ptl);
		tables->pmds = NULL;
	}
	for (i = 0; i < tables->nr; i++)
		pmd_install(mm, pmd_offset(pud, vma->vm_start + i * PMD_SIZE),
			    &tables->ptes[i]);
}

/* --- narrow --------------------------------------------------------------- */

/*
 * What a private hugetlb VMA loses of a hugepage: what it has of its own is told
 * by its entry, else the file's is to come.
 */
static enum hugepoison_fate hugepoison_private_fate(struct vm_area_struct *vma,
						    unsigned long address)
{
	pte_t entry = hugepoison_entry_at(vma, address);

	if (huge_pte_none_mostly(entry))
		return hugepoison_file_fate(vma, address);
	if (!is_hugetlb_entry_hwpoisoned(entry))
		return HUGEPOISON_HEALTHY;
	return hugepoison_remnant_fate(entry);
}

/* Page frame of the poisoned hugepage that a mapping has, 0 if it has gone. */
static unsigned long hugepoison_poisoned_pfn(struct vm_area_struct *vma,
					     unsigned long address)
{
	unsigned long nr = pages_per_huge_page(hstate_vma(vma));
	pte_t entry = __pte(0);

	if (!(vma->vm_flags & VM_MAYSHARE))
		entry = hugepoison_entry_at(vma, address);
	if (!is_hugetlb_entry_hwpoisoned(entry))
		return hugepoison_file_pfn(vma, address);
	return ALIGN_DOWN(swp_offset_pfn(pte_to_swp_entry(entry)), nr);
}

/*
 * Hugepages are not part of what a process may commit; ordinary memory is. As
 * for any mapping: what can be written, unless it was mapped as not to count,
 * which strict overcommit ignores.
 */
static bool hugepoison_commits(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_WRITE))
		return false;
	return !(vma->vm_flags & VM_NORESERVE) ||
	       sysctl_overcommit_memory == OVERCOMMIT_NEVER;
}

#ifdef CONFIG_MEMCG
/*
 * Room for so many pages below the memory cgroup's limits, made by reclaim if
 * need be: charged in one piece and given back at once. Charged one by one, what
 * does not fit fills the cgroup to its limit for a moment, and whoever needs a
 * page in this moment is killed for it.
 */
static bool hugepoison_make_room(struct mm_struct *mm, unsigned long nr,
				 gfp_t gfp)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mm);
	struct mem_cgroup *before = set_active_memcg(memcg);
	struct obj_cgroup *objcg = current_obj_cgroup();
	bool room = true;

	/* none in the root cgroup, which has no limit, and with nokmem */
	if (objcg)
		room = !obj_cgroup_charge(objcg, gfp, nr << PAGE_SHIFT);
	if (objcg && room)
		obj_cgroup_uncharge(objcg, nr << PAGE_SHIFT);
	set_active_memcg(before);
	mem_cgroup_put(memcg);
	return room;
}
#else
static bool hugepoison_make_room(struct mm_struct *mm, unsigned long nr,
				 gfp_t gfp)
{
	return true;
}
#endif

/* Whoever comes first is charged for all of the pages. */
static bool hugepoison_charge(struct hugepoison_remnant *remnant,
			      struct mm_struct *mm)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN;
	unsigned long i, nr = 1UL << remnant->order;

	lockdep_assert_held(&remnant->lock);
	if (remnant->charged)
		return true;
	if (!hugepoison_make_room(mm, nr - bitmap_weight(remnant->bad, nr), gfp))
		return false;
	for_each_clear_bit(i, remnant->bad, nr) {
		if (mem_cgroup_charge(pfn_folio(remnant->pfn + i), mm, gfp))
			break;
		cond_resched();
	}
	remnant->charged = i >= nr;
	if (remnant->charged)
		return true;
	nr = i;
	for_each_clear_bit(i, remnant->bad, nr)
		mem_cgroup_uncharge(pfn_folio(remnant->pfn + i));
	return false;
}

/* An entry that says: this page was lost. */
static void hugepoison_set_lost(struct vm_area_struct *vma,
				unsigned long address, unsigned long pfn)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	spinlock_t *ptl = NULL;
	pte_t *pte;

	if (WARN_ON_ONCE(!pmd))
		return;
	pte = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!pte)
		return;
	if (pte_none(ptep_get(pte)))
		set_pte_at(vma->vm_mm, address, pte,
			   swp_entry_to_pte(swp_entry(SWP_HWPOISON, pfn)));
	pte_unmap_unlock(pte, ptl);
}

/*
 * The mapping of an anonymous page is new to it, or one more. An error that is
 * reported meanwhile sets a flag of the page: so none is set but by atomic
 * operations.
 */
static bool hugepoison_add_anon_rmap(struct folio *folio,
				     struct vm_area_struct *vma,
				     unsigned long address, bool alone)
{
	if (folio_test_anon(folio)) {
		folio_add_anon_rmap_pte(folio, &folio->page, vma, address,
					RMAP_NONE);
		return false;
	}
	folio_mark_uptodate(folio);
	folio_set_swapbacked(folio);
	folio_add_new_anon_rmap(folio, vma, address,
				alone ? RMAP_EXCLUSIVE : RMAP_NONE);
	folio_add_lru_vma(folio, vma);
	return alone;
}

/* Map a page where nothing is, writable if it is this process's alone. */
static void hugepoison_set_anon(struct vm_area_struct *vma,
				unsigned long address, pmd_t *pmd,
				struct folio *folio, bool alone)
{
	pte_t entry = mk_pte(&folio->page, vma->vm_page_prot);
	spinlock_t *ptl = NULL;
	pte_t *pte;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!pte)
		return;
	if (!pte_none(ptep_get(pte)))
		goto unlock;
	folio_get(folio);
	entry = pte_sw_mkyoung(pte_mkdirty(entry));
	if (hugepoison_add_anon_rmap(folio, vma, address, alone) &&
	    vma->vm_flags & VM_WRITE)
		entry = pte_mkwrite(entry, vma);
	inc_mm_counter(vma->vm_mm, MM_ANONPAGES);
	set_pte_at(vma->vm_mm, address, pte, entry);
	update_mmu_cache(vma, address, pte);
unlock:
	pte_unmap_unlock(pte, ptl);
}

/*
 * The same with the folio lock, which mapping an anonymous page that others may
 * map asks for; they may have it on their LRU list already.
 */
static void hugepoison_map_anon(struct vm_area_struct *vma,
				unsigned long address, struct page *page,
				bool alone)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	struct folio *folio = page_folio(page);

	if (!pmd)
		return;
	folio_lock(folio);
	hugepoison_set_anon(vma, address, pmd, folio, alone);
	folio_unlock(folio);
}

/*
 * Map what is healthy. An error that hits a page while it belongs to nobody
 * leaves nothing but its mark, maybe in this moment: so look after mapping, too.
 */
static void hugepoison_map_remnant(struct vm_area_struct *vma,
				   struct hugepoison_remnant *remnant,
				   bool alone)
{
	unsigned long i, nr = 1UL << remnant->order;

	lockdep_assert_held(&remnant->lock);
	for (i = 0; i < nr; i++) {
		struct page *page = pfn_to_page(remnant->pfn + i);
		unsigned long address = vma->vm_start + (i << PAGE_SHIFT);
		bool lost = test_bit(i, remnant->bad) || PageHWPoison(page);

		if (!lost) {
			hugepoison_map_anon(vma, address, page, alone);
			/* the handler marks it, then looks who maps it */
			smp_mb();
			lost = PageHWPoison(page);
			if (lost)
				zap_page_range_single(vma, address, PAGE_SIZE,
						      NULL);
		}
		if (lost)
			hugepoison_set_lost(vma, address, page_to_pfn(page));
		if (!(i % SZ_4K))
			cond_resched();
	}
}

/* What a private mapping needs to be narrowed, all of it in hand. */
struct hugepoison_kit {
	struct hugepoison_remnant *remnant;
	struct hugepoison_tables *tables;
	unsigned long committed;	/* base pages */
};

static void hugepoison_put_kit(struct mm_struct *mm,
			       struct hugepoison_kit *kit)
{
	vm_unacct_memory(kit->committed);
	hugepoison_free_tables(mm, kit->tables);
	if (kit->remnant) {
		mutex_unlock(&kit->remnant->lock);
		hugepoison_remnant_put(kit->remnant);
	}
}

/* Return: NULL, or what is missing. */
static const char *hugepoison_get_kit(struct vm_area_struct *vma,
				      unsigned long address,
				      struct hugepoison_kit *kit)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	pte_t entry = hugepoison_entry_at(vma, address);
	struct mm_struct *mm = vma->vm_mm;

	kit->remnant = hugepoison_remnant_get(entry);
	if (kit->remnant)
		mutex_lock(&kit->remnant->lock);
	else if (!huge_pte_none_mostly(entry))
		return "its healthy pages are not to be had";
	if (hugepoison_commits(vma)) {
		if (security_vm_enough_memory_mm(mm, size >> PAGE_SHIFT))
			return "overcommit refuses so much ordinary memory (vm.overcommit_memory)";
		kit->committed = size >> PAGE_SHIFT;
	}
	if (!kit->remnant)
		return NULL;
	kit->tables = hugepoison_alloc_tables(mm, address, size);
	if (!kit->tables || anon_vma_prepare(vma))
		return "no memory for page tables";
	if (!hugepoison_charge(kit->remnant, mm))
		return "the memory cgroup's limit";
	return NULL;
}

/*
 * From a private hugetlb VMA to an ordinary private one. It gives its part of
 * the reservation back: what its hugepages used of it stays used.
 */
static void hugepoison_make_private(struct vm_area_struct *vma,
				    struct hugepoison_kit *kit)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	bool alone = kit->remnant && hugepoison_remnant_is_ours(kit->remnant);

	vma_start_write(vma);
	i_mmap_lock_write(mapping);
	hugetlb_vm_op_close(vma);
	vma->vm_private_data = NULL;
	unmap_hugepage_range(vma, vma->vm_start, vma->vm_end, NULL,
			     ZAP_FLAG_DROP_MARKER);
	vm_flags_clear(vma, VM_HUGETLB);
	if (kit->committed)
		vm_flags_set(vma, VM_ACCOUNT);
	kit->committed = 0;
	vma_set_page_prot(vma);
	i_mmap_unlock_write(mapping);

	if (!kit->remnant)
		return;
	hugepoison_install_tables(vma, kit->tables);
	hugepoison_map_remnant(vma, kit->remnant, alone);
}

/*
 * Narrow a private mapping of the hugepage at @start.
 *
 * Return: NULL when it is done, else why it cannot be now.
 */
static const char *hugepoison_narrow_private(struct vm_area_struct *vma,
					     unsigned long start)
{
	unsigned long end = start + huge_page_size(hstate_vma(vma));
	struct mm_struct *mm = vma->vm_mm;
	struct hugepoison_kit kit = { };
	const char *why;

	mmap_assert_write_locked(mm);
	why = hugepoison_get_kit(vma, start, &kit);
	if (!why) {
		vma = hugepoison_isolate_vma(vma, start, end);
		if (IS_ERR(vma))
			why = hugepoison_why_whole(vma);
	}
	if (!why)
		hugepoison_make_private(vma, &kit);
	hugepoison_put_kit(mm, &kit);
	return why;
}

/* --- faults --------------------------------------------------------------- */

/*
 * Whether a fault may find a hugepage for all of its range: nobody has tried in
 * this fault, the file has nothing here, the pool has one to spare, and nothing
 * is lost any more. What is asked first costs least: without the last question
 * each fault would wait for the LRU lists of all CPUs, in vain.
 */
static bool hugepoison_wants_huge(struct vm_fault *vmf, struct folio *folio)
{
	struct hstate *h = hstate_vma(vmf->vma);

	if (folio || vmf->flags & FAULT_FLAG_TRIED ||
	    hugepoison_cannot_wait(vmf->flags))
		return false;
	if (READ_ONCE(h->free_huge_pages) <= READ_ONCE(h->resv_huge_pages) &&
	    READ_ONCE(h->surplus_huge_pages) >=
	    READ_ONCE(h->nr_overcommit_huge_pages))
		return false;
	return hugepoison_range_is_whole(vmf->vma);
}

static vm_fault_t hugepoison_huge_fault(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned long address = vmf->address;

	mmap_read_unlock(mm);
	/* pages on their way to the LRU lists have a reference too many */
	lru_add_drain_all();
	/* and so have those of a remnant that is about to be freed */
	flush_work(&hugepoison_bury);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	hugepoison_promote_private(mm, address);
	mmap_write_unlock(mm);
	return VM_FAULT_RETRY;
}

/* What the file has at a fault, or zeros. Return: false for a raw page. */
static bool hugepoison_fill_page(struct vm_fault *vmf, struct page *to,
				 struct folio *from)
{
	unsigned long at = from ? vmf->pgoff & (folio_nr_pages(from) - 1) : 0;

	if (from)
		return !copy_mc_user_highpage(to, folio_page(from, at),
					      vmf->address, vmf->vma);
	clear_user_highpage(to, vmf->address);
	return true;
}

/* A write: the page that the caller has ready becomes the process's own. */
static vm_fault_t hugepoison_cow_fault(struct vm_fault *vmf,
				       struct folio *folio)
{
	vm_fault_t ret;

	if (!hugepoison_fill_page(vmf, vmf->cow_page, folio))
		return VM_FAULT_HWPOISON;
	__SetPageUptodate(vmf->cow_page);
	ret = finish_fault(vmf);
	return ret ?: VM_FAULT_DONE_COW;
}

/*
 * A read where the file has no poisoned hugepage: a page of the process's own,
 * as healthy hugepages are never mapped below their size.
 */
static vm_fault_t hugepoison_own_fault(struct vm_fault *vmf,
				       struct folio *folio)
{
	struct vm_area_struct *vma = vmf->vma;
	vm_fault_t ret = vmf_anon_prepare(vmf);
	struct folio *own;

	if (!ret)
		ret = check_stable_address_space(vma->vm_mm);
	if (ret)
		return ret;
	own = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, vmf->address,
			      false);
	if (!own)
		return VM_FAULT_OOM;
	ret = VM_FAULT_OOM;
	if (mem_cgroup_charge(own, vma->vm_mm, GFP_KERNEL))
		goto out;
	ret = VM_FAULT_HWPOISON;
	if (!hugepoison_fill_page(vmf, &own->page, folio))
		goto out;
	ret = VM_FAULT_NOPAGE;
	if (pmd_none(*vmf->pmd) && vmf->prealloc_pte)
		pmd_install(vma->vm_mm, vmf->pmd, &vmf->prealloc_pte);
	hugepoison_map_anon(vma, vmf->address & PAGE_MASK, &own->page, true);
out:
	folio_put(own);
	return ret;
}

/*
 * The file's poisoned hugepage, as a private mapping sees it. It is locked, and
 * preemption off: with a page table there, nothing is allocated.
 */
static vm_fault_t hugepoison_poisoned_file_fault(struct vm_fault *vmf,
						 struct folio *folio)
{
	unsigned long at = vmf->pgoff & (folio_nr_pages(folio) - 1);

	if (!vmf->cow_page)
		return hugepoison_map(vmf, folio);
	if (hugepoison_page_is_raw(folio, at))
		return VM_FAULT_HWPOISON;
	return hugepoison_has_table(vmf) ? hugepoison_cow_fault(vmf, folio) :
					   VM_FAULT_NOPAGE;
}

/*
 * The file has no poisoned hugepage at a fault; if it has by now the fault comes
 * again.
 */
static vm_fault_t hugepoison_healthy_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct hstate *h = hstate_vma(vma);
	vm_fault_t ret = 0;
	struct folio *folio;

	folio = filemap_lock_hugetlb_folio(h, vma->vm_file->f_mapping,
					   vmf->pgoff >> huge_page_order(h));
	if (IS_ERR(folio))
		folio = NULL;

	if (folio && hugepoison_fate(folio) != HUGEPOISON_HEALTHY)
		ret = VM_FAULT_NOPAGE;
	else if (!hugepoison_wants_huge(vmf, folio))
		ret = vmf->cow_page ? hugepoison_cow_fault(vmf, folio) :
				      hugepoison_own_fault(vmf, folio);
	if (folio) {
		folio_unlock(folio);
		folio_put(folio);
	}
	return ret ?: hugepoison_huge_fault(vmf);
}

/* Nothing is mapped at a fault in a narrowed private VMA. */
static vm_fault_t hugepoison_private_fault(struct vm_fault *vmf)
{
	struct folio *folio = hugepoison_lock_briefly(vmf);
	enum hugepoison_fate fate = HUGEPOISON_HEALTHY;
	struct hstate *h = hstate_vma(vmf->vma);
	vm_fault_t ret = 0;

	if (folio) {
		fate = hugepoison_fate(folio);
		if (fate == HUGEPOISON_NARROW)
			ret = hugepoison_poisoned_file_fault(vmf, folio);
		else if (fate == HUGEPOISON_WIDE)
			ret = VM_FAULT_HWPOISON_LARGE |
			      VM_FAULT_SET_HINDEX(hstate_index(h));
		hugepoison_unlock_briefly(folio);
	}
	if (fate == HUGEPOISON_HEALTHY)
		return hugepoison_healthy_fault(vmf);
	return ret ?: hugepoison_undecided_fault(vmf);
}

/* --- what is lost --------------------------------------------------------- */

/* The entry of a base page; none where there is no page table. */
static pte_t hugepoison_base_entry(struct vm_area_struct *vma,
				   unsigned long address)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	spinlock_t *ptl = NULL;
	pte_t *pte, entry;

	if (!pmd)
		return __pte(0);
	pte = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!pte)
		return __pte(0);
	entry = ptep_get(pte);
	pte_unmap_unlock(pte, ptl);
	return entry;
}

/* Whether one page of a narrowed private VMA is lost. */
static bool hugepoison_private_is_lost(struct vm_area_struct *vma,
				       unsigned long address)
{
	pte_t entry = hugepoison_base_entry(vma, address);

	if (pte_none(entry))
		return hugepoison_file_is_lost(vma, address);
	return !pte_present(entry) &&
	       is_hwpoison_entry(pte_to_swp_entry(entry));
}

/**
 * hugepoison_vma_lost - whether a page of a private mapping is lost
 * @vma: a private mapping of hugepages, narrowed or about to be
 * @address: of the page
 *
 * Context: mmap_lock held for reading.
 * Return: true for yes.
 */
bool hugepoison_vma_lost(struct vm_area_struct *vma, unsigned long address)
{
	struct hugepoison_remnant *remnant;
	bool lost;
	pte_t entry;

	mmap_assert_locked(vma->vm_mm);
	if (!is_vm_hugetlb_page(vma))
		return hugepoison_private_is_lost(vma, address);
	entry = hugepoison_entry_at(vma, address);
	if (huge_pte_none_mostly(entry))
		return hugepoison_file_is_lost(vma, address);

	spin_lock_irq(&hugepoison_remnants_lock);
	remnant = hugepoison_remnant_of(entry);
	lost = !remnant || !remnant->apart ||
	       test_bit((address >> PAGE_SHIFT) & ((1UL << remnant->order) - 1),
			remnant->bad);
	spin_unlock_irq(&hugepoison_remnants_lock);
	return lost;
}

/*
 * Fork copies what a private mapping has of its own. What it has of the file is
 * dropped: the reverse map does not count such copies, and faults fill them.
 */
static void hugepoison_drop_file_pages(struct vm_area_struct *vma)
{
	struct zap_details details = { .even_cows = false };

	zap_page_range_single(vma, vma->vm_start, vma->vm_end - vma->vm_start,
			      &details);
}
