// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests of processes that ran into a lost page, see requests.h.
 *
 * A process calls request_page() in a signal handler: atomic variables and system calls
 * only. A process that is killed while it waits leaves its request: the worker frees it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
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

/* A word with another state, and the same number. */
static unsigned int with(unsigned int word, enum request_state state)
{
	return word >> REQUEST_BITS << REQUEST_BITS | state;
}

static struct request *take(struct requests *requests)
{
	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &requests->request[i];
		unsigned int word = request->word;
		unsigned int next = word + (1U << REQUEST_BITS);

		if (request_state(word) == REQUEST_FREE &&
		    atomic_compare_exchange_strong(&request->word, &word, with(next, REQUEST_TAKEN)))
			return request;
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

/*
 * Wait until the worker answers, until @end, or until there has been no worker for too long.
 * The worker may be a new one by now: it is woken again and again.
 */
static void await_answer(struct request *request, int64_t end, bool (*wake)(void))
{
	const struct timespec moment = { .tv_nsec = LOOK_AGAIN * 1000000 };
	unsigned int asked = request->word;
	int64_t now = request_now(), there = now;

	while (request->word == asked && now < end && now - there < NO_WORKER) {
		if (wake())
			there = now;
		futex(&request->word, FUTEX_WAIT, asked, &moment);
		now = request_now();
	}
}

bool request_page(struct requests *requests, uintptr_t page, bool modifies, int64_t timeout,
		  bool (*wake)(void), bool *refused)
{
	int64_t end = request_now() + timeout;
	struct request *request = take_until(requests, end);
	enum request_state state;

	*refused = false;
	if (!request)
		return false;
	request->pid = getpid();
	request->modifies = modifies;
	request->page = page;
	request->word = with(request->word, REQUEST_ASKED);
	await_answer(request, end, wake);
	state = request_state(atomic_exchange(&request->word, with(request->word, REQUEST_FREE)));
	*refused = state == REQUEST_REFUSED;
	return state == REQUEST_FILLED;
}

/* The page is read after the word: if the process has gone meanwhile, so has the word. */
static bool asks_for(const struct request *request, unsigned int word, uintptr_t page)
{
	return request_state(word) == REQUEST_ASKED && request->page == page;
}

int answer_requests(struct requests *requests, uintptr_t page, bool filled)
{
	int count = 0;

	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &requests->request[i];
		unsigned int word = request->word;
		unsigned int answer = with(word, filled ? REQUEST_FILLED : REQUEST_REFUSED);

		if (!asks_for(request, word, page) ||
		    !atomic_compare_exchange_strong(&request->word, &word, answer))
			continue;
		futex(&request->word, FUTEX_WAKE, 1, NULL);
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

		if (!asks_for(request, request->word, page))
			continue;
		*modifies |= request->modifies;
		count++;
	}
	return count;
}

/*
 * A request that is only TAKEN has the process of the last one yet. One that dies just then
 * is not found.
 */
int free_requests_of_dead(struct requests *requests)
{
	int count = 0;

	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &requests->request[i];
		unsigned int word = request->word;

		if (request_state(word) <= REQUEST_TAKEN || !kill(request->pid, 0) || errno != ESRCH)
			continue;
		count += atomic_compare_exchange_strong(&request->word, &word,
							with(word, REQUEST_FREE));
	}
	return count;
}
