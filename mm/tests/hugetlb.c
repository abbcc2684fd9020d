// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the pool under memory errors.
 */
#include <kunit/test.h>
#include <linux/cma.h>
#include <linux/delay.h>
#include <linux/file.h>

#include "internal.h"

struct hugepoison_test_pool {
	unsigned long nr, free, surplus, resv;
};

static struct hugepoison_test_pool hugepoison_test_snapshot(void)
{
	struct hstate *h = &default_hstate;
	struct hugepoison_test_pool pool;

	/* files of earlier tests may still hold some */
	flush_delayed_fput();
	spin_lock_irq(&hugetlb_lock);
	pool.nr = h->nr_huge_pages;
	pool.free = h->free_huge_pages;
	pool.surplus = h->surplus_huge_pages;
	pool.resv = h->resv_huge_pages;
	spin_unlock_irq(&hugetlb_lock);
	return pool;
}

/* One more free hugepage in the default pool. */
static struct folio *hugepoison_test_grow(struct kunit *test)
{
	struct hstate *h = &default_hstate;
	struct folio *folio = alloc_fresh_hugetlb_folio(h, htlb_alloc_mask(h),
							0, NULL);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	spin_lock_irq(&hugetlb_lock);
	enqueue_hugetlb_folio(h, folio);
	spin_unlock_irq(&hugetlb_lock);
	return folio;
}

/* Add hugepages above the pool's size, or remove them. */
static void hugepoison_test_surplus(int more)
{
	spin_lock_irq(&hugetlb_lock);
	default_hstate.surplus_huge_pages += more;
	default_hstate.surplus_huge_pages_node[0] += more;
	spin_unlock_irq(&hugetlb_lock);
}

static void hugepoison_test_shrink(struct folio *folio)
{
	spin_lock_irq(&hugetlb_lock);
	remove_hugetlb_folio(&default_hstate, folio, false);
	spin_unlock_irq(&hugetlb_lock);
	update_and_free_hugetlb_folio(&default_hstate, folio, false);
}

/* More promised than free is nothing to spare, never very many. */
static void hugepoison_test_available(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, hugepoison_available(5, 3), 2UL);
	KUNIT_EXPECT_EQ(test, hugepoison_available(3, 3), 0UL);
	KUNIT_EXPECT_EQ(test, hugepoison_available(2, 3), 0UL);
	/* below zero none is reserved */
	KUNIT_EXPECT_EQ(test, hugepoison_available(0, ULONG_MAX), 0UL);
	KUNIT_EXPECT_EQ(test, hugepoison_available(4, ULONG_MAX), 4UL);
}

/* An isolated hugepage is off the free list, in the pool, and comes back. */
static void hugepoison_test_isolate(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test);
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	struct page *page = folio_page(folio, 3);

	KUNIT_EXPECT_FALSE(test, hugepoison_pool_isolate(page, true));
	KUNIT_EXPECT_TRUE(test, hugepoison_pool_isolate(page, false));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_EQ(test, now.nr, before.nr);
	KUNIT_EXPECT_EQ(test, now.free, before.free - 1);

	/* no longer on the free list: nothing to isolate */
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_isolate(page, false));

	/* also where one that was in use would go as a surplus one */
	hugepoison_test_surplus(1);
	hugepoison_pool_put_back(folio);
	hugepoison_test_surplus(-1);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
	hugepoison_test_shrink(folio);
}

/* The one free hugepage that is not @folio. */
static void hugepoison_test_shrink_other(struct kunit *test,
					 struct folio *folio)
{
	struct folio *fresh;

	spin_lock_irq(&hugetlb_lock);
	fresh = hugepoison_pool_find_free(huge_page_size(&default_hstate), 0);
	spin_unlock_irq(&hugetlb_lock);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fresh);
	KUNIT_EXPECT_PTR_NE(test, fresh, folio);
	hugepoison_test_shrink(fresh);
}

/*
 * A free hugepage with an error leaves the pool, and the pool's counters stay.
 * Its raw page stays out of use: nobody can allocate it.
 */
static void hugepoison_test_replace(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test);
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	unsigned long pfn = folio_pfn(folio) + 5;

	KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED), 0);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
	KUNIT_EXPECT_FALSE(test, folio_test_hugetlb(folio));
	KUNIT_EXPECT_TRUE(test, PageHWPoison(pfn_to_page(pfn)));
	KUNIT_EXPECT_EQ(test, page_count(pfn_to_page(pfn)), 1);
	KUNIT_EXPECT_FALSE(test, PageCompound(pfn_to_page(pfn)));

	KUNIT_EXPECT_EQ(test, unpoison_memory(pfn), 0);
	KUNIT_EXPECT_FALSE(test, PageHWPoison(pfn_to_page(pfn)));
	hugepoison_test_shrink_other(test, folio);
}

/* With replacing off the pool shrinks, and so does what it is meant to have. */
static void hugepoison_test_not_replaced(struct kunit *test)
{
	struct folio *folio = hugepoison_test_grow(test);
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	unsigned long max = default_hstate.max_huge_pages;
	unsigned long pfn = folio_pfn(folio) + 511;

	hugepoison_pool_set_replacing(false);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED), 0);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_EQ(test, now.nr, before.nr - 1);
	KUNIT_EXPECT_EQ(test, now.free, before.free - 1);
	KUNIT_EXPECT_EQ(test, default_hstate.max_huge_pages, max - 1);
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_is_short(&default_hstate));
	hugepoison_pool_set_replacing(true);

	KUNIT_EXPECT_EQ(test, unpoison_memory(pfn), 0);
	default_hstate.max_huge_pages = max;
}

/* Wait until the worker has done what it was called for. */
static void hugepoison_test_flush_refill(struct hstate *h)
{
	flush_delayed_work(&hugepoison_deficits[hstate_index(h)].work);
}

/* A deficit is refilled once there is memory. */
static void hugepoison_test_deficit(struct kunit *test)
{
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	unsigned long max = default_hstate.max_huge_pages;

	/* a loss of one that was never there: the worker makes it real */
	spin_lock_irq(&hugetlb_lock);
	hugepoison_add_deficit(&default_hstate, 0);
	KUNIT_EXPECT_EQ(test, default_hstate.max_huge_pages, max - 1);
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_test_flush_refill(&default_hstate);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_EQ(test, now.nr, before.nr + 1);
	KUNIT_EXPECT_EQ(test, now.free, before.free + 1);
	KUNIT_EXPECT_EQ(test, default_hstate.max_huge_pages, max);
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_is_short(&default_hstate));
	hugepoison_test_shrink_other(test, NULL);
}

/* Open a deficit of one hugepage on each of two nodes, unknown to the worker. */
static void hugepoison_test_miss(int nid, int other)
{
	struct hugepoison_deficit *deficit =
		&hugepoison_deficits[hstate_index(&default_hstate)];

	spin_lock_irq(&hugetlb_lock);
	deficit->missing[nid] = 1;
	deficit->missing[other] = 1;
	deficit->nr = 2;
	spin_unlock_irq(&hugetlb_lock);
}

/* The node that a hugepage is missing on. */
static int hugepoison_test_missing(void)
{
	int nid;

	spin_lock_irq(&hugetlb_lock);
	nid = hugepoison_deficit_node(&default_hstate);
	spin_unlock_irq(&hugetlb_lock);
	return nid;
}

/* Root writes the sizes that the pool has: the worker must add nothing. */
static void hugepoison_test_resized(struct kunit *test)
{
	struct hugepoison_deficit *deficit =
		&hugepoison_deficits[hstate_index(&default_hstate)];
	struct hstate *h = &default_hstate;
	int nid = num_node_state(N_MEMORY) - 1;
	nodemask_t nodes = nodemask_of_node(nid);
	unsigned long size;

	if (!nid)
		kunit_skip(test, "one node only");
	size = READ_ONCE(h->max_huge_pages);
	hugepoison_test_miss(0, nid);
	KUNIT_EXPECT_EQ(test, set_max_huge_pages(h, size, NUMA_NO_NODE,
						 &node_states[N_MEMORY]), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_missing(), NUMA_NO_NODE);
	KUNIT_EXPECT_EQ(test, deficit->nr, 0UL);

	/* one node's size says nothing of the other */
	size = READ_ONCE(h->nr_huge_pages_node[nid]);
	hugepoison_test_miss(0, nid);
	KUNIT_EXPECT_EQ(test, set_max_huge_pages(h, size, nid, &nodes), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_missing(), 0);
	KUNIT_EXPECT_EQ(test, deficit->missing[nid], 0U);
	KUNIT_EXPECT_EQ(test, deficit->nr, 1UL);
	size = READ_ONCE(h->nr_huge_pages_node[0]);
	nodes = nodemask_of_node(0);
	KUNIT_EXPECT_EQ(test, set_max_huge_pages(h, size, 0, &nodes), 0);
	KUNIT_EXPECT_EQ(test, hugepoison_test_missing(), NUMA_NO_NODE);
	KUNIT_EXPECT_EQ(test, deficit->missing[0], 0U);
	KUNIT_EXPECT_EQ(test, deficit->nr, 0UL);
	KUNIT_EXPECT_EQ(test, READ_ONCE(h->max_huge_pages),
			hugepoison_test_snapshot().nr);
}

/* While root resizes the pool the worker adds nothing to it. */
static void hugepoison_test_resizing(struct kunit *test)
{
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	struct hstate *h = &default_hstate;

	mutex_lock(&h->resize_lock);
	spin_lock_irq(&hugetlb_lock);
	hugepoison_add_deficit(h, 0);
	spin_unlock_irq(&hugetlb_lock);
	/* the worker has nothing to tell that it waits */
	msleep(500);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
	mutex_unlock(&h->resize_lock);
	hugepoison_test_flush_refill(&default_hstate);
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_EQ(test, now.nr, before.nr + 1);
	hugepoison_test_shrink_other(test, NULL);
}

/* Something that may wait for a stuck worker, so another task does it. */
struct hugepoison_test_task {
	struct work_struct work;
	struct completion done;
};

static void hugepoison_test_start_task(struct hugepoison_test_task *task,
				       work_func_t func)
{
	init_completion(&task->done);
	INIT_WORK_ONSTACK(&task->work, func);
	queue_work(system_unbound_wq, &task->work);
}

/* Return: true if it ends by itself. */
static bool hugepoison_test_task_ends(struct hugepoison_test_task *task)
{
	return wait_for_completion_timeout(&task->done, 5 * HZ);
}

/* After the cause of its wait has gone. */
static void hugepoison_test_end(struct hugepoison_test_task *task)
{
	flush_work(&task->work);
	destroy_work_on_stack(&task->work);
}

static void hugepoison_test_switch_off(struct work_struct *work)
{
	hugepoison_pool_set_replacing(false);
	complete(&container_of(work, struct hugepoison_test_task, work)->done);
}

/* As an error does that calls the worker, though no hugepage is missing. */
static void hugepoison_test_call(struct hstate *h)
{
	spin_lock_irq(&hugetlb_lock);
	hugepoison_call_refill(&hugepoison_deficits[hstate_index(h)]);
	spin_unlock_irq(&hugetlb_lock);
}

/* Whether the worker comes to have tried for all that a pool misses. */
static bool hugepoison_test_gets_served(struct hstate *h)
{
	int i;

	for (i = 0; i < 100 && hugepoison_pool_is_short(h); i++)
		msleep(20);
	return !hugepoison_pool_is_short(h);
}

/*
 * A refill that is stuck delays neither another pool nor root's switch; once replacing
 * is off it adds nothing.
 */
static void hugepoison_test_stuck(struct kunit *test)
{
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	unsigned long max = default_hstate.max_huge_pages;
	struct hstate *other = size_to_hstate(PUD_SIZE);
	struct hstate *h = &default_hstate;
	struct hugepoison_test_task task;

	if (!other)
		kunit_skip(test, "one size of hugepages only");
	mutex_lock(&h->resize_lock);
	spin_lock_irq(&hugetlb_lock);
	hugepoison_add_deficit(h, 0);
	spin_unlock_irq(&hugetlb_lock);
	/* the worker has nothing to tell that it waits */
	msleep(500);
	hugepoison_test_call(other);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_gets_served(other));
	KUNIT_EXPECT_TRUE(test, hugepoison_pool_is_short(h));
	hugepoison_test_start_task(&task, hugepoison_test_switch_off);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_task_ends(&task));
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_is_short(h));
	mutex_unlock(&h->resize_lock);
	hugepoison_test_end(&task);
	hugepoison_test_flush_refill(h);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_gets_served(h));
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
	default_hstate.max_huge_pages = max;
	hugepoison_pool_set_replacing(true);
}

/* Reservations may exceed free hugepages by so many, or no longer. */
static void hugepoison_test_reserve(long more)
{
	spin_lock_irq(&hugetlb_lock);
	default_hstate.resv_huge_pages += more;
	spin_unlock_irq(&hugetlb_lock);
}

/*
 * A temporary hugepage, as a healed one is, leaves no place in the pool, whatever is
 * reserved: a fresh one would make the pool larger than root wants it.
 */
static void hugepoison_test_temporary(struct kunit *test)
{
	struct hugepoison_test_pool before = hugepoison_test_snapshot(), now;
	struct folio *folio = hugepoison_get_spare(&default_hstate, 0, NULL);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb_temporary(folio));
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_EQ(test, now.nr, before.nr + 1);
	hugepoison_test_reserve(before.free + 1);
	KUNIT_EXPECT_EQ(test, hugepoison_pool_seize(folio), 0);
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_leave(folio));
	hugepoison_test_reserve(-(long)(before.free + 1));
	now = hugepoison_test_snapshot();
	KUNIT_EXPECT_MEMEQ(test, &now, &before, sizeof(now));
}

/* Any run of pages is given back in the fewest pieces that are aligned. */
static void hugepoison_test_piece(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, hugepoison_piece(1, 511), 0U);
	KUNIT_EXPECT_EQ(test, hugepoison_piece(2, 510), 1U);
	KUNIT_EXPECT_EQ(test, hugepoison_piece(256, 256), 8U);
	KUNIT_EXPECT_EQ(test, hugepoison_piece(512, 3), 1U);
	KUNIT_EXPECT_EQ(test, hugepoison_piece(0, 1), 0U);
	KUNIT_EXPECT_EQ(test, hugepoison_piece(1UL << 18, 1UL << 18),
			(unsigned int)MAX_PAGE_ORDER);
}

/* Where a pool may be refilled: its own node, and those that it is on already. */
static void hugepoison_test_nodes(struct kunit *test)
{
	struct hstate *h = &default_hstate;
	nodemask_t nodes;
	int node;

	hugepoison_pool_nodes(h, 0, &nodes);
	KUNIT_EXPECT_TRUE(test, node_isset(0, nodes));
	for_each_node_mask(node, nodes) {
		KUNIT_EXPECT_TRUE(test, node_state(node, N_MEMORY));
		KUNIT_EXPECT_TRUE(test, node == 0 ||
				  h->nr_huge_pages_node[node]);
	}
	for_each_node_state(node, N_MEMORY)
		KUNIT_EXPECT_TRUE(test, node_isset(node, nodes) ||
				  !h->nr_huge_pages_node[node]);
}

static unsigned long hugepoison_test_poison_in(struct page *page,
					       unsigned long nr)
{
	unsigned long bad = 0;

	while (nr--)
		bad += PageHWPoison(page + nr);
	return bad;
}

/*
 * Take all free memory of a node that comes in pieces of @order, without regard
 * to any reserve, and count the bad pages in it.
 *
 * Return: how many pieces there were.
 */
static unsigned long hugepoison_test_take(int nid, unsigned int order,
					  struct list_head *taken,
					  unsigned long *bad)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE |
			  __GFP_NORETRY | __GFP_NOWARN | __GFP_MEMALLOC;
	unsigned long nr = 0;
	struct page *page;

	for (; (page = alloc_pages_node(nid, gfp & ~__GFP_RECLAIM, order));
	     nr++) {
		*bad += hugepoison_test_poison_in(page, 1UL << order);
		set_page_private(page, order);
		list_add(&page->lru, taken);
		if (!(nr % 1024))
			cond_resched();
	}
	return nr;
}

static void hugepoison_test_give(struct list_head *taken)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, taken, lru) {
		list_del(&page->lru);
		__free_pages(page, page_private(page));
	}
}

/* From the largest pieces to the smallest: all the memory there is. */
static unsigned long hugepoison_test_take_all(int nid, unsigned long *bad)
{
	LIST_HEAD(taken);
	unsigned long nr = 0;
	int order;

	for (order = MAX_PAGE_ORDER; order >= 0; order--)
		nr += hugepoison_test_take(nid, order, &taken, bad) << order;
	hugepoison_test_give(&taken);
	return nr;
}

/* From each order alone; it takes its time with a checker looking on. */
static void hugepoison_test_take_each(struct kunit *test, int nid)
{
	unsigned long bad = 0, nr;
	LIST_HEAD(taken);
	int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		if (IS_ENABLED(CONFIG_KASAN) && order < HUGETLB_PAGE_ORDER)
			continue;
		nr = hugepoison_test_take(nid, order, &taken, &bad);
		hugepoison_test_give(&taken);
		KUNIT_EXPECT_GT(test, nr, 0UL);
		KUNIT_EXPECT_EQ_MSG(test, bad, 0UL, "order %d", order);
	}
}

/*
 * After hugepages with errors left the pool, their healthy pages are free and
 * no raw page is, on no node and in no size.
 */
static void hugepoison_test_exhaust(struct kunit *test)
{
	static const unsigned int at[] = { 0, 1, 100, 255, 256, 511 };
	unsigned long pfn[ARRAY_SIZE(at)], bad = 0, nr;
	struct hstate *h = &default_hstate;
	struct folio *folio;
	int i, nid;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		nid = i % num_node_state(N_MEMORY);
		folio = alloc_fresh_hugetlb_folio(h, htlb_alloc_mask(h) |
						  __GFP_THISNODE, nid, NULL);
		KUNIT_ASSERT_NOT_NULL(test, folio);
		spin_lock_irq(&hugetlb_lock);
		enqueue_hugetlb_folio(h, folio);
		h->max_huge_pages++;
		spin_unlock_irq(&hugetlb_lock);
		pfn[i] = folio_pfn(folio) + at[i];
	}
	hugepoison_pool_set_replacing(false);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_EQ(test, memory_failure(pfn[i], MF_SW_SIMULATED),
				0);
	hugepoison_pool_set_replacing(true);

	for_each_node_state(nid, N_MEMORY) {
		nr = hugepoison_test_take_all(nid, &bad);
		kunit_info(test, "node %d: %lu pages\n", nid, nr);
		KUNIT_EXPECT_GT(test, nr, 4UL << MAX_PAGE_ORDER);
		KUNIT_EXPECT_EQ(test, bad, 0UL);
		hugepoison_test_take_each(test, nid);
	}
	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_EQ(test, unpoison_memory(pfn[i]), 0);
}

#ifdef CONFIG_CMA
/* All that CMA has to give, by the blocks that it counts by. */
static unsigned long hugepoison_test_take_cma(struct cma *cma,
					      unsigned long *bad)
{
	const unsigned long block = 1UL << HUGETLB_PAGE_ORDER;
	struct page *page, *next;
	unsigned long nr = 0;
	LIST_HEAD(taken);

	for (; (page = cma_alloc(cma, block, 0, true)); nr++) {
		*bad += hugepoison_test_poison_in(page, block);
		list_add(&page->lru, &taken);
	}
	list_for_each_entry_safe(page, next, &taken, lru) {
		list_del(&page->lru);
		cma_release(cma, page, block);
	}
	return nr;
}
#endif

/* A gigantic page of CMA goes back to it, but for the block with the raw page. */
static void hugepoison_test_cma(struct kunit *test)
{
#ifdef CONFIG_CMA
	struct hstate *h = size_to_hstate(PUD_SIZE);
	int nid = num_node_state(N_MEMORY) - 1;
	struct cma *cma = hugepoison_test_cma_area(nid);
	unsigned long pfn, bad = 0, before;
	struct folio *folio;

	if (!h || !cma)
		kunit_skip(test, "boot with hugetlb_cma=%d:1G", nid);
	before = hugepoison_test_take_cma(cma, &bad);
	KUNIT_EXPECT_EQ(test, before, PUD_SIZE / PMD_SIZE);
	folio = alloc_fresh_hugetlb_folio(h, htlb_alloc_mask(h) |
					  __GFP_THISNODE, nid,
					  &node_states[N_MEMORY]);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_EXPECT_TRUE(test, folio_test_hugetlb_cma(folio));
	spin_lock_irq(&hugetlb_lock);
	enqueue_hugetlb_folio(h, folio);
	h->max_huge_pages++;
	spin_unlock_irq(&hugetlb_lock);
	pfn = folio_pfn(folio) + 777;

	hugepoison_pool_set_replacing(false);
	KUNIT_EXPECT_EQ(test, memory_failure(pfn, MF_SW_SIMULATED), 0);
	hugepoison_pool_set_replacing(true);
	KUNIT_EXPECT_EQ(test, hugepoison_test_take_cma(cma, &bad), before - 1);
	KUNIT_EXPECT_EQ(test, bad, 0UL);
	KUNIT_EXPECT_EQ(test, unpoison_memory(pfn), 0);
#else
	kunit_skip(test, "CONFIG_CMA is not set");
#endif
}

/* A poisoned hugepage is not offered for injection; a size must exist. */
static void hugepoison_test_find_free(struct kunit *test)
{
	unsigned long size = huge_page_size(&default_hstate);
	struct folio *folio = hugepoison_test_grow(test);

	spin_lock_irq(&hugetlb_lock);
	KUNIT_EXPECT_PTR_EQ(test, hugepoison_pool_find_free(size, 0), folio);
	folio_set_hwpoison(folio);
	KUNIT_EXPECT_PTR_NE(test, hugepoison_pool_find_free(size, 0), folio);
	folio_clear_hwpoison(folio);
	KUNIT_EXPECT_TRUE(test, IS_ERR(hugepoison_pool_find_free(size + 1, 0)));
	spin_unlock_irq(&hugetlb_lock);
	hugepoison_test_shrink(folio);
}

#ifdef hugepoison_reset_vmemmap
/* A restored vmemmap page has plain tails only; struct pages behind them stay. */
static void hugepoison_test_reset(struct kunit *test)
{
	const int own = sizeof(struct folio) / sizeof(struct page);
	struct page *pages = kunit_kcalloc(test, 8, sizeof(*pages), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	for (i = 0; i < 8; i++)
		memset(&pages[i], i < own ? 0xa0 + i : 0x55, sizeof(*pages));
	*hugepoison_flags(&pages[own + 1]) = 42;
	hugepoison_reset_vmemmap(pages);
	for (i = 0; i < own; i++)
		KUNIT_EXPECT_MEMEQ(test, &pages[i], &pages[own],
				   sizeof(*pages));
	KUNIT_EXPECT_EQ(test, *hugepoison_flags(&pages[own + 1]), 42UL);
}
#endif

/* A table of 1 GiB entries is nobody else's, whatever its page has in store. */
static void hugepoison_test_table(struct kunit *test)
{
#ifdef CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING
	struct ptdesc table = { };

	KUNIT_EXPECT_FALSE(test, hugepoison_table_is_shared(PMD_SIZE, &table));
	atomic_set(&table.pt_share_count, 1);
	KUNIT_EXPECT_TRUE(test, hugepoison_table_is_shared(PMD_SIZE, &table));
	KUNIT_EXPECT_FALSE(test, hugepoison_table_is_shared(PUD_SIZE, &table));
#else
	kunit_skip(test, "CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING is not set");
#endif
}

/* As an error has called the worker, which is at a hugepage since then. */
static void hugepoison_test_begin_refill(struct hstate *h, unsigned long since)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];

	spin_lock_irq(&hugetlb_lock);
	WRITE_ONCE(deficit->since, since);
	WRITE_ONCE(deficit->requested, deficit->requested + 1);
	spin_unlock_irq(&hugetlb_lock);
}

static void hugepoison_test_end_refill(struct hstate *h)
{
	struct hugepoison_deficit *deficit = &hugepoison_deficits[hstate_index(h)];

	spin_lock_irq(&hugetlb_lock);
	WRITE_ONCE(deficit->served, deficit->requested);
	spin_unlock_irq(&hugetlb_lock);
}

/* A fault does not wait for a deficit that has ended. */
static void hugepoison_test_not_replacing(struct kunit *test)
{
	struct hstate *h = &default_hstate;

	hugepoison_test_begin_refill(h, jiffies);
	KUNIT_EXPECT_TRUE(test, hugepoison_pool_is_short(h));
	hugepoison_pool_set_replacing(false);
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_is_short(h));
	hugepoison_pool_await(h);
	hugepoison_pool_set_replacing(true);
}

static void hugepoison_test_await(struct work_struct *work)
{
	hugepoison_pool_await(&default_hstate);
	complete(&container_of(work, struct hugepoison_test_task, work)->done);
}

/* A fault waits for a worker that is stuck, but not for ever. */
static void hugepoison_test_await_stuck(struct kunit *test)
{
	struct hstate *h = &default_hstate;
	struct hugepoison_test_task task;

	/* most of the time is over */
	hugepoison_test_begin_refill(h, jiffies - HUGEPOISON_REFILL_PATIENCE +
					HZ);
	KUNIT_EXPECT_TRUE(test, hugepoison_pool_is_short(h));
	hugepoison_test_start_task(&task, hugepoison_test_await);
	KUNIT_EXPECT_TRUE(test, hugepoison_test_task_ends(&task));
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_is_short(h));
	/* one more error prolongs no wait */
	hugepoison_test_call(h);
	KUNIT_EXPECT_FALSE(test, hugepoison_pool_is_short(h));
	hugepoison_test_end_refill(h);
	hugepoison_test_end(&task);
	hugepoison_test_flush_refill(h);
}

/* A fault in a mapping of this task, that keeps mmap_lock. */
static vm_fault_t hugepoison_test_fault_at(unsigned long address)
{
	struct mm_struct *mm = current->mm;
	vm_fault_t ret;

	mmap_read_lock(mm);
	ret = handle_mm_fault(vma_lookup(mm, address), address,
			      FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT,
			      NULL);
	mmap_read_unlock(mm);
	return ret;
}

/*
 * No hugepage that the pool gets helps a touch beyond the end of the file. A hugepage of
 * which the file has a part only is beyond it.
 */
static void hugepoison_test_beyond(struct kunit *test)
{
	struct hstate *h = &default_hstate;
	unsigned long address, size = huge_page_size(h);
	struct file *file;

	file = hugetlb_file_setup("hugepoison_test", 2 * size,
				  mk_vma_flags(VMA_NORESERVE_BIT),
				  HUGETLB_ANONHUGE_INODE, ilog2(size));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	address = kunit_vm_mmap(test, file, 0, 2 * size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_NORESERVE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(address));
	i_size_write(file_inode(file), size + PAGE_SIZE);

	hugepoison_test_begin_refill(h, jiffies);
	KUNIT_EXPECT_EQ(test, (__force unsigned int)
			hugepoison_test_fault_at(address + size),
			(__force unsigned int)VM_FAULT_SIGBUS);
	/* the last byte of the last whole hugepage may come */
	KUNIT_EXPECT_TRUE(test, hugepoison_pool_is_short(h));
	KUNIT_EXPECT_NE(test, (__force unsigned int)
			hugepoison_test_fault_at(address + size - 1),
			(__force unsigned int)VM_FAULT_SIGBUS);
	hugepoison_test_end_refill(h);
	vm_munmap(address, 2 * size);
	fput(file);
}

/* A fault comes back so many times, and once more when it is a new one. */
static void hugepoison_test_retries(struct kunit *test)
{
	const unsigned long address = 5 * PAGE_SIZE + 7;
	int i;

	KUNIT_EXPECT_TRUE(test, hugepoison_may_retry(address, 0));
	for (i = 1; i < HUGEPOISON_FAULT_TRIES; i++)
		KUNIT_EXPECT_TRUE(test, hugepoison_may_retry(address,
							     FAULT_FLAG_TRIED));
	KUNIT_EXPECT_FALSE(test, hugepoison_may_retry(address,
						      FAULT_FLAG_TRIED));
	KUNIT_EXPECT_TRUE(test, hugepoison_may_retry(address + PAGE_SIZE,
						     FAULT_FLAG_TRIED));
	KUNIT_EXPECT_TRUE(test, hugepoison_may_retry(address, 0));

	hugepoison_end_retries(address);
	KUNIT_EXPECT_FALSE(test, hugepoison_may_retry(address,
						      FAULT_FLAG_TRIED));
	KUNIT_EXPECT_TRUE(test, hugepoison_may_retry(address, 0));
}

static struct kunit_case hugepoison_pool_cases[] = {
	KUNIT_CASE(hugepoison_test_available),
	KUNIT_CASE(hugepoison_test_isolate),
	KUNIT_CASE(hugepoison_test_replace),
	KUNIT_CASE(hugepoison_test_not_replaced),
	KUNIT_CASE(hugepoison_test_deficit),
	KUNIT_CASE(hugepoison_test_resized),
	KUNIT_CASE(hugepoison_test_resizing),
	KUNIT_CASE(hugepoison_test_stuck),
	KUNIT_CASE(hugepoison_test_temporary),
	KUNIT_CASE(hugepoison_test_piece),
	KUNIT_CASE(hugepoison_test_nodes),
	KUNIT_CASE_SLOW(hugepoison_test_exhaust),
	KUNIT_CASE(hugepoison_test_cma),
	KUNIT_CASE(hugepoison_test_find_free),
#ifdef hugepoison_reset_vmemmap
	KUNIT_CASE(hugepoison_test_reset),
#endif
	KUNIT_CASE(hugepoison_test_table),
	KUNIT_CASE(hugepoison_test_not_replacing),
	KUNIT_CASE(hugepoison_test_await_stuck),
	KUNIT_CASE(hugepoison_test_beyond),
	KUNIT_CASE(hugepoison_test_retries),
	{}
};

static struct kunit_suite hugepoison_pool_suite = {
	.name = "hugepoison-hugetlb",
	.test_cases = hugepoison_pool_cases,
};

kunit_test_suite(hugepoison_pool_suite);
