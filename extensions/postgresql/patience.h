/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long the worker tries to repair a page before it refuses it to the processes that wait.
 * Times are microseconds of any clock; 0 is never. It knows nothing of PostgreSQL.
 */
#ifndef PG_HUGEPOISON_PATIENCE_H
#define PG_HUGEPOISON_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define LOCKED_LONG	200000		/* for the lock of a header */
#define MAX_MARGIN	500000		/* between a refusal and the end of a wait */

struct patience {
	int64_t waiting;		/* since when a process waits */
	int64_t locked;			/* since when it has, and each try found a header locked */
};

/* Before a try: whether a process waits. */
static inline void note_waiting(struct patience *patience, int64_t now, bool waiting)
{
	if (!waiting)
		*patience = (struct patience){ 0 };
	else if (!patience->waiting)
		patience->waiting = now;
}

/* After it: whether a header was locked. */
static inline void note_locked(struct patience *patience, int64_t now, bool locked)
{
	if (!locked || !patience->waiting)
		patience->locked = 0;
	else if (!patience->locked)
		patience->locked = now;
}

/* Whether it must be a process that waits that has locked the header. */
static inline bool is_locked_long(const struct patience *patience, int64_t now)
{
	return patience->locked && now - patience->locked > LOCKED_LONG;
}

/* Whether the first process is about to give up, when each waits for @limit. */
static inline bool is_late(const struct patience *patience, int64_t now, int64_t limit)
{
	int64_t margin = limit / 4 < MAX_MARGIN ? limit / 4 : MAX_MARGIN;

	return patience->waiting && now - patience->waiting >= limit - margin;
}

#endif /* PG_HUGEPOISON_PATIENCE_H */
