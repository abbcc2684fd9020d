// SPDX-License-Identifier: GPL-2.0-only
/*
 * To be preloaded: lets a program live on that injects an error into memory of
 * its own without expecting SIGBUS, which the kernel sends to any such program.
 */
#include <signal.h>

static void live_on(int number)
{
	(void)number;
}

__attribute__((constructor)) static void handle_sigbus(void)
{
	signal(SIGBUS, live_on);
}
