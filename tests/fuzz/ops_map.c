// SPDX-License-Identifier: GPL-2.0-only
/* Operations: mappings come, change and go; pages are written and checked. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "fuzz.h"

static int some_flags(struct rng *rng)
{
	int flags = 0;

	if (!rnd(rng, 4))
		flags |= MAP_NORESERVE;
	if (!rnd(rng, 5))
		flags |= MAP_POPULATE;
	if (!rnd(rng, 10))
		flags |= MAP_LOCKED;
	return flags;
}

static int some_prot(struct rng *rng)
{
	return rnd(rng, 6) ? PROT_READ | PROT_WRITE : PROT_READ;
}

static void some_range(struct rng *rng, const struct thing *thing, unsigned int *first,
		       unsigned int *nr)
{
	*first = rnd(rng, 3) ? 0 : rnd(rng, thing->nr);
	*nr = rnd(rng, 3) ? thing->nr - *first : 1 + rnd(rng, thing->nr - *first);
}

static int map_segment(struct slot *slot, int id)
{
	struct thing *thing = &fz->thing[id];
	void *at = shmat(thing->shmid, slot->window, 0);

	if (at == (void *)-1)
		return -errno;
	slot->nr = thing->nr;
	slot->first = 0;
	slot->id = id;
	slot->file = -1;
	slot->private = false;
	slot->watched = false;
	slot->prot = PROT_READ | PROT_WRITE;
	slot->model = NULL;
	slot->addr = at;
	return 0;
}

/* A shared thing, or a private mapping of its file. */
static int map_object(struct slot *slot, int id, bool private, struct rng *rng)
{
	struct thing *thing = &fz->thing[id];
	unsigned int first, nr;

	some_range(rng, thing, &first, &nr);
	if (thing->kind == T_SHM)
		return map_segment(slot, id);
	return slot_map(slot, id, private, some_flags(rng), some_prot(rng), first, nr);
}

static long op_map(struct rng *rng)
{
	struct slot *slot = slot_take(rng, true, false);
	int ret;

	if (!slot)
		return SKIPPED;
	ret = map_object(slot, rnd(rng, OBJECTS), !rnd(rng, 4), rng);
	slot_drop(slot);
	return ret;
}

/* Memory of no file: private, or shared with children forked from here. */
static long map_new(struct rng *rng, bool private)
{
	struct slot *slot = slot_take(rng, true, false);
	unsigned long size = some_size(rng);
	unsigned int nr = size == HP_1G ? 1 : 1 + rnd(rng, NR_MOST);
	int id, ret;

	if (!slot)
		return SKIPPED;
	id = private ? new_private(size, nr) : new_anon(size, nr);
	ret = id < 0 ? -ENOSPC :
		       slot_map(slot, id, private, some_flags(rng), some_prot(rng), 0, nr);
	slot_drop(slot);
	return ret;
}

static long op_map_private(struct rng *rng)
{
	return map_new(rng, true);
}

static long op_map_anon(struct rng *rng)
{
	return map_new(rng, false);
}

static long op_unmap(struct rng *rng)
{
	struct slot *slot = slot_take(rng, true, true);

	if (!slot)
		return SKIPPED;
	if (slot_thing(slot)->kind == T_SHM && rnd(rng, 2))
		shmdt(slot->addr);
	slot_unmap(slot);
	slot_drop(slot);
	return 0;
}

/* Where another thread may unmap meanwhile. */
static long op_touch(struct rng *rng)
{
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	unsigned long at = rnd(rng, NR_MOST * (HP_2M / HP_BASE)) * HP_BASE;

	/* what nobody wrote is zero: it stays so */
	return touch_change_nothing(slot->window + at + 1024) == FINE ? 0 : -EFAULT;
}

static long op_read(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);

	if (!slot)
		return SKIPPED;
	check_all(slot, rng, 1 + rnd(rng, 24));
	slot_drop(slot);
	return 0;
}

static long op_write(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	unsigned int nr = 1 + rnd(rng, 24);

	if (!slot)
		return SKIPPED;
	__atomic_fetch_add(&me.storing, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&me.forking, __ATOMIC_SEQ_CST))
		while (nr--)
			stamp_page(slot, rnd(rng, slot->nr), rnd(rng, WATCHED));
	__atomic_fetch_sub(&me.storing, 1, __ATOMIC_SEQ_CST);
	slot_drop(slot);
	return 0;
}

/* Moved to another slot's addresses, and its contents with it. */
static long op_mremap(struct rng *rng)
{
	struct slot *from = slot_take(rng, true, true), *to;
	void *at;
	int ret = SKIPPED;

	if (!from)
		return SKIPPED;
	to = slot_take(rng, true, false);
	if (!to)
		goto drop;
	at = mremap(from->addr, slot_len(from), slot_len(from), MREMAP_MAYMOVE | MREMAP_FIXED,
		    to->window);
	ret = at == MAP_FAILED ? -errno : 0;
	if (!ret) {
		char *window = to->window;
		int lock = to->lock;

		*to = *from;
		to->window = window;
		to->addr = at;
		to->lock = lock;
		from->model = NULL;
		slot_unmap(from);
	} else {
		/* part of it may have moved */
		munmap(to->window, slot_len(from));
	}
	slot_drop(to);
drop:
	slot_drop(from);
	return ret;
}

static long op_mprotect(struct rng *rng)
{
	struct slot *slot = slot_take(rng, true, true);
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	unsigned long size, from, to;
	int prot, ret;

	if (!slot)
		return SKIPPED;
	size = slot_thing(slot)->size;
	prot = prots[rnd(rng, 3)];
	from = rnd(rng, slot->nr);
	to = from + 1 + rnd(rng, slot->nr - from);
	ret = mprotect(slot->addr + from * size, (to - from) * size, prot) ? -errno : 0;
	if (rnd(rng, 4)) {
		check_all(slot, rng, 4);
		mprotect(slot->addr, slot_len(slot), PROT_READ | PROT_WRITE);
	}
	slot_drop(slot);
	return ret;
}

static long op_mlock(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	int ret;

	if (!slot)
		return SKIPPED;
	switch (rnd(rng, 4)) {
	case 0:
		ret = mlock(slot->addr, slot_len(slot));
		break;
	case 1:
		ret = mlock2(slot->addr, slot_len(slot), MLOCK_ONFAULT);
		break;
	case 2:
		ret = munlock(slot->addr, slot_len(slot));
		break;
	default:
		ret = rnd(rng, 2) ? munlockall() : mlockall(MCL_CURRENT);
	}
	ret = ret ? -errno : 0;
	slot_drop(slot);
	return ret;
}

const struct op ops_map[] = {
	{ "map", 60, op_map },
	{ "map-private", 40, op_map_private },
	{ "map-anon", 15, op_map_anon },
	{ "unmap", 35, op_unmap },
	{ "touch", 60, op_touch },
	{ "read", 150, op_read },
	{ "write", 120, op_write },
	{ "mremap", 15, op_mremap },
	{ "mprotect", 20, op_mprotect },
	{ "mlock", 10, op_mlock },
	{ }
};
