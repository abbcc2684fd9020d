// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: narrow mappings of other processes.
 *
 * The narrow worker finds the mappings of a poisoned hugepage and narrows them.
 */
#include <linux/rmap.h>
#include <linux/sched/mm.h>

#include "internal.h"

/*
 * How many mappings one search looks at: it holds the hugepage's locks at a priority before
 * all ordinary tasks, so no user may prolong it.
 */
#define HUGEPOISON_MAPPER_LOOKS		SZ_8K

/* Return: false when a search has looked at as many mappings as it may. */
static bool hugepoison_may_look(struct hugepoison_mappers *mappers,
				unsigned int *looks)
{
	if (!mappers->looks || *looks == HUGEPOISON_MAPPER_LOOKS)
		return false;
	mappers->looks--;
	++*looks;
	return true;
}

/*
 * Add a mapping that can be narrowed to @mappers, unless it is one to skip.
 *
 * Return: false when @mappers is full.
 */
static bool hugepoison_note_mapper(struct vm_area_struct *vma,
				   unsigned long address,
				   struct hugepoison_mappers *mappers)
{
	struct hugepoison_mapper *mapper = &mappers->at[mappers->nr];

	if (mappers->nr == ARRAY_SIZE(mappers->at))
		return false;
	/*
	 * data_race(): meanwhile other flags change under mmap_lock, and a private
	 * mapping may narrow. hugepoison_narrow() checks again with mmap_lock held.
	 */
	if (data_race(!is_vm_hugetlb_page(vma) || hugepoison_why_wide(vma)))
		return true;
	if (mappers->skip) {
		mappers->skip--;
		return true;
	}
	if (!mmget_not_zero(vma->vm_mm))
		return true;
	mapper->mm = vma->vm_mm;
	mapper->address = address;
	mappers->nr++;
	return true;
}

/*
 * Where a VMA may map a private hugepage. Such a hugepage has an index by the address at
 * which it was first mapped, not by the file's offset.
 */
static unsigned long hugepoison_anon_address(struct vm_area_struct *vma,
					     struct folio *folio)
{
	return vma->vm_start +
	       ((folio->index - vma_start_anon_pgoff(vma)) << PAGE_SHIFT);
}

/*
 * Whether a VMA keeps a private hugepage: its anon_vma also has VMAs that have copied
 * the page since. The anon_vma lock keeps their page tables: a VMA is unlinked from its
 * anon_vmas before its page tables are freed.
 */
static bool hugepoison_vma_keeps(struct vm_area_struct *vma,
				 struct folio *folio)
{
	unsigned long address = hugepoison_anon_address(vma, folio);
	/* read once: the anon_vma lock does not keep the VMA from being narrowed */
	const vm_flags_t flags = READ_ONCE(vma->vm_flags);
	struct hugepoison_private *priv;

	if (flags & VM_HUGETLB)
		return hugepoison_kept_folio(hugepoison_entry_at(vma, address)) ==
		       folio;
	if (flags & VM_MAYSHARE || !vma->vm_file ||
	    !is_file_hugepages(vma->vm_file))
		return false;
	/* pairs with hugepoison_make_private() */
	smp_rmb();
	priv = READ_ONCE(vma->vm_private_data);
	return priv && (READ_ONCE(priv->folio) == folio ||
			READ_ONCE(priv->fresh) == folio);
}

/**
 * hugepoison_is_kept - whether some mapping keeps a private hugepage
 * @folio: the hugepage, poisoned
 * @anon_vma: its anon_vma, with a reference
 *
 * Context: Process context, may sleep; folio lock held, unless @folio is free.
 * Return: false when no mapping has a page of it: all users have references.
 */
bool hugepoison_is_kept(struct folio *folio, struct anon_vma *anon_vma)
{
	struct anon_vma_chain *avc;
	bool kept = false;

	if (!folio_test_anon(folio))
		return false;
	anon_vma_lock_read(anon_vma);
	anon_rmap_tree_foreach(avc, anon_vma, folio->index, folio->index)
		kept |= hugepoison_vma_keeps(avc->vma, folio);
	anon_vma_unlock_read(anon_vma);
	return kept;
}

/* Find the mappings that keep a private hugepage. Return: false if the lock is taken. */
static bool hugepoison_find_private(struct folio *folio,
				    struct anon_vma *anon_vma,
				    struct hugepoison_mappers *mappers)
{
	struct anon_vma_chain *avc;
	unsigned int looks = 0;

	if (!anon_vma_trylock_read(anon_vma))
		return false;
	anon_rmap_tree_foreach(avc, anon_vma, folio->index, folio->index) {
		if (!hugepoison_may_look(mappers, &looks))
			break;
		if (hugepoison_vma_keeps(avc->vma, folio) &&
		    !hugepoison_note_mapper(avc->vma,
					    hugepoison_anon_address(avc->vma, folio),
					    mappers))
			break;
	}
	anon_vma_unlock_read(anon_vma);
	return true;
}

/* Find the mappings of a file's hugepage. Return: false if the lock is taken. */
static bool hugepoison_find_shared(struct folio *folio,
				   struct address_space *mapping,
				   struct hugepoison_mappers *mappers)
{
	struct vm_area_struct *vma;
	unsigned long address;
	unsigned int looks = 0;

	if (!i_mmap_trylock_read(mapping))
		return false;
	mapping_rmap_tree_foreach(vma, mapping, folio->index, folio->index) {
		address = vma->vm_start +
			  ((folio->index - vma->vm_pgoff) << PAGE_SHIFT);
		if (!hugepoison_may_look(mappers, &looks) ||
		    !hugepoison_note_mapper(vma, address, mappers))
			break;
	}
	i_mmap_unlock_read(mapping);
	return true;
}

/**
 * hugepoison_find_mappers - find mappings of a poisoned hugepage that can be narrowed
 * @folio: the hugepage
 * @anon_vma: of a private one, with a reference, else NULL
 * @mappers: to fill, after the first @skip mappings, which could not be narrowed
 *	     before; when it is full the next call finds the others, as long as there
 *	     are @looks left
 *
 * Context: Process context; folio lock held, which keeps the file. The caller
 * passes @mappers to hugepoison_narrow_mappers() with no lock held.
 * Return: false when a lock is taken that a user may hold for long.
 */
bool hugepoison_find_mappers(struct folio *folio, struct anon_vma *anon_vma,
			     struct hugepoison_mappers *mappers)
{
	struct address_space *mapping = folio_mapping(folio);

	if (anon_vma)
		return hugepoison_find_private(folio, anon_vma, mappers);
	return !mapping || hugepoison_find_shared(folio, mapping, mappers);
}

/* mmap_read_trylock() for writing: linux/mmap_lock.h has none. */
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

#ifdef CONFIG_PER_VMA_LOCK
/*
 * vma_start_write() that only tries: linux/mmap_lock.h has the one that waits for faults.
 * A VMA without readers has one reference. With the flag none can come, until the
 * sequence excludes them as long as mmap_lock is held.
 */
static bool hugepoison_trylock_vma(struct vm_area_struct *vma)
{
	if (__is_vma_write_locked(vma))
		return true;
	if (atomic_cmpxchg_acquire(&vma->vm_refcnt.refs, 1,
				   VM_REFCNT_EXCLUDE_READERS_FLAG + 1) != 1)
		return false;
	WRITE_ONCE(vma->vm_lock_seq, __vma_raw_mm_seqnum(vma));
	atomic_sub_return_release(VM_REFCNT_EXCLUDE_READERS_FLAG,
				  &vma->vm_refcnt.refs);
	return true;
}
#else
static bool hugepoison_trylock_vma(struct vm_area_struct *vma)
{
	return true;
}
#endif

/*
 * Narrow another process's mapping. Its VMA lock is only tried: a fault of a process
 * that seldom gets the CPU may hold it, and zero a GiB. So are the locks of its file's
 * mappings: a process that maps the file may lose the CPU with them.
 *
 * Return: false when the mapping is not narrowed.
 */
static bool hugepoison_narrow_other(struct hugepoison_mapper *mapper)
{
	struct vm_area_struct *vma = vma_lookup(mapper->mm, mapper->address);

	if (vma && !hugepoison_trylock_vma(vma))
		return false;
	hugepoison_narrow(mapper->mm, mapper->address, false);
	/* a VMA without an error stays as it is, and the next search finds it again */
	vma = vma_lookup(mapper->mm, mapper->address);
	return !vma || !is_vm_hugetlb_page(vma);
}

/*
 * Narrow a mapping if its mmap_lock is free. A process can hold its mmap_lock for as
 * long as it likes: asleep in a page fault that a FUSE server has to answer. The worker
 * would keep all others waiting. It runs urgent while it holds the lock, so that the
 * process does not wait for it either. mmput_async(): freeing an address space may wait
 * for such a server as well.
 */
static bool hugepoison_try_narrow(struct hugepoison_mapper *mapper)
{
	bool done = false;

	hugepoison_begin_urgent();
	if (hugepoison_trylock_mm(mapper->mm)) {
		done = hugepoison_narrow_other(mapper);
		mmap_write_unlock(mapper->mm);
	}
	hugepoison_end_urgent();
	mmput_async(mapper->mm);
	return done;
}

/**
 * hugepoison_narrow_mappers - narrow mappings of other processes
 * @mappers: from hugepoison_find_mappers(), used up
 *
 * Context: Process context, may sleep, but waits for no mmap_lock, and for i_mmap_rwsem of
 * a file only where that was free when the worker came to split a VMA.
 * Return: how many could not be narrowed now. Their faults narrow them, or queue the
 * worker again.
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
