// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: narrow for mappers that have not touched theirs.
 *
 * Included by hugepoison/memory-failure.c. The work that the handler and faults queue,
 * see queue.c. It holds no lock that a user can keep, and never mf_mutex.
 */

/* How often a pass looks for more mappers: users may make new ones for ever. */
#define HUGEPOISON_EAGER_ROUNDS		64

/* A narrowed hugepage that this pass of the worker has not looked at yet. */
static struct hugepoison_record *hugepoison_next_eager(unsigned int pass,
						       bool *again)
{
	struct hugepoison_record *record;
	unsigned int eager;
	int bucket;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "needs RCU to keep records");
	hash_for_each_rcu(hugepoison_records, bucket, record, node) {
		eager = READ_ONCE(record->worker.eager);
		if (!hugepoison_is(record, HUGEPOISON_STATE_NARROWED) ||
		    !eager || record->worker.pass == pass)
			continue;
		/* a user who hurries the worker uses up nobody else's tries */
		if (eager == HUGEPOISON_EAGER_TRIES ||
		    time_after_eq(jiffies, record->worker.looked +
					   HUGEPOISON_EAGER_AGAIN))
			return record;
		*again = true;
	}
	return NULL;
}

/*
 * The next hugepage whose mappers this pass has to look for. There is one worker:
 * pass and looked are its own. What is left of the record when RCU is, and has to
 * be told, is in @picked, as the console may be slow.
 *
 * Return: false when there is none.
 */
static bool hugepoison_pick_eager(unsigned int pass,
				  struct hugepoison_record *picked, bool *again)
{
	struct hugepoison_record *record;
	unsigned int eager;

	rcu_read_lock();
	record = hugepoison_next_eager(pass, again);
	if (record) {
		record->worker.pass = pass;
		record->worker.looked = jiffies;
		eager = READ_ONCE(record->worker.eager);
		/* fails when somebody wants all tries again: he gets them */
		if (eager)
			cmpxchg(&record->worker.eager, eager, eager - 1);
		picked->pfn = record->pfn;
		picked->order = record->order;
		/* data_race(): the log may have it as of before another error */
		picked->nr_bad = data_race(record->nr_bad);
		picked->worker.untold = xchg(&record->worker.untold, 0);
	}
	rcu_read_unlock();
	return record;
}

/* Whether it is, and a private one's anon_vma with a reference, if asked for. */
static bool hugepoison_is_narrowed(unsigned long pfn,
				   struct anon_vma **anon_vma)
{
	struct hugepoison_record *record;
	bool ret;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(pfn);
	ret = record && hugepoison_is(record, HUGEPOISON_STATE_NARROWED) &&
	      !hugepoison_stale(record);
	if (ret && anon_vma) {
		*anon_vma = record->anon_vma;
		if (*anon_vma)
			get_anon_vma(*anon_vma);
	}
	spin_unlock(&hugepoison_records_lock);
	return ret;
}

/*
 * A narrowed hugepage, with a reference: there the handler does not take one for
 * a user. NULL when it is none any more; with the reference it stays what it is.
 */
static struct folio *hugepoison_get_narrowed(unsigned long pfn,
					     struct anon_vma **anon_vma)
{
	struct folio *folio;

	if (!hugepoison_is_narrowed(pfn, NULL))
		return NULL;
	folio = pfn_folio(pfn);
	if (!folio_try_get(folio))
		return NULL;
	if (hugepoison_is_narrowed(pfn, anon_vma))
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * Who maps the hugepage and has not touched it since? Neither here nor to find the
 * hugepage mf_mutex is held: a file may have very many mappings, and the worker
 * may have to wait for the CPU.
 *
 * Return: false when that could not be found out without waiting for a user.
 */
static bool hugepoison_find_eager(unsigned long pfn,
				  struct hugepoison_mappers *mappers)
{
	struct anon_vma *anon_vma;
	struct folio *folio = hugepoison_get_narrowed(pfn, &anon_vma);
	bool found;

	if (!folio)
		return true;
	hugepoison_begin_urgent();
	found = folio_trylock(folio);
	if (found) {
		found = hugepoison_find_mappers(folio, anon_vma, mappers);
		folio_unlock(folio);
	}
	hugepoison_end_urgent();
	if (anon_vma)
		put_anon_vma(anon_vma);
	folio_put(folio);
	return found;
}

/*
 * Narrow for all who map a hugepage, as many at a time as @mappers takes. Those
 * that it could not be done for are still the first to be found, and passed over.
 *
 * Return: true when some are left for the next pass. Nothing is waited for that
 * a user can keep: neither the folio lock nor mmap_lock.
 */
static bool hugepoison_narrow_eager(unsigned long pfn,
				    struct hugepoison_mappers *mappers)
{
	unsigned int nr, failed = 0, rounds = 0;
	bool found;

	do {
		mappers->skip = failed;
		found = hugepoison_find_eager(pfn, mappers);
		nr = mappers->nr;
		failed += hugepoison_narrow_mappers(mappers);
	} while (nr == ARRAY_SIZE(mappers->at) &&
		 ++rounds < HUGEPOISON_EAGER_ROUNDS);
	return !found || failed || nr == ARRAY_SIZE(mappers->at);
}

/*
 * Narrow for those who map a poisoned hugepage and cannot do it by themselves.
 * Each hugepage has HUGEPOISON_EAGER_TRIES passes; after that a fault that cannot
 * narrow by itself brings the worker back, see hugepoison_hurry().
 */
static void hugepoison_narrow_work(struct work_struct *work)
{
	struct hugepoison_mappers mappers = { };
	struct hugepoison_record picked;
	static unsigned int pass;
	bool again = false;

	hugepage_enable_small_rmap();
	pass++;
	while (hugepoison_pick_eager(pass, &picked, &again)) {
		hugepoison_tell(&picked);
		again |= hugepoison_narrow_eager(picked.pfn, &mappers);
	}
	if (again)
		queue_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
				   HUGEPOISON_EAGER_AGAIN);
}

/* As hugepoison_alloc_wq(): before the first hugepage. */
static int __init hugepoison_init_narrow(void)
{
	INIT_DELAYED_WORK(&hugepoison_narrow_dwork, hugepoison_narrow_work);
	return 0;
}
core_initcall(hugepoison_init_narrow);
