// SPDX-License-Identifier: GPL-2.0-only
/*
 * rowstore lives through memory errors: the first process fills lost pages, by libhugepoison.
 *
 * The library's thread hears of an error before anybody touches the page, as a rule. A worker
 * that touches the page first waits in its handler of SIGBUS until the page is filled; then its
 * access happens again. The handler also asks for the page, as a signal can get lost: SIGBUS
 * is pending only once. It uses system calls only.
 *
 * Why only one process fills pages: while it makes a page's contents, nobody else can fill the
 * page, so no worker can change the page before these contents are in it.
 */
#define _GNU_SOURCE
#include <hugepoison.h>
#include <pthread.h>
#include <signal.h>

#include "refill.h"
#include "row.h"

#define PATIENCE_MS	10000

static int asked[2];		/* a pipe: addresses that workers wait for */
static int own;			/* a worker's file for its own memory */

static int fill(void *page, void *address, void *make)
{
	return !((make_page_fn)make)(page, address);
}

/* A thread of the first process. */
static void *serve_workers(void *unused)
{
	void *address;

	while (read_all(asked[0], &address, sizeof(address)))
		hugepoison_repair(address, HUGEPOISON_PAGE);
	return unused;
}

void refill_prepare(void)
{
	if (pipe(asked))
		die("pipe");
}

void refill_begin(void *memory, size_t len, make_page_fn make)
{
	pthread_t thread;

	errno = -hugepoison_register(memory, len, fill, (void *)make);
	if (errno)
		die("hugepoison_register");
	errno = pthread_create(&thread, NULL, serve_workers, NULL);
	if (errno)
		die("pthread_create");
}

/* A worker touched a lost page. Without a fill the access happens again, and is the end. */
static void on_sigbus(int sig, siginfo_t *info, void *unused)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	int saved = errno;
	bool lost = true;

	(void)unused;
	if (info->si_code == BUS_MCEERR_AR)
		write_all(asked[1], &info->si_addr, sizeof(info->si_addr));
	for (int ms = 0; lost && info->si_code == BUS_MCEERR_AR && ms < PATIENCE_MS; ms++) {
		nanosleep(&moment, NULL);
		lost = hugepoison_is_lost(own, info->si_addr) != 0;
	}
	if (lost)
		signal(sig, SIG_DFL);
	errno = saved;
}

void refill_await(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	own = hugepoison_open();
	errno = own < 0 ? -own : 0;
	if (errno || sigaction(SIGBUS, &action, NULL))
		die("lost pages cannot be filled");
}
