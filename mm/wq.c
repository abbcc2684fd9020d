// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the workqueue.
 *
 * Included by hugepoison/memory-failure.c.
 */

/*
 * Runs what is left to do after an error.
 *
 * Its works hold mf_mutex, which each error needs. A worker of an ordinary
 * workqueue runs at nice 0: any user's thousand processes that have something to
 * compute would come first, whatever it holds.
 */
struct workqueue_struct *hugepoison_wq __ro_after_init;

/* Comes before the first hugepage, and so before the first error in one. */
static int __init hugepoison_alloc_wq(void)
{
	hugepoison_wq = alloc_workqueue("hugepoison", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (hugepoison_wq)
		return 0;
	pr_err("no memory for a workqueue: busy processes will delay errors\n");
	hugepoison_wq = system_unbound_wq;
	return -ENOMEM;
}
core_initcall(hugepoison_alloc_wq);

/**
 * hugepoison_begin_urgent - a worker is about to take what others wait for
 *
 * mf_mutex, the locks of a hugepage and its file, or the mmap_lock of a process
 * that has lost nothing yet. From here on no ordinary task delays the worker: at
 * the highest of their priorities it would still be off the CPU for seconds, among
 * very many of them.
 *
 * Context: A worker of hugepoison_wq; for short.
 */
void hugepoison_begin_urgent(void)
{
	sched_set_fifo_low(current);
}

/**
 * hugepoison_end_urgent - nobody waits for the worker any more
 *
 * Context: As hugepoison_begin_urgent().
 */
void hugepoison_end_urgent(void)
{
	sched_set_normal(current, task_nice(current));
}
