// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a process maps things. Each slot has addresses of its own, low enough that
 * nothing else is put there: a touch of what another thread has just unmapped finds
 * nothing, or another thing of the same slot.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#define WINDOWS		0x100000000000UL
#define WINDOW		(16UL << 30)

void slots_init(void)
{
	for (int i = 0; i < SLOTS; i++) {
		me.slot[i].window = (char *)WINDOWS + i * WINDOW;
		me.slot[i].addr = NULL;
		me.slot[i].lock = 0;
	}
}

static bool try_lock(struct slot *slot, bool write)
{
	int was = __atomic_load_n(&slot->lock, __ATOMIC_SEQ_CST);

	while (write ? !was : was >= 0)
		if (__atomic_compare_exchange_n(&slot->lock, &was, write ? -1 : was + 1, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

void slot_drop(struct slot *slot)
{
	if (slot->lock == -1)
		__atomic_store_n(&slot->lock, 0, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_sub(&slot->lock, 1, __ATOMIC_SEQ_CST);
}

/* One at random that has something mapped, or has nothing. NULL: none, or in use. */
struct slot *slot_take(struct rng *rng, bool write, bool mapped)
{
	unsigned int from = rnd(rng, SLOTS);

	for (int i = 0; i < SLOTS; i++) {
		struct slot *slot = &me.slot[(from + i) % SLOTS];

		if (!try_lock(slot, write))
			continue;
		if (!!slot->addr == mapped)
			return slot;
		slot_drop(slot);
	}
	return NULL;
}

/* Of hugepages to be mapped: a large one takes long to be zeroed. */
unsigned long some_size(struct rng *rng)
{
	return !rnd(rng, 6) && fz->has_1g ? HP_1G : HP_2M;
}

/* Of the hugepages that are mapped around an address, as far as that is known. */
unsigned long size_at(unsigned long at)
{
	unsigned long which = (at - WINDOWS) / WINDOW;
	int id = which < SLOTS ? __atomic_load_n(&me.slot[which].id, __ATOMIC_SEQ_CST) : 0;

	return fz->thing[id].size;
}

/* Returns an id, or -1 when there is none left in this round. */
int new_private(unsigned long size, unsigned int nr)
{
	unsigned int id = __atomic_fetch_add(&fz->things, 1, __ATOMIC_SEQ_CST);

	if (id >= THINGS)
		return -1;
	fz->thing[id] = (struct thing) {
		.kind = T_PRIVATE, .size = size, .nr = nr, .fd = -1, .shmid = -1,
	};
	return id;
}

/* Shared by a process and its children. Returns an id, or -1. */
int new_anon(unsigned long size, unsigned int nr)
{
	unsigned int which = __atomic_fetch_add(&fz->anons, 1, __ATOMIC_SEQ_CST);
	int id;

	if (which >= ANONS)
		return -1;
	id = new_private(size, nr);
	if (id < 0)
		return -1;
	fz->thing[id].kind = T_ANON;
	fz->thing[id].model = fz->model[OBJECTS + which];
	return id;
}

/* The slot is held for writing. Returns 0 or -errno. */
int slot_map(struct slot *slot, int id, bool private, int flags, int prot,
	     unsigned int first, unsigned int nr)
{
	struct thing *thing = &fz->thing[id];
	int shift = thing->size == HP_1G ? 30 : 21, file = -1;
	unsigned long *model = NULL;
	char *at;

	flags |= MAP_FIXED_NOREPLACE | (private ? MAP_PRIVATE : MAP_SHARED);
	if (thing->fd < 0)
		flags |= MAP_ANONYMOUS | MAP_HUGETLB | shift << MAP_HUGE_SHIFT;
	if (private) {
		model = calloc(NR_MOST * WATCHED, sizeof(*model));
		if (!model)
			return -ENOMEM;
	}
	if (private && thing->fd >= 0) {
		file = id;
		id = new_private(thing->size, nr + first);
		if (id < 0) {
			free(model);
			return -ENOSPC;
		}
		for (int i = 0; i < NR_MOST * WATCHED; i++)
			model_set(&model[i], OF_FILE);
	}
	at = mmap(slot->window, nr * thing->size, prot, flags, thing->fd, first * thing->size);
	if (at == MAP_FAILED) {
		free(model);
		return -errno;
	}
	slot->nr = nr;
	slot->first = first;
	slot->id = id;
	slot->file = file;
	slot->private = private;
	slot->watched = false;
	slot->prot = prot;
	slot->model = model;
	slot->addr = at;
	return 0;
}

/* The slot is held for writing. */
void slot_unmap(struct slot *slot)
{
	munmap(slot->window, WINDOW);
	free(slot->model);
	slot->model = NULL;
	slot->addr = NULL;
}

/*
 * After fork: only the thread that forked is left. Pages that other threads were changing
 * have unknown contents. @wild: others may have been writing.
 */
void slots_of_child(bool wild)
{
	for (int i = 0; i < SLOTS; i++) {
		struct slot *slot = &me.slot[i];

		if (slot->lock == -1) {
			munmap(slot->window, WINDOW);
			slot->model = NULL;
			slot->addr = NULL;
		}
		slot->lock = 0;
		if (!slot->addr || !slot->private)
			continue;
		for (int k = 0; wild && k < NR_MOST * WATCHED; k++)
			model_unsure(&slot->model[k]);
	}
}

char *slot_page(const struct slot *slot, unsigned int hugepage, unsigned int watched)
{
	unsigned long size = slot_thing(slot)->size;

	return slot->addr + hugepage * size + watched_page(size, watched) * HP_BASE;
}
