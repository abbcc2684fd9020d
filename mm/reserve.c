// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: a memory reserve for errors.
 *
 * An error needs an entry in its hugepage's list of raw pages, and a record. Without the
 * entry all of the hugepage is out of use until the host restarts, without the record
 * until there is memory. The handler cannot wait for memory, so it has a reserve; a worker
 * refills the reserve.
 */
#include <linux/init.h>
#include <linux/mempool.h>

#include "internal.h"

/* How many errors may come at once while there is no other memory. */
#define HUGEPOISON_RESERVED_RECORDS	32
#define HUGEPOISON_RESERVED_RAWS	128

static mempool_t hugepoison_record_reserve;
static mempool_t hugepoison_raw_reserve;

/* Return: memory for kfree(), NULL if the reserve is empty as well. */
static void *hugepoison_alloc(mempool_t *reserve)
{
	/* reclaim may need the anon_vma's lock that an error holds */
	return mempool_alloc(reserve, GFP_ATOMIC);
}

/**
 * hugepoison_alloc_raw - allocate an entry for a hugepage's list of raw pages
 *
 * Context: Any; hugetlb_lock held.
 * Return: a struct raw_hwp_page for kfree(), NULL if the reserve is empty as well.
 */
void *hugepoison_alloc_raw(void)
{
	return hugepoison_alloc(&hugepoison_raw_reserve);
}

/* Whether a reserve is not full. */
static bool hugepoison_is_short(mempool_t *reserve)
{
	return READ_ONCE(reserve->curr_nr) < reserve->min_nr;
}

static bool hugepoison_is_reserve_short(void)
{
	return hugepoison_is_short(&hugepoison_record_reserve) ||
	       hugepoison_is_short(&hugepoison_raw_reserve);
}

static void hugepoison_refill_reserve(mempool_t *reserve)
{
	void *element;

	while (hugepoison_is_short(reserve)) {
		element = reserve->alloc(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN,
					 reserve->pool_data);
		if (!element)
			break;
		mempool_free(element, reserve);
	}
}

/*
 * Refill the reserves. This may reclaim, so the caller holds no lock that errors need. The
 * allocator gives up early: users can make memory short for as long as they like, and the
 * worker must contain errors meanwhile. It comes back in a second.
 *
 * Return: true when they are full.
 */
static bool hugepoison_refill_reserves(void)
{
	hugepoison_refill_reserve(&hugepoison_raw_reserve);
	hugepoison_refill_reserve(&hugepoison_record_reserve);
	return !hugepoison_is_reserve_short();
}

static int __init hugepoison_init_reserve(mempool_t *reserve, int nr, size_t size)
{
	int ret = mempool_init_kmalloc_pool(reserve, nr, size);

	if (!ret)
		return 0;
	pr_err("no memory for a reserve: where there is none an error costs all of its hugepage\n");
	/* empty, and not to be refilled */
	reserve->min_nr = 0;
	return ret;
}

/* core_initcall, as hugepoison_alloc_wq(): before the first error. */
static int __init hugepoison_init_reserves(void)
{
	int raws = hugepoison_init_reserve(&hugepoison_raw_reserve,
					   HUGEPOISON_RESERVED_RAWS,
					   sizeof(struct raw_hwp_page));
	int records = hugepoison_init_reserve(&hugepoison_record_reserve,
					      HUGEPOISON_RESERVED_RECORDS,
					      sizeof(struct hugepoison_record));

	return raws ?: records;
}
core_initcall(hugepoison_init_reserves);
