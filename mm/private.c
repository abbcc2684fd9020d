// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what a narrowed private mapping has.
 *
 * Included by hugepoison/hugetlb.c. A private mapping narrows in place, as a
 * shared one does: the hugepage stays what and where it is, and its healthy
 * pages are mapped below its size. struct hugepoison_private is to the mapping
 * what the page cache is to a shared one: it holds the hugepage, and says which
 * pages of it the process has discarded. Where an entry is none the next fault
 * asks it. So any path of the kernel may take an entry of the hugepage away (to
 * split a block, to fork, to unmap a raw page) and loses nothing.
 *
 * What the process writes goes to the hugepage as long as no other process
 * shares it. PageAnonExclusive of the head page says so for all of the hugepage:
 * under HVO no tail struct page can be written. Fork clears the flag, and both
 * sides copy what they write, 4 KiB at a time. The last holder sets it again.
 *
 * Until a mapping is narrowed the reference is in its hwpoison entry, which the
 * swap entry's exclusive bit marks; the bit means nothing else there. Such an
 * entry is copied by fork with a reference of its own.
 */
#include <linux/memcontrol.h>
#include <linux/refcount.h>
#include <linux/task_work.h>

/**
 * struct hugepoison_promotion - a range that waits for a hugepage of the pool
 * @node: in hugepoison_promotions
 * @work: what a task of the process does when the pool has one
 * @priv: what the mapping has; with @mm valid as long as @node is in the list
 * @mm: the address space
 * @address: where the range begins
 */
struct hugepoison_promotion {
	struct list_head node;
	struct callback_head work;
	struct hugepoison_private *priv;
	struct mm_struct *mm;
	unsigned long address;
};

static LIST_HEAD(hugepoison_promotions);
static DEFINE_SPINLOCK(hugepoison_promotions_lock);

/**
 * struct hugepoison_private - what a narrowed private VMA has in vm_private_data
 * @users: VMAs; two while mremap() moves one, and until fork has made a copy
 * @reserved: vm_private_data of the hugetlb VMA: its part of the reservation
 * @added: flags that the hugetlb VMA did not have. VM_NORESERVE keeps mprotect()
 *	   from committing memory for what is a hugepage still
 * @waiting: in hugepoison_promotions; NULL where nothing waits
 * @tried: a hugepage was there for the range, and it could not take it; until the
 *	   process discards something
 * @folio: the poisoned hugepage, with a reference; NULL where the mapping had
 *	   none of its own, and sees its file's
 * @lock: taken to set a bit of @begun
 * @begun: page tables that have a part of @discarded, a bit for each
 * @discarded: pages of @folio that the mapping has let go, a bit for each. Zeroing
 *	       all of it would cost more than narrowing a GiB
 */
struct hugepoison_private {
	refcount_t users;
	void *reserved;
	vm_flags_t added;
	struct hugepoison_promotion *waiting;
	bool tried;
	struct folio *folio;
	spinlock_t lock; /* to set a bit of begun */
	DECLARE_BITMAP(begun, PTRS_PER_PMD);
	unsigned long discarded[];
};

/*
 * For a mapping of a hugepage of @pages base pages. @mm's process pays: the one whose
 * mapping it is, whoever narrows for it, and for the child of a fork its parent. The
 * worker, which is there for all, does not reclaim within the limits of one.
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

/* Nothing notifies the handler when the last user leaves: each tells it. */
static void hugepoison_private_put_folio(struct folio *folio)
{
	if (!folio)
		return;
	hugepoison_deleted(folio);
	folio_put(folio);
}

/* The lock keeps @priv, and with it the address space, until the worker is done. */
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
	kvfree(priv);
}

/* A narrowed private VMA goes away. Its reservation ends as a hugetlb VMA's. */
static void hugepoison_private_close(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;

	if (!priv || !refcount_dec_and_test(&priv->users))
		return;
	vma->vm_private_data = priv->reserved;
	hugepoison_private_free(priv);
	/* nobody can find the VMA any more: what closes it asks for the flag */
	vm_flags_init(vma, vma->vm_flags | VM_HUGETLB);
	hugetlb_vm_op_close(vma);
}

/* Another VMA for the same: mremap() moves it, or fork is about to copy it. */
static void hugepoison_private_open(struct vm_area_struct *vma)
{
	struct hugepoison_private *priv = vma->vm_private_data;

	if (priv)
		refcount_inc(&priv->users);
}

/* The part of the discard bits for the page table of page @at; NULL for no bit set. */
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
		/* what the memory was before is not to be seen */
		smp_wmb();
		set_bit(at / PTRS_PER_PTE, priv->begun);
	}
	spin_unlock(&priv->lock);
}

/* The hugepage that a narrowed private VMA has at an address, NULL for none. */
static struct folio *hugepoison_private_folio(struct vm_area_struct *vma,
					      unsigned long address)
{
	unsigned long at = (address - vma->vm_start) >> PAGE_SHIFT;
	struct hugepoison_private *priv = vma->vm_private_data;
	const unsigned long *discarded;

	if (!priv || !priv->folio)
		return NULL;
	discarded = hugepoison_discarded_part(priv, at);
	if (discarded && test_bit(at % PTRS_PER_PTE, discarded))
		return NULL;
	return priv->folio;
}

/**
 * hugepoison_discard - a process lets go of part of a narrowed private mapping
 * @vma: a narrowed VMA
 * @start: the first byte
 * @end: the first one behind it
 *
 * Before the entries are taken away. A fault or a fork asks for a page's bit with
 * the page table locked: either it finds the bit, or the zap that follows finds the
 * entry. Waiting for faults by the folio lock would not do: where the file is
 * truncated i_mmap_rwsem is held, which comes behind that (unmap_ref_private()).
 *
 * Context: Process context; mmap_lock or i_mmap_rwsem held, which keeps @vma and
 * its page tables.
 */
void hugepoison_discard(struct vm_area_struct *vma, unsigned long start,
			unsigned long end)
{
	struct hugepoison_private *priv = vma->vm_private_data;
	unsigned long address, at;
	pmd_t *pmd;

	if (vma->vm_flags & VM_MAYSHARE || !priv)
		return;
	WRITE_ONCE(priv->tried, false);
	if (!READ_ONCE(priv->folio))
		return;
	for (address = start; address < end; address += PAGE_SIZE) {
		at = (address - vma->vm_start) >> PAGE_SHIFT;
		if (!hugepoison_discarded_part(priv, at))
			hugepoison_begin_part(priv, at);
		set_bit(at, priv->discarded);
	}
	/* pairs with hugepoison_mask_discarded(): where there is no page table yet */
	smp_mb();
	/* the zap passes by what maps no block yet, without a lock */
	pmd = mm_find_pmd(vma->vm_mm, start);
	if (pmd)
		spin_unlock(pmd_lock(vma->vm_mm, pmd));
}

/*
 * A mapping's discarded pages of one page table are not to be mapped. The answer is
 * final with the page table lock held; without it a fault asks again.
 */
static void hugepoison_mask_discarded(struct vm_area_struct *vma,
				      struct folio *folio, unsigned long first,
				      unsigned long *bad)
{
	const unsigned long *discarded;
	int i;

	if (!folio_test_anon(folio))
		return;
	/* the page table is there before we look, see hugepoison_discard() */
	smp_mb();
	discarded = hugepoison_discarded_part(vma->vm_private_data, first);
	for (i = 0; discarded && i < BITS_TO_LONGS(PTRS_PER_PTE); i++)
		bad[i] |= READ_ONCE(discarded[i]);
}

/*
 * Whether the process may write to the hugepage in place. A hugepage that was
 * shared is its own again when the references are the handler's (as long as it
 * is poisoned), this mapping's, and those of entries: another holder would have
 * one more, and so would a driver that has pinned it. A mapping of all of it is
 * another holder that has an entry for its one reference.
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
	 * The folio lock keeps mappings from being added. Whoever unmaps counts
	 * that first and drops the reference later: so the references are read
	 * before the mappings, and what is wrong meanwhile makes a copy.
	 */
	refs = folio_ref_count(folio);
	/* orders the two reads, as just said */
	smp_rmb();
	if (refs - folio_mapcount(folio) != expected)
		return false;
	SetPageAnonExclusive(&folio->page);
	return true;
}

/* --- what an entry of a hugetlb VMA keeps ---------------------------------- */

/* The poisoned hugepage that an entry has a reference to, NULL for none. */
static struct folio *hugepoison_kept_folio(pte_t entry)
{
	if (!is_hugetlb_entry_hwpoisoned(entry) || !pte_swp_exclusive(entry))
		return NULL;
	return pfn_folio(swp_offset_pfn(pte_to_swp_entry(entry)));
}

/**
 * hugepoison_copy_entry - fork copies an entry
 * @entry: the parent's entry, of any kind; on return the child's
 *
 * A hugepage that a device has pinned stays the parent's alone: the device
 * writes to what the parent sees. The child's copy has no mark then, and the
 * child loses all of it. The worker narrows soon after an error; a narrowed
 * mapping copies for the child.
 *
 * Context: Page table lock held.
 * Return: true for a hwpoison entry.
 */
bool hugepoison_copy_entry(pte_t *entry)
{
	struct folio *folio;

	if (likely(!is_hugetlb_entry_hwpoisoned(*entry)))
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
 * hugepoison_clear_entry - an entry that maps nothing is taken away
 * @mm: the address space
 * @address: the address that the entry is for
 * @ptep: the entry, of any kind that is not present
 * @size: of its hugepage, in bytes
 * @ref_page: the one hugepage to be unmapped, NULL for all there are
 *
 * Stock's huge_pte_clear(), and a kept hugepage loses a reference. Not inline:
 * an unmapping of present entries is not to pay for it.
 *
 * With @ref_page the owner of a private mapping copies on write, the pool is
 * empty, and the children are to lose @ref_page. A hwpoison entry stays: it is no
 * mapping of @ref_page, and the owner counts mappings. Without the entry the
 * child would read zeros in its place, from the raw page as well.
 *
 * Context: Page table lock held.
 */
void hugepoison_clear_entry(struct mm_struct *mm, unsigned long address,
			    pte_t *ptep, unsigned long size,
			    const struct page *ref_page)
{
	pte_t entry = huge_ptep_get(mm, address, ptep);

	if (ref_page && is_hugetlb_entry_hwpoisoned(entry))
		return;
	huge_pte_clear(mm, address, ptep, size);
	hugepoison_private_put_folio(hugepoison_kept_folio(entry));
}

/*
 * What a private hugetlb VMA loses of a hugepage: its entry tells what it has
 * of its own; without one the file's hugepage is to come.
 */
static enum hugepoison_fate hugepoison_private_fate(struct vm_area_struct *vma,
						    unsigned long address)
{
	pte_t entry = hugepoison_entry_at(vma, address);
	struct folio *folio = hugepoison_kept_folio(entry);
	enum hugepoison_fate fate;

	if (folio) {
		fate = hugepoison_fate(folio);
		/* with others it cannot be mapped as it was; see fault.c */
		if (fate == HUGEPOISON_HEALTHY && folio_ref_count(folio) > 1)
			return HUGEPOISON_NARROW;
		return fate;
	}
	if (huge_pte_none_mostly(entry))
		return hugepoison_file_fate(vma, address);
	return is_hugetlb_entry_hwpoisoned(entry) ? HUGEPOISON_WIDE :
						    HUGEPOISON_HEALTHY;
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

/* --- what is lost ----------------------------------------------------------- */

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

/*
 * Whether a page of a hugepage that a mapping holds is lost to it. Another thread
 * may take the entry of a hugetlb VMA away meanwhile, and the reference with it.
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

/* Whether one page of a narrowed private VMA is lost. */
static bool hugepoison_narrowed_is_poisoned(struct vm_area_struct *vma,
					    unsigned long address)
{
	pte_t entry = hugepoison_base_entry(vma, address);
	struct folio *folio = hugepoison_private_folio(vma, address);

	if (!pte_none_mostly(entry))
		return !pte_present(entry) &&
		       is_hwpoison_entry(pte_to_swp_entry(entry));
	return folio ? hugepoison_held_is_poisoned(vma, address, folio) :
		       hugepoison_file_is_poisoned(vma, address);
}

/**
 * hugepoison_private_is_poisoned - whether a page of a private mapping is lost
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
		return hugepoison_narrowed_is_poisoned(vma, address);
	entry = hugepoison_entry_at(vma, address);
	folio = hugepoison_kept_folio(entry);
	if (folio)
		return hugepoison_held_is_poisoned(vma, address, folio);
	return !huge_pte_none_mostly(entry) ||
	       hugepoison_file_is_poisoned(vma, address);
}

/* --- fork -------------------------------------------------------------------- */

/*
 * Take the entries of poisoned hugepages, the mapping's own or its file's, out
 * of a narrowed private VMA. Pages that the process has copied stay.
 */
static void hugepoison_drop_hugepage(struct vm_area_struct *vma)
{
	struct zap_details details = { .even_cows = false };

	zap_page_range_single(vma, vma->vm_start, vma->vm_end - vma->vm_start,
			      &details);
}

/*
 * Whether the file has not been truncated to end before @address. Truncation sets the
 * size, then takes the entries away.
 */
static bool hugepoison_is_in_file(struct vm_area_struct *vma,
				  unsigned long address)
{
	return linear_page_index(vma, address) <
	       i_size_read(file_inode(vma->vm_file)) >> PAGE_SHIFT;
}

/*
 * Whether an entry for what was in a hugepage is to be made: nothing is there, the
 * file does not end before it, and what was @from the mapping's own hugepage is
 * not discarded. Page table lock held.
 */
static bool hugepoison_may_map_anon(struct vm_area_struct *vma,
				    unsigned long address, pte_t entry,
				    struct folio *from)
{
	/* as in hugepoison_mask_discarded() */
	smp_mb();
	if (from && folio_test_anon(from) &&
	    !hugepoison_private_folio(vma, address))
		return false;
	/* not what a hole has taken out of the file while it was copied */
	if (from && !folio_test_anon(from) && !READ_ONCE(from->mapping))
		return false;
	return pte_none_mostly(entry) && hugepoison_is_in_file(vma, address);
}

/* An entry that says: this page of a hugepage was lost. */
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

/*
 * Map a new page of the process's own where nothing is, with what was in @from; the
 * table is there.
 */
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
		if (pte_marker_uffd_wp(ptep_get(pte)))
			entry = pte_mkuffd_wp(entry);
		folio_get(folio);
		folio_add_new_anon_rmap(folio, vma, address, RMAP_EXCLUSIVE);
		folio_add_lru_vma(folio, vma);
		inc_mm_counter(vma->vm_mm, MM_ANONPAGES);
		set_pte_at(vma->vm_mm, address, pte, entry);
		update_mmu_cache(vma, address, pte);
	}
	pte_unmap_unlock(pte, ptl);
}

/* What is in a page of a hugepage, or zeros. Return: false for a bad page. */
static bool hugepoison_fill_page(struct vm_area_struct *vma,
				 unsigned long address, struct page *to,
				 struct folio *from)
{
	unsigned long at;

	if (!from) {
		clear_user_highpage(to, address);
		return true;
	}
	at = linear_page_index(vma, address) & (folio_nr_pages(from) - 1);
	return !copy_mc_user_highpage(to, folio_page(from, at), address, vma);
}

/* A page becomes the process's own. Return: -EHWPOISON for a bad one in the hugepage. */
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
 * A base page of the process's own, filled from a hugepage or with zeros, charged
 * to @charge_mm's process.
 *
 * Return: 0 when something is mapped there, -ENOMEM, -EHWPOISON.
 */
static int hugepoison_add_anon_page(struct vm_area_struct *vma,
				    unsigned long address, struct folio *from,
				    struct mm_struct *charge_mm)
{
	struct folio *page = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma,
					     address, false);
	int ret = -ENOMEM;

	if (!page)
		return ret;
	if (!mem_cgroup_charge(page, charge_mm, GFP_KERNEL))
		ret = hugepoison_fill_anon_page(vma, address, page, from);
	folio_put(page);
	return ret;
}

/*
 * One page for the child of a process whose hugepage a device has pinned. @parent
 * pays: the child is in no cgroup yet.
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
 * The child gets copies of all that the parent has of the hugepage. Who truncates
 * the file finds the child's VMA already, by i_mmap_rwsem.
 */
static int hugepoison_copy_pinned(struct vm_area_struct *child,
				  struct vm_area_struct *parent)
{
	struct address_space *mapping = child->vm_file->f_mapping;
	struct hugepoison_private *priv = child->vm_private_data;
	struct folio *folio;
	unsigned long address;
	int ret = 0;

	for (address = parent->vm_start; !ret && address < parent->vm_end;
	     address += PAGE_SIZE) {
		folio = hugepoison_private_folio(parent, address);
		if (folio && pte_none_mostly(hugepoison_base_entry(parent,
								   address)))
			ret = hugepoison_copy_for_child(child, address, folio,
							parent->vm_mm);
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	folio = priv->folio;
	i_mmap_lock_write(mapping);
	WRITE_ONCE(priv->folio, NULL);
	i_mmap_unlock_write(mapping);
	hugepoison_private_put_folio(folio);
	return ret;
}

/*
 * The child has the hugepage as its parent has it, and from now on each lets go
 * of its pages by itself. Both write to copies.
 */
static int hugepoison_fork_private(struct vm_area_struct *child,
				   struct vm_area_struct *parent)
{
	struct hugepoison_private *priv = parent->vm_private_data, *copy;
	struct address_space *mapping = parent->vm_file->f_mapping;
	unsigned long table, at;

	if (!priv)
		return 0;
	/* the VMA was duplicated with what is its parent's, who may free it soon */
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
	/* a hole punched into the file meanwhile is in both */
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
	if (!priv->folio)
		return 0;
	if (PageAnonExclusive(&priv->folio->page)) {
		if (folio_maybe_dma_pinned(priv->folio))
			return hugepoison_copy_pinned(child, parent);
		ClearPageAnonExclusive(&priv->folio->page);
	}
	return 0;
}

/**
 * hugepoison_fork_narrowed - fork copies a narrowed VMA
 * @child: the child's, a duplicate of @parent
 * @parent: the parent's
 *
 * The reverse map does not count copies of a hugepage's entries: the faults of
 * both fill them. With the entries gone no new pin can come meanwhile.
 *
 * Context: mmap_lock of both held for writing, may sleep.
 * Return: 0 when the entries that are left have to be copied: pages of the
 * process's own; 1 when there is nothing to copy, -ENOMEM or -EINTR.
 */
int hugepoison_fork_narrowed(struct vm_area_struct *child,
			     struct vm_area_struct *parent)
{
	if (parent->vm_flags & VM_MAYSHARE)
		return 1;
	hugepoison_drop_hugepage(parent);
	return hugepoison_fork_private(child, parent);
}
