// SPDX-License-Identifier: GPL-2.0-only
/* Operations: files of hugepages. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "fuzz.h"

struct hole {
	int fd, mode;
	unsigned long from, len;
};

/* A shared thing with a file, or -1. */
static int some_file(struct rng *rng)
{
	unsigned int from = rnd(rng, OBJECTS);

	for (int i = 0; i < OBJECTS; i++) {
		int id = (from + i) % OBJECTS;

		if (fz->thing[id].fd >= 0)
			return id;
	}
	return -1;
}

static int allocate(void *arg)
{
	struct hole *hole = arg;

	return fallocate(hole->fd, hole->mode, hole->from, hole->len) ? -errno : 0;
}

static int truncate_file(void *arg)
{
	struct hole *hole = arg;

	return ftruncate(hole->fd, hole->from) ? -errno : 0;
}

static void some_hole(struct rng *rng, const struct thing *thing, struct hole *hole)
{
	unsigned long all = thing->nr * thing->size;

	switch (rnd(rng, 3)) {
	case 0:
		hole->from = rnd(rng, thing->nr) * thing->size;
		hole->len = thing->size;
		break;
	case 1:
		hole->from = rnd(rng, all / HP_BASE) * HP_BASE;
		hole->len = (1 + rnd(rng, 1024)) * HP_BASE;
		break;
	default:
		hole->from = rnd(rng, thing->nr) * thing->size +
			watched_page(thing->size, fz->doomed_list[rnd(rng, DOOMED)]) * HP_BASE;
		hole->len = HP_BASE;
	}
	if (hole->from + hole->len > all)
		hole->len = all - hole->from;
}

static long op_punch(struct rng *rng)
{
	int id = some_file(rng);
	struct hole hole = { .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };
	struct thing *thing;

	if (id < 0)
		return SKIPPED;
	thing = &fz->thing[id];
	some_hole(rng, thing, &hole);
	hole.fd = thing->fd;
	return discard(id, thing->model, hole.from, hole.from + hole.len, ZERO, allocate, &hole);
}

static long op_fallocate(struct rng *rng)
{
	int id = some_file(rng);
	struct hole hole = { .mode = rnd(rng, 2) ? FALLOC_FL_KEEP_SIZE : 0 };

	if (id < 0)
		return SKIPPED;
	some_hole(rng, &fz->thing[id], &hole);
	hole.fd = fz->thing[id].fd;
	return allocate(&hole);
}

/* Shorter, then as long as before. */
static long op_truncate(struct rng *rng)
{
	int id = some_file(rng);
	struct thing *thing = &fz->thing[id];
	unsigned long all;
	struct hole hole;
	long ret;

	if (id < 0)
		return SKIPPED;
	all = thing->nr * thing->size;
	hole.fd = thing->fd;
	hole.from = rnd(rng, thing->nr) * thing->size;
	ret = discard(id, thing->model, hole.from, all, ZERO, truncate_file, &hole);
	if (ftruncate(thing->fd, all))
		return -errno;
	return ret;
}

static long op_pread(struct rng *rng)
{
	int id = some_file(rng);
	char buffer[16 * HP_BASE];
	ssize_t ret;

	if (id < 0)
		return SKIPPED;
	ret = pread(fz->thing[id].fd, buffer, 1 + rnd(rng, sizeof(buffer)),
		    rnd(rng, fz->thing[id].nr * fz->thing[id].size));
	return ret < 0 ? -errno : 0;
}

/* Always refused: hugetlbfs has no write(). It must stay so after an error. */
static long op_pwrite(struct rng *rng)
{
	int id = some_file(rng);
	char byte = 0;

	if (id < 0)
		return SKIPPED;
	return pwrite(fz->thing[id].fd, &byte, 1, rnd(rng, HP_2M)) < 0 ? -errno : 0;
}

/* Always refused: hugetlbfs has no splice_read(). It must stay so after an error. */
static long op_splice_file(struct rng *rng)
{
	int id = some_file(rng), pipes[2];
	off_t at;
	ssize_t ret;

	if (id < 0)
		return SKIPPED;
	if (pipe2(pipes, O_NONBLOCK | O_CLOEXEC))
		return -errno;
	at = rnd(rng, fz->thing[id].nr * fz->thing[id].size / HP_BASE) * HP_BASE;
	ret = splice(fz->thing[id].fd, &at, pipes[1], NULL, 8 * HP_BASE, SPLICE_F_NONBLOCK);
	ret = ret < 0 ? -errno : 0;
	close(pipes[0]);
	close(pipes[1]);
	return ret;
}

const struct op ops_file[] = {
	{ "punch", 30, op_punch },
	{ "fallocate", 15, op_fallocate },
	{ "truncate", 10, op_truncate },
	{ "pread", 20, op_pread },
	{ "pwrite", 2, op_pwrite },
	{ "splice-file", 5, op_splice_file },
	{ }
};
