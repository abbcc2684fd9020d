// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: --watch: the same again and again, until a signal comes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "options.h"

/* Return: false when a signal ended it. */
static bool pause_for(uint64_t seconds, const sigset_t *set)
{
	const struct timespec pause = { (time_t)seconds, 0 };
	int signo;

	do
		signo = sigtimedwait(set, NULL, &pause);
	while (signo < 0 && errno == EINTR);
	return signo < 0;
}

/**
 * watch - look once, or, with --watch, until SIGINT, SIGTERM or SIGHUP comes
 * @opt: the options
 * @look: look and print
 *
 * On a terminal each look takes the place of the one before.
 *
 * Return: an exit status; the first look that fails ends it.
 */
int watch(const struct options *opt, int (*look)(const struct options *opt))
{
	int status;
	sigset_t set;

	if (!opt->watch)
		return look(opt);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	do {
		if (isatty(STDOUT_FILENO))
			printf("\033[H\033[2J");
		status = look(opt);
		if (!status && !opt->json && !isatty(STDOUT_FILENO))
			printf("\n");
		if (!status)
			status = finish_output(stdout, "standard output");
	} while (!status && pause_for(opt->watch, &set));
	return status;
}
