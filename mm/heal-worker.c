// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the callers of a heal, and their workers.
 *
 * A caller that punches a raw page out of a file waits for a worker, which heals as heal.c
 * says. After a refill a work of ours is the caller.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/*
 * One heal at a time. Only workers take the mutex, and with it they wait for no user: they
 * try the locks of the file and of its hugepages, wait HUGEPOISON_HEAL_TRIES times for
 * references, each time bounded, walk the mappings of one file, and copy one hugepage. A
 * caller of any priority waits for its worker, killably. So neither a caller nor a task that
 * holds a lock of its file can prolong the heals of others.
 */
static DEFINE_MUTEX(hugepoison_heal_mutex);

/*
 * The workers of ordinary hugepages have an order: one allocates at a time. Gigantic ones are
 * allocated without an order: each allocation migrates other users' pages, and may wait for a
 * file system of one of them for ever. A round whose caller keeps the inode lock allocates
 * nothing, and must not wait while others do.
 */
static struct workqueue_struct *hugepoison_heal_ordered_wq __ro_after_init;
static struct workqueue_struct *hugepoison_heal_unordered_wq __ro_after_init;

static bool hugepoison_is_gigantic(struct hugepoison_heal *heal)
{
	return PAGE_SIZE << heal->order > PMD_SIZE;
}

static struct workqueue_struct *hugepoison_heal_wq(struct hugepoison_heal *heal)
{
	if (heal->keeps_inode || hugepoison_is_gigantic(heal))
		return hugepoison_heal_unordered_wq;
	return hugepoison_heal_ordered_wq;
}

/**
 * struct hugepoison_turn - the heals of one file, which come one after the other
 * @list: in hugepoison_turns
 * @inode: the file; only compared, as the debt outlives the callers that keep it
 * @ino: its number, which another file in the same memory does not have
 * @users: callers, and @debt while it runs
 * @turn: for the one that heals. A semaphore hands the turn to the caller that has waited
 *	  longest, so no caller that comes again and again keeps it from the others.
 * @debt: gives the turn back
 *
 * A heal needs one hugepage more than its file has. There are at most as many of those as
 * there are poisoned files, however many processes heal, and as many heals wait for the one
 * at hand.
 */
struct hugepoison_turn {
	struct list_head list;
	struct inode *inode;
	unsigned long ino;
	unsigned int users;
	struct semaphore turn;
	struct delayed_work debt;
};

static LIST_HEAD(hugepoison_turns);
static DEFINE_SPINLOCK(hugepoison_turns_lock);

/* How often the log has the same hugepage, where heals fail. */
#define HUGEPOISON_TELL_AGAIN		(5 * HZ)

/*
 * How often a caller needs a worker: one finds out that users have the inode lock, one that a
 * fresh hugepage is needed, one allocates it while users have the inode lock, one heals.
 */
#define HUGEPOISON_HEAL_ROUNDS		4

/* How long the heals of a file wait after one that healed nothing: so often its own time. */
#define HUGEPOISON_HEAL_DEBT		10

/* As hugepoison_lock_soon(), for the file: any call that changes it has its lock. */
static bool hugepoison_heal_try_inode(struct inode *inode)
{
	int tries;

	for (tries = 0; tries < 20; tries++) {
		if (inode_trylock(inode))
			return true;
		usleep_range(500, 1000);
	}
	return false;
}

/*
 * The hugepage that a file has at an index in base pages, or NULL. RCU keeps its memory.
 * No reference is taken: the error handler would take it for a user's. No lock is
 * taken: punching healthy hugepages must not wait.
 */
static struct folio *hugepoison_peek_at(struct address_space *mapping,
					pgoff_t index)
{
	struct folio *folio = xa_load(&mapping->i_pages, index);

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "needs RCU to keep the folio");
	return xa_is_value(folio) ? NULL : folio;
}

/* Whether the file has a poisoned hugepage at the index; notes its node. */
static bool hugepoison_file_has_poison(struct hugepoison_heal *heal)
{
	struct folio *folio;
	bool ret = false;

	rcu_read_lock();
	folio = hugepoison_peek_at(heal->inode->i_mapping, heal->index);
	if (folio) {
		ret = folio_test_hwpoison(folio);
		heal->nid = folio_nid(folio);
	}
	rcu_read_unlock();
	return ret;
}

/*
 * Whether there is something to heal and no seal forbids writing; else stock refuses the hole
 * afterwards. The contents stay where there is no hole, so seals do not matter.
 */
static bool hugepoison_heal_is_wanted(struct hugepoison_heal *heal)
{
	const unsigned int sealed = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

	lockdep_assert_held(&heal->inode->i_rwsem);
	if (!(heal->end && HUGETLBFS_I(heal->inode)->seals & sealed) &&
	    hugepoison_file_has_poison(heal))
		return true;
	heal->raw = NULL;
	return false;
}

/*
 * Heal with the inode lock, unless other users keep it. It keeps seals from being set, and
 * keeps the hugepage in the file until the exchange has ended.
 *
 * Return: as hugepoison_heal_once(); -EAGAIN also when other users have the inode lock.
 */
static int hugepoison_heal_with_inode(struct hugepoison_heal *heal)
{
	int ret = 0;

	if (!hugepoison_heal_try_inode(heal->inode)) {
		heal->contended = true;
		return -EAGAIN;
	}
	if (hugepoison_heal_is_wanted(heal))
		ret = hugepoison_heal_retrying(heal);
	inode_unlock(heal->inode);
	return ret;
}

/* Heal in a worker. Return: as hugepoison_heal_with_inode(). */
static int hugepoison_heal_exclusively(struct hugepoison_heal *heal)
{
	int ret;

	mutex_lock(&hugepoison_heal_mutex);
	/* a caller that keeps the inode lock has looked, and waits for the worker */
	if (READ_ONCE(heal->killed))
		ret = -EINTR;
	else if (heal->keeps_inode)
		ret = hugepoison_heal_retrying(heal);
	else
		ret = hugepoison_heal_with_inode(heal);
	mutex_unlock(&hugepoison_heal_mutex);
	return ret;
}

/*
 * Allocate the fresh hugepage if it is needed, with no lock held: that may migrate a GiB.
 * It is allocated once: a worker that finds the inode lock taken leaves it to the next one.
 */
static int hugepoison_heal_with_spare(struct hugepoison_heal *heal)
{
	if (heal->needs_fresh && !heal->fresh) {
		heal->fresh = hugepoison_pool_spare(heal->order, heal->nid,
						    heal->payer);
		if (!heal->fresh)
			return -ENOMEM;
	}
	return hugepoison_heal_exclusively(heal);
}

/*
 * The worker's time. Allocating a gigantic hugepage has all CPUs work, and the worker wait
 * for them: there all the time counts.
 */
static u64 hugepoison_heal_clock(struct hugepoison_heal *heal)
{
	return hugepoison_is_gigantic(heal) ? ktime_get_ns() :
					      task_sched_runtime(current);
}

static void hugepoison_heal_work(struct work_struct *work)
{
	struct hugepoison_heal *heal =
		container_of(work, struct hugepoison_heal, work);
	u64 begin = hugepoison_heal_clock(heal);

	heal->ret = READ_ONCE(heal->killed) ? -EINTR :
					      hugepoison_heal_with_spare(heal);
	heal->worked += hugepoison_heal_clock(heal) - begin;
	complete(&heal->done);
}

/*
 * Have a worker heal. The caller may have a low priority, or a cgroup that is out of CPU
 * time: with a lock it would delay all errors, or all heals. The worker has its own priority,
 * and waits for nothing that the caller holds. It is urgent only while it has mf_mutex:
 * what it does before takes as long as a user wants.
 *
 * Return: the result; -EINTR if a fatal signal has ended the wait.
 */
static int hugepoison_heal_by_worker(struct hugepoison_heal *heal)
{
	heal->ret = -EINTR;
	init_completion(&heal->done);
	INIT_WORK_ONSTACK(&heal->work, hugepoison_heal_work);
	queue_work(hugepoison_heal_wq(heal), &heal->work);
	if (wait_for_completion_killable(&heal->done))
		WRITE_ONCE(heal->killed, true);
	/* a worker that has begun allocates to the end, and does not copy on */
	cancel_work_sync(&heal->work);
	destroy_work_on_stack(&heal->work);
	return heal->ret;
}

static void hugepoison_put_fresh(struct hugepoison_heal *heal)
{
	if (heal->fresh)
		folio_put(heal->fresh);
	heal->fresh = NULL;
}

/* The caller pays if a fresh hugepage is needed, the worker heals. */
static int hugepoison_heal_paid(struct hugepoison_heal *heal)
{
	struct hugepoison_payer payer = { };
	int ret;

	/* an error since the round before */
	if (heal->fresh && folio_test_hwpoison(heal->fresh))
		hugepoison_put_fresh(heal);
	if (heal->needs_fresh && !heal->fresh &&
	    hugepoison_pool_get_payer(heal->order, &payer))
		return -ENOMEM;
	heal->payer = &payer;
	ret = hugepoison_heal_by_worker(heal);
	hugepoison_pool_put_payer(&payer);
	heal->payer = NULL;
	return ret;
}

/*
 * One round: wait for the inode lock and look, then have a worker heal. The wait is for other
 * users of the file, and no other lock is held. Where they keep the lock from a worker, the
 * caller, for which the lock is fair, keeps it from them: after the allocation, as that may
 * take long.
 *
 * Return: as hugepoison_heal_with_inode(), or -EINTR.
 */
static int hugepoison_heal_round(struct hugepoison_heal *heal)
{
	int ret = 0;
	bool wanted;

	if (inode_lock_killable(heal->inode))
		return -EINTR;
	wanted = hugepoison_heal_is_wanted(heal);
	heal->keeps_inode = wanted && heal->contended &&
			    (heal->fresh || !heal->needs_fresh);
	if (!heal->keeps_inode)
		inode_unlock(heal->inode);
	if (wanted)
		ret = hugepoison_heal_paid(heal);
	if (heal->keeps_inode)
		inode_unlock(heal->inode);
	return ret;
}

static int hugepoison_heal_rounds(struct hugepoison_heal *heal)
{
	int rounds, ret = -EAGAIN;

	for (rounds = 0; ret == -EAGAIN && rounds < HUGEPOISON_HEAL_ROUNDS; rounds++)
		ret = hugepoison_heal_round(heal);
	hugepoison_put_fresh(heal);
	return ret == -EAGAIN ? -EBUSY : ret;
}

static void hugepoison_put_turn(struct hugepoison_turn *turn)
{
	spin_lock(&hugepoison_turns_lock);
	if (--turn->users)
		turn = NULL;
	else
		list_del(&turn->list);
	spin_unlock(&hugepoison_turns_lock);
	kfree(turn);
}

static void hugepoison_end_turn(struct hugepoison_turn *turn)
{
	up(&turn->turn);
	hugepoison_put_turn(turn);
}

static void hugepoison_debt_work(struct work_struct *work)
{
	hugepoison_end_turn(container_of(to_delayed_work(work),
					 struct hugepoison_turn, debt));
}

/* The turn of a file; if there is none, @fresh becomes it. */
static struct hugepoison_turn *hugepoison_find_turn(struct inode *inode,
						    struct hugepoison_turn *fresh)
{
	struct hugepoison_turn *turn;

	lockdep_assert_held(&hugepoison_turns_lock);
	list_for_each_entry(turn, &hugepoison_turns, list) {
		if (turn->inode == inode && turn->ino == inode->i_ino) {
			turn->users++;
			return turn;
		}
	}
	fresh->inode = inode;
	fresh->ino = inode->i_ino;
	fresh->users = 1;
	sema_init(&fresh->turn, 1);
	INIT_DELAYED_WORK(&fresh->debt, hugepoison_debt_work);
	list_add(&fresh->list, &hugepoison_turns);
	return fresh;
}

/* The turn of a file, for hugepoison_put_turn(); NULL without memory. */
static struct hugepoison_turn *hugepoison_get_turn(struct inode *inode)
{
	struct hugepoison_turn *fresh = kmalloc_obj(*fresh, GFP_KERNEL_ACCOUNT);
	struct hugepoison_turn *turn;

	if (!fresh)
		return NULL;
	spin_lock(&hugepoison_turns_lock);
	turn = hugepoison_find_turn(inode, fresh);
	spin_unlock(&hugepoison_turns_lock);
	if (turn != fresh)
		kfree(fresh);
	return turn;
}

/*
 * End a turn that healed nothing. The worker's CPU time is on nobody's account, at a high
 * priority, and users can have heals fail as often as they like, and be killed meanwhile.
 * So the file owes the time, and has no other turn until HUGEPOISON_HEAL_DEBT times as much
 * has passed: that leaves the worker a tenth of a CPU for each poisoned file.
 */
static void hugepoison_end_turn_later(struct hugepoison_turn *turn, u64 worked)
{
	queue_delayed_work(hugepoison_wq, &turn->debt,
			   nsecs_to_jiffies(worked * HUGEPOISON_HEAL_DEBT) + 1);
}

/*
 * Wait for the inode lock, and look. Return: 1 if there is something to heal, else 0, or
 * -EINTR.
 */
static int hugepoison_heal_look(struct hugepoison_heal *heal)
{
	int ret;

	if (inode_lock_killable(heal->inode))
		return -EINTR;
	ret = hugepoison_heal_is_wanted(heal);
	inode_unlock(heal->inode);
	return ret;
}

/* Heal, after the other healers of the file. A caller with nothing to heal does not wait. */
static int hugepoison_heal_in_turn(struct hugepoison_heal *heal)
{
	int ret = hugepoison_heal_look(heal);
	struct hugepoison_turn *turn;

	if (ret <= 0)
		return ret;
	turn = hugepoison_get_turn(heal->inode);
	if (!turn)
		return -ENOMEM;
	if (down_killable(&turn->turn)) {
		hugepoison_put_turn(turn);
		return -EINTR;
	}
	ret = hugepoison_heal_rounds(heal);
	if (heal->worked && (ret || !heal->raw))
		hugepoison_end_turn_later(turn, heal->worked);
	else
		hugepoison_end_turn(turn);
	return ret;
}

/*
 * Whether to tell that a heal failed. A user whose cgroup is at its limit can cause that as
 * often as system calls return: each poisoned hugepage has a limit for the log and the event,
 * so nobody floods a listener, or keeps it from hearing of the hugepages of others.
 */
static bool hugepoison_may_tell(struct hugepoison_heal *heal)
{
	unsigned long pfn = page_to_pfn(heal->raw), now = jiffies ?: 1;
	struct hugepoison_record *record;
	bool ret = false;

	spin_lock(&hugepoison_records_lock);
	record = hugepoison_lookup(ALIGN_DOWN(pfn, 1UL << heal->order));
	if (record && (!record->worker.told ||
		       time_after_eq(now, record->worker.told + HUGEPOISON_TELL_AGAIN))) {
		record->worker.told = now;
		ret = true;
	}
	spin_unlock(&hugepoison_records_lock);
	return ret;
}

/* Tell that a heal failed. */
static void hugepoison_tell_not_healed(struct hugepoison_heal *heal, int err, u64 begin)
{
	enum hugepoison_reason why = HUGEPOISON_WHY_HELD;

	if (err == -EINTR || !hugepoison_may_tell(heal))
		return;
	if (err == -EHWPOISON)
		why = HUGEPOISON_WHY_ANOTHER_ERROR;
	if (err == -ENOMEM)
		why = HUGEPOISON_WHY_NO_SPARE;
	pr_err("%#lx: not healed: %s\n", page_to_pfn(heal->raw), hugepoison_why(why));
	trace_hugepoison_heal(page_to_pfn(heal->raw), heal->order, "failed", begin);
}

/* Return: 0 when the hugepage is healed, or there is nothing to heal. */
static int hugepoison_heal(struct hugepoison_heal *heal)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_heal_enabled());
	int ret = hugepoison_heal_in_turn(heal);

	if (heal->raw && ret)
		hugepoison_tell_not_healed(heal, ret, begin);
	else if (heal->raw)
		trace_hugepoison_heal(page_to_pfn(heal->raw), heal->order, "healed", begin);
	return ret;
}

/* Heal for a hole in one hugepage. A page that is only partly in the hole stays. */
static int hugepoison_heal_part(struct inode *inode, loff_t start, loff_t end)
{
	struct hstate *h = hstate_inode(inode);
	loff_t base = ALIGN_DOWN(start, huge_page_size(h));
	struct hugepoison_heal heal = {
		.inode = inode,
		.index = base >> PAGE_SHIFT,
		.order = huge_page_order(h),
		.first = PFN_UP(start - base),
		.end = PFN_DOWN(end - base),
	};

	if (heal.first >= heal.end)
		return 0;
	return hugepoison_heal(&heal);
}

/**
 * hugepoison_heal_hole - heal before stock punches a hole into a hugetlb file
 * @inode: the file
 * @offset: of the hole, in bytes
 * @len: of the hole, in bytes
 *
 * A hugepage that is partly in the hole is healed if that part has raw pages. Stock
 * then zeroes the part, and removes the hugepages that are entirely in the hole. The
 * inode lock is dropped in between, which is safe: a heal changes only bytes that nobody
 * can read.
 *
 * A raw page that is partly in the hole stays as it is: its other bytes are lost, and
 * reading zeros beside them would be wrong.
 *
 * Context: Process context, may sleep; takes the inode lock. A worker, for which it waits
 * killably, allocates and takes hugepoison_heal_mutex, the inode lock, mf_mutex, folio locks
 * and i_mmap_rwsem.
 * Return: 0 to go on; else the hole must not be punched: -ENOMEM if there is no fresh
 * hugepage or the cgroup's limit forbids it, -EBUSY if a user holds the poisoned one, or
 * its lock, or the file's, -EHWPOISON if it has another error, -EINTR on a fatal signal.
 * If a hole ends in two hugepages the first one may be healed by then.
 */
long hugepoison_heal_hole(struct inode *inode, loff_t offset, loff_t len)
{
	loff_t size = huge_page_size(hstate_inode(inode));
	loff_t end = offset + len;
	loff_t head = min(ALIGN(offset, size), end);
	loff_t tail = max(ALIGN_DOWN(end, size), head);
	int ret = 0;

	if (offset < head)
		ret = hugepoison_heal_part(inode, offset, head);
	if (!ret && tail < end)
		ret = hugepoison_heal_part(inode, tail, end);
	return ret;
}

/* --- after a refill ----------------------------------------------------------- */

/* A file that the worker holds. The last reference of either may be the worker's. */
struct hugepoison_held_file {
	struct super_block *sb;
	struct inode *inode;
};

/*
 * Hold the file that has a hugepage: its super block as well, as an inode with users would
 * be there when that is unmounted. Without an inode the hugepage is on its way out.
 */
static void hugepoison_hold_file(struct folio *folio,
				 struct hugepoison_held_file *file)
{
	struct address_space *mapping = folio_mapping(folio);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!mapping || !atomic_inc_not_zero(&mapping->host->i_sb->s_active))
		return;
	file->sb = mapping->host->i_sb;
	file->inode = igrab(mapping->host);
}

/*
 * Removing a file waits for its folio locks, and takes as long as the file is large;
 * unmounting waits for the last user of an inode. So the caller may hold no lock.
 */
static void hugepoison_drop_file(struct hugepoison_held_file *file)
{
	might_sleep();
	if (file->inode)
		iput(file->inode);
	if (file->sb)
		deactivate_super(file->sb);
}

/*
 * Find the file of a hugepage that was refilled, and hold it. Return: false when the hugepage
 * is no longer that, or a user has it locked or pinned.
 */
static bool hugepoison_begin_reheal(struct hugepoison_heal *heal, unsigned long pfn,
				    struct hugepoison_held_file *file)
{
	struct folio *folio = hugepoison_get_narrowed(pfn, NULL);

	if (!folio)
		return false;
	if (folio_trylock(folio)) {
		if (folio_order(folio) == heal->order &&
		    !folio_maybe_dma_pinned(folio) && hugepoison_next_refilled(folio))
			hugepoison_hold_file(folio, file);
		heal->inode = file->inode;
		heal->index = folio->index;
		heal->nid = folio_nid(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return heal->inode;
}

/*
 * Heal a hugepage that was refilled, by a worker of the queue of heals, which comes after the
 * heals of others and only tries the inode lock. Its hugepage is charged to nobody; the
 * file's charge moves to it.
 *
 * Return: false if it is not healed.
 */
static bool hugepoison_reheal(const struct hugepoison_record *picked,
			      struct hugepoison_held_file *file)
{
	struct hugepoison_heal heal = {
		.order = picked->order,
		.needs_fresh = true,
	};
	struct hugepoison_turn *turn;
	int ret;

	if (!hugepoison_begin_reheal(&heal, picked->pfn, file))
		return false;
	turn = hugepoison_get_turn(heal.inode);
	if (!turn)
		return false;
	if (down_trylock(&turn->turn)) {
		hugepoison_put_turn(turn);
		return false;
	}
	ret = hugepoison_heal_by_worker(&heal);
	hugepoison_put_fresh(&heal);
	hugepoison_end_turn(turn);
	return !ret;
}

/* The next hugepage to heal in this pass; @picked gets its page frame and order. */
static bool hugepoison_pick_reheal(unsigned int pass,
				   struct hugepoison_record *picked)
{
	struct hugepoison_record *record;
	bool found = false;
	unsigned int tries;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(hugepoison_records, bucket, record, node) {
		tries = READ_ONCE(record->worker.reheal);
		if (found || !tries || record->worker.reheal_pass == pass)
			continue;
		record->worker.reheal_pass = pass;
		/* fails if a refill has reset the tries, which then counts */
		cmpxchg(&record->worker.reheal, tries, tries - 1);
		picked->pfn = record->pfn;
		picked->order = record->order;
		found = true;
	}
	rcu_read_unlock();
	return found;
}

/* Heal the next hugepage of this pass. Return: false when the pass is over. */
static bool hugepoison_reheal_next(unsigned int pass, bool *again)
{
	struct hugepoison_held_file file = { };
	struct hugepoison_record picked;

	if (!hugepoison_pick_reheal(pass, &picked))
		return false;
	*again |= !hugepoison_reheal(&picked, &file);
	hugepoison_drop_file(&file);
	return true;
}

/* Heal the hugepages that were refilled; the tries of each are bounded. */
static void hugepoison_reheal_work(struct work_struct *work)
{
	static unsigned int pass;
	bool again = false;

	pass++;
	while (hugepoison_reheal_next(pass, &again))
		cond_resched();
	if (again)
		hugepoison_queue_reheal_work();
}

/*
 * As hugepoison_alloc_wq(): before the first hugepage. A queue that cannot be allocated leaves
 * its heals to workers that have no order; the mutex still lets in one at a time.
 */
static int __init hugepoison_alloc_heal_wqs(void)
{
	hugepoison_heal_ordered_wq = alloc_ordered_workqueue("hugepoison_heal", WQ_HIGHPRI);
	hugepoison_heal_unordered_wq = alloc_workqueue("hugepoison_heal_unordered",
						       WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!hugepoison_heal_ordered_wq)
		hugepoison_heal_ordered_wq = system_unbound_wq;
	if (!hugepoison_heal_unordered_wq)
		hugepoison_heal_unordered_wq = system_unbound_wq;
	return 0;
}
core_initcall(hugepoison_alloc_heal_wqs);

/* As hugepoison_alloc_heal_wqs(). */
static int __init hugepoison_init_reheal(void)
{
	INIT_DELAYED_WORK(&hugepoison_reheal_dwork, hugepoison_reheal_work);
	return 0;
}
core_initcall(hugepoison_init_reheal);
