// SPDX-License-Identifier: GPL-2.0-only
/* Operations: errors, and what undoes them. */
#define _GNU_SOURCE
#include <errno.h>

#include "fuzz.h"

static long order_at(struct rng *rng, enum order order)
{
	struct slot *slot = slot_take(rng, false, true);
	unsigned int watched = fz->doomed_list[rnd(rng, DOOMED)];
	bool wait = rnd(rng, 2);
	unsigned int hugepage;
	unsigned long words[WORDS];
	char *at;
	long ret;

	if (!slot)
		return SKIPPED;
	hugepage = rnd(rng, slot->nr);
	at = slot_page(slot, hugepage, watched);
	if (rnd(rng, 4))
		touch_read(at, words);
	ret = ask_hand(order, at, 0, wait);
	if (wait)
		check_page(slot, hugepage, watched);
	slot_drop(slot);
	return ret;
}

static long op_hit(struct rng *rng)
{
	return order_at(rng, DO_HIT);
}

static long op_soft_offline(struct rng *rng)
{
	return order_at(rng, DO_SOFT);
}

static long op_hit_free(struct rng *rng)
{
	return ask_hand(DO_HIT_FREE, NULL, fz->doomed_list[rnd(rng, DOOMED)], rnd(rng, 2));
}

static long op_unpoison(struct rng *rng)
{
	return ask_hand(DO_UNPOISON, NULL, rnd(rng, INJECTED), rnd(rng, 2));
}

static long op_compact(struct rng *rng)
{
	(void)rng;
	return ask_hand(DO_COMPACT, NULL, 0, false);
}

static long op_pool(struct rng *rng)
{
	return ask_hand(DO_POOL, NULL, rnd(rng, 1 << 20), false);
}

/* How many surplus hugepages there may be. */
static long op_overcommit(struct rng *rng)
{
	return ask_hand(DO_OVERCOMMIT, NULL, rnd(rng, 3) * rnd(rng, 8), false);
}

static long op_limit(struct rng *rng)
{
	return ask_hand(DO_LIMIT, NULL, rnd(rng, 1 << 20), false);
}

static long op_policy(struct rng *rng)
{
	return ask_hand(DO_POLICY, NULL, rnd(rng, 1 << 20), false);
}

static long op_read_files(struct rng *rng)
{
	(void)rng;
	return ask_hand(DO_READ, NULL, 0, false);
}

const struct op ops_hand[] = {
	{ "hit", 20, op_hit },
	{ "unpoison", 10, op_unpoison },
	{ "hit-free", 4, op_hit_free },
	{ "soft-offline", 4, op_soft_offline },
	{ "compact", 1, op_compact },
	{ "pool", 4, op_pool },
	{ "overcommit", 2, op_overcommit },
	{ "limit", 4, op_limit },
	{ "policy", 1, op_policy },
	{ "read-files", 5, op_read_files },
	{ }
};
