// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the workqueue.
 */
#include <linux/init.h>
#include <linux/sched.h>

#include "internal.h"

/*
 * Runs the works that follow an error.
 *
 * Some hold mf_mutex, which each error needs. A worker of an ordinary workqueue runs at
 * nice 0: among the thousand running processes of a user it would seldom get the CPU, and
 * keep mf_mutex meanwhile.
 */
struct workqueue_struct *hugepoison_wq __ro_after_init;

/* core_initcall: before the first hugepage, and so before the first error in one. */
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
 * hugepoison_begin_urgent - raise the worker's priority before it takes a lock
 *
 * To be called before a worker takes a lock that others wait for: mf_mutex, the locks of
 * a hugepage and its file, or a process's mmap_lock. With a realtime priority no ordinary
 * task preempts the worker. At nice -20 it would still lose the CPU for seconds among
 * very many tasks.
 *
 * Context: A worker of hugepoison_wq; for a short time.
 */
void hugepoison_begin_urgent(void)
{
	sched_set_fifo_low(current);
}

/**
 * hugepoison_end_urgent - restore the worker's priority after it has dropped the locks
 *
 * Context: As hugepoison_begin_urgent().
 */
void hugepoison_end_urgent(void)
{
	sched_set_normal(current, task_nice(current));
}
