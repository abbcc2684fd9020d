// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: the pool.
 *
 * Included by hugepoison/hugetlb.c.
 *
 * A poisoned hugepage leaves its pool in three steps: nobody but the error
 * handler has it (hugepoison_pool_isolate() for a free one), it is made ready
 * to be taken apart (hugepoison_pool_seize()), and it goes, while a fresh
 * hugepage takes its place (hugepoison_pool_leave()). What cannot be replaced
 * at once is owed to the pool, and a worker tries again.
 */

/*
 * How often the worker looks for a fresh hugepage again, and how long it waits
 * before the first time; it doubles each time, to a quarter of an hour in all.
 */
#define HUGEPOISON_REFILL_TRIES		10
#define HUGEPOISON_REFILL_AGAIN		HZ

/**
 * struct hugepoison_debt - what errors took from a pool and nobody gave back
 * @owed: hugepages, by node
 * @nr: their sum
 * @max: the pool's size, hugepages, as the last error left it: somebody resized
 *	 it when it is another by now, and then nothing is owed any more
 * @tries: how many times more the worker looks for fresh ones
 * @asked: how many were ever owed
 * @answered: @asked when the worker began to look the last time
 */
struct hugepoison_debt {
	unsigned int owed[MAX_NUMNODES];
	unsigned long nr;
	unsigned long max;
	unsigned int tries;
	unsigned int asked;
	unsigned int answered;
};

/* By hstate; under hugetlb_lock. */
static struct hugepoison_debt hugepoison_debts[HUGE_MAX_HSTATE];

/* Whether lost hugepages are replaced: the policy, for errors from now on. */
static bool hugepoison_replacing = true;

/* Nothing is owed any more. */
static void hugepoison_forgive(struct hugepoison_debt *debt)
{
	lockdep_assert_held(&hugetlb_lock);
	memset(debt->owed, 0, sizeof(debt->owed));
	debt->nr = 0;
}

/**
 * hugepoison_pool_replacing - whether lost hugepages are replaced
 *
 * Context: Any.
 * Return: true for yes.
 */
bool hugepoison_pool_replacing(void)
{
	return READ_ONCE(hugepoison_replacing);
}

/*
 * Where a pool may be refilled when the node that lost a hugepage has none to
 * give: where it has pages already. A node that was left out stays out.
 */
static void hugepoison_pool_nodes(struct hstate *h, int nid, nodemask_t *nodes)
{
	int node;

	nodes_clear(*nodes);
	for_each_node_state(node, N_MEMORY)
		if (node == nid || READ_ONCE(h->nr_huge_pages_node[node]))
			node_set(node, *nodes);
}

/* A fresh hugepage, in no pool yet, from @nid if possible; NULL if there is none. */
static struct folio *hugepoison_pool_fresh(struct hstate *h, int nid)
{
	gfp_t gfp = htlb_alloc_mask(h);
	nodemask_t nodes = nodemask_of_node(nid);
	struct folio *folio;

	folio = only_alloc_fresh_hugetlb_folio(h, gfp | __GFP_THISNODE, nid,
					       &nodes, NULL);
	if (!folio)
		hugepoison_pool_nodes(h, nid, &nodes);
	if (nodes_weight(nodes) > 1)
		folio = only_alloc_fresh_hugetlb_folio(h, gfp, nid, &nodes,
						       NULL);
	if (folio)
		hugetlb_vmemmap_optimize_folio(h, folio);
	return folio;
}

/* Back to where it came from: it was in no pool. */
static void hugepoison_pool_discard(struct hstate *h, struct folio *fresh)
{
	if (fresh)
		update_and_free_hugetlb_folio(h, fresh, false);
}

/* A fresh hugepage joins the pool, free. */
static void hugepoison_pool_join(struct hstate *h, struct folio *fresh)
{
	lockdep_assert_held(&hugetlb_lock);
	__prep_account_new_huge_page(h, folio_nid(fresh));
	enqueue_hugetlb_folio(h, fresh);
}

/* --- what is owed to a pool ---------------------------------------------------- */

/* A node that hugepages are owed to; NUMA_NO_NODE where nothing is owed. */
static int hugepoison_creditor(struct hstate *h)
{
	struct hugepoison_debt *debt = &hugepoison_debts[hstate_index(h)];
	int node;

	lockdep_assert_held(&hugetlb_lock);
	if (debt->max != h->max_huge_pages)
		hugepoison_forgive(debt);
	if (debt->nr)
		for_each_node(node)
			if (debt->owed[node])
				return node;
	return NUMA_NO_NODE;
}

/* @fresh is what the pool was owed for a hugepage of @nid. */
static void hugepoison_pay(struct hstate *h, int nid, struct folio *fresh)
{
	struct hugepoison_debt *debt = &hugepoison_debts[hstate_index(h)];

	hugepoison_pool_join(h, fresh);
	debt->max = ++h->max_huge_pages;
	debt->owed[nid]--;
	debt->nr--;
}

/*
 * One fresh hugepage for a pool that is owed some.
 *
 * Return: true when there may be more to do at once.
 */
static bool hugepoison_refill_one(struct hstate *h)
{
	u64 begin = hugepoison_trace_begin(trace_hugepoison_replace_enabled());
	struct folio *fresh;
	int nid;

	spin_lock_irq(&hugetlb_lock);
	nid = hugepoison_creditor(h);
	spin_unlock_irq(&hugetlb_lock);
	if (nid == NUMA_NO_NODE)
		return false;
	fresh = hugepoison_pool_fresh(h, nid);
	if (!fresh)
		return false;

	spin_lock_irq(&hugetlb_lock);
	if (hugepoison_creditor(h) == nid) {
		hugepoison_pay(h, nid, fresh);
		spin_unlock_irq(&hugetlb_lock);
		trace_hugepoison_replace(folio_pfn(fresh), huge_page_order(h),
					 "replaced", begin);
		hugepoison_refilled(huge_page_order(h), nid, folio_nid(fresh));
		return true;
	}
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_pool_discard(h, fresh);
	return true;
}

/* Return: in how many jiffies to try again, 0 for not at all. */
static unsigned long hugepoison_refill(struct hstate *h)
{
	struct hugepoison_debt *debt = &hugepoison_debts[hstate_index(h)];
	unsigned long left, delay = 0;
	unsigned int asked;

	do {
		asked = READ_ONCE(debt->asked);
		while (hugepoison_refill_one(h))
			cond_resched();
		WRITE_ONCE(debt->answered, asked);
	} while (READ_ONCE(debt->asked) != asked);

	spin_lock_irq(&hugetlb_lock);
	left = debt->nr;
	if (left && debt->tries)
		delay = HUGEPOISON_REFILL_AGAIN <<
			(HUGEPOISON_REFILL_TRIES - debt->tries--);
	else
		hugepoison_forgive(debt);
	spin_unlock_irq(&hugetlb_lock);
	if (left && !delay)
		pr_err("the pool of %lu kB hugepages stays %lu smaller: write its nr_hugepages when there is memory\n",
		       huge_page_size(h) >> 10, left);
	return delay;
}

static void hugepoison_refill_work(struct work_struct *work)
{
	unsigned long delay, next = 0;
	struct hstate *h;

	for_each_hstate(h) {
		delay = hugepoison_refill(h);
		if (delay && (!next || delay < next))
			next = delay;
	}
	if (next)
		queue_delayed_work(hugepoison_wq, to_delayed_work(work), next);
}

static DECLARE_DELAYED_WORK(hugepoison_refill_dwork, hugepoison_refill_work);

/**
 * hugepoison_pool_set_replacing - replace lost hugepages from now on, or do not
 * @replacing: the policy
 *
 * What is owed so far is forgotten when replacing is turned off.
 *
 * Context: Process context, may sleep.
 */
void hugepoison_pool_set_replacing(bool replacing)
{
	struct hstate *h;

	WRITE_ONCE(hugepoison_replacing, replacing);
	if (replacing)
		return;
	cancel_delayed_work_sync(&hugepoison_refill_dwork);
	spin_lock_irq(&hugetlb_lock);
	for_each_hstate(h) {
		struct hugepoison_debt *debt =
			&hugepoison_debts[hstate_index(h)];

		hugepoison_forgive(debt);
		/* the work that was to look is gone, and faults wait for it */
		WRITE_ONCE(debt->answered, debt->asked);
	}
	spin_unlock_irq(&hugetlb_lock);
}

/* The pool is one smaller than it is meant to be: the worker is to mend that. */
static void hugepoison_owe(struct hstate *h, int nid)
{
	struct hugepoison_debt *debt = &hugepoison_debts[hstate_index(h)];

	lockdep_assert_held(&hugetlb_lock);
	h->max_huge_pages--;
	if (!hugepoison_pool_replacing())
		return;
	if (debt->max != h->max_huge_pages + 1)
		hugepoison_forgive(debt);
	debt->owed[nid]++;
	debt->nr++;
	debt->max = h->max_huge_pages;
	debt->tries = HUGEPOISON_REFILL_TRIES;
	WRITE_ONCE(debt->asked, debt->asked + 1);
	mod_delayed_work(hugepoison_wq, &hugepoison_refill_dwork, 0);
}

/**
 * hugepoison_pool_is_short - whether a pool may get a fresh hugepage any moment
 * @h: the pool
 *
 * For a fault that found none though it holds a reservation.
 *
 * Context: Any.
 * Return: true while the worker has not looked for all that is owed.
 */
static bool hugepoison_pool_is_short(struct hstate *h)
{
	struct hugepoison_debt *debt = &hugepoison_debts[hstate_index(h)];

	return READ_ONCE(debt->asked) != READ_ONCE(debt->answered);
}

/*
 * Wait until the worker has looked for all that is owed by now, and not for what
 * further errors take.
 *
 * Context: Process context, sleeps, killable; no lock held.
 */
static void hugepoison_pool_await(struct hstate *h)
{
	struct hugepoison_debt *debt = &hugepoison_debts[hstate_index(h)];
	unsigned int asked = READ_ONCE(debt->asked);

	while ((int)(READ_ONCE(debt->answered) - asked) < 0 &&
	       !fatal_signal_pending(current))
		schedule_timeout_killable(1);
}

/* --- a hugepage leaves its pool ------------------------------------------------ */

/**
 * hugepoison_pool_flush - wait until what was freed is free
 *
 * Under HVO stock leaves the freeing of a surplus hugepage to a worker. Until
 * that ran the hugepage is in no list, and nothing can be said of it.
 *
 * Context: Process context, may sleep.
 */
void hugepoison_pool_flush(void)
{
	flush_work(&free_hpage_work);
}

/**
 * hugepoison_pool_isolate - take a free hugepage off the free list
 * @page: a page of it
 * @poisoned: whether it has to be a poisoned one, or a healthy one
 *
 * The caller becomes its only user, just as if it had been allocated: it is in
 * nr_hugepages but no longer in free_hugepages. It need not be there when the
 * caller comes: which hugepage @page is in is looked up under hugetlb_lock.
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
		ret = true;
	}
	spin_unlock_irq(&hugetlb_lock);
	return ret;
}

/**
 * hugepoison_pool_put_back - undo hugepoison_pool_isolate()
 * @folio: the hugepage, healthy; the caller's reference goes
 *
 * folio_put() would take it for one that was in use: where the pool has a surplus
 * that makes it one smaller, maybe by a hugepage that is promised.
 *
 * Context: Process context; takes hugetlb_lock.
 */
void hugepoison_pool_put_back(struct folio *folio)
{
	bool alone;

	spin_lock_irq(&hugetlb_lock);
	alone = folio_ref_freeze(folio, 1);
	if (alone)
		enqueue_hugetlb_folio(folio_hstate(folio), folio);
	spin_unlock_irq(&hugetlb_lock);
	/* another reference, held for a moment: the last folio_put() does it */
	if (!alone)
		folio_put(folio);
}

/**
 * hugepoison_pool_seize - make a hugepage ready to leave its pool
 * @folio: the hugepage; the caller holds the last reference
 *
 * Context: Process context, may sleep.
 * Return: 0 with no reference left and all struct pages of @folio there to be
 * written; with nothing changed -EBUSY when others hold references, -ENOMEM
 * when there is no memory for the struct pages (HVO), -EOPNOTSUPP where
 * hugepages of this size cannot be freed.
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

/* Whoever was charged for the hugepage is not any more; as for a healthy one. */
static void hugepoison_uncharge(struct hstate *h, struct folio *folio)
{
	const unsigned int idx = hstate_index(h);

	lockdep_assert_held(&hugetlb_lock);
	folio_clear_hugetlb_migratable(folio);
	hugetlb_cgroup_uncharge_folio(idx, pages_per_huge_page(h), folio);
	hugetlb_cgroup_uncharge_folio_rsvd(idx, pages_per_huge_page(h), folio);
	mem_cgroup_uncharge(folio);
}

/**
 * hugepoison_pool_uncharge - nobody is charged for a hugepage any more
 * @folio: the hugepage; the caller has the last reference
 *
 * For one that does not come back to its pool, or not soon.
 *
 * Context: Process context; takes hugetlb_lock.
 */
void hugepoison_pool_uncharge(struct folio *folio)
{
	spin_lock_irq(&hugetlb_lock);
	hugepoison_uncharge(folio_hstate(folio), folio);
	spin_unlock_irq(&hugetlb_lock);
}

/*
 * Whether the hugepage's user took it on a reservation that has to be there
 * again; a subpool that would fall below its minimum keeps one as well.
 */
static bool hugepoison_restores_reserve(struct folio *folio)
{
	struct hugepage_subpool *spool = hugetlb_folio_subpool(folio);
	bool restore = folio_test_hugetlb_restore_reserve(folio);

	hugetlb_set_folio_subpool(folio, NULL);
	folio_clear_hugetlb_restore_reserve(folio);
	return restore || !hugepage_subpool_put_pages(spool, 1);
}

/*
 * Whether a hugepage is one of those that the pool is meant to have. A surplus
 * one, or one taken beside the pool for migration, goes with its last user.
 */
static bool hugepoison_is_persistent(struct hstate *h, struct folio *folio)
{
	return !folio_test_hugetlb_temporary(folio) &&
	       !READ_ONCE(h->surplus_huge_pages_node[folio_nid(folio)]);
}

/* Any hugepage has to be replaced while a reservation waits for one. */
static bool hugepoison_wants_fresh(struct hstate *h, struct folio *folio)
{
	return hugepoison_is_persistent(h, folio) ||
	       READ_ONCE(h->resv_huge_pages) > READ_ONCE(h->free_huge_pages);
}

static void hugepoison_log_loss(struct hstate *h, unsigned long pfn)
{
	const char *why = "there is no memory for a fresh one now";

	if (!hugepoison_pool_replacing())
		why = "replace is off";
	else if (hstate_is_gigantic(h))
		why = "a fresh one is being looked for";
	pr_err("%#lx: the pool of %lu kB hugepages is one smaller: %s\n", pfn,
	       huge_page_size(h) >> 10, why);
}

/*
 * One out, one in, in a single step for all who look at the counters.
 *
 * Return: 1 when @fresh is in the pool, 0 when the pool is one smaller, as it is
 * meant to be, -ENOMEM when it is not meant to be.
 */
static int hugepoison_swap(struct hstate *h, struct folio *folio,
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
			/* it gives way to one of another node, maybe */
			h->surplus_huge_pages_node[nid]--;
			h->surplus_huge_pages_node[folio_nid(fresh)]++;
		}
		return 1;
	}
	if (persistent)
		hugepoison_owe(h, nid);
	return persistent ? -ENOMEM : 0;
}

/**
 * hugepoison_pool_leave - a poisoned hugepage leaves its pool for good
 * @folio: the hugepage, after hugepoison_pool_seize()
 *
 * Its healthy pages go where they came from, see hugepoison_free_poisoned(). A
 * fresh hugepage of the same node, or of another one that the pool has pages
 * on, takes its place; a gigantic one is left to the worker, as finding it may
 * mean migrating a GiB, which is no work to do under the handler's lock.
 *
 * Reservations that cannot be met any more stay promised: nothing more can be
 * promised until they are gone or the pool is refilled.
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
		fresh = hugepoison_pool_fresh(h, folio_nid(folio));
	if (folio_test_anon(folio))
		__ClearPageAnonExclusive(&folio->page);
	folio->mapping = NULL;
	restore = hugepoison_restores_reserve(folio);

	spin_lock_irq(&hugetlb_lock);
	hugepoison_uncharge(h, folio);
	h->resv_huge_pages += restore;
	replaced = hugepoison_swap(h, folio, fresh);
	spin_unlock_irq(&hugetlb_lock);

	if (replaced)
		trace_hugepoison_replace(replaced > 0 ? folio_pfn(fresh) : pfn,
					 huge_page_order(h),
					 replaced > 0 ? "replaced" : "failed",
					 begin);
	if (replaced <= 0)
		hugepoison_pool_discard(h, fresh);
	if (replaced < 0)
		hugepoison_log_loss(h, pfn);
	update_and_free_hugetlb_folio(h, folio, false);
	return replaced > 0;
}

#ifdef CONFIG_CMA
/*
 * Gigantic pages of CMA go back to it, by the blocks that its bitmap has bits
 * for. What is left of the block with the raw page stays allocated there, so
 * that CMA never looks at it again, and is ordinary movable memory.
 *
 * Return: base pages given back, 0 for those that are not of CMA, or less than
 * a block.
 */
static unsigned long hugepoison_give_back_cma(unsigned long pfn,
					      unsigned long nr)
{
	const unsigned long block = 1UL << HUGETLB_PAGE_ORDER;
	struct page *page = pfn_to_page(pfn);
	struct cma *cma = hugetlb_cma[page_to_nid(page)];
	unsigned long i;

	nr = ALIGN_DOWN(nr, block);
	if (!nr || !IS_ALIGNED(pfn, block) || !cma_pages_valid(cma, page, nr))
		return 0;
	for (i = 0; i < nr; i++)
		set_page_refcounted(pfn_to_page(pfn + i));
	cma_release(cma, page, nr);
	return nr;
}
#else
static unsigned long hugepoison_give_back_cma(unsigned long pfn,
					      unsigned long nr)
{
	return 0;
}
#endif

/* The largest naturally aligned piece that a run of pages begins with. */
static unsigned int hugepoison_piece(unsigned long pfn, unsigned long nr)
{
	unsigned int order = min_t(unsigned int, ilog2(nr), MAX_PAGE_ORDER);

	return pfn ? min_t(unsigned int, order, __ffs(pfn)) : order;
}

/**
 * hugepoison_pool_give_back - pages of a former hugepage are free
 * @pfn: the first one; none belongs to a folio nor has a reference
 * @nr: how many, in a row, healthy
 *
 * Context: Any but NMI.
 */
void hugepoison_pool_give_back(unsigned long pfn, unsigned long nr)
{
	while (nr) {
		unsigned long step = hugepoison_give_back_cma(pfn, nr);

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
 * Context: hugetlb_lock held; the answer is good until it is dropped.
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

/* A hugepage with one reference, beside the pool or a free one of it, or NULL. */
static struct folio *hugepoison_get_spare(struct hstate *h, int nid)
{
	struct folio *spare = NULL;

	if (hugepoison_pool_replacing())
		spare = hugepoison_pool_fresh(h, nid);

	spin_lock_irq(&hugetlb_lock);
	if (spare) {
		__prep_account_new_huge_page(h, folio_nid(spare));
		list_add(&spare->lru, &h->hugepage_activelist);
		folio_set_hugetlb_temporary(spare);
		folio_ref_unfreeze(spare, 1);
	} else if (available_huge_pages(h)) {
		spare = dequeue_hugetlb_folio_nodemask(h, htlb_alloc_mask(h),
						       nid, NULL);
	}
	spin_unlock_irq(&hugetlb_lock);
	return spare;
}

/* The same, charged to the hugetlb cgroup of the caller. */
static struct folio *hugepoison_charge_spare(struct hstate *h, int nid)
{
	const unsigned long nr = pages_per_huge_page(h);
	const unsigned int idx = hstate_index(h);
	struct hugetlb_cgroup *group = NULL;
	struct folio *spare;

	if (hugetlb_cgroup_charge_cgroup(idx, nr, &group))
		return NULL;
	spare = hugepoison_get_spare(h, nid);
	if (!spare) {
		hugetlb_cgroup_uncharge_cgroup(idx, nr, group);
		return NULL;
	}
	spin_lock_irq(&hugetlb_lock);
	hugetlb_cgroup_commit_charge(idx, nr, group, spare);
	spin_unlock_irq(&hugetlb_lock);
	return spare;
}

/**
 * hugepoison_pool_spare - a hugepage to take the place of a poisoned one in use
 * @order: of the hugepages
 * @nid: node of the poisoned one
 *
 * A fresh one where that can be had, so that the free ones of the pool stay what
 * they are; it is beside the pool until hugepoison_pool_take_over(). Else, and
 * where nothing is to be replaced, a free one of the pool that is not promised.
 *
 * It is charged to the caller's cgroups as any hugepage that it faults in: for as
 * long as it has two for one, the second counts against its limits. The caller
 * sees to it that there is one at a time.
 *
 * Context: Process context, may sleep and allocate: for a gigantic one that may
 * mean migrating a GiB, so nothing that others need should be locked.
 * Return: a hugepage with one reference, for folio_put() to give back, its
 * contents undefined; NULL if there is none.
 */
struct folio *hugepoison_pool_spare(unsigned int order, int nid)
{
	struct hstate *h = size_to_hstate(PAGE_SIZE << order);
	struct mem_cgroup *memcg = get_mem_cgroup_from_current();
	struct folio *spare = NULL;
	int ret;

	ret = mem_cgroup_hugetlb_try_charge(memcg, htlb_alloc_mask(h) |
						   __GFP_RETRY_MAYFAIL,
					    pages_per_huge_page(h));
	if (ret != -ENOMEM)
		spare = hugepoison_charge_spare(h, nid);
	if (!ret && spare)
		mem_cgroup_commit_charge(spare, memcg);
	else if (!ret)
		mem_cgroup_cancel_charge(memcg, pages_per_huge_page(h));
	mem_cgroup_put(memcg);
	return spare;
}

/**
 * hugepoison_pool_take_over - one hugepage takes another one's place in the pool
 * @old: the hugepage that was in use, its file has let go of it
 * @fresh: the one that its file has now, from hugepoison_pool_spare()
 *
 * Who was charged for @old is charged for @fresh, and the healer is not any more.
 * If @fresh was beside the pool @old is from now on, and the pool is not owed
 * anything when it goes; a free one is missed when @old goes, as after any error.
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
	mem_cgroup_uncharge(fresh);

	hugetlb_set_folio_subpool(fresh, hugetlb_folio_subpool(old));
	hugetlb_set_folio_subpool(old, NULL);
	move_hugetlb_state(old, fresh, MR_MEMORY_FAILURE);
	mem_cgroup_migrate(old, fresh);
}

#ifdef CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP
/**
 * hugepoison_reset_vmemmap - make a restored vmemmap page one of tail pages
 * @to: the first struct page in the page that was just filled
 *
 * HVO maps all vmemmap pages of a hugepage to the first one. Restoring copies
 * that one, whose first struct pages hold the folio's own state; left in the
 * copies they make every 64th page of the freed hugepage a "Bad page state",
 * without any memory error. The struct page after them is a plain tail.
 *
 * Context: Any; @to is not yet mapped at its place in the vmemmap.
 */
void hugepoison_reset_vmemmap(struct page *to)
{
	const int own = sizeof(struct folio) / sizeof(struct page);
	int i;

	for (i = 0; i < own; i++)
		memcpy(to + i, to + own, sizeof(*to));
}
#endif
