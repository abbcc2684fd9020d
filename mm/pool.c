// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the pool.
 *
 * A poisoned hugepage leaves its pool in three steps: the error handler gets the
 * only reference (hugepoison_pool_isolate() for a free one), the hugepage is
 * prepared to be dissolved (hugepoison_pool_seize()), and it leaves while a fresh
 * hugepage takes its place (hugepoison_pool_leave()). If there is no fresh one at
 * once the pool has a deficit, and a worker refills it.
 */
#include <linux/cgroup.h>
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/init.h>
#include <linux/memcontrol.h>
#include <linux/sched/signal.h>
#include <trace/events/hugepoison.h>

#include "internal.h"

/*
 * How often the worker tries again to allocate a fresh hugepage, and its delay before
 * the first time, which doubles each time: a quarter of an hour in all.
 */
#define HUGEPOISON_REFILL_TRIES		10
#define HUGEPOISON_REFILL_AGAIN		HZ
/*
 * How long faults wait for the worker while it is at one hugepage. A GiB takes seconds, or
 * some tens of them where memory is full; the worker that takes longer is stuck.
 */
#define HUGEPOISON_REFILL_PATIENCE	(60 * HZ)

/**
 * struct hugepoison_deficit - hugepages that errors took from a pool
 * @work: refills the pool
 * @missing: hugepages to refill, by node
 * @nr: their sum
 * @tries: how many times more the worker tries
 * @requested: how many hugepages were ever missing
 * @served: @requested when the worker last began to try
 * @since: when the worker began to try for one hugepage, or was called, in jiffies
 *
 * Each pool has a work of its own. To allocate a gigantic hugepage may take very long:
 * migration waits for the lock of any page in its place, which a user's file system may
 * keep. Other pools are refilled meanwhile.
 */
struct hugepoison_deficit {
	struct delayed_work work;
	unsigned int missing[MAX_NUMNODES];
	unsigned long nr;
	unsigned int tries;
	unsigned int requested;
	unsigned int served;
	unsigned long since;
};

/* By hstate; under hugetlb_lock. */
static struct hugepoison_deficit hugepoison_deficits[HUGE_MAX_HSTATE];

/* The policy: whether to replace hugepages that errors take. */
static bool hugepoison_replacing = true;

/* End a pool's deficit. */
static void hugepoison_clear_deficit(struct hugepoison_deficit *deficit)
{
	lockdep_assert_held(&hugetlb_lock);
	memset(deficit->missing, 0, sizeof(deficit->missing));
	deficit->nr = 0;
}

/**
 * hugepoison_pool_replacing - whether hugepages that errors take are replaced
 *
 * Context: Any.
 * Return: true for yes.
 */
bool hugepoison_pool_replacing(void)
{
	return READ_ONCE(hugepoison_replacing);
}

/*
 * The nodes to refill a pool from: the node that a hugepage is missing on, and those
 * where the pool has pages already. Root may have left the others out on purpose.
 */
static void hugepoison_pool_nodes(struct hstate *h, int nid, nodemask_t *nodes)
{
	int node;

	nodes_clear(*nodes);
	for_each_node_state(node, N_MEMORY)
		if (node == nid || READ_ONCE(h->nr_huge_pages_node[node]))
			node_set(node, *nodes);
}

/*
 * Allocate a hugepage, in no pool yet, on @nid if possible; NULL if that fails. Without
 * @reclaim it has to be free memory already: a user who makes memory short and fragmented
 * prolongs reclaim and compaction. @allowed: the nodes that may be used, NULL for all.
 */
static struct folio *hugepoison_pool_fresh(struct hstate *h, int nid,
					   bool reclaim,
					   const nodemask_t *allowed)
{
	gfp_t gfp = htlb_alloc_mask(h);
	const bool here = !allowed || node_isset(nid, *allowed);
	nodemask_t nodes = nodemask_of_node(nid);
	struct folio *folio = NULL;

	if (!reclaim)
		gfp &= ~__GFP_DIRECT_RECLAIM;

	if (here)
		folio = only_alloc_fresh_hugetlb_folio(h, gfp | __GFP_THISNODE,
						       nid, &nodes, NULL);
	if (folio)
		goto out;
	hugepoison_pool_nodes(h, nid, &nodes);
	if (allowed)
		nodes_and(nodes, nodes, *allowed);
	if (nodes_weight(nodes) <= here)
		return NULL;
	if (!here)
		nid = first_node(nodes);
	folio = only_alloc_fresh_hugetlb_folio(h, gfp, nid, &nodes, NULL);
out:
	if (folio)
		hugetlb_vmemmap_optimize_folio(h, folio);
	return folio;
}

/* Free a fresh hugepage that is in no pool. */
static void hugepoison_pool_discard(struct hstate *h, struct folio *fresh)
{
	if (fresh)
		update_and_free_hugetlb_folio(h, fresh, false);
}

/* Add a fresh hugepage to the pool as a free one. */
static void hugepoison_pool_join(struct hstate *h, struct folio *fresh)
{
	lockdep_assert_held(&hugetlb_lock);
	account_new_hugetlb_folio(h, fresh);
	enqueue_hugetlb_folio(h, fresh);
}

/* --- a pool's deficit ------------------------------------------------------------ */

/* A node on which hugepages are missing, or NUMA_NO_NODE. */
static int hugepoison_deficit_node(struct hstate *h)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];
	int node;

	lockdep_assert_held(&hugetlb_lock);
	if (deficit->nr)
		for_each_node(node)
			if (deficit->missing[node])
				return node;
	return NUMA_NO_NODE;
}

/* Add @fresh to the pool for a hugepage that is missing on @nid. */
static void hugepoison_reduce_deficit(struct hstate *h, int nid,
				      struct folio *fresh)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];

	hugepoison_pool_join(h, fresh);
	h->max_huge_pages++;
	deficit->missing[nid]--;
	deficit->nr--;
}

/*
 * Add one fresh hugepage to a pool with a deficit.
 *
 * Return: true when another one may be missing.
 */
static bool hugepoison_refill_one(struct hstate *h)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];
	u64 begin = hugepoison_trace_begin(trace_hugepoison_replace_enabled());
	struct folio *fresh;
	bool missing;
	int nid;

	spin_lock_irq(&hugetlb_lock);
	nid = hugepoison_deficit_node(h);
	spin_unlock_irq(&hugetlb_lock);
	if (nid == NUMA_NO_NODE)
		return false;
	WRITE_ONCE(deficit->since, jiffies);
	fresh = hugepoison_pool_fresh(h, nid, true, NULL);
	if (!fresh)
		return false;

	/*
	 * Root's resize drops hugetlb_lock between comparing sizes and the end. A
	 * hugepage that joined there would be one too many, perhaps as a surplus.
	 */
	mutex_lock(&h->resize_lock);
	spin_lock_irq(&hugetlb_lock);
	missing = hugepoison_deficit_node(h) == nid;
	if (missing)
		hugepoison_reduce_deficit(h, nid, fresh);
	spin_unlock_irq(&hugetlb_lock);
	mutex_unlock(&h->resize_lock);
	if (!missing) {
		hugepoison_pool_discard(h, fresh);
		return true;
	}
	trace_hugepoison_replace(folio_pfn(fresh), huge_page_order(h),
				 "replaced", begin);
	hugepoison_refilled(huge_page_order(h), nid, folio_nid(fresh));
	return true;
}

/* Return: in how many jiffies to try again, 0 for not at all. */
static unsigned long hugepoison_refill_pool(struct hstate *h)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];
	unsigned long left, delay = 0;
	unsigned int requested;

	do {
		requested = READ_ONCE(deficit->requested);
		while (hugepoison_refill_one(h))
			cond_resched();
		WRITE_ONCE(deficit->served, requested);
	} while (READ_ONCE(deficit->requested) != requested);

	spin_lock_irq(&hugetlb_lock);
	left = deficit->nr;
	if (left && deficit->tries)
		delay = HUGEPOISON_REFILL_AGAIN <<
			(HUGEPOISON_REFILL_TRIES - deficit->tries--);
	else
		hugepoison_clear_deficit(deficit);
	spin_unlock_irq(&hugetlb_lock);
	if (left && !delay)
		pr_err("the pool of %lu kB hugepages stays %lu smaller: write its nr_hugepages when there is memory\n",
		       huge_page_size(h) >> 10, left);
	return delay;
}

static void hugepoison_refill_work(struct work_struct *work)
{
	struct hugepoison_deficit *deficit =
		container_of(to_delayed_work(work), struct hugepoison_deficit,
			     work);
	unsigned long delay;

	delay = hugepoison_refill_pool(&hstates[deficit - hugepoison_deficits]);
	if (delay)
		queue_delayed_work(hugepoison_wq, &deficit->work, delay);
}

/* As hugepoison_alloc_wq(): before the first hugepage. */
static int __init hugepoison_init_refill(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hugepoison_deficits); i++)
		INIT_DELAYED_WORK(&hugepoison_deficits[i].work,
				  hugepoison_refill_work);
	return 0;
}
core_initcall(hugepoison_init_refill);

/**
 * hugepoison_pool_set_replacing - set whether hugepages that errors take are replaced
 * @replacing: the policy
 *
 * Turning it off ends all deficits. It does not wait for a worker, which may be stuck: what
 * the worker allocates then is missing nowhere, and freed. A worker that is queued finds
 * nothing to do.
 *
 * Context: Process context; takes hugetlb_lock.
 */
void hugepoison_pool_set_replacing(bool replacing)
{
	struct hstate *h;

	WRITE_ONCE(hugepoison_replacing, replacing);
	if (replacing)
		return;
	spin_lock_irq(&hugetlb_lock);
	for_each_hstate(h) {
		struct hugepoison_deficit *deficit =
			&hugepoison_deficits[hstate_index(h)];

		hugepoison_clear_deficit(deficit);
		/* the worker sees it later; faults do not wait for that */
		WRITE_ONCE(deficit->served, deficit->requested);
	}
	spin_unlock_irq(&hugetlb_lock);
}

/**
 * hugepoison_pool_resized - end the deficit of a pool that root has resized
 * @h: the pool
 * @nid: the node whose size root has written, or NUMA_NO_NODE for that of the pool
 *
 * Root's number counts, also where it is just what errors have left: a hugepage
 * that the worker added later would be one too many.
 *
 * Context: hugetlb_lock and the pool's resize_lock held.
 */
void hugepoison_pool_resized(struct hstate *h, int nid)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];

	lockdep_assert_held(&hugetlb_lock);
	if (nid == NUMA_NO_NODE) {
		hugepoison_clear_deficit(deficit);
		return;
	}
	deficit->nr -= deficit->missing[nid];
	deficit->missing[nid] = 0;
}

/*
 * Call the worker. Faults wait until it has tried. Errors that come while it is at a
 * hugepage prolong no wait.
 */
static void hugepoison_call_refill(struct hugepoison_deficit *deficit)
{
	lockdep_assert_held(&hugetlb_lock);
	if (deficit->requested == READ_ONCE(deficit->served))
		WRITE_ONCE(deficit->since, jiffies);
	/* pairs with hugepoison_pool_is_short(): who sees the call sees its time */
	smp_store_release(&deficit->requested, deficit->requested + 1);
	mod_delayed_work(hugepoison_wq, &deficit->work, 0);
}

/* The pool is one smaller than its size should be: have the worker refill it. */
static void hugepoison_add_deficit(struct hstate *h, int nid)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];

	lockdep_assert_held(&hugetlb_lock);
	h->max_huge_pages--;
	if (!hugepoison_pool_replacing())
		return;
	deficit->missing[nid]++;
	deficit->nr++;
	deficit->tries = HUGEPOISON_REFILL_TRIES;
	hugepoison_call_refill(deficit);
}

/**
 * hugepoison_pool_is_short - whether a pool may be about to get a fresh hugepage
 * @h: the pool
 *
 * For a fault that found no hugepage though it has a reservation.
 *
 * Context: Any.
 * Return: true while the worker has not tried for all missing hugepages, unless it has
 * been at one of them for too long.
 */
static bool hugepoison_pool_is_short(struct hstate *h)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];

	/* pairs with hugepoison_call_refill() */
	if (smp_load_acquire(&deficit->requested) == READ_ONCE(deficit->served))
		return false;
	return time_before(jiffies, READ_ONCE(deficit->since) +
				    HUGEPOISON_REFILL_PATIENCE);
}

/*
 * Wait until the worker has tried for all hugepages that are missing now, but not for
 * those that further errors take, nor for a worker that is stuck.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
static void hugepoison_pool_await(struct hstate *h)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];
	unsigned int requested = READ_ONCE(deficit->requested);

	while ((int)(READ_ONCE(deficit->served) - requested) < 0 &&
	       hugepoison_pool_is_short(h) && !fatal_signal_pending(current))
		schedule_timeout_killable(1);
}

/* --- a hugepage leaves its pool ------------------------------------------------ */

/**
 * hugepoison_pool_flush - wait until freed hugepages have reached the buddy allocator
 *
 * Under HVO a stock worker frees surplus hugepages. Until it has run, the hugepage is
 * in no list, and the handler cannot find out what it is.
 *
 * Context: Process context, may sleep.
 */
void hugepoison_pool_flush(void)
{
	flush_work(&free_hpage_work);
}

/*
 * Count a hugepage that begins or ends to be used, for its node and its cgroup. Stock
 * counts it off whenever it frees one, so it is counted on wherever ours takes one.
 */
static void hugepoison_count_used(struct folio *folio, long sign)
{
	lruvec_stat_mod_folio(folio, NR_HUGETLB, sign * folio_nr_pages(folio));
}

/**
 * hugepoison_pool_isolate - take a free hugepage off the free list
 * @page: a page of it
 * @poisoned: whether it has to be a poisoned one, or a healthy one
 *
 * The caller becomes the only user, as if it had allocated the hugepage: it counts in
 * nr_hugepages but no longer in free_hugepages. @page need not be in a hugepage: that is
 * looked up under hugetlb_lock.
 *
 * Context: Any context that may take hugetlb_lock.
 * Return: true with a reference held for the caller, false when no such hugepage
 * is on the free list.
 */
bool hugepoison_pool_isolate(struct page *page, bool poisoned)
{
	struct folio *folio;
	struct hstate *h;
	bool ret = false;
	int nid;

	spin_lock_irq(&hugetlb_lock);
	folio = page_folio(page);
	if (folio_test_hugetlb(folio) && folio_test_hugetlb_freed(folio) &&
	    folio_test_hwpoison(folio) == poisoned) {
		h = folio_hstate(folio);
		nid = folio_nid(folio);
		folio_ref_unfreeze(folio, 1);
		folio_clear_hugetlb_freed(folio);
		list_move(&folio->lru, &h->hugepage_activelist);
		h->free_huge_pages_node[nid]--;
		h->free_huge_pages--;
		hugepoison_count_used(folio, 1);
		ret = true;
	}
	spin_unlock_irq(&hugetlb_lock);
	return ret;
}

/**
 * hugepoison_pool_put_back - undo hugepoison_pool_isolate()
 * @folio: the hugepage, healthy; drops the caller's reference
 *
 * folio_put() would treat it as one that was in use: a pool with a surplus would
 * become one smaller, perhaps by a hugepage that is reserved.
 *
 * Context: Process context; takes hugetlb_lock.
 */
void hugepoison_pool_put_back(struct folio *folio)
{
	bool alone;

	spin_lock_irq(&hugetlb_lock);
	alone = folio_ref_freeze(folio, 1);
	if (alone) {
		hugepoison_count_used(folio, -1);
		enqueue_hugetlb_folio(folio_hstate(folio), folio);
	}
	spin_unlock_irq(&hugetlb_lock);
	/* somebody has a short reference: the last folio_put() frees it */
	if (!alone)
		folio_put(folio);
}

/**
 * hugepoison_pool_seize - make a hugepage ready to leave its pool
 * @folio: the hugepage; the caller holds the last reference
 *
 * Context: Process context, may sleep.
 * Return: 0 with no reference left and all struct pages of @folio writable; with
 * nothing changed -EBUSY when others hold references, -ENOMEM when there is no
 * memory for the struct pages (HVO), -EOPNOTSUPP if hugepages of this size cannot
 * be freed.
 */
int hugepoison_pool_seize(struct folio *folio)
{
	struct hstate *h = folio_hstate(folio);

	if (hstate_is_gigantic(h) && !gigantic_page_runtime_supported())
		return -EOPNOTSUPP;
	if (!folio_ref_freeze(folio, 1))
		return -EBUSY;
	if (hugetlb_vmemmap_restore_folio(h, folio)) {
		folio_ref_unfreeze(folio, 1);
		return -ENOMEM;
	}
	return 0;
}

/* Uncharge the hugepage, as when a healthy one is freed. */
static void hugepoison_uncharge(struct hstate *h, struct folio *folio)
{
	const unsigned int idx = hstate_index(h);

	lockdep_assert_held(&hugetlb_lock);
	folio_clear_hugetlb_migratable(folio);
	hugetlb_cgroup_uncharge_folio(idx, pages_per_huge_page(h), folio);
	hugetlb_cgroup_uncharge_folio_rsvd(idx, pages_per_huge_page(h), folio);
	hugepoison_count_used(folio, -1);
	mem_cgroup_uncharge(folio);
}

/**
 * hugepoison_pool_uncharge - uncharge a hugepage whose last user has left it
 * @folio: the hugepage; the caller has the last reference
 *
 * For a hugepage that its pool does not get back, or not soon.
 *
 * Context: Process context; takes hugetlb_lock.
 */
void hugepoison_pool_uncharge(struct folio *folio)
{
	spin_lock_irq(&hugetlb_lock);
	hugepoison_uncharge(folio_hstate(folio), folio);
	/* it is counted off again when it leaves, or is freed */
	hugepoison_count_used(folio, 1);
	spin_unlock_irq(&hugetlb_lock);
}

/*
 * Whether the reservation that the hugepage's user has consumed must be restored. A
 * subpool that would fall below its minimum keeps one as well.
 */
static bool hugepoison_restores_reserve(struct folio *folio)
{
	struct hugepage_subpool *spool = hugetlb_folio_subpool(folio);
	bool restore = folio_test_hugetlb_restore_reserve(folio);

	hugetlb_set_folio_subpool(folio, NULL);
	folio_clear_hugetlb_restore_reserve(folio);
	return restore || !hugepage_subpool_put_pages(spool, 1);
}

/**
 * hugepoison_pool_settle - end a poisoned hugepage's part in a subpool
 * @folio: a poisoned hugepage when the handler saw it last; stock may have freed it since
 * @spool: a subpool that its mount is about to put
 *
 * As when a healthy hugepage is freed. Later the hugepage leaves its pool, or goes back
 * to it, as one of no subpool.
 *
 * Context: Process context; takes hugetlb_lock. mf_mutex, held, keeps the release worker
 * away. @spool has the mount's count, so that it is not freed here.
 */
void hugepoison_pool_settle(struct folio *folio, struct hugepage_subpool *spool)
{
	bool ours;

	spin_lock_irq(&hugetlb_lock);
	/* a folio whose last user is freeing it settles there */
	ours = folio_test_hugetlb(folio) && folio_test_hwpoison(folio) &&
	       hugetlb_folio_subpool(folio) == spool && folio_try_get(folio);
	spin_unlock_irq(&hugetlb_lock);
	if (!ours)
		return;
	if (hugepoison_restores_reserve(folio)) {
		/* at once: putting the subpool gives up its whole minimum */
		spin_lock_irq(&hugetlb_lock);
		folio_hstate(folio)->resv_huge_pages++;
		spin_unlock_irq(&hugetlb_lock);
	}
	folio_put(folio);
}

/*
 * Whether a hugepage counts in the pool's size. A surplus one, or a temporary one that
 * was allocated for migration, is freed with its last user.
 */
static bool hugepoison_is_persistent(struct hstate *h, struct folio *folio)
{
	return !folio_test_hugetlb_temporary(folio) &&
	       !READ_ONCE(h->surplus_huge_pages_node[folio_nid(folio)]);
}

/*
 * Whether to replace a hugepage: a persistent one, or a surplus one while reservations
 * need it. Never a temporary one: another hugepage has its place in the pool, the one
 * that migration moves from, or that a heal put there. A fresh one would be one too many.
 */
static bool hugepoison_wants_fresh(struct hstate *h, struct folio *folio)
{
	if (folio_test_hugetlb_temporary(folio))
		return false;
	/* signed, as the reservations may be below zero: see hugepoison_available() */
	return hugepoison_is_persistent(h, folio) ||
	       (long)READ_ONCE(h->resv_huge_pages) >
	       (long)READ_ONCE(h->free_huge_pages);
}

static void hugepoison_log_not_replaced(struct hstate *h, unsigned long pfn)
{
	enum hugepoison_reason why = hugepoison_pool_replacing() ?
				     HUGEPOISON_WHY_REFILLING :
				     HUGEPOISON_WHY_REPLACE_OFF;

	pr_err("%#lx: the pool of %lu kB hugepages is one smaller: %s\n", pfn,
	       huge_page_size(h) >> 10, hugepoison_why(why));
}

/*
 * Remove one hugepage from the pool and add another, under one hugetlb_lock section: the
 * counters show no state in between.
 *
 * Return: 1 when @fresh is in the pool; 0 when the pool is one smaller and should be;
 * -ENOMEM when it is and should not be.
 */
static int hugepoison_pool_exchange(struct hstate *h, struct folio *folio,
				    struct folio *fresh)
{
	bool persistent = hugepoison_is_persistent(h, folio);
	bool surplus = !persistent && !folio_test_hugetlb_temporary(folio);
	bool refill = fresh && hugepoison_wants_fresh(h, folio);
	int nid = folio_nid(folio);

	lockdep_assert_held(&hugetlb_lock);
	remove_hugetlb_folio(h, folio, surplus && !refill);
	if (refill) {
		hugepoison_pool_join(h, fresh);
		if (surplus) {
			/* @fresh may be of another node */
			h->surplus_huge_pages_node[nid]--;
			h->surplus_huge_pages_node[folio_nid(fresh)]++;
		}
		return 1;
	}
	if (persistent)
		hugepoison_add_deficit(h, nid);
	return persistent ? -ENOMEM : 0;
}

/**
 * hugepoison_pool_leave - remove a poisoned hugepage from its pool for good
 * @folio: the hugepage, after hugepoison_pool_seize()
 *
 * Its healthy pages are freed, see hugepoison_free_poisoned(). A fresh hugepage of
 * the same node, or of another node that the pool has pages on, takes its place. All
 * errors wait on mf_mutex meanwhile, so it has to be there at once: the worker reclaims
 * memory for it, or migrates a GiB for a gigantic one.
 *
 * Reservations that cannot be met stay: nothing more can be reserved until they end
 * or the pool is refilled.
 *
 * Context: Process context, may sleep and allocate; takes hugetlb_lock.
 * Return: true when a fresh hugepage is in the pool instead.
 */
bool hugepoison_pool_leave(struct folio *folio)
{
	struct hstate *h = folio_hstate(folio);
	u64 begin = hugepoison_trace_begin(trace_hugepoison_replace_enabled());
	struct folio *fresh = NULL;
	unsigned long pfn = folio_pfn(folio);
	int restore, replaced;

	if (hugepoison_pool_replacing() && !hstate_is_gigantic(h) &&
	    hugepoison_wants_fresh(h, folio))
		fresh = hugepoison_pool_fresh(h, folio_nid(folio), false, NULL);
	if (folio_test_anon(folio))
		__ClearPageAnonExclusive(&folio->page);
	folio->mapping = NULL;
	restore = hugepoison_restores_reserve(folio);

	spin_lock_irq(&hugetlb_lock);
	hugepoison_uncharge(h, folio);
	h->resv_huge_pages += restore;
	replaced = hugepoison_pool_exchange(h, folio, fresh);
	spin_unlock_irq(&hugetlb_lock);

	if (replaced)
		trace_hugepoison_replace(replaced > 0 ? folio_pfn(fresh) : pfn,
					 huge_page_order(h),
					 replaced > 0 ? "replaced" : "failed",
					 begin);
	if (replaced <= 0)
		hugepoison_pool_discard(h, fresh);
	if (replaced < 0)
		hugepoison_log_not_replaced(h, pfn);
	update_and_free_hugetlb_folio(h, folio, false);
	return replaced > 0;
}

/* The order of the largest naturally aligned block at the start of a run of pages. */
static unsigned int hugepoison_piece(unsigned long pfn, unsigned long nr)
{
	unsigned int order = min_t(unsigned int, ilog2(nr), MAX_PAGE_ORDER);

	return pfn ? min_t(unsigned int, order, __ffs(pfn)) : order;
}

/**
 * hugepoison_pool_give_back - free pages of a former hugepage
 * @pfn: the first one; none belongs to a folio nor has a reference
 * @nr: how many, in a row, healthy
 *
 * Context: Any but NMI.
 */
void hugepoison_pool_give_back(unsigned long pfn, unsigned long nr)
{
	while (nr) {
		unsigned long step = 0;

		if (IS_ENABLED(CONFIG_CMA))
			step = hugepoison_give_back_cma(pfn, nr);
		if (!step) {
			unsigned int order = hugepoison_piece(pfn, nr);

			set_page_refcounted(pfn_to_page(pfn));
			__free_pages(pfn_to_page(pfn), order);
			step = 1UL << order;
		}
		pfn += step;
		nr -= step;
	}
}

/* --- a hugepage of the pool, to poison or to heal with --------------------------- */

/**
 * hugepoison_pool_find_free - a healthy free hugepage of a size on a node
 * @size: hugepage size, in bytes
 * @nid: the node
 *
 * Context: hugetlb_lock held; the result is valid until it is dropped.
 * Return: the folio, NULL when none is free there, ERR_PTR(-EINVAL) when the
 * kernel has no hugepages of that size.
 */
struct folio *hugepoison_pool_find_free(unsigned long size, int nid)
{
	struct hstate *h = size_to_hstate(size);
	struct folio *folio;

	lockdep_assert_held(&hugetlb_lock);
	if (!h)
		return ERR_PTR(-EINVAL);
	list_for_each_entry(folio, &h->hugepage_freelists[nid], lru)
		if (!folio_test_hwpoison(folio))
			return folio;
	return NULL;
}

/*
 * Get a hugepage with one reference: a fresh temporary one, or a free one, or NULL. A worker
 * may use any node, so the nodes that the payer may use are looked at here.
 */
static struct folio *hugepoison_get_spare(struct hstate *h, int nid, nodemask_t *nodes)
{
	struct folio *spare = NULL;

	if (hugepoison_pool_replacing())
		spare = hugepoison_pool_fresh(h, nid, true, nodes);

	spin_lock_irq(&hugetlb_lock);
	if (spare) {
		account_new_hugetlb_folio(h, spare);
		list_add(&spare->lru, &h->hugepage_activelist);
		folio_set_hugetlb_temporary(spare);
		folio_ref_unfreeze(spare, 1);
	} else if (available_huge_pages(h)) {
		spare = dequeue_hugetlb_folio_nodemask(h, htlb_alloc_mask(h),
						       nid, nodes);
	}
	spin_unlock_irq(&hugetlb_lock);
	return spare;
}

#ifdef CONFIG_CGROUP_HUGETLB
/* The caller's hugetlb cgroup, with a reference. */
static struct hugetlb_cgroup *hugepoison_get_group(void)
{
	struct cgroup_subsys_state *css;

	if (hugetlb_cgroup_disabled())
		return NULL;
	rcu_read_lock();
	do
		css = task_css(current, hugetlb_cgrp_id);
	while (!css_tryget(css));
	rcu_read_unlock();
	return container_of(css, struct hugetlb_cgroup, css);
}

static void hugepoison_put_group(struct hugetlb_cgroup *group)
{
	if (group)
		css_put(&group->css);
}

/*
 * Charge a spare to a hugetlb cgroup, in one step with setting its owner. A cgroup that goes
 * offline moves its hugepages to its parent under hugetlb_lock, and waits for a charge that
 * is no hugepage's, with a mutex of all cgroups held: so there must be none.
 *
 * Return: 0, or -ENOMEM at the limit or when the cgroup is gone.
 */
static int hugepoison_charge_group(struct hstate *h, struct folio *spare,
				   struct hugetlb_cgroup *group)
{
	const unsigned long nr = pages_per_huge_page(h);
	const int idx = hstate_index(h);
	struct page_counter *counter;
	int ret = -ENOMEM;

	if (!group)
		return 0;
	spin_lock_irq(&hugetlb_lock);
	if (css_tryget_online(&group->css)) {
		if (page_counter_try_charge(&group->hugepage[idx], nr, &counter)) {
			hugetlb_cgroup_commit_charge(idx, nr, group, spare);
			ret = 0;
		}
		css_put(&group->css);
	}
	spin_unlock_irq(&hugetlb_lock);
	return ret;
}
#else
static struct hugetlb_cgroup *hugepoison_get_group(void)
{
	return NULL;
}

static void hugepoison_put_group(struct hugetlb_cgroup *group)
{
}

static int hugepoison_charge_group(struct hstate *h, struct folio *spare,
				   struct hugetlb_cgroup *group)
{
	return 0;
}
#endif

/**
 * hugepoison_pool_get_payer - note who pays for a spare that a worker allocates later
 * @order: of the hugepages
 * @payer: gets the caller's memory and hugetlb cgroups, and the nodes that it may use
 *
 * A caller at its limit does not get a worker to allocate in vain.
 *
 * Context: Process context. hugepoison_pool_put_payer() has to follow, in the same system
 * call: the caller's address space is not referenced.
 * Return: 0, or -ENOMEM at the limit of the hugetlb cgroup, with nothing to put.
 */
int hugepoison_pool_get_payer(unsigned int order, struct hugepoison_payer *payer)
{
	struct hstate *h = size_to_hstate(PAGE_SIZE << order);
	const unsigned long nr = pages_per_huge_page(h);
	const int idx = hstate_index(h);
	struct hugetlb_cgroup *group = NULL;

	if (hugetlb_cgroup_charge_cgroup(idx, nr, &group))
		return -ENOMEM;
	hugetlb_cgroup_uncharge_cgroup(idx, nr, group);
	payer->mm = current->mm;
	payer->nodes = cpuset_mems_allowed(current);
	payer->group = hugepoison_get_group();
	return 0;
}

/**
 * hugepoison_pool_put_payer - the counterpart of hugepoison_pool_get_payer()
 * @payer: who pays
 *
 * Context: Any.
 */
void hugepoison_pool_put_payer(struct hugepoison_payer *payer)
{
	hugepoison_put_group(payer->group);
	payer->group = NULL;
}

/*
 * Charge a spare to @payer, as a hugepage of a fault: while the payer has two in place of
 * one, both count against its limits. The charges end with the hugepage.
 */
static int hugepoison_charge_spare(struct hstate *h, struct folio *spare,
				   struct hugepoison_payer *payer)
{
	return hugepoison_charge_group(h, spare, payer->group) ?:
	       mem_cgroup_charge_hugetlb(spare, payer->mm, htlb_alloc_mask(h) |
							   __GFP_RETRY_MAYFAIL);
}

/**
 * hugepoison_pool_spare - a hugepage to take the place of a poisoned one in use
 * @order: of the hugepages
 * @nid: node of the poisoned one
 * @payer: who pays for it, or NULL for nobody
 *
 * A fresh one if it can be allocated, so that the pool keeps its free ones: it is
 * temporary, not in the pool's size, until hugepoison_pool_take_over(). Else, and with
 * replacing off, a free one of the pool that is not reserved.
 *
 * The caller makes sure that there is at most one spare for each file with a poisoned
 * hugepage.
 *
 * Context: Process context, may sleep and allocate. Allocating a gigantic one may
 * migrate a GiB, so the caller should hold no lock that others need.
 * Return: a hugepage with one reference, which folio_put() gives back; NULL if there is
 * none. Its contents are those of a former owner: the caller fills all of it before anybody
 * can see it.
 */
struct folio *hugepoison_pool_spare(unsigned int order, int nid,
				    struct hugepoison_payer *payer)
{
	struct hstate *h = size_to_hstate(PAGE_SIZE << order);
	struct folio *spare = hugepoison_get_spare(h, nid, payer ? &payer->nodes : NULL);
	int ret;

	if (!spare)
		return NULL;
	ret = payer ? hugepoison_charge_spare(h, spare, payer) : 0;
	hugepoison_count_used(spare, 1);
	if (ret) {
		folio_put(spare);
		return NULL;
	}
	return spare;
}

/**
 * hugepoison_pool_take_over - put one hugepage in another one's place in the pool
 * @old: the hugepage that was in use, removed from its file
 * @fresh: the one that its file has now, from hugepoison_pool_spare()
 *
 * @old's charges move to @fresh, and the healer's charge for @fresh ends. If @fresh was
 * temporary @old becomes that, and the pool has no deficit when @old is freed. If @fresh
 * was a free one of the pool, @old is replaced when it is freed, as after any error.
 *
 * Context: Process context; takes hugetlb_lock. Both folios are locked.
 */
void hugepoison_pool_take_over(struct folio *old, struct folio *fresh)
{
	struct hstate *h = folio_hstate(fresh);

	spin_lock_irq(&hugetlb_lock);
	hugetlb_cgroup_uncharge_folio(hstate_index(h), pages_per_huge_page(h),
				      fresh);
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_count_used(fresh, -1);
	mem_cgroup_uncharge(fresh);

	hugetlb_set_folio_subpool(fresh, hugetlb_folio_subpool(old));
	hugetlb_set_folio_subpool(old, NULL);
	move_hugetlb_state(old, fresh, MR_MEMORY_FAILURE);
	/* @old counts for its node only from now on, @fresh for the cgroup that @old had */
	hugepoison_count_used(old, -1);
	mem_cgroup_migrate(old, fresh);
	hugepoison_count_used(old, 1);
	hugepoison_count_used(fresh, 1);
}
