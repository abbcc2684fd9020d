// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: read a byte, and survive the signal. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "page.h"

static sigjmp_buf back;
static struct signal_seen caught;

/**
 * note_signal - keep the data of a SIGBUS
 * @sig: where
 * @info: the handler's argument
 *
 * Context: a signal handler.
 */
void note_signal(struct signal_seen *sig, const siginfo_t *info)
{
	sig->seen = true;
	sig->code = info->si_code;
	sig->addr = (uintptr_t)info->si_addr;
	sig->lsb = info->si_addr_lsb;
}

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	note_signal(&caught, info);
	siglongjmp(back, 1);
}

/**
 * touch - read the byte at an address
 * @addr: the address
 * @sig: the SIGBUS that came of it, if one did
 *
 * Return: whether it could be read.
 */
bool touch(const void *addr, struct signal_seen *sig)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO }, before;

	caught.seen = false;
	sigaction(SIGBUS, &action, &before);
	if (!sigsetjmp(back, 1))
		(void)__atomic_load_n((const char *)addr, __ATOMIC_SEQ_CST);
	sigaction(SIGBUS, &before, NULL);
	*sig = caught;
	return !caught.seen;
}
