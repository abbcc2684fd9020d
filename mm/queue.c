// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the workers' works, and when they run.
 *
 * The handler, page faults and files queue four works here:
 *  - narrow mappings whose faults cannot,
 *  - log the errors in hugepages that were narrowed,
 *  - release a poisoned hugepage when its last user has left it,
 *  - heal a hugepage whose lost pages were filled again.
 */
#include <linux/sched/signal.h>

#include "internal.h"

/*
 * The delay from an error to the narrow worker: ptrace and /proc/PID/mem fail until then.
 * How many passes a hugepage gets, and the delay between them.
 */
#define HUGEPOISON_EAGER_DELAY		1
#define HUGEPOISON_EAGER_TRIES		20
#define HUGEPOISON_EAGER_AGAIN		(HZ / 10)
/*
 * The delay until an unused hugepage is released; between two tries to release one; and
 * between two tries to contain an error.
 */
#define HUGEPOISON_RELEASE_DELAY	(HZ / 100)
#define HUGEPOISON_RELEASE_AGAIN	HZ
#define HUGEPOISON_CONTAIN_AGAIN	(HZ / 10)
/*
 * The delay from a refill to the heal, so that one heal serves several refills, and between
 * two tries. How often it is tried: each try unmaps the hugepage.
 */
#define HUGEPOISON_REHEAL_DELAY		(4 * HZ)
#define HUGEPOISON_REHEAL_TRIES		4

/*
 * The works. Their functions call those that queue the works, so they are in files further
 * up, which set the works up at boot, before the first hugepage.
 */
static struct delayed_work hugepoison_narrow_dwork;
static struct delayed_work hugepoison_log_dwork;
static struct delayed_work hugepoison_release_dwork;
static struct delayed_work hugepoison_reheal_dwork;

/*
 * Run the release worker before its delay of a second ends. This work has a timer of its
 * own, which is never reset while pending: users could cause errors and unmap faster than
 * any delay, and so put it off for ever.
 */
static void hugepoison_mod_release_work(struct work_struct *work)
{
	mod_delayed_work(hugepoison_wq, &hugepoison_release_dwork, 0);
}

static DECLARE_DELAYED_WORK(hugepoison_mod_release_dwork, hugepoison_mod_release_work);

static void hugepoison_queue_release_delayed(unsigned long delay)
{
	queue_delayed_work(hugepoison_wq, &hugepoison_mod_release_dwork, delay);
}

/* If the narrow worker has to switch the key on it runs at once: no fault can narrow before. */
static unsigned long hugepoison_narrow_delay(void)
{
	return hugepoison_small_rmap_enabled() ? HUGEPOISON_EAGER_DELAY : 0;
}

static void hugepoison_queue_narrow_work(void)
{
	queue_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
			   hugepoison_narrow_delay());
}

/*
 * Have the worker narrow the mappings of a record's hugepage. The first pass over a hugepage
 * does not wait for the next pass over others: resetting the timer is safe, as each hugepage
 * with an error can do so only until that pass.
 */
static void hugepoison_queue_narrow(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	WRITE_ONCE(record->worker.eager, HUGEPOISON_EAGER_TRIES);
	if (READ_ONCE(record->worker.pass) ||
	    !delayed_work_pending(&hugepoison_narrow_dwork))
		hugepoison_queue_narrow_work();
	else
		mod_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
				 hugepoison_narrow_delay());
}

/**
 * hugepoison_queue_narrow_folio - have the worker narrow a hugepage's mappings again
 * @folio: the hugepage; RCU keeps it
 *
 * For a fault that cannot narrow, in a mapping that was made after the worker's last pass.
 * Losing a race with the worker costs another fault. A user can fault as often as he likes,
 * so passes that are left stay as they are.
 *
 * Context: Any but interrupts.
 */
void hugepoison_queue_narrow_folio(struct folio *folio)
{
	struct hugepoison_record *record;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record && !READ_ONCE(record->worker.eager))
		WRITE_ONCE(record->worker.eager, HUGEPOISON_EAGER_TRIES);
	spin_unlock(&hugepoison_records_lock);
	hugepoison_queue_narrow_work();
}

/* The narrow worker looks for mappings, and has logged what there was to log before. */
static bool hugepoison_narrowing;

/*
 * Log an error in a hugepage that was narrowed. The narrow worker does, which the handler
 * calls next; while it is busy another work does.
 */
static void hugepoison_queue_log(struct hugepoison_record *record,
				 unsigned long pfn)
{
	lockdep_assert_held(&mf_mutex);
	WRITE_ONCE(record->worker.unlogged, pfn);
	/* pairs with hugepoison_narrow_work(): busy is seen here, or the error there */
	smp_mb();
	if (READ_ONCE(hugepoison_narrowing))
		queue_delayed_work(hugepoison_wq, &hugepoison_log_dwork,
				   HUGEPOISON_EAGER_DELAY);
}

/* Have the worker look whether a poisoned hugepage still has users. */
static void hugepoison_queue_release(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	/* an uncontained error must not wait for the longer delay */
	if (hugepoison_is_open(record))
		hugepoison_queue_release_delayed(HUGEPOISON_CONTAIN_AGAIN);
	else
		queue_delayed_work(hugepoison_wq, &hugepoison_release_dwork,
				   HUGEPOISON_RELEASE_AGAIN);
}

/**
 * hugepoison_deleted - queue the release of a hugepage that a user drops
 * @folio: the hugepage, out of the page cache
 *
 * Context: Any; a worker does the release, as the handler's locks come before the
 * caller's.
 */
void hugepoison_deleted(struct folio *folio)
{
	if (folio_test_hwpoison(folio))
		hugepoison_queue_release_delayed(HUGEPOISON_RELEASE_DELAY);
}

/**
 * hugepoison_await_handled - wait for the error on its way through the handler
 *
 * Under mf_mutex there is one at a time. Later errors are not waited for: the error that
 * the caller met is decided by then. If the handler could not contain that error, the
 * worker does soon after the hugepage has come into use: then this waits a part of the
 * worker's delay.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
void hugepoison_await_handled(void)
{
	int nr = atomic_read(&hugepoison_nr_handled);

	if (!hugepoison_handling_now())
		schedule_timeout_killable(HUGEPOISON_CONTAIN_AGAIN / 4);
	while (hugepoison_handling_now() &&
	       atomic_read(&hugepoison_nr_handled) == nr &&
	       !fatal_signal_pending(current))
		schedule_timeout_killable(1);
}

static void hugepoison_queue_reheal_work(void)
{
	queue_delayed_work(hugepoison_wq, &hugepoison_reheal_dwork,
			   HUGEPOISON_REHEAL_DELAY);
}

/**
 * hugepoison_queue_reheal - have the worker heal a hugepage that was refilled
 * @folio: the hugepage, in a file, locked
 *
 * One of 1 GiB is not healed by itself: copying it would stop its users for too long.
 *
 * Context: Any but interrupts.
 */
void hugepoison_queue_reheal(struct folio *folio)
{
	struct hugepoison_record *record;

	if (folio_size(folio) > PMD_SIZE)
		return;
	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record)
		WRITE_ONCE(record->worker.reheal, HUGEPOISON_REHEAL_TRIES);
	spin_unlock(&hugepoison_records_lock);
	hugepoison_queue_reheal_work();
}
