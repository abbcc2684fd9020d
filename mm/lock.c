// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the locks of a hugepage that has an error.
 *
 * Any user may hold the lock of a hugepage, or the lock of its mappings, for long. All
 * errors need mf_mutex: a wait for a user under mf_mutex would delay them all. So with
 * mf_mutex held the handler tries these locks, a bounded number of times.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>

#include "internal.h"

/*
 * How often the handler waits for a hugepage's locks with mf_mutex dropped. Each time
 * it gets the locks, but another error has taken mf_mutex. After that the handler keeps
 * mf_mutex, and hugepoison_lock() waits.
 */
#define HUGEPOISON_HOLD_TRIES		16

/*
 * The fresh hugepage of the heal under way. The heal waits for mf_mutex with this
 * folio locked, so mf_mutex must not wait for the lock. Changed under mf_mutex.
 */
static struct folio *hugepoison_healing;

/*
 * Whether a page fault may just have allocated a hugepage: it has a reference and no
 * lock. The fault then sets PG_locked without an atomic operation, so a lock taken
 * here would be overwritten. The fault sets folio->mapping after that.
 */
static bool hugepoison_has_no_mapping(struct folio *folio)
{
	return !READ_ONCE(folio->mapping);
}

/*
 * Take a reference to the hugepage that a page is in. Return: NULL if the page is in no
 * hugepage in use, or in one that must not be locked.
 */
static struct folio *hugepoison_try_get(struct page *page)
{
	struct folio *folio = page_folio(page);

	lockdep_assert_held(&mf_mutex);
	if (!folio_test_hugetlb(folio) || folio == hugepoison_healing ||
	    !folio_try_get(folio))
		return NULL;
	/* before the reference was taken the folio may have been freed and reused */
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
 * Whether a heal has put the hugepage back into its file since its mappings were locked: a
 * heal that fails does so with mf_mutex, but without the folio lock.
 */
static bool hugepoison_is_back(struct hugepoison_error *err)
{
	lockdep_assert_held(&mf_mutex);
	return !folio_test_anon(err->held) && err->held->mapping &&
	       !err->rmap.mapping;
}

/*
 * Drop mf_mutex, wait for the folio lock and the lock of the mappings, and try
 * mf_mutex: it comes before both, so waiting for it could deadlock.
 *
 * Return: false with nothing held but mf_mutex.
 */
static bool hugepoison_wait_hold(struct hugepoison_error *err)
{
	bool ret;

	hugepoison_end_handling();
	mutex_unlock(&mf_mutex);
	folio_lock(err->held);
	/* the folio lock keeps the folio in its file, and so keeps the file */
	hugepoison_lock_rmap(err->held, &err->rmap, true);
	ret = mutex_trylock(&mf_mutex);
	if (ret && hugepoison_is_back(err)) {
		mutex_unlock(&mf_mutex);
		ret = false;
	}
	if (!ret) {
		hugepoison_unlock_rmap(&err->rmap);
		folio_unlock(err->held);
		/* the handler that has mf_mutex would take the reference for a user's */
		folio_put(err->held);
		err->held = NULL;
		mutex_lock(&mf_mutex);
	}
	hugepoison_begin_handling();
	return ret;
}

/*
 * Lock the hugepage in use that an error is in, before the error is recorded. A page
 * fault, mmap() or fork() of any user holds these locks, and a preempted user holds
 * them until other tasks leave it the CPU. All errors need mf_mutex: with mf_mutex
 * held the handler tries these locks, and drops mf_mutex to wait for them.
 *
 * Nothing is held when the hugepage is not in use, or a heal fills it. A hugepage that
 * comes into use later is locked by hugepoison_lock().
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

/*
 * As hugepoison_hold(), but without a wait: the worker comes again, and has other
 * hugepages to release meanwhile. Return: true with the locks of @folio held.
 */
static bool hugepoison_hold_now(struct hugepoison_error *err, struct folio *folio)
{
	err->held = hugepoison_try_get(&folio->page);
	if (!err->held)
		return false;
	if (hugepoison_try_hold(err)) {
		hugepoison_hold_rmap(&err->rmap);
		return true;
	}
	folio_put(err->held);
	err->held = NULL;
	return false;
}

/* Drop the locks. put_anon_vma() comes last: it may lock the anon_vma's root. */
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

/* Lock the hugepage. The handler's own reference to it is another one. */
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
 * Take mf_mutex, then the folio lock of a hugepage that the handler has a reference
 * to. A user that has pinned the hugepage may hold the folio lock, so mf_mutex is
 * dropped while waiting for it.
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
 * Lock a hugepage if its lock is free within 20 ms. A user that holds the lock may be
 * preempted, and the lock moves through a queue at the pace of the tasks in it.
 */
static bool hugepoison_lock_soon(struct folio *folio)
{
	int tries;

	for (tries = 0; tries < 20; tries++) {
		if (folio_trylock(folio))
			return true;
		usleep_range(500, 1000);
	}
	return false;
}

/*
 * As hugepoison_lock_soon(), to unmap a file's hugepage where it is mapped below its size. A
 * user's munmap() that has cleared an entry may have yet to uncount it.
 */
static bool hugepoison_unmap_soon(struct folio *folio)
{
	int tries;

	for (tries = 0; tries < 20; tries++) {
		if (hugepoison_try_unmap_small(folio) &&
		    folio_mapcount(folio) == folio_entire_mapcount(folio))
			return true;
		usleep_range(500, 1000);
	}
	return false;
}

/*
 * Lock the poisoned hugepage of a record, with mf_mutex held. A heal waits for mf_mutex
 * with hugepoison_healing locked, so waiting for that folio would deadlock.
 */
static bool hugepoison_lock_poisoned(struct hugepoison_record *record,
				     struct folio *folio)
{
	lockdep_assert_held(&mf_mutex);
	/* with the handler's reference no fault can allocate the hugepage */
	if (!record->referenced && hugepoison_has_no_mapping(folio))
		return false;
	if (folio == hugepoison_healing)
		return folio_trylock(folio);
	return hugepoison_lock_soon(folio);
}

#ifdef CONFIG_PROVE_LOCKING
/*
 * Take the locks once in their order at boot. Then lockdep complains at the first walk
 * of an address space under mf_mutex, not at the first deadlock:
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
