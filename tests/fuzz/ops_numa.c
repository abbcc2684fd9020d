// SPDX-License-Identifier: GPL-2.0-only
/* Operations: where memory is. */
#define _GNU_SOURCE
#include <errno.h>
#include <numaif.h>
#include <unistd.h>

#include "fuzz.h"

static long op_mbind(struct rng *rng)
{
	static const int policies[] = { MPOL_DEFAULT, MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE };
	struct slot *slot = slot_take(rng, false, true);
	int policy = policies[rnd(rng, 4)];
	unsigned long nodes = 1 + rnd(rng, 3);
	unsigned int flags = rnd(rng, 2) ? MPOL_MF_MOVE : 0;
	long ret;

	if (!slot)
		return SKIPPED;
	ret = mbind(slot->addr, slot_len(slot), policy, policy == MPOL_DEFAULT ? NULL : &nodes,
		    policy == MPOL_DEFAULT ? 0 : 8, flags) ? -errno : 0;
	slot_drop(slot);
	return ret;
}

static long op_move_pages(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	void *pages[8];
	int nodes[8], status[8];
	long ret;

	if (!slot)
		return SKIPPED;
	for (int i = 0; i < 8; i++) {
		pages[i] = slot_page(slot, rnd(rng, slot->nr), rnd(rng, WATCHED));
		nodes[i] = rnd(rng, 2);
	}
	ret = move_pages(0, 8, pages, rnd(rng, 4) ? nodes : NULL, status, MPOL_MF_MOVE) < 0 ?
	      -errno : 0;
	slot_drop(slot);
	return ret;
}

static long op_migrate_pages(struct rng *rng)
{
	unsigned long from = 1 + rnd(rng, 2), to = 3 - from;

	return migrate_pages(0, 8, &from, &to) < 0 ? -errno : 0;
}

const struct op ops_numa[] = {
	{ "mbind", 8, op_mbind },
	{ "move-pages", 10, op_move_pages },
	{ "migrate-pages", 3, op_migrate_pages },
	{ }
};
