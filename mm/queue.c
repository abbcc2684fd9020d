// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: what is left to do after an error, and when.
 *
 * Included by hugepoison/memory-failure.c. The handler, page faults and files queue
 * two works here:
 *  - narrow for mappers that cannot do it by themselves in their faults,
 *  - release a poisoned hugepage when its last user has left it.
 */

/*
 * How soon the worker narrows after an error: ptrace and /proc/PID/mem fail
 * until then. How often it is tried, and how long in between.
 */
#define HUGEPOISON_EAGER_DELAY		1
#define HUGEPOISON_EAGER_TRIES		20
#define HUGEPOISON_EAGER_AGAIN		(HZ / 10)
/*
 * How soon an unused hugepage is released, or looked at again; and one whose
 * error is not contained.
 */
#define HUGEPOISON_RELEASE_DELAY	(HZ / 100)
#define HUGEPOISON_RELEASE_AGAIN	HZ
#define HUGEPOISON_CONTAIN_AGAIN	(HZ / 10)

/*
 * The works. What they run calls much of what queues them: the files with their
 * functions set them up at boot, before the first hugepage.
 */
static struct delayed_work hugepoison_narrow_dwork;
static struct delayed_work hugepoison_release_dwork;

/*
 * The release worker may be about to come in a second. It comes sooner by a timer of
 * its own, which nobody sets anew: users can bring about errors and ends of mappings
 * more often than any delay.
 */
static void hugepoison_soon_work(struct work_struct *work)
{
	mod_delayed_work(hugepoison_wq, &hugepoison_release_dwork, 0);
}

static DECLARE_DELAYED_WORK(hugepoison_soon_dwork, hugepoison_soon_work);

static void hugepoison_release_soon(unsigned long delay)
{
	queue_delayed_work(hugepoison_wq, &hugepoison_soon_dwork, delay);
}

/* The worker narrows for those who have not touched their hugepage. */
static void hugepoison_narrow_soon(void)
{
	queue_delayed_work(hugepoison_wq, &hugepoison_narrow_dwork,
			   hugepage_small_rmap_enabled() ?
			   HUGEPOISON_EAGER_DELAY : 0);
}

/*
 * Have the worker narrow for @record's mappers, at once where it has to switch on
 * what counts such mappings: no fault can narrow before.
 */
static void hugepoison_narrow_later(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	WRITE_ONCE(record->worker.eager, HUGEPOISON_EAGER_TRIES);
	hugepoison_narrow_soon();
}

/**
 * hugepoison_hurry - have the worker look for a hugepage's mappers once more
 * @folio: the hugepage; RCU keeps it
 *
 * For a mapping that came after the worker was done, and a fault in it that
 * cannot narrow by itself. Losing a race with the worker costs another fault.
 *
 * Context: Any but interrupts.
 */
void hugepoison_hurry(struct folio *folio)
{
	struct hugepoison_record *record;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(folio_pfn(folio));
	if (record)
		WRITE_ONCE(record->worker.eager, HUGEPOISON_EAGER_TRIES);
	spin_unlock(&hugepoison_records_lock);
	hugepoison_narrow_soon();
}

/* Look soon whether a poisoned hugepage still has users. */
static void hugepoison_release_later(struct hugepoison_record *record)
{
	lockdep_assert_held(&mf_mutex);
	/* what can wait does not put off an error that is not contained yet */
	if (hugepoison_is_open(record))
		hugepoison_release_soon(HUGEPOISON_CONTAIN_AGAIN);
	else
		queue_delayed_work(hugepoison_wq, &hugepoison_release_dwork,
				   HUGEPOISON_RELEASE_AGAIN);
}

/**
 * hugepoison_deleted - a file has let go of a hugepage
 * @folio: the hugepage, out of the page cache
 *
 * Context: Any; the work is done by a worker, as the handler's locks come
 * before those of the caller.
 */
void hugepoison_deleted(struct folio *folio)
{
	if (folio_test_hwpoison(folio))
		hugepoison_release_soon(HUGEPOISON_RELEASE_DELAY);
}

/**
 * hugepoison_await_handled - wait for the error on its way through the handler
 *
 * There is one at a time, by mf_mutex. Those that come after it are not waited
 * for: what the caller met is decided by then. Where the handler could not
 * contain an error the worker does, soon after the hugepage came into use: then
 * the wait is for a part of the time until the worker looks.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
void hugepoison_await_handled(void)
{
	int nr = atomic_read(&hugepoison_nr_handled);

	if (!hugepoison_has_errors())
		schedule_timeout_killable(HUGEPOISON_CONTAIN_AGAIN / 4);
	while (hugepoison_has_errors() &&
	       atomic_read(&hugepoison_nr_handled) == nr &&
	       !fatal_signal_pending(current))
		schedule_timeout_killable(1);
}
