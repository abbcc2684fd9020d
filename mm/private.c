// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the pages of a narrowed private mapping.
 *
 * A private mapping narrows in place, as a shared one does: the hugepage stays where it
 * is, and its healthy pages are mapped below its size. struct hugepoison_private is to a
 * private mapping what the page cache is to a shared one: it holds the hugepage, and
 * records which of its pages the process has discarded. Where an entry is none the next
 * fault looks there. So the kernel may clear an entry of the hugepage anywhere (to split a
 * block, to fork, to unmap a raw page) and loses nothing.
 *
 * The process writes to the hugepage in place as long as no other process shares
 * it. PageAnonExclusive of the head page says so for the whole hugepage: under
 * HVO no tail struct page can be written. Fork clears the flag; then both
 * processes copy on write, 4 KiB at a time. The last holder sets the flag again.
 *
 * promote.c moves the range to a fresh hugepage, one page table at a time. Meanwhile
 * the mapping holds both: a page is in the one that @moved says.
 *
 * Until a mapping is narrowed its hwpoison entry holds the reference, marked by
 * the swap entry's exclusive bit, which has no other meaning there. When fork
 * copies such an entry it takes one more reference.
 */
#include <linux/highmem.h>
#include <linux/memcontrol.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/task_work.h>
#include <asm/tlb.h>

#include "internal.h"

/**
 * struct hugepoison_promotion - a range that waits for a hugepage of the pool
 * @node: in hugepoison_promotions
 * @work: runs in a task of the process when the pool has a hugepage
 * @priv: of the mapping; valid, like @mm, as long as @node is in the list
 * @mm: the address space
 * @address: where the range begins
 * @pool: index of the hstate of its hugepage
 */
struct hugepoison_promotion {
	struct list_head node;
	struct callback_head work;
	struct hugepoison_private *priv;
	struct mm_struct *mm;
	unsigned long address;
	int pool;
};

static LIST_HEAD(hugepoison_promotions);
static DEFINE_SPINLOCK(hugepoison_promotions_lock);

/**
 * struct hugepoison_private - a narrowed private VMA's vm_private_data
 * @users: VMAs; two while mremap() moves one, and until fork has made a copy
 * @reserved: vm_private_data of the hugetlb VMA: its part of the reservation
 * @added: flags that narrowing has added. VM_NORESERVE keeps mprotect() from
 *	   committing memory for pages that are still in a hugepage
 * @waiting: entry in hugepoison_promotions; NULL when the range is not listed
 * @tried: promoting failed though the pool had a hugepage; cleared when the process
 *	   discards something
 * @folio: the poisoned hugepage, with a reference; NULL where the mapping had
 *	   only the file's hugepage
 * @fresh: the hugepage that promoting moves the range to, with a reference; or NULL
 * @moved: a bit for each page table whose pages are in @fresh, no longer in @folio
 * @lock: taken to set a bit of @begun
 * @begun: a bit for each page table whose part of @discarded is initialized.
 *	   Zeroing all of @discarded would cost more than narrowing a GiB
 * @discarded: a bit for each page that the process has discarded since it was in
 *	   @folio, or moved to @fresh
 */
struct hugepoison_private {
	refcount_t users;
	void *reserved;
	vm_flags_t added;
	struct hugepoison_promotion *waiting;
	bool tried;
	struct folio *folio;
	struct folio *fresh;
	DECLARE_BITMAP(moved, PTRS_PER_PMD);
	spinlock_t lock; /* to set a bit of begun */
	DECLARE_BITMAP(begun, PTRS_PER_PMD);
	unsigned long discarded[];
};

/*
 * A narrowed private VMA's vm_private_data; NULL for a shared one. A hugetlb VMA has part of
 * a reservation or a lock there: taken for this struct it would be written to in silence.
 */
static struct hugepoison_private *hugepoison_private_of(struct vm_area_struct *vma)
{
	VM_WARN_ON_ONCE_VMA(is_vm_hugetlb_page(vma), vma);
	return vma->vm_flags & VM_MAYSHARE ? NULL : vma->vm_private_data;
}

/*
 * For a mapping of a hugepage of @pages base pages. The cgroup of @mm is charged: that
 * of the mapping's process, also when the worker narrows, and of the parent for a fork.
 * The worker serves all processes, so it does not reclaim for the limit of one.
 */
static struct hugepoison_private *
hugepoison_private_alloc(struct mm_struct *mm, unsigned long pages)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mm);
	struct mem_cgroup *before = set_active_memcg(memcg);
	gfp_t gfp = current->flags & PF_WQ_WORKER ?
		    GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN :
		    GFP_KERNEL_ACCOUNT;
	struct hugepoison_private *priv;

	priv = kvmalloc(struct_size(priv, discarded, BITS_TO_LONGS(pages)), gfp);
	set_active_memcg(before);
	mem_cgroup_put(memcg);
	if (!priv)
		return NULL;
	*priv = (struct hugepoison_private){ };
	refcount_set(&priv->users, 1);
	spin_lock_init(&priv->lock);
	return priv;
}

/* Nothing notifies the handler of the last put: queue the release worker at each. */
static void hugepoison_private_put_folio(struct folio *folio)
{
	if (!folio)
		return;
	hugepoison_deleted(folio);
	folio_put(folio);
}

/* While the worker holds the lock, @priv and the address space cannot go away. */
static void hugepoison_dequeue_promotion(struct hugepoison_private *priv)
{
	struct hugepoison_promotion *promotion;

	spin_lock(&hugepoison_promotions_lock);
	promotion = priv->waiting;
	if (promotion)
		list_del(&promotion->node);
	WRITE_ONCE(priv->waiting, NULL);
	spin_unlock(&hugepoison_promotions_lock);
	kfree(promotion);
}

static void hugepoison_private_free(struct hugepoison_private *priv)
{
	hugepoison_dequeue_promotion(priv);
	hugepoison_private_put_folio(priv->folio);
	hugepoison_private_put_folio(priv->fresh);
	kvfree(priv);
}

/* Close a narrowed private VMA. Its reservation ends like a hugetlb VMA's. */
static void hugepoison_private_close(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	if (!priv || !refcount_dec_and_test(&priv->users))
		return;
	vma->vm_private_data = priv->reserved;
	hugepoison_private_free(priv);
	/* no walk can find the VMA now; hugetlb_vm_op_close() needs the flag */
	vm_flags_init(vma, vma->vm_flags | VM_HUGETLB);
	hugetlb_vm_op_close(vma);
}

/*
 * The VMA was duplicated: mremap() moves it, where the range waits from now on, or fork
 * is about to copy it, to the same address.
 */
static void hugepoison_private_open(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	if (!priv)
		return;
	refcount_inc(&priv->users);
	spin_lock(&hugepoison_promotions_lock);
	if (priv->waiting)
		priv->waiting->address = vma->vm_start;
	spin_unlock(&hugepoison_promotions_lock);
}

/* The discard bits of the page table that maps page @at; NULL if none is set. */
static unsigned long *
hugepoison_discarded_part(struct hugepoison_private *priv, unsigned long at)
{
	/* pairs with hugepoison_begin_part() */
	if (!test_bit_acquire(at / PTRS_PER_PTE, priv->begun))
		return NULL;
	return priv->discarded + BIT_WORD(round_down(at, PTRS_PER_PTE));
}

static void hugepoison_begin_part(struct hugepoison_private *priv,
				  unsigned long at)
{
	spin_lock(&priv->lock);
	if (!hugepoison_discarded_part(priv, at)) {
		bitmap_zero(priv->discarded +
			    BIT_WORD(round_down(at, PTRS_PER_PTE)),
			    PTRS_PER_PTE);
		/* a reader that sees the bit must not see uninitialized memory */
		smp_wmb();
		set_bit(at / PTRS_PER_PTE, priv->begun);
	}
	spin_unlock(&priv->lock);
}

/* The hugepage that has what is not discarded of the page table of page @at, or NULL. */
static struct folio *hugepoison_table_folio(struct hugepoison_private *priv,
					    unsigned long at)
{
	return test_bit(at / PTRS_PER_PTE, priv->moved) ? priv->fresh :
							  priv->folio;
}

/* The hugepage that a narrowed private VMA holds at an address, or NULL. */
static struct folio *hugepoison_private_folio(struct vm_area_struct *vma,
					      unsigned long address)
{
	unsigned long at = (address - vma->vm_start) >> PAGE_SHIFT;
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	const unsigned long *discarded;

	if (!priv)
		return NULL;
	discarded = hugepoison_discarded_part(priv, at);
	if (discarded && test_bit(at % PTRS_PER_PTE, discarded))
		return NULL;
	return hugepoison_table_folio(priv, at);
}

/**
 * hugepoison_discard - note that a process discards part of a narrowed mapping
 * @vma: a narrowed VMA
 * @start: the first byte
 * @end: the byte after the last
 *
 * To be called before the entries are cleared. A fault or a fork tests a page's bit
 * with the page table locked: either it finds the bit, or the zap that follows finds
 * the entry. The folio lock cannot serve instead: truncation holds i_mmap_rwsem,
 * which is taken inside the folio lock.
 *
 * Context: Process context; mmap_lock or i_mmap_rwsem held, which keeps @vma and
 * its page tables.
 */
void hugepoison_discard(struct vm_area_struct *vma, unsigned long start,
			unsigned long end)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);
	unsigned long address, at;
	pmd_t *pmd;

	if (vma->vm_flags & VM_MAYSHARE || !priv)
		return;
	WRITE_ONCE(priv->tried, false);
	if (!READ_ONCE(priv->folio) && !READ_ONCE(priv->fresh))
		return;
	for (address = start; address < end; address += PAGE_SIZE) {
		at = (address - vma->vm_start) >> PAGE_SHIFT;
		if (!hugepoison_discarded_part(priv, at))
			hugepoison_begin_part(priv, at);
		set_bit(at, priv->discarded);
	}
	/* pairs with hugepoison_mask_discarded(): where there is no page table yet */
	smp_mb();
	/* the zap skips an empty PMD without its lock: wait for a fault that has it */
	pmd = mm_find_pmd(vma->vm_mm, start);
	if (pmd)
		spin_unlock(pmd_lock(vma->vm_mm, pmd));
}

/*
 * Whether a private mapping holds a hugepage for the page table of page @first, which
 * covers @folio, the file's: the mapping sees the file only where it has discarded. The
 * mapping may hold the fresh hugepage alone: then no page table covers the file but those
 * that have moved.
 */
static bool hugepoison_covers_file(struct vm_area_struct *vma,
				   struct folio *folio, unsigned long first)
{
	struct hugepoison_private *priv = hugepoison_private_of(vma);

	return !folio_test_anon(folio) && !(vma->vm_flags & VM_MAYSHARE) &&
	       priv && hugepoison_table_folio(priv, first);
}

/*
 * Add the pages of one page table that a private mapping must not map from @folio to
 * @bad: of its own hugepage those that the process has discarded, of the file's those
 * that it has not. A none entry does not tell them apart: the next fault has yet to map
 * the page that the process sees. With the page table lock held the result is final for
 * its own hugepage, and without it a fault has to call this again. During a fault bits are
 * only set, so for the file's an early result holds back too many pages at worst.
 */
static void hugepoison_mask_discarded(struct vm_area_struct *vma,
				      struct folio *folio, unsigned long first,
				      unsigned long *bad)
{
	const bool covers = hugepoison_covers_file(vma, folio, first);
	const unsigned long *discarded;
	unsigned long bits;
	int i;

	if (!folio_test_anon(folio) && !covers)
		return;
	/* the page table exists before the bits are read, see hugepoison_discard() */
	smp_mb();
	discarded = hugepoison_discarded_part(hugepoison_private_of(vma), first);
	for (i = 0; i < BITS_TO_LONGS(PTRS_PER_PTE); i++) {
		/* none is set in a part that has not begun */
		bits = discarded ? READ_ONCE(discarded[i]) : 0;
		bad[i] |= covers ? ~bits : bits;
	}
}

/*
 * Whether the process may write to the hugepage in place. A hugepage that was shared
 * becomes exclusive again when its only references are the handler's (while it is
 * poisoned), this mapping's, and the entries'. Another holder would have one more, and
 * so would a driver that has pinned it. A process that maps the hugepage at its size is
 * another holder too, though its entry accounts for its reference.
 */
static bool hugepoison_private_is_exclusive(struct folio *folio)
{
	int expected = 1 + folio_test_hwpoison(folio);
	int refs;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (PageAnonExclusive(&folio->page))
		return true;
	if (folio_entire_mapcount(folio))
		return false;
	/*
	 * The folio lock keeps mappings from being added. Unmapping lowers the
	 * mapcount first and drops the reference later. So read the references
	 * before the mappings: a race then costs a copy, never a shared write.
	 */
	refs = folio_ref_count(folio);
	/* references before mappings, see above */
	smp_rmb();
	if (refs - folio_mapcount(folio) != expected)
		return false;
	SetPageAnonExclusive(&folio->page);
	return true;
}

/* --- the reference in a hugetlb VMA's entry --------------------------------- */

/* The poisoned hugepage that an entry holds a reference to, or NULL. */
static struct folio *hugepoison_kept_folio(pte_t entry)
{
	if (!hugepoison_is_hwpoison(entry) || !pte_swp_exclusive(entry))
		return NULL;
	return pfn_folio(softleaf_to_pfn(softleaf_from_pte(entry)));
}

/**
 * hugepoison_copy_entry - prepare the child's entry when fork copies one
 * @entry: the parent's entry, of any kind; on return the child's
 *
 * A hugepage that a device has pinned stays the parent's alone, because the device
 * has to write to the pages that the parent maps. The child's entry then has no
 * mark, and the child loses the whole hugepage. That ends when the worker narrows,
 * soon after an error: fork of a narrowed mapping copies pinned pages.
 *
 * Context: Page table lock held.
 * Return: true for a hwpoison entry.
 */
bool hugepoison_copy_entry(pte_t *entry)
{
	struct folio *folio;

	if (likely(!hugepoison_is_hwpoison(*entry)))
		return false;
	folio = hugepoison_kept_folio(*entry);
	if (!folio)
		return true;
	if (folio_maybe_dma_pinned(folio)) {
		*entry = pte_swp_clear_exclusive(*entry);
		return true;
	}
	folio_get(folio);
	ClearPageAnonExclusive(&folio->page);
	return true;
}

/**
 * hugepoison_clear_entry - clear an entry that maps nothing
 * @mm: the address space
 * @address: the address that the entry is for
 * @size: of its hugepage, in bytes
 * @only_one: whether a certain hugepage is to be unmapped, not any
 * @ptep: the entry, of any kind that is not present
 *
 * Stock's huge_pte_clear() that also drops the reference of a kept hugepage. Not
 * inline: unmapping present entries must not pay for it. That is why @ptep comes last
 * as well: on x86-64 the caller then has it in the register that stock has it in.
 *
 * With @only_one the owner of a private mapping copies on write, the pool is empty,
 * and the children lose that hugepage. A hwpoison entry stays: it does not map that one,
 * and the owner counts mappings. Without the entry the child would read zeros in its
 * place, from the raw page as well.
 *
 * Context: Page table lock held.
 */
void hugepoison_clear_entry(struct mm_struct *mm, unsigned long address,
			    unsigned long size, bool only_one, pte_t *ptep)
{
	pte_t entry = huge_ptep_get(mm, address, ptep);

	if (only_one && hugepoison_is_hwpoison(entry))
		return;
	huge_pte_clear(mm, address, ptep, size);
	hugepoison_private_put_folio(hugepoison_kept_folio(entry));
}

/*
 * The fate of a hugepage in a private hugetlb VMA. An entry decides; without an entry
 * the next fault would get the file's hugepage.
 */
static enum hugepoison_fate hugepoison_private_fate(struct vm_area_struct *vma,
						    unsigned long address)
{
	pte_t entry = hugepoison_entry_at(vma, address);
	struct folio *folio = hugepoison_kept_folio(entry);
	enum hugepoison_fate fate;

	if (folio) {
		fate = hugepoison_fate(folio);
		/* a shared one cannot be mapped as it was, see hugepoison_map_again() */
		if (fate == HUGEPOISON_HEALTHY && folio_ref_count(folio) > 1)
			return HUGEPOISON_NARROW;
		return fate;
	}
	if (hugepoison_none_mostly(entry))
		return hugepoison_file_fate(vma, address);
	return hugepoison_is_hwpoison(entry) ? HUGEPOISON_WIDE :
						    HUGEPOISON_HEALTHY;
}

/* Page frame of the poisoned hugepage of a mapping, 0 if it has none any longer. */
static unsigned long hugepoison_poisoned_pfn(struct vm_area_struct *vma,
					     unsigned long address)
{
	unsigned long nr = pages_per_huge_page(hstate_vma(vma));
	pte_t entry = __pte(0);

	if (!(vma->vm_flags & VM_MAYSHARE))
		entry = hugepoison_entry_at(vma, address);
	if (!hugepoison_is_hwpoison(entry))
		return hugepoison_file_pfn(vma, address);
	return ALIGN_DOWN(softleaf_to_pfn(softleaf_from_pte(entry)), nr);
}

/* --- pages that a mapping cannot read --------------------------------------- */

/* The entry of a base page; a none entry where there is no page table. */
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

/*
 * Whether a page of a hugepage that a mapping holds is poisoned. Meanwhile another
 * thread may clear a hugetlb VMA's entry and drop the reference: so the folio is only
 * peeked at.
 */
static bool hugepoison_held_is_poisoned(struct vm_area_struct *vma,
					unsigned long address, struct folio *folio)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	unsigned long at = linear_page_index(vma, address) &
			   ((size >> PAGE_SHIFT) - 1);

	return hugepoison_fate(folio) == HUGEPOISON_WIDE ||
	       hugepoison_peek_raw(folio, size, at);
}

/*
 * Whether a narrowed private VMA has nothing of its own at this entry. Where swapoff left a
 * poison marker a copy was lost, and the hugepage has older contents.
 */
static bool hugepoison_has_no_copy(pte_t entry)
{
	return hugepoison_none_mostly(entry) && !hugepoison_is_poison_marker(entry);
}

/* Whether a page of a narrowed private VMA is poisoned that has this entry. */
static bool hugepoison_entry_is_poisoned(struct vm_area_struct *vma,
					 unsigned long address, pte_t entry)
{
	struct folio *folio = hugepoison_private_folio(vma, address);

	if (!hugepoison_has_no_copy(entry))
		return hugepoison_is_poison_marker(entry) ||
		       (!pte_present(entry) && hugepoison_is_hwpoison(entry));
	return folio ? hugepoison_held_is_poisoned(vma, address, folio) :
		       hugepoison_file_is_poisoned(vma, address);
}

/**
 * hugepoison_private_is_poisoned - whether a page of a private mapping is poisoned
 * @vma: a private mapping of hugepages, narrowed or about to be
 * @address: of the page
 *
 * Context: mmap_lock held for reading.
 * Return: true for yes.
 */
bool hugepoison_private_is_poisoned(struct vm_area_struct *vma,
				    unsigned long address)
{
	struct folio *folio;
	pte_t entry;

	mmap_assert_locked(vma->vm_mm);
	if (!is_vm_hugetlb_page(vma))
		return hugepoison_entry_is_poisoned(vma, address,
					hugepoison_base_entry(vma, address));
	entry = hugepoison_entry_at(vma, address);
	folio = hugepoison_kept_folio(entry);
	if (folio)
		return hugepoison_held_is_poisoned(vma, address, folio);
	return !hugepoison_none_mostly(entry) ||
	       hugepoison_file_is_poisoned(vma, address);
}

/* --- fork -------------------------------------------------------------------- */

/* Clear entries, except those of pages that a private mapping has copied. */
static void hugepoison_zap_but_cows(struct vm_area_struct *vma,
				    unsigned long address, unsigned long size)
{
	struct zap_details details = { .skip_cows = true };
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, vma->vm_mm);
	zap_vma_range_batched(&tlb, vma, address, size, &details);
	tlb_finish_mmu(&tlb);
}

/*
 * Clear the entries of hugepages, the mapping's and its file's, in part of a narrowed
 * private VMA. Pages that the process has copied stay mapped.
 */
static void hugepoison_drop_hugepage(struct vm_area_struct *vma,
				     unsigned long start, unsigned long size)
{
	hugepoison_zap_but_cows(vma, start, size);
}

/*
 * Whether @address is within the file's size. Truncation sets the size first, then
 * clears the entries.
 */
static bool hugepoison_is_in_file(struct vm_area_struct *vma,
				  unsigned long address)
{
	return linear_page_index(vma, address) <
	       i_size_read(file_inode(vma->vm_file)) >> PAGE_SHIFT;
}

/*
 * Whether to set an entry for a page copied @from a hugepage: the entry is none, the
 * file is that long, and the process has not discarded the page. Page table lock held.
 */
static bool hugepoison_may_map_anon(struct vm_area_struct *vma,
				    unsigned long address, pte_t entry,
				    struct folio *from)
{
	/* pairs as in hugepoison_mask_discarded() */
	smp_mb();
	if (from && folio_test_anon(from) &&
	    !hugepoison_private_folio(vma, address))
		return false;
	/* a hole may have removed the hugepage from the file during the copy */
	if (from && !folio_test_anon(from) && !READ_ONCE(from->mapping))
		return false;
	return hugepoison_has_no_copy(entry) && hugepoison_is_in_file(vma, address);
}

/* Set a hwpoison entry for a bad page of a hugepage. */
static int hugepoison_set_hwpoison_entry(struct vm_area_struct *vma,
					 unsigned long address, struct folio *from,
					 unsigned long pfn)
{
	spinlock_t *ptl = NULL;
	pte_t *pte = get_locked_pte(vma->vm_mm, address, &ptl);

	if (!pte)
		return -ENOMEM;
	if (hugepoison_may_map_anon(vma, address, ptep_get(pte), from))
		set_pte_at(vma->vm_mm, address, pte,
			   swp_entry_to_pte(swp_entry(SWP_HWPOISON, pfn)));
	pte_unmap_unlock(pte, ptl);
	return 0;
}

/* Map a new anonymous page, a copy @from a hugepage, where the entry is still none. */
static void hugepoison_map_anon(struct vm_area_struct *vma,
				unsigned long address, struct folio *folio,
				struct folio *from)
{
	pte_t entry = pte_sw_mkyoung(pte_mkdirty(mk_pte(&folio->page,
							vma->vm_page_prot)));
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, address);
	spinlock_t *ptl = NULL;
	pte_t *pte = NULL;

	if (pmd)
		pte = pte_offset_map_lock(vma->vm_mm, pmd, address, &ptl);
	if (!pte)
		return;
	if (hugepoison_may_map_anon(vma, address, ptep_get(pte), from)) {
		if (vma->vm_flags & VM_WRITE)
			entry = pte_mkwrite(entry, vma);
		if (pte_is_uffd_wp_marker(ptep_get(pte)))
			entry = pte_mkuffd(entry);
		folio_get(folio);
		folio_add_new_anon_rmap(folio, vma, address, RMAP_EXCLUSIVE);
		folio_add_lru_vma(folio, vma);
		inc_mm_counter(vma->vm_mm, MM_ANONPAGES);
		set_pte_at(vma->vm_mm, address, pte, entry);
		update_mmu_cache(vma, address, pte);
	}
	pte_unmap_unlock(pte, ptl);
}

/*
 * Copy a page of a hugepage, or what stands in for it, or zero @to. The hugepage need not be
 * locked. Return: false for a bad page.
 */
static bool hugepoison_fill_page(struct vm_area_struct *vma,
				 unsigned long address, struct page *to,
				 struct folio *from)
{
	struct page *page, *stand_in;
	unsigned long at;
	bool copied;

	if (!from) {
		clear_user_highpage(to, address);
		return true;
	}
	at = linear_page_index(vma, address) & (folio_nr_pages(from) - 1);
	page = folio_page(from, at);
	stand_in = hugepoison_get_stand_in(page);
	copied = !copy_mc_user_highpage(to, stand_in ?: page, address, vma);
	if (stand_in)
		put_page(stand_in);
	return copied;
}

/* Fill an anonymous page and map it. Return: -EHWPOISON for a bad source page. */
static int hugepoison_fill_anon_page(struct vm_area_struct *vma,
				     unsigned long address, struct folio *page,
				     struct folio *from)
{
	if (!hugepoison_fill_page(vma, address, &page->page, from))
		return -EHWPOISON;
	__folio_mark_uptodate(page);
	hugepoison_map_anon(vma, address & PAGE_MASK, page, from);
	return 0;
}

/*
 * Allocate an anonymous page, charge it to the cgroup of @charge_mm, fill it @from a
 * hugepage or with zeros, and map it.
 *
 * Return: 0 when a page is mapped there, -ENOMEM, -EHWPOISON.
 */
static int hugepoison_add_anon_page(struct vm_area_struct *vma,
				    unsigned long address, struct folio *from,
				    struct mm_struct *charge_mm)
{
	struct folio *page = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma,
					     address);
	int ret = -ENOMEM;

	if (!page)
		return ret;
	if (!mem_cgroup_charge(page, charge_mm, GFP_KERNEL))
		ret = hugepoison_fill_anon_page(vma, address, page, from);
	folio_put(page);
	return ret;
}

/*
 * Copy one page of a pinned hugepage for the child. @parent is charged: the child is
 * in no cgroup yet.
 */
static int hugepoison_copy_for_child(struct vm_area_struct *vma,
				     unsigned long address, struct folio *from,
				     struct mm_struct *parent)
{
	unsigned long at = linear_page_index(vma, address) &
			   (folio_nr_pages(from) - 1);
	spinlock_t *ptl = NULL;
	pte_t *pte = get_locked_pte(vma->vm_mm, address, &ptl);
	int ret = -EHWPOISON;

	if (!pte)
		return -ENOMEM;
	pte_unmap_unlock(pte, ptl);
	if (!hugepoison_page_is_raw(from, at))
		ret = hugepoison_add_anon_page(vma, address, from, parent);
	if (ret == -EHWPOISON)
		ret = hugepoison_set_hwpoison_entry(vma, address, from,
						    folio_pfn(from) + at);
	return ret;
}

/*
 * Copy all pages that the parent has of a pinned hugepage for the child. Truncation
 * already finds the child's VMA in the file's tree, so child->folio changes under
 * i_mmap_rwsem. Where the parent is moving to a fresh hugepage the child copies both.
 */
static int hugepoison_copy_pinned(struct vm_area_struct *child,
				  struct vm_area_struct *parent)
{
	struct address_space *mapping = child->vm_file->f_mapping;
	struct hugepoison_private *priv = hugepoison_private_of(child);
	struct folio *folio, *fresh;
	unsigned long address;
	int ret = 0;

	for (address = parent->vm_start; !ret && address < parent->vm_end;
	     address += PAGE_SIZE) {
		folio = hugepoison_private_folio(parent, address);
		if (folio &&
		    hugepoison_has_no_copy(hugepoison_base_entry(parent, address)))
			ret = hugepoison_copy_for_child(child, address, folio,
							parent->vm_mm);
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	folio = priv->folio;
	fresh = priv->fresh;
	i_mmap_lock_write(mapping);
	WRITE_ONCE(priv->folio, NULL);
	WRITE_ONCE(priv->fresh, NULL);
	/* nothing of the child's is in a fresh hugepage, its own one included */
	bitmap_zero(priv->moved, PTRS_PER_PMD);
	i_mmap_unlock_write(mapping);
	hugepoison_private_put_folio(folio);
	hugepoison_private_put_folio(fresh);
	return ret;
}

/*
 * From now on a child shares the hugepage, and both copy on write. Return: false where a
 * device has pinned it: the device has to write to what the parent maps.
 */
static bool hugepoison_share(struct folio *folio)
{
	if (!folio || !PageAnonExclusive(&folio->page))
		return true;
	if (folio_maybe_dma_pinned(folio))
		return false;
	ClearPageAnonExclusive(&folio->page);
	return true;
}

/*
 * Give the child the parent's hugepage and discard bits. From here on each discards
 * pages for itself, and both copy on write.
 */
static int hugepoison_fork_private(struct vm_area_struct *child,
				   struct vm_area_struct *parent)
{
	struct hugepoison_private *priv = hugepoison_private_of(parent), *copy;
	struct address_space *mapping = parent->vm_file->f_mapping;
	unsigned long table, at;

	if (!priv)
		return 0;
	/* the duplicate points to the parent's struct, which the parent may free */
	i_mmap_lock_write(mapping);
	child->vm_private_data = NULL;
	i_mmap_unlock_write(mapping);
	refcount_dec(&priv->users);

	copy = hugepoison_private_alloc(parent->vm_mm, vma_pages(parent));
	if (!copy)
		return -ENOMEM;
	copy->added = priv->added;
	copy->folio = priv->folio;
	if (copy->folio)
		folio_get(copy->folio);
	copy->fresh = priv->fresh;
	if (copy->fresh)
		folio_get(copy->fresh);
	bitmap_copy(copy->moved, priv->moved, PTRS_PER_PMD);
	/* so that a hole punched meanwhile is in both or follows */
	i_mmap_lock_write(mapping);
	for_each_set_bit(table, priv->begun, PTRS_PER_PMD) {
		at = BIT_WORD(table * PTRS_PER_PTE);
		bitmap_copy(copy->discarded + at, priv->discarded + at,
			    PTRS_PER_PTE);
	}
	bitmap_copy(copy->begun, priv->begun, PTRS_PER_PMD);
	/* pairs with hugepoison_vma_keeps(), which goes by the anon_vma */
	smp_store_release(&child->vm_private_data, (void *)copy);
	i_mmap_unlock_write(mapping);
	if (!hugepoison_share(priv->folio) || !hugepoison_share(priv->fresh))
		return hugepoison_copy_pinned(child, parent);
	return 0;
}

/**
 * hugepoison_fork_narrowed - copy a narrowed VMA for fork
 * @child: the child's VMA, a duplicate of @parent
 * @parent: the parent's VMA
 *
 * Entries of a hugepage are not copied, as the reverse map would not count them:
 * faults of parent and child set them again. With the parent's entries cleared no
 * new pin can come meanwhile.
 *
 * Context: mmap_lock of both held for writing, may sleep.
 * Return: 0 when stock has to copy the entries that are left, of anonymous pages;
 * 1 when there is nothing to copy; -ENOMEM or -EINTR.
 */
int hugepoison_fork_narrowed(struct vm_area_struct *child,
			     struct vm_area_struct *parent)
{
	if (parent->vm_flags & VM_MAYSHARE)
		return 1;
	hugepoison_drop_hugepage(parent, parent->vm_start,
				 parent->vm_end - parent->vm_start);
	return hugepoison_fork_private(child, parent);
}
