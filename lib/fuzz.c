// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Random calls of libhugepoison, and a model that says what each must return. A file takes
 * the place of /proc/hugepoison/own, as in test.c; the bytes of the input are the calls, and
 * the contents of the list.
 *
 * clang links libFuzzer's main(). Without it (NO_FUZZER) the program makes its own bytes:
 *	fuzz-random [SEED [ROUNDS]]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hugepoison.h"

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#define BUS_MCEERR_AO	5
#endif

#define PAGES		64
#define RANGES		8

/* Registered ranges. */
static struct range {
	atomic_bool live;
	unsigned int begin, len;	/* in pages */
} ranges[RANGES];

static char *memory;
static atomic_ulong refused;		/* a bit for each page */
static atomic_int passed_on;

static const uint8_t *input;
static size_t left;

static unsigned int next_byte(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

#define must(condition)							\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "fuzz.c:%d: not so: %s\n",	\
				__LINE__, #condition);			\
			abort();					\
		}							\
	} while (0)

static struct range *range_of(unsigned int page)
{
	for (int i = 0; i < RANGES; i++)
		if (ranges[i].live && page - ranges[i].begin < ranges[i].len)
			return &ranges[i];
	return NULL;
}

static char *at(unsigned int page)
{
	return memory + (size_t)page * HUGEPOISON_PAGE;
}

/* The library's thread: for a page of a range that is registered, and with its argument. */
static int fill(void *page, void *address, void *arg)
{
	unsigned int nr = ((char *)address - memory) / HUGEPOISON_PAGE;
	struct range *range = arg;

	must(address == at(nr) && nr < PAGES);
	must(range->live && nr - range->begin < range->len);
	memset(page, (int)nr + 1, HUGEPOISON_PAGE);
	return refused >> nr & 1;
}

static bool is_filled(unsigned int page)
{
	int fd = open(HUGEPOISON_OWN, O_RDONLY | O_CLOEXEC);
	char is[HUGEPOISON_PAGE], wanted[HUGEPOISON_PAGE];
	ssize_t len = pread(fd, is, sizeof(is), (off_t)(uintptr_t)at(page));

	close(fd);
	memset(wanted, (int)page + 1, sizeof(wanted));
	return len == sizeof(is) && !memcmp(is, wanted, sizeof(is));
}

static void on_other(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	passed_on++;
}

static void hit(int code, const char *address)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = code, .si_addr = (void *)address };

	must(!syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS, &info));
}

/* --- calls ------------------------------------------------------------------------- */

static void do_register(void)
{
	unsigned int begin = next_byte() % PAGES, len = next_byte() % 20, shift = next_byte();
	struct range *range = NULL;
	bool overlaps = false;
	int ret;

	if (begin + len > PAGES)
		len = PAGES - begin;
	for (int i = 0; i < RANGES; i++) {
		if (!ranges[i].live)
			range = &ranges[i];
		else if (begin < ranges[i].begin + ranges[i].len && ranges[i].begin < begin + len)
			overlaps = true;
	}
	if (!range)
		return;
	if (shift > 250) {
		must(hugepoison_register(at(begin) + shift, HUGEPOISON_PAGE, fill, range) == -EINVAL);
		must(hugepoison_register(at(begin), shift, fill, range) == -EINVAL);
		must(hugepoison_register(at(begin), -(size_t)HUGEPOISON_PAGE, fill, range) == -EINVAL);
		must(hugepoison_register(at(begin), HUGEPOISON_PAGE, NULL, range) == -EINVAL);
	}
	if (len && !overlaps) {
		range->begin = begin;
		range->len = len;
		range->live = true;
	}
	ret = hugepoison_register(at(begin), (size_t)len * HUGEPOISON_PAGE, fill, range);
	must(ret == (!len ? -EINVAL : overlaps ? -EEXIST : 0));
}

static void do_unregister(void)
{
	unsigned int page = next_byte() % PAGES;
	struct range *range = range_of(page);
	bool begins = range && range->begin == page;

	must(hugepoison_unregister(at(page)) == (begins ? 0 : -ENOENT));
	/* the function is not called any more */
	if (begins)
		range->live = false;
}

/* A thread runs into a page. */
static void do_touch(void)
{
	unsigned int page = next_byte() % (PAGES + 2);
	bool passes = !range_of(page) || refused >> page & 1;
	struct hugepoison_stats before, after;
	int was = passed_on;

	hugepoison_get_stats(&before);
	hit(BUS_MCEERR_AR, at(page) + next_byte());
	hugepoison_get_stats(&after);
	must(passed_on == was + passes);
	must(passes || is_filled(page));
	must(after.touched == before.touched + !!range_of(page));
	must(after.failed == before.failed && after.timed_out == before.timed_out);
}

static void do_early(void)
{
	hit(BUS_MCEERR_AO, at(next_byte() % (PAGES + 2)));
}

static void do_other(void)
{
	int was = passed_on;

	hit(BUS_ADRERR, at(next_byte() % PAGES));
	must(passed_on == was + 1);
}

static void do_refuse(void)
{
	refused ^= 1UL << next_byte() % PAGES;
}

/*
 * Wait until the filler has done what was reported early: it goes through its requests in a
 * row, so the second one that waits is in a later pass than all that came before.
 */
static void settle(void)
{
	for (int i = 0; i < RANGES; i++) {
		if (!ranges[i].live)
			continue;
		hit(BUS_MCEERR_AR, at(ranges[i].begin));
		hit(BUS_MCEERR_AR, at(ranges[i].begin));
		return;
	}
}

/* The list is any bytes, or lines as of the kernel. Returns how many lines those are. */
static long write_list(bool lines)
{
	int fd = open(HUGEPOISON_OWN, O_WRONLY | O_TRUNC | O_CLOEXEC);
	unsigned int nr = next_byte() % 40;
	char any[300];

	settle();
	must(!ftruncate(fd, 0));
	if (lines) {
		dprintf(fd, "address kB state\n");
		for (unsigned int i = 0; i < nr; i++) {
			char *begin = at(next_byte() % PAGES);

			dprintf(fd, "%lx-%lx 4 narrowed\n", (unsigned long)begin,
				(unsigned long)begin + HUGEPOISON_PAGE);
		}
	} else {
		for (nr = 0; left && nr < sizeof(any); nr++)
			any[nr] = (char)next_byte();
		must(write(fd, any, nr) == (ssize_t)nr);
		nr = -1;
	}
	close(fd);
	return (int)nr;
}

static void do_list(void)
{
	long nr = write_list(next_byte() % 2), found;
	unsigned int max = next_byte() % 50;
	struct hugepoison_lost *lost = malloc(max * sizeof(*lost) + 1);

	found = hugepoison_list(lost, max);
	must(nr < 0 ? found >= 0 && found <= 300 : found == nr);
	for (long i = 0; i < nr && i < max; i++)
		must(lost[i].len == HUGEPOISON_PAGE);
	free(lost);
}

static void do_repair(void)
{
	unsigned int page = next_byte() % PAGES, len = next_byte() % 20;
	long nr = write_list(next_byte() % 2), filled;

	filled = hugepoison_repair(at(page) + next_byte(), (size_t)len * HUGEPOISON_PAGE);
	must(filled == -ESRCH || (filled >= 0 && filled <= (nr < 0 ? 300 : nr)));
}

static void one_call(void)
{
	static void (*const calls[])(void) = {
		do_register, do_register, do_unregister, do_touch, do_touch, do_touch,
		do_early, do_early, do_other, do_refuse, do_list, do_repair,
	};

	calls[next_byte() % (sizeof(calls) / sizeof(*calls))]();
}

static void forget(void)
{
	unlink(HUGEPOISON_OWN);
}

static void setup(void)
{
	struct sigaction other = { .sa_sigaction = on_other, .sa_flags = SA_SIGINFO };

	if (memory)
		return;
	forget();
	atexit(forget);
	sigaction(SIGBUS, &other, NULL);
	memory = mmap(NULL, (PAGES + 2) * HUGEPOISON_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(memory != MAP_FAILED);
	close(open(HUGEPOISON_OWN, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	/* before that the handler is not there */
	must(!hugepoison_register(memory, HUGEPOISON_PAGE, fill, &ranges[0]));
	must(!hugepoison_unregister(memory));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	setup();
	input = data;
	left = size;
	while (left)
		one_call();
	for (int i = 0; i < RANGES; i++) {
		if (ranges[i].live)
			must(!hugepoison_unregister(at(ranges[i].begin)));
		ranges[i].live = false;
	}
	refused = 0;
	return 0;
}

#ifdef NO_FUZZER
int main(int argc, char **argv)
{
	unsigned int seed = argc > 1 ? atoi(argv[1]) : 1, rounds = argc > 2 ? atoi(argv[2]) : 300;
	uint8_t bytes[400];

	for (unsigned int i = 0; i < rounds; i++) {
		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (uint8_t)(rand_r(&seed) >> 7);
		LLVMFuzzerTestOneInput(bytes, sizeof(bytes));
	}
	printf("ok 1 - %u rounds of random calls\n1..1\n", rounds);
	return 0;
}
#endif
