// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: narrow mappings that have had no fault since the error.
 *
 * The handler and faults queue this work, see queue.c. The worker never holds mf_mutex,
 * and tries the locks that a user can keep: see hugepoison_try_narrow().
 */
#include <linux/init.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include "internal.h"

/* How often a pass looks for more mappings: users can create new ones for ever. */
#define HUGEPOISON_EAGER_ROUNDS		64
/*
 * How many mappings a pass looks at, all rounds of a hugepage together. A user can have very
 * many, and the worker's CPU time is not the user's.
 */
#define HUGEPOISON_EAGER_LOOKS		SZ_64K

/* A narrowed hugepage that this pass of the worker has not visited yet. */
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
		/*
		 * after the first pass each one waits: queueing the work often wastes
		 * no other hugepage's passes, and gets no user more of the worker's time
		 */
		if (!record->worker.pass ||
		    time_after_eq(jiffies, record->worker.looked +
					   HUGEPOISON_EAGER_AGAIN))
			return record;
		*again = true;
	}
	return NULL;
}

/*
 * The next hugepage whose mappings this pass has to find. Only this worker sets the
 * record's pass and looked.
 *
 * Return: false when there is none.
 */
static bool hugepoison_pick_eager(unsigned int pass, unsigned long *pfn,
				  bool *again)
{
	struct hugepoison_record *record;
	unsigned int eager;

	rcu_read_lock();
	record = hugepoison_next_eager(pass, again);
	if (record) {
		/* the handler looks whether there was one */
		WRITE_ONCE(record->worker.pass, pass);
		record->worker.looked = jiffies;
		eager = READ_ONCE(record->worker.eager);
		/* fails if the tries were reset meanwhile, which then counts */
		if (eager)
			cmpxchg(&record->worker.eager, eager, eager - 1);
		*pfn = record->pfn;
	}
	rcu_read_unlock();
	return record;
}

/* Whether a hugepage is narrowed; if so *@anon_vma gets its anon_vma and a reference. */
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
 * Take a reference to a narrowed hugepage; the handler does not mistake that for a
 * user's, as it counts none in a narrowed one. Return: NULL if the hugepage is no longer
 * narrowed. With the reference it stays a hugepage.
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
 * Find the mappings of the hugepage that are not narrowed yet. mf_mutex is not held: a
 * file may have very many mappings, and all errors would wait. The worker is urgent while it
 * has the locks, for no more than HUGEPOISON_MAPPER_LOOKS mappings.
 *
 * Return: false if a user holds a lock that the search needs.
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
 * Narrow all mappings of a hugepage, as many at a time as @mappers takes. The next
 * search finds failed mappings first, and skips them. The worker waits for no lock that
 * a user can keep: neither for the folio lock nor for mmap_lock. Mappings behind
 * HUGEPOISON_MAPPER_LOOKS others are left to their faults.
 *
 * Return: true when mappings are left for the next pass.
 */
static bool hugepoison_narrow_eager(unsigned long pfn,
				    struct hugepoison_mappers *mappers)
{
	unsigned int nr, failed = 0, rounds = 0;
	bool found;

	mappers->looks = HUGEPOISON_EAGER_LOOKS;
	do {
		mappers->skip = failed;
		found = hugepoison_find_eager(pfn, mappers);
		nr = mappers->nr;
		failed += hugepoison_narrow_mappers(mappers);
	} while (nr == ARRAY_SIZE(mappers->at) &&
		 ++rounds < HUGEPOISON_EAGER_ROUNDS);
	return !found || failed || nr == ARRAY_SIZE(mappers->at) ||
	       !mappers->looks;
}

/*
 * The next error to log. @picked gets a copy of the record to log from after RCU is left,
 * as the console may be slow.
 *
 * Return: false when there is none.
 */
static bool hugepoison_pick_unlogged(struct hugepoison_record *picked)
{
	struct hugepoison_record *record;
	int bucket;

	picked->worker.unlogged = 0;
	rcu_read_lock();
	hash_for_each_rcu(hugepoison_records, bucket, record, node) {
		if (!READ_ONCE(record->worker.unlogged))
			continue;
		picked->pfn = record->pfn;
		picked->order = record->order;
		/* data_race(): the log may print the value before another error */
		picked->nr_bad = data_race(record->nr_bad);
		picked->worker.unlogged = xchg(&record->worker.unlogged, 0);
		break;
	}
	rcu_read_unlock();
	return record;
}

static void hugepoison_log_all(void)
{
	struct hugepoison_record picked;

	while (hugepoison_pick_unlogged(&picked)) {
		hugepoison_log_narrowed(&picked);
		cond_resched();
	}
}

static void hugepoison_log_work(struct work_struct *work)
{
	hugepoison_log_all();
}

/*
 * Narrow mappings of poisoned hugepages for processes whose accesses cannot narrow
 * them. Each hugepage has HUGEPOISON_EAGER_TRIES passes; after that a fault that cannot
 * narrow queues the worker again, see hugepoison_queue_narrow_folio().
 */
static void hugepoison_narrow_work(struct work_struct *work)
{
	struct hugepoison_mappers mappers = { };
	static unsigned int pass;
	bool again = false;
	unsigned long pfn;

	WRITE_ONCE(hugepoison_narrowing, true);
	/* pairs with hugepoison_queue_log() */
	smp_mb();
	hugepoison_log_all();
	hugepoison_enable_small_rmap();
	pass++;
	while (hugepoison_pick_eager(pass, &pfn, &again))
		again |= hugepoison_narrow_eager(pfn, &mappers);
	WRITE_ONCE(hugepoison_narrowing, false);
	if (again)
		queue_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
				   HUGEPOISON_EAGER_AGAIN);
}

/* As hugepoison_alloc_wq(): before the first hugepage. */
static int __init hugepoison_init_narrow(void)
{
	INIT_DELAYED_WORK(&hugepoison_narrow_dwork, hugepoison_narrow_work);
	INIT_DELAYED_WORK(&hugepoison_log_dwork, hugepoison_log_work);
	return 0;
}
core_initcall(hugepoison_init_narrow);
