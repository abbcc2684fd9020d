// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: narrow for others.
 *
 * Included by hugepoison/hugetlb.c. Who maps a poisoned hugepage, and a mapping of
 * another process becomes a narrowed one.
 */

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
	/*
	 * data_race(): other flags change under mmap_lock meanwhile, and a private
	 * mapping narrows. hugepoison_narrow() looks again, with mmap_lock held.
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
	/* one look: that lock does not keep mappings from being narrowed */
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
	return priv && READ_ONCE(priv->folio) == folio;
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

/* What linux/mm.h has for who waits for the VMA's page faults alone. */
static bool hugepoison_trylock_vma(struct vm_area_struct *vma)
{
#ifdef CONFIG_PER_VMA_LOCK
	unsigned int sequence;

	if (__is_vma_write_locked(vma, &sequence))
		return true;
	if (!down_write_trylock(&vma->vm_lock->lock))
		return false;
	WRITE_ONCE(vma->vm_lock_seq, sequence);
	up_write(&vma->vm_lock->lock);
#endif
	return true;
}

/*
 * Narrow for a process that may have the CPU seldom, in a fault that zeroes a GiB:
 * such a fault has the lock of its VMA alone.
 *
 * Return: false when there is something left to be narrowed.
 */
static bool hugepoison_narrow_other(struct hugepoison_mapper *mapper)
{
	struct vm_area_struct *vma = vma_lookup(mapper->mm, mapper->address);

	if (vma && !hugepoison_trylock_vma(vma))
		return false;
	hugepoison_narrow(mapper->mm, mapper->address);
	/* one that has lost nothing stays as it is, and is found again */
	vma = vma_lookup(mapper->mm, mapper->address);
	return !vma || !is_vm_hugetlb_page(vma);
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
