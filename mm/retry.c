// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: whether a page fault may come back.
 */
#include <linux/hash.h>
#include <linux/sched.h>

#include "internal.h"

/*
 * Whether a fault must not drop mmap_lock. Then it fails, or returns VM_FAULT_RETRY at
 * once, and the worker narrows meanwhile.
 */
static bool hugepoison_cannot_wait(unsigned int flags)
{
	return !(flags & FAULT_FLAG_ALLOW_RETRY) ||
	       flags & FAULT_FLAG_RETRY_NOWAIT;
}

/*
 * How often a fault comes back before it gets the error. Each time the fault has waited
 * for an event, which may not help: another error hits the healed hugepage, another
 * process takes the refilled one.
 */
#define HUGEPOISON_FAULT_TRIES	16
#define HUGEPOISON_FAULT_BITS	8

/**
 * struct hugepoison_retry - a fault that has returned VM_FAULT_RETRY
 * @task: the task that faults; never dereferenced
 * @address: of the base page it wants
 * @tries: how often it came back
 * @seen: when it came last, in jiffies
 *
 * A fault that has dropped mmap_lock must return VM_FAULT_RETRY and nothing else: its
 * caller's VMA may be gone. So the fault returns the error when it comes back, and has
 * to know that it does. Most callers then set FAULT_FLAG_TRIED.
 * populate_vma_page_range() never does, so a fault soon after the last one counts as
 * its return. A killed task never returns: the next task of its slot overwrites the
 * entry. That can hit a task that does return, which then counts from zero.
 */
struct hugepoison_retry {
	struct task_struct *task;
	unsigned long address;
	unsigned int tries;
	unsigned long seen;
};

static struct hugepoison_retry hugepoison_retries[1 << HUGEPOISON_FAULT_BITS];
static DEFINE_SPINLOCK(hugepoison_retries_lock);

/*
 * Whether the caller of a fault sets FAULT_FLAG_TRIED when it retries. The CPU's page
 * faults do, and so do callers that a signal may interrupt.
 */
static bool hugepoison_says_tried(unsigned int flags)
{
	return flags & FAULT_FLAG_INTERRUPTIBLE;
}

/* The entry of a fault; @tries is how often it came back before. */
static struct hugepoison_retry *hugepoison_find_retry(unsigned long address,
						      unsigned int flags)
{
	struct hugepoison_retry *retry;
	bool again = flags & FAULT_FLAG_TRIED;

	lockdep_assert_held(&hugepoison_retries_lock);
	address &= PAGE_MASK;
	retry = &hugepoison_retries[hash_ptr(current, HUGEPOISON_FAULT_BITS)];
	if (!hugepoison_says_tried(flags))
		again |= time_before(jiffies, retry->seen + HZ);
	if (!again || retry->task != current || retry->address != address)
		*retry = (struct hugepoison_retry){ current, address };
	retry->seen = jiffies;
	return retry;
}

/* Whether a fault may drop mmap_lock and return VM_FAULT_RETRY once more. */
static bool hugepoison_may_retry(unsigned long address, unsigned int flags)
{
	struct hugepoison_retry *retry;
	bool may;

	spin_lock(&hugepoison_retries_lock);
	retry = hugepoison_find_retry(address, flags);
	may = retry->tries < HUGEPOISON_FAULT_TRIES;
	retry->tries++;
	/* the fault ends with the error: forget it */
	if (!may)
		retry->task = NULL;
	spin_unlock(&hugepoison_retries_lock);
	return may;
}

/* Have a fault get the error when it comes back. */
static void hugepoison_end_retries(unsigned long address)
{
	spin_lock(&hugepoison_retries_lock);
	hugepoison_find_retry(address, FAULT_FLAG_TRIED)->tries =
		HUGEPOISON_FAULT_TRIES;
	spin_unlock(&hugepoison_retries_lock);
}

/*
 * Wait for the error handler, or for the key that has to be on to narrow; then the
 * fault comes back. mmap_lock is held for reading; it is dropped.
 */
static vm_fault_t hugepoison_wait_fault(struct mm_struct *mm,
					enum hugepoison_fate fate)
{
	mmap_read_unlock(mm);
	if (fate == HUGEPOISON_UNDECIDED)
		hugepoison_await_handled();
	hugepoison_await_small_rmap();
	return VM_FAULT_RETRY;
}

/* Return: 0 if a fault in a narrowed VMA may come back, else what it returns. */
static vm_fault_t hugepoison_check_retry(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (hugepoison_cannot_wait(vmf->flags) ||
	    !hugepoison_may_retry(vmf->address, vmf->flags))
		return VM_FAULT_SIGBUS;
	return 0;
}

/* Wait for the handler to decide about a narrowed hugepage. */
static vm_fault_t hugepoison_undecided_fault(struct vm_fault *vmf)
{
	return hugepoison_check_retry(vmf) ?:
	       hugepoison_wait_fault(vmf->vma->vm_mm,
				     HUGEPOISON_UNDECIDED);
}
