// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the locks of a hugepage that has an error.
 *
 * Included by hugepoison/memory-failure.c. Any user may hold the lock of a hugepage,
 * and that of its mappings, for long; all errors need mf_mutex. So none of these is
 * waited for with mf_mutex held, but a bounded number of times.
 */

/*
 * How often an error waits for them while other errors go on. Each time it has got
 * them, and another error had mf_mutex. In the end it keeps mf_mutex.
 */
#define HUGEPOISON_HOLD_TRIES		16

/*
 * The fresh hugepage of the heal under way, which waits for mf_mutex with that
 * folio locked. Changed under mf_mutex.
 */
static struct folio *hugepoison_healing;

/*
 * Whether a page fault may be about to take a hugepage into use, with a reference and
 * no lock. What it does to the flags then is not atomic: it sets PG_locked as if
 * nobody else could. Both kinds of mapping are set after that.
 */
static bool hugepoison_has_no_mapping(struct folio *folio)
{
	return !READ_ONCE(folio->mapping);
}

/*
 * A reference to the hugepage that a page is in, NULL if it is in none in use, or in
 * one that is not to be locked.
 */
static struct folio *hugepoison_try_get(struct page *page)
{
	struct folio *folio = page_folio(page);

	lockdep_assert_held(&mf_mutex);
	if (!folio_test_hugetlb(folio) || folio == hugepoison_healing ||
	    !folio_try_get(folio))
		return NULL;
	/* it may have become something else before that */
	if (likely(folio_test_hugetlb(folio) && page_folio(page) == folio) &&
	    !hugepoison_has_no_mapping(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

static bool hugepoison_try_hold(struct hugepoison_error *err)
{
	if (!folio_trylock(err->held))
		return false;
	if (hugepoison_lock_rmap(err->held, &err->rmap, false))
		return true;
	folio_unlock(err->held);
	return false;
}

/*
 * Wait for the locks, and only try mf_mutex, which comes before them.
 *
 * Return: false with nothing held but mf_mutex.
 */
static bool hugepoison_wait_hold(struct hugepoison_error *err)
{
	bool ret;

	hugepoison_end_handling();
	mutex_unlock(&mf_mutex);
	folio_lock(err->held);
	/* the folio lock keeps it in its file, and the file with it */
	hugepoison_lock_rmap(err->held, &err->rmap, true);
	ret = mutex_trylock(&mf_mutex);
	if (!ret) {
		hugepoison_unlock_rmap(&err->rmap);
		folio_unlock(err->held);
		/* the error that has mf_mutex would take the reference for a user's */
		folio_put(err->held);
		err->held = NULL;
		mutex_lock(&mf_mutex);
	}
	hugepoison_begin_handling();
	return ret;
}

/*
 * Lock the hugepage in use that an error is in, before anything of the error is
 * recorded. Any user may hold these locks: by a page fault, mmap() or fork(). One
 * that has lost the CPU holds them until all that others compute is done. With
 * mf_mutex held, which all errors need, they are only tried; while they are waited
 * for, mf_mutex is not held.
 *
 * Nothing is held when the hugepage is not in use, or a heal fills it. One that
 * comes into use after this is locked by who needs that, see hugepoison_lock().
 */
static void hugepoison_hold(struct hugepoison_error *err)
{
	int tries;

	for (tries = 0; tries < HUGEPOISON_HOLD_TRIES; tries++) {
		err->held = hugepoison_try_get(err->page);
		if (!err->held)
			return;
		if (hugepoison_try_hold(err) || hugepoison_wait_hold(err)) {
			hugepoison_hold_rmap(&err->rmap);
			return;
		}
	}
}

/* Drop the locks. put_anon_vma() comes last: it may lock others of the family. */
static void hugepoison_let_go(struct hugepoison_error *err)
{
	if (!err->held)
		return;
	hugepoison_release_rmap();
	folio_unlock(err->held);
	folio_put(err->held);
	err->held = NULL;
	if (err->unused)
		put_anon_vma(err->unused);
	err->unused = NULL;
}

/* Lock the hugepage, of which the handler has another reference. */
static void hugepoison_lock(struct hugepoison_error *err)
{
	if (err->held == err->folio)
		return;
	hugepoison_let_go(err);
	folio_lock(err->folio);
	folio_get(err->folio);
	err->held = err->folio;
}

/*
 * Take mf_mutex, and then the lock of a hugepage that the handler has. A user who
 * has the hugepage pinned may hold that lock: the wait for it is without mf_mutex.
 */
static void hugepoison_lock_handled(struct folio *folio)
{
	int tries;

	mutex_lock(&mf_mutex);
	for (tries = 0; tries < HUGEPOISON_HOLD_TRIES; tries++) {
		if (folio_trylock(folio))
			return;
		mutex_unlock(&mf_mutex);
		folio_lock(folio);
		if (mutex_trylock(&mf_mutex))
			return;
		folio_unlock(folio);
		mutex_lock(&mf_mutex);
	}
	folio_lock(folio);
}

/*
 * Lock the poisoned hugepage of a record, with mf_mutex held. Any user may hold the
 * lock, and be off the CPU: he gets a moment. A heal waits for mf_mutex with
 * hugepoison_healing locked.
 */
static bool hugepoison_lock_poisoned(struct hugepoison_record *record,
				     struct folio *folio)
{
	int tries;

	lockdep_assert_held(&mf_mutex);
	/* with the handler's reference no fault can take it into use */
	if (!record->referenced && hugepoison_has_no_mapping(folio))
		return false;
	for (tries = 0; tries < 20; tries++) {
		if (folio_trylock(folio))
			return true;
		if (folio == hugepoison_healing)
			break;
		usleep_range(500, 1000);
	}
	return false;
}

#ifdef CONFIG_PROVE_LOCKING
/*
 * Lockdep hears of the order of locks at boot, so that it complains at the first
 * walk of an address space under mf_mutex, not at the first deadlock:
 *	mmap_lock -> inode lock		mmap() of a hugetlb file
 *	inode lock -> mf_mutex		heal
 */
static int __init hugepoison_prime_lockdep(void)
{
	struct mm_struct *mm = mm_alloc();

	if (!mm)
		return -ENOMEM;
	mmap_read_lock(mm);
	might_lock(&mf_mutex);
	mmap_read_unlock(mm);
	mmput(mm);
	return 0;
}
late_initcall(hugepoison_prime_lockdep);
#endif
