/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes that ran into a lost page, and wait in their SIGBUS handler until the worker has
 * filled it: a table in shared memory. It knows nothing of PostgreSQL.
 */
#ifndef PG_HUGEPOISON_REQUESTS_H
#define PG_HUGEPOISON_REQUESTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MAX_REQUESTS	1024
#define NO_WORKER	2000	/* ms: nobody waits longer for a worker that is not there */

enum request_state {
	REQUEST_FREE,
	REQUEST_TAKEN,		/* the process writes it */
	REQUEST_ASKED,		/* the process waits */
	REQUEST_FILLED,
	REQUEST_REFUSED,
};

/*
 * @word is a futex: an enum request_state, and above it a number that each process which takes
 * the request increments. So an answer for one process never gets to the next one. The process
 * frees its request itself, also when it has waited too long: the worker only ever goes from
 * ASKED to FILLED or REFUSED, and frees what a process that is dead has left.
 */
#define REQUEST_BITS	3

struct request {
	atomic_uint word;
	atomic_int pid;
	atomic_bool modifies;	/* it may have changed a buffer that is not marked dirty */
	atomic_uintptr_t page;
};

struct requests {
	struct request request[MAX_REQUESTS];
};

static inline enum request_state request_state(unsigned int word)
{
	return word & ((1U << REQUEST_BITS) - 1);
}

/* Milliseconds of a clock that only goes on. */
int64_t request_now(void);

/*
 * Ask for a page, wake the worker by @wake, and wait for it, @timeout milliseconds at most.
 * @wake says whether there is a worker. May be called in a signal handler. Returns whether the
 * page is filled; if not, @refused says whether the worker said so.
 */
bool request_page(struct requests *requests, uintptr_t page, bool modifies, int64_t timeout,
		  bool (*wake)(void), bool *refused);

/* Answer all that wait for a page. Returns how many do. */
int answer_requests(struct requests *requests, uintptr_t page, bool filled);

/* How many wait for a page, and whether one of them modifies. */
int count_requests(struct requests *requests, uintptr_t page, bool *modifies);

/* Free what processes that are dead have left. Returns how many. */
int free_requests_of_dead(struct requests *requests);

#endif /* PG_HUGEPOISON_REQUESTS_H */
