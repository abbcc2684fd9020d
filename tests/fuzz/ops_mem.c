// SPDX-License-Identifier: GPL-2.0-only
/* Operations: advice about memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

struct range {
	char *at;
	unsigned long len;
	int advice;
};

static int advise(void *arg)
{
	struct range *range = arg;

	return madvise(range->at, range->len, range->advice) ? -errno : 0;
}

/* Base pages of a mapping, often few, often all of some hugepages. */
static void some_pages(struct rng *rng, const struct slot *slot, unsigned long *from,
		       unsigned long *len)
{
	unsigned long size = slot_thing(slot)->size, all = slot_len(slot);

	switch (rnd(rng, 4)) {
	case 0:
		*from = rnd(rng, slot->nr) * size;
		*len = size;
		break;
	case 1:
		*from = rnd(rng, all / HP_BASE) * HP_BASE;
		*len = (1 + rnd(rng, 64)) * HP_BASE;
		break;
	case 2:
		*from = rnd(rng, slot->nr) * size +
			watched_page(size, fz->doomed_list[rnd(rng, DOOMED)]) * HP_BASE;
		*len = HP_BASE;
		break;
	default:
		*from = 0;
		*len = all;
	}
	if (*from + *len > all)
		*len = all - *from;
}

/*
 * Private memory that is discarded is zero, or the file's. hugetlb discards whole
 * hugepages: where only a part is named, less may go than the range says.
 */
static long op_dontneed(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	struct range range = {
		.advice = !rnd(rng, 16) ? MADV_FREE :
			  rnd(rng, 4) ? MADV_DONTNEED : MADV_DONTNEED_LOCKED,
	};
	unsigned long from, len, size, to;
	long ret;

	if (!slot)
		return SKIPPED;
	some_pages(rng, slot, &from, &len);
	range.at = slot->addr + from;
	range.len = len;
	size = slot_thing(slot)->size;
	from += slot->first * size;
	to = from + len;
	if (!slot->private) {
		ret = advise(&range);
	} else if (range.advice != MADV_FREE && !(from % size) && !(to % size) &&
		   slot->file < 0) {
		ret = discard(slot->id, slot->model, from, to, ZERO, advise, &range);
	} else {
		from -= from % size;
		to = (to + size - 1) / size * size;
		ret = discard(slot->id, slot->model, from, to,
			      slot->file < 0 ? UNSURE : OF_FILE, advise, &range);
	}
	slot_drop(slot);
	return ret;
}

/* The file's own: a hole. */
static long op_remove(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	struct range range = { .advice = MADV_REMOVE };
	unsigned long from, len;
	long ret = SKIPPED;

	if (!slot)
		return SKIPPED;
	if (!slot->private) {
		some_pages(rng, slot, &from, &len);
		range.at = slot->addr + from;
		range.len = len;
		from += slot->first * slot_thing(slot)->size;
		ret = discard(slot->id, slot_thing(slot)->model, from, from + len, ZERO, advise,
			      &range);
	}
	slot_drop(slot);
	return ret;
}

/* Advice that changes no content. */
static long op_advise(struct rng *rng)
{
	static const int advices[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTFORK,
		MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_DONTDUMP, MADV_DODUMP, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE,
	};
	struct slot *slot = slot_take(rng, false, true);
	struct range range = { .advice = advices[rnd(rng, ARRAY_SIZE(advices))] };
	unsigned long from, len;
	long ret;

	if (!slot)
		return SKIPPED;
	some_pages(rng, slot, &from, &len);
	range.at = slot->addr + from;
	range.len = len;
	ret = advise(&range);
	slot_drop(slot);
	return ret;
}

/* Root may say itself that its memory is bad. */
static long op_hwpoison(struct rng *rng)
{
	struct range range = {
		.len = HP_BASE, .advice = rnd(rng, 4) ? MADV_HWPOISON : MADV_SOFT_OFFLINE,
	};
	struct slot *slot;
	unsigned long words[WORDS];
	unsigned long pfn;
	long ret = -EFAULT;

	if (!me.root)
		return SKIPPED;
	slot = slot_take(rng, false, true);
	if (!slot)
		return SKIPPED;
	range.at = slot_page(slot, rnd(rng, slot->nr), fz->doomed_list[rnd(rng, DOOMED)]);
	if (touch_read(range.at, words) == FINE) {
		pfn = hp_pfn(range.at);
		if (pfn != HP_NO_PFN)
			keep_error(pfn);
		ret = touch_call(advise, &range);
	}
	slot_drop(slot);
	return ret;
}

/* Write a lost page anew, and look at it. */
static long op_refill(struct rng *rng)
{
	struct slot *slot = slot_take(rng, true, true);
	unsigned int hugepage, watched;
	unsigned long words[WORDS];
	long ret = SKIPPED;

	if (!slot)
		return SKIPPED;
	hugepage = rnd(rng, slot->nr);
	watched = fz->doomed_list[rnd(rng, DOOMED)];
	if (touch_read(slot_page(slot, hugepage, watched), words) == LOST) {
		ret = refill_page(slot, hugepage, watched);
		check_page(slot, hugepage, watched);
	}
	slot_drop(slot);
	return ret;
}

/*
 * Advice about another process's memory: what is at the same addresses there. Only root
 * may give it, others their own process. Stock refuses all but MADV_WILLNEED for
 * hugepages that are not narrowed, and that where a part of the range is not mapped.
 */
static long op_process_madvise(struct rng *rng)
{
	static const int advices[] = { MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE };
	struct slot *slot = &me.slot[rnd(rng, SLOTS)];
	struct iovec part = { slot->window, HP_2M * (1 + rnd(rng, NR_MOST)) };
	pid_t pid = me.root ? fz->lane[rnd(rng, opt.processes * opt.threads)].pid : getpid();
	int fd = pid ? syscall(SYS_pidfd_open, pid, 0) : -1;
	long ret;

	if (fd < 0)
		return pid ? -errno : SKIPPED;
	ret = syscall(SYS_process_madvise, fd, &part, 1, advices[rnd(rng, 4)], 0) < 0 ?
	      -errno : 0;
	close(fd);
	return ret;
}

static long op_mincore(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	unsigned char seen[NR_MOST * 512];
	long ret;

	if (!slot)
		return SKIPPED;
	ret = mincore(slot->addr, slot->nr * HP_2M, seen) ? -errno : 0;
	slot_drop(slot);
	return ret;
}

static long op_msync(struct rng *rng)
{
	struct slot *slot = slot_take(rng, false, true);
	long ret;

	if (!slot)
		return SKIPPED;
	ret = msync(slot->addr, slot_len(slot), rnd(rng, 2) ? MS_SYNC : MS_ASYNC) ? -errno : 0;
	slot_drop(slot);
	return ret;
}

const struct op ops_mem[] = {
	{ "dontneed", 30, op_dontneed },
	{ "remove", 15, op_remove },
	{ "advise", 40, op_advise },
	{ "hwpoison", 5, op_hwpoison },
	{ "refill", 20, op_refill },
	{ "process-madvise", 6, op_process_madvise },
	{ "mincore", 5, op_mincore },
	{ "msync", 5, op_msync },
	{ }
};
