// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests of processes that ran into a lost page, see requests.h.
 *
 * A process calls request_page() in a signal handler: atomic variables and system calls
 * only. A process that is killed while it waits leaves its request; the server starts anew
 * then, with a new table.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "requests.h"

#define LOOK_AGAIN	100	/* ms: the longest sleep */

/* Between processes, so not private. */
static long futex(atomic_uint *word, int op, unsigned int value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

int64_t request_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static struct request *take(struct requests *requests)
{
	for (int i = 0; i < MAX_REQUESTS; i++) {
		unsigned int state = REQUEST_FREE;

		if (atomic_compare_exchange_strong(&requests->request[i].state, &state,
						   REQUEST_TAKEN))
			return &requests->request[i];
	}
	return NULL;
}

static struct request *take_until(struct requests *requests, int64_t end)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct request *request;

	while (!(request = take(requests)) && request_now() < end)
		nanosleep(&moment, NULL);
	return request;
}

bool request_page(struct requests *requests, uintptr_t page, bool modifies, int64_t timeout,
		  void (*wake)(void), bool *refused)
{
	const struct timespec moment = { .tv_nsec = LOOK_AGAIN * 1000000 };
	int64_t end = request_now() + timeout;
	struct request *request = take_until(requests, end);
	unsigned int state;

	*refused = false;
	if (!request)
		return false;
	request->pid = getpid();
	request->modifies = modifies;
	request->page = page;
	request->state = REQUEST_ASKED;
	/* the worker may be a new one by now: it is woken again */
	do {
		wake();
		futex(&request->state, FUTEX_WAIT, REQUEST_ASKED, &moment);
		state = request->state;
	} while (state == REQUEST_ASKED && request_now() < end);
	state = atomic_exchange(&request->state, REQUEST_FREE);
	*refused = state == REQUEST_REFUSED;
	return state == REQUEST_FILLED;
}

int answer_requests(struct requests *requests, uintptr_t page, bool filled)
{
	int count = 0;

	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &requests->request[i];
		unsigned int state = REQUEST_ASKED;

		if (request->state != REQUEST_ASKED || request->page != page)
			continue;
		if (!atomic_compare_exchange_strong(&request->state, &state,
						    filled ? REQUEST_FILLED : REQUEST_REFUSED))
			continue;
		futex(&request->state, FUTEX_WAKE, 1, NULL);
		count++;
	}
	return count;
}

int count_requests(struct requests *requests, uintptr_t page, bool *modifies)
{
	int count = 0;

	*modifies = false;
	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &requests->request[i];

		if (request->state != REQUEST_ASKED || request->page != page)
			continue;
		*modifies |= request->modifies;
		count++;
	}
	return count;
}
