// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: whether a page fault may come back.
 *
 * Included by hugepoison/hugetlb.c.
 */

/*
 * A fault that may not give up mmap_lock: fail, or say that it is worth coming
 * back; the worker narrows meanwhile.
 */
static bool hugepoison_cannot_wait(unsigned int flags)
{
	return !(flags & FAULT_FLAG_ALLOW_RETRY) ||
	       flags & FAULT_FLAG_RETRY_NOWAIT;
}

/*
 * How often a fault comes back before it gets the error. Each time it has waited
 * for an event; this bounds how often the event may be in vain: an error that
 * hits again what was just healed, a hugepage that was refilled and taken.
 */
#define HUGEPOISON_FAULT_TRIES	16
#define HUGEPOISON_FAULT_BITS	8

/**
 * struct hugepoison_retry - a fault that was asked to come back
 * @task: whose it is; never dereferenced
 * @address: of the base page it wants
 * @tries: how often it came back
 * @seen: when it was here last, in jiffies
 *
 * A fault that has dropped mmap_lock must not return anything but
 * VM_FAULT_RETRY: its caller's VMA may be gone. So the error comes out at its
 * next visit, which has to know. Most callers say FAULT_FLAG_TRIED then.
 * populate_vma_page_range() never does, so a visit soon after the last one counts
 * as the next. A visitor that never returns, killed, is
 * overwritten by the next one of its slot; so is one that does return, now and
 * then, and then begins to count anew.
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
 * Whether the caller of a fault says FAULT_FLAG_TRIED when it comes again. The
 * page fault of a CPU does, and of others those that a signal may end.
 */
static bool hugepoison_says_tried(unsigned int flags)
{
	return flags & FAULT_FLAG_INTERRUPTIBLE;
}

/* The visit of a fault is one of @tries; it has been @tries times already. */
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
	/* the error ends this fault */
	if (!may)
		retry->task = NULL;
	spin_unlock(&hugepoison_retries_lock);
	return may;
}

/* The next visit of a fault is to get the error. */
static void hugepoison_end_retries(unsigned long address)
{
	spin_lock(&hugepoison_retries_lock);
	hugepoison_find_retry(address, FAULT_FLAG_TRIED)->tries =
		HUGEPOISON_FAULT_TRIES;
	spin_unlock(&hugepoison_retries_lock);
}

/*
 * Wait for the error handler, or for the key without which nothing is narrowed;
 * the fault comes back. mmap_lock is held for reading, and not any more
 * afterwards.
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

/* Whether a fault in a narrowed VMA may come back; else what it gets. */
static vm_fault_t hugepoison_check_retry(struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (hugepoison_cannot_wait(vmf->flags) ||
	    !hugepoison_may_retry(vmf->address, vmf->flags))
		return VM_FAULT_SIGBUS;
	return 0;
}

/* What becomes of a narrowed hugepage is about to be known. */
static vm_fault_t hugepoison_undecided_fault(struct vm_fault *vmf)
{
	return hugepoison_check_retry(vmf) ?:
	       hugepoison_wait_fault(vmf->vma->vm_mm,
				     HUGEPOISON_UNDECIDED);
}
