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

enum request_state {
	REQUEST_FREE,
	REQUEST_TAKEN,		/* the process writes it */
	REQUEST_ASKED,		/* the process waits */
	REQUEST_FILLED,
	REQUEST_REFUSED,
};

/*
 * @state is a futex. The process frees its request itself, also when it has waited too long:
 * the worker only ever goes from ASKED to FILLED or REFUSED.
 */
struct request {
	atomic_uint state;
	atomic_int pid;
	atomic_bool modifies;	/* it may have changed a buffer that is not marked dirty */
	atomic_uintptr_t page;
};

struct requests {
	struct request request[MAX_REQUESTS];
};

/* Milliseconds of a clock that only goes on. */
int64_t request_now(void);

/*
 * Ask for a page, wake the worker by @wake, and wait for it, @timeout milliseconds at most.
 * May be called in a signal handler. Returns whether the page is filled; if not, @refused says
 * whether the worker said so.
 */
bool request_page(struct requests *requests, uintptr_t page, bool modifies, int64_t timeout,
		  void (*wake)(void), bool *refused);

/* Answer all that wait for a page. Returns how many do. */
int answer_requests(struct requests *requests, uintptr_t page, bool filled);

/* How many wait for a page, and whether one of them modifies. */
int count_requests(struct requests *requests, uintptr_t page, bool *modifies);

#endif /* PG_HUGEPOISON_REQUESTS_H */
