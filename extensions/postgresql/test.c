// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the parts that need no server: the geometry of pages and buffers, by comparison
 * with a walk over single bytes, patience, and requests, by processes that share memory.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "geometry.h"
#include "patience.h"
#include "requests.h"

#define WAITERS	20

static int tests, failed;
static struct requests *requests;
static const uintptr_t page = 0x7f0000001000, other = 0x7f0000002000;

static void check(bool ok, const char *what)
{
	printf("%s %d - %s\n", ok ? "ok" : "not ok", ++tests, what);
	failed += !ok;
}

/* --- geometry ------------------------------------------------------------------ */

/* Whether the parts of a raw page are what each of its bytes says. */
static bool bytes_fit(const struct buffers *b, uintptr_t at)
{
	uintptr_t end = b->begin + b->count * b->size;
	size_t sum = 0;

	for (uintptr_t byte = at; byte < at + RAW_PAGE; byte++) {
		int buffer;
		struct part part;

		if (byte < b->begin || byte >= end)
			return !in_buffers(b, at);
		if (!in_buffers(b, at))
			continue;
		buffer = (byte - b->begin) / b->size;
		part = part_of(b, at, buffer);
		if (buffer < first_buffer(b, at) || buffer > last_buffer(b, at) ||
		    byte - at < part.in_page || byte - at >= part.in_page + part.len ||
		    byte - b->begin - buffer * b->size - part.in_block != byte - at - part.in_page)
			return false;
	}
	if (!in_buffers(b, at))
		return true;
	for (int i = first_buffer(b, at); i <= last_buffer(b, at); i++)
		sum += part_of(b, at, i).len;
	return sum == RAW_PAGE;
}

static bool touch_fits(const struct buffers *b, uintptr_t at)
{
	uintptr_t end = b->begin + b->count * b->size;
	bool any = false;

	for (uintptr_t byte = at; byte < at + RAW_PAGE; byte++)
		any |= byte >= b->begin && byte < end;
	return touches_buffers(b, at) == any;
}

static void test_geometry(void)
{
	static const size_t sizes[] = { 1024, 2048, 4096, 8192, 16384, 32768 };
	static const size_t shifts[] = { 0, 8, 128, 1280, 2944, 3968, 4088 };
	bool parts = true, touch = true;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		for (size_t i = 0; i < sizeof(shifts) / sizeof(*shifts); i++) {
			struct buffers b = { 0x7f0000100000 + shifts[i], sizes[s], 17 };
			uintptr_t end = b.begin + b.count * b.size + 2 * RAW_PAGE;

			for (uintptr_t at = 0x7f00000ff000; at < end; at += RAW_PAGE) {
				parts &= bytes_fit(&b, at);
				touch &= touch_fits(&b, at);
			}
		}
	}
	check(parts, "each byte of a raw page is in the part that it is in");
	check(touch, "the first and the last page of the buffers are known");
}

static void test_example(void)
{
	/* as PostgreSQL 15 has it: buffers begin 1280 bytes into a page */
	struct buffers b = { 0x7f0000000500, 8192, 16 };
	struct part first = part_of(&b, 0x7f0000002000, 0);
	struct part second = part_of(&b, 0x7f0000002000, 1);

	check(first_buffer(&b, 0x7f0000002000) == 0 && last_buffer(&b, 0x7f0000002000) == 1,
	      "a raw page has parts of two buffers");
	check(first.in_block == 6912 && first.in_page == 0 && first.len == 1280 &&
	      second.in_block == 0 && second.in_page == 1280 && second.len == 2816,
	      "the end of one, and the begin of the next");
}

/* --- requests ------------------------------------------------------------------ */

static bool no_wake(void)
{
	return true;
}

static bool no_worker(void)
{
	return false;
}

/* Exit status of a process that asks: 0 filled, 1 refused, 2 neither. */
static pid_t ask_by(bool (*wake)(void), uintptr_t at, bool modifies, int timeout)
{
	bool refused, filled;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	filled = request_page(requests, at, modifies, timeout, wake, &refused);
	_exit(filled ? 0 : refused ? 1 : 2);
}

static pid_t ask(uintptr_t at, bool modifies, int timeout)
{
	return ask_by(no_wake, at, modifies, timeout);
}

static int end_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Wait until so many wait for a page. */
static bool await(uintptr_t at, int count, bool modifies)
{
	bool found;

	for (int i = 0; i < 5000; i++) {
		if (count_requests(requests, at, &found) == count && found == modifies)
			return true;
		usleep(1000);
	}
	return false;
}

static bool all_free(void)
{
	for (int i = 0; i < MAX_REQUESTS; i++)
		if (request_state(requests->request[i].word) != REQUEST_FREE)
			return false;
	return true;
}

static void test_answers(void)
{
	pid_t pid[WAITERS], apart;
	bool well = true;

	for (int i = 0; i < WAITERS; i++)
		pid[i] = ask(page, false, 60000);
	apart = ask(other, true, 60000);
	check(await(page, WAITERS, false) && await(other, 1, true),
	      "who waits for which page, and who modifies");
	check(answer_requests(requests, page, true) == WAITERS,
	      "all processes that wait for a page have an answer");
	for (int i = 0; i < WAITERS; i++)
		well &= end_of(pid[i]) == 0;
	check(well, "their page is filled");
	check(answer_requests(requests, other, false) == 1 && end_of(apart) == 1,
	      "another page is refused");
	check(all_free() && !answer_requests(requests, page, true), "nobody is left");
}

static void test_end(void)
{
	int64_t begin = request_now();

	check(end_of(ask(page, false, 250)) == 2 && request_now() - begin >= 250 && all_free(),
	      "nobody waits for ever");
	begin = request_now();
	check(end_of(ask_by(no_worker, page, false, 60000)) == 2 &&
	      request_now() - begin >= NO_WORKER && request_now() - begin < 30000 && all_free(),
	      "nor for a worker that is not there");
}

/* The next process uses the first request again: an answer for the first one must not reach it. */
static void test_next(void)
{
	unsigned int word;
	pid_t pid = ask(page, false, 60000);
	bool well = await(page, 1, false);

	word = requests->request[0].word;
	answer_requests(requests, page, true);
	well &= !end_of(pid);
	pid = ask(other, false, 60000);
	well &= await(other, 1, false) && request_state(word) == REQUEST_ASKED &&
		request_state(requests->request[0].word) == REQUEST_ASKED;
	check(well && requests->request[0].word != word, "a request that is used again is another one");
	answer_requests(requests, other, true);
	end_of(pid);
}

static void test_dead(void)
{
	pid_t dead = ask(page, true, 60000), alive = ask(other, false, 60000);
	bool well = await(page, 1, true) && await(other, 1, false);

	well &= !free_requests_of_dead(requests);
	kill(dead, SIGKILL);
	end_of(dead);
	check(well && free_requests_of_dead(requests) == 1 && await(page, 0, false) &&
	      await(other, 1, false), "what a process that was killed has left is freed");
	answer_requests(requests, other, true);
	check(!end_of(alive) && all_free(), "and nothing else");
}

/* --- patience ------------------------------------------------------------------ */

static void test_patience(void)
{
	const int64_t s = 1000000, limit = 10 * s;
	struct patience patience = { 0 };

	note_waiting(&patience, 100 * s, false);
	check(!is_late(&patience, 900 * s, limit), "a page that nobody waits for is never too late");
	note_waiting(&patience, 900 * s, true);
	note_waiting(&patience, 905 * s, true);
	check(!is_late(&patience, 900 * s, limit) && !is_late(&patience, 909 * s, limit) &&
	      is_late(&patience, 909 * s + s / 2, limit),
	      "a process that comes late has all of its time, but for a moment");
	check(!is_late(&patience, 900 * s + 74999, 100000) && is_late(&patience, 900 * s + 75000, 100000),
	      "the moment is short for a short wait");
	note_waiting(&patience, 906 * s, false);
	note_waiting(&patience, 907 * s, true);
	check(!is_late(&patience, 910 * s, limit), "the next process has its own time");
}

static void test_locked(void)
{
	const int64_t s = 1000000;
	struct patience patience = { 0 };

	note_locked(&patience, s, true);
	check(!is_locked_long(&patience, 9 * s), "a header may be locked while nobody waits");
	note_waiting(&patience, 9 * s, true);
	note_locked(&patience, 9 * s, false);
	note_locked(&patience, 12 * s, true);
	check(!is_locked_long(&patience, 12 * s + LOCKED_LONG) &&
	      is_locked_long(&patience, 12 * s + LOCKED_LONG + 1),
	      "its time counts from when it was found locked, not from when a process waits");
	note_locked(&patience, 13 * s, false);
	note_locked(&patience, 14 * s, true);
	check(!is_locked_long(&patience, 14 * s + 1), "and from the last time that it was not");
}

static void test_full(void)
{
	pid_t pid;

	for (int i = 0; i < MAX_REQUESTS; i++)
		requests->request[i].word = REQUEST_TAKEN;
	check(end_of(ask(page, false, 50)) == 2, "a table without room is no trap");
	pid = ask(page, false, 60000);
	usleep(20000);
	requests->request[7].word = REQUEST_FREE;
	check(await(page, 1, false) && answer_requests(requests, page, true) == 1 && !end_of(pid),
	      "the next place that is free is taken");
	for (int i = 0; i < MAX_REQUESTS; i++)
		requests->request[i].word = REQUEST_FREE;
}

int main(void)
{
	requests = mmap(NULL, sizeof(*requests), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (requests == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	test_geometry();
	test_example();
	test_answers();
	test_end();
	test_next();
	test_dead();
	test_full();
	test_patience();
	test_locked();
	printf("1..%d\n", tests);
	return !!failed;
}
