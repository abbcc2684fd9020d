/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hostile processes' operations, for hostile.c, which measures their harm.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>

#include "hp.h"
#include "hp_fuse.h"

#define MAX_PROCESSES	1024
#define NR_THEIRS	4	/* hugepages that they have, each with a raw page */
#define RAW_PAGE	5UL	/* which page of it that is */

/* Shared by all processes. */
struct board {
	unsigned int stage;	/* see enum stage; a futex */
	unsigned int ready;	/* hostile processes that wait for STAGE_ATTACK */
	unsigned long beat;	/* of the measuring process */
	unsigned long rounds[MAX_PROCESSES];
};

enum stage {
	STAGE_BEGIN,
	STAGE_PREPARED,		/* the leader has set up the shared objects */
	STAGE_POISONED,		/* each of their hugepages has a raw page */
	STAGE_ATTACK,
	STAGE_FAILED,
};

/* Memory that the hostile processes share. */
struct hostile {
	struct board *board;
	struct hp_map theirs;
	struct hp_fuse fuse;
	int file;		/* not hugetlb; for futexes, pipes and the like */
};

struct kind {
	const char *name;
	const char *what;
	/* by their leader, before the errors; 0 or -errno */
	int (*prepare)(struct hostile *h);
	/* by each, before it waits; 0 or -errno */
	int (*begin)(struct hostile *h, unsigned int i);
	/* by each, again and again */
	void (*attack)(struct hostile *h, unsigned int i, unsigned long round);
	/* the narrow worker has to get past them */
	bool worker;
};

extern const struct kind kinds[];
extern const unsigned int nr_kinds;

#endif /* HOSTILE_H */
