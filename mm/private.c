// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what a narrowed private mapping has.
 *
 * Included by hugepoison/narrow.c. A private mapping narrows in place, as a
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

/**
 * struct hugepoison_private - what a narrowed private VMA has in vm_private_data
 * @users: VMAs; two while mremap() moves one
 * @reserved: vm_private_data of the hugetlb VMA: its part of the reservation
 * @added: flags that the hugetlb VMA did not have. VM_NORESERVE keeps mprotect()
 *	   from committing memory for what is a hugepage still
 * @folio: the poisoned hugepage, with a reference; NULL where the mapping had
 *	   none of its own, and sees its file's
 * @discarded: pages of @folio that the mapping has let go, a bit for each;
 *	       changed under the folio lock
 */
struct hugepoison_private {
	refcount_t users;
	void *reserved;
	vm_flags_t added;
	struct folio *folio;
	unsigned long discarded[];
};

/*
 * For a mapping of @folio, or of a file's hugepage; @pages is its size. @mm's
 * process pays: the one whose mapping it is, whoever narrows for it, and for the
 * child of a fork its parent. The worker, which is there for all, does not reclaim
 * within the limits of one.
 */
static struct hugepoison_private *
hugepoison_private_alloc(struct mm_struct *mm, struct folio *folio,
			 unsigned long pages)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(mm);
	struct mem_cgroup *before = set_active_memcg(memcg);
	gfp_t gfp = current->flags & PF_WQ_WORKER ?
		    GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN :
		    GFP_KERNEL_ACCOUNT;
	struct hugepoison_private *own;

	own = kvzalloc(struct_size(own, discarded, BITS_TO_LONGS(pages)), gfp);
	set_active_memcg(before);
	mem_cgroup_put(memcg);
	if (!own)
		return NULL;
	refcount_set(&own->users, 1);
	own->folio = folio;
	if (folio)
		folio_get(folio);
	return own;
}

/* Nothing notifies the handler when the last user leaves: each tells it. */
static void hugepoison_private_put_folio(struct folio *folio)
{
	if (!folio)
		return;
	hugepoison_deleted(folio);
	folio_put(folio);
}

static void hugepoison_private_free(struct hugepoison_private *own)
{
	hugepoison_private_put_folio(own->folio);
	kvfree(own);
}

/* A narrowed private VMA goes away. Its reservation ends as a hugetlb VMA's. */
static void hugepoison_private_close(struct vm_area_struct *vma)
{
	struct hugepoison_private *own = vma->vm_private_data;

	if (!own || !refcount_dec_and_test(&own->users))
		return;
	vma->vm_private_data = own->reserved;
	hugepoison_private_free(own);
	/* nobody can find the VMA any more: what closes it asks for the flag */
	vm_flags_init(vma, vma->vm_flags | VM_HUGETLB);
	hugetlb_vm_op_close(vma);
}

/* Another VMA for the same: mremap() moves it, or fork is about to copy it. */
static void hugepoison_private_open(struct vm_area_struct *vma)
{
	struct hugepoison_private *own = vma->vm_private_data;

	if (own)
		refcount_inc(&own->users);
}

/* The hugepage that a narrowed private VMA has at an address, NULL for none. */
static struct folio *hugepoison_private_folio(struct vm_area_struct *vma,
					      unsigned long address)
{
	struct hugepoison_private *own = vma->vm_private_data;

	if (!own || !own->folio ||
	    test_bit((address - vma->vm_start) >> PAGE_SHIFT, own->discarded))
		return NULL;
	return own->folio;
}

/**
 * hugepoison_discard - a process lets go of part of a narrowed private mapping
 * @vma: a narrowed VMA
 * @start: the first byte
 * @end: the first one behind it
 * @wait: whether the folio lock may be waited for
 *
 * Before the entries are taken away: a fault holds the folio lock from asking
 * whether a page is discarded until after it has mapped the page, so the zap
 * that follows finds every mapping made before. Where the file is truncated
 * i_mmap_rwsem is held, which comes behind the folio lock (unmap_ref_private()):
 * then a fault that is under way may see its page once more, as if it had come
 * before.
 *
 * Context: Process context, may sleep; mmap_lock or i_mmap_rwsem held, which
 * keeps @vma.
 */
void hugepoison_discard(struct vm_area_struct *vma, unsigned long start,
			unsigned long end, bool wait)
{
	struct hugepoison_private *own = vma->vm_private_data;
	struct folio *folio;
	unsigned long at;
	bool locked;

	if (vma->vm_flags & VM_MAYSHARE || !own || !own->folio)
		return;
	folio = own->folio;
	locked = folio_trylock(folio);
	if (!locked && wait) {
		folio_lock(folio);
		locked = true;
	}
	for (at = start; at < end; at += PAGE_SIZE)
		set_bit((at - vma->vm_start) >> PAGE_SHIFT, own->discarded);
	if (locked)
		folio_unlock(folio);
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
		/* with others it cannot be mapped as it was; see narrow.c */
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
static bool hugepoison_held_is_lost(struct vm_area_struct *vma,
				    unsigned long address, struct folio *folio)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	unsigned long at = linear_page_index(vma, address) &
			   ((size >> PAGE_SHIFT) - 1);

	return hugepoison_fate(folio) == HUGEPOISON_WIDE ||
	       hugepoison_peek_raw(folio, size, at);
}

/* Whether one page of a narrowed private VMA is lost. */
static bool hugepoison_private_is_lost(struct vm_area_struct *vma,
				       unsigned long address)
{
	pte_t entry = hugepoison_base_entry(vma, address);
	struct folio *folio = hugepoison_private_folio(vma, address);

	if (!pte_none_mostly(entry))
		return !pte_present(entry) &&
		       is_hwpoison_entry(pte_to_swp_entry(entry));
	return folio ? hugepoison_held_is_lost(vma, address, folio) :
		       hugepoison_file_is_lost(vma, address);
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
	struct folio *folio;
	pte_t entry;

	mmap_assert_locked(vma->vm_mm);
	if (!is_vm_hugetlb_page(vma))
		return hugepoison_private_is_lost(vma, address);
	entry = hugepoison_entry_at(vma, address);
	folio = hugepoison_kept_folio(entry);
	if (folio)
		return hugepoison_held_is_lost(vma, address, folio);
	return !huge_pte_none_mostly(entry) ||
	       hugepoison_file_is_lost(vma, address);
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

/* An entry that says: this page was lost. */
static int hugepoison_set_lost(struct vm_area_struct *vma,
			       unsigned long address, unsigned long pfn)
{
	spinlock_t *ptl = NULL;
	pte_t *pte = get_locked_pte(vma->vm_mm, address, &ptl);

	if (!pte)
		return -ENOMEM;
	if (pte_none_mostly(ptep_get(pte)))
		set_pte_at(vma->vm_mm, address, pte,
			   swp_entry_to_pte(swp_entry(SWP_HWPOISON, pfn)));
	pte_unmap_unlock(pte, ptl);
	return 0;
}

/* Map a new page of the process's own where nothing is; the table is there. */
static void hugepoison_map_own(struct vm_area_struct *vma,
			       unsigned long address, struct folio *folio)
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
	if (pte_none_mostly(ptep_get(pte))) {
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

/*
 * A base page of the process's own, filled from a hugepage or with zeros, charged
 * to @payer's process.
 *
 * Return: 0 when something is mapped there, -ENOMEM, -EHWPOISON.
 */
static int hugepoison_own_page(struct vm_area_struct *vma,
			       unsigned long address, struct folio *from,
			       struct mm_struct *payer)
{
	struct folio *page = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma,
					     address, false);
	int ret = -ENOMEM;

	if (!page)
		return ret;
	if (mem_cgroup_charge(page, payer, GFP_KERNEL))
		goto out;
	ret = -EHWPOISON;
	if (!hugepoison_fill_page(vma, address, &page->page, from))
		goto out;
	__folio_mark_uptodate(page);
	hugepoison_map_own(vma, address & PAGE_MASK, page);
	ret = 0;
out:
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
		ret = hugepoison_own_page(vma, address, from, parent);
	if (ret == -EHWPOISON)
		ret = hugepoison_set_lost(vma, address,
					  page_to_pfn(folio_page(from, at)));
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
	struct hugepoison_private *own = child->vm_private_data;
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
	folio = own->folio;
	i_mmap_lock_write(mapping);
	WRITE_ONCE(own->folio, NULL);
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
	struct hugepoison_private *own = parent->vm_private_data, *copy;
	struct address_space *mapping = parent->vm_file->f_mapping;
	unsigned long nr = vma_pages(parent);

	if (!own)
		return 0;
	copy = hugepoison_private_alloc(parent->vm_mm, own->folio, nr);
	if (!copy)
		return -ENOMEM;
	copy->added = own->added;
	/* a hole punched into the file meanwhile is in both */
	i_mmap_lock_write(mapping);
	bitmap_copy(copy->discarded, own->discarded, nr);
	child->vm_private_data = copy;
	i_mmap_unlock_write(mapping);
	/* the VMA was duplicated with its parent's */
	refcount_dec(&own->users);
	if (!own->folio)
		return 0;
	if (PageAnonExclusive(&own->folio->page)) {
		if (folio_maybe_dma_pinned(own->folio))
			return hugepoison_copy_pinned(child, parent);
		ClearPageAnonExclusive(&own->folio->page);
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
