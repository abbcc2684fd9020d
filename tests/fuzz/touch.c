// SPDX-License-Identifier: GPL-2.0-only
/* Touching memory that may be lost, gone or forbidden. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static __thread sigjmp_buf back;
static __thread bool is_touching;
static __thread siginfo_t got;

static void touch(bool now)
{
	__atomic_store_n(&is_touching, now, __ATOMIC_SEQ_CST);
}

/*
 * Where allocations fail a signal may come without its siginfo. Or there is no memory for
 * its frame, and SIGSEGV comes instead. A fault of the thread's own would come again, and
 * the watch would find that the thread hangs.
 */
static bool has_no_memory(int number, const siginfo_t *info)
{
	return fz->faults && ((number == SIGBUS && info->si_code == SI_USER) ||
			      (number == SIGSEGV && info->si_code == SI_KERNEL));
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (number == SIGBUS && info->si_code == BUS_MCEERR_AO)
		return;
	if (!__atomic_load_n(&is_touching, __ATOMIC_SEQ_CST)) {
		if (has_no_memory(number, info))
			return;
		finding("signal %d outside of a touch: code %d, at %p", number, info->si_code,
			info->si_addr);
		_exit(3);
	}
	got = *info;
	got.si_signo = number;
	count(&fz->signals);
	siglongjmp(back, 1);
}

void catch_signals(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

static enum touch why(void)
{
	if (got.si_signo == SIGSEGV)
		return NO_ACCESS;
	if (got.si_code != BUS_MCEERR_AR)
		return NO_PAGE;
	return got.si_addr_lsb == 12 ? LOST : LOST_WIDE;
}

static const unsigned int word_at[WORDS] = { 0, 8, 2048, 4088 };
/* Beside the words, nobody's content: where the last one that wrote them wrote to, and who. */
static const unsigned int mark_at[MARKS] = { 16, 24 };

enum touch touch_read(const char *page, unsigned long *words)
{
	if (sigsetjmp(back, 1)) {
		touch(false);
		return why();
	}
	touch(true);
	for (int i = 0; i < WORDS; i++)
		words[i] = __atomic_load_n((unsigned long *)(page + word_at[i]), __ATOMIC_SEQ_CST);
	touch(false);
	return FINE;
}

/* A page that nobody else has yet, as touch_write() leaves it, without marks. */
void fill_words(char *page, const unsigned long *words)
{
	memset(page, 0, HP_BASE);
	for (int i = 0; i < WORDS; i++)
		memcpy(page + word_at[i], &words[i], sizeof(words[i]));
}

enum touch touch_write(char *page, const unsigned long *words)
{
	if (sigsetjmp(back, 1)) {
		touch(false);
		return why();
	}
	touch(true);
	for (int i = 0; i < WORDS; i++)
		__atomic_store_n((unsigned long *)(page + word_at[i]), words[i], __ATOMIC_SEQ_CST);
	__atomic_store_n((unsigned long *)(page + mark_at[0]), (unsigned long)page,
			 __ATOMIC_RELAXED);
	__atomic_store_n((unsigned long *)(page + mark_at[1]),
			 (unsigned long)gettid() << 32 | fz->order, __ATOMIC_RELAXED);
	touch(false);
	return FINE;
}

enum touch touch_read_marks(const char *page, unsigned long *marks)
{
	if (sigsetjmp(back, 1)) {
		touch(false);
		return why();
	}
	touch(true);
	for (int i = 0; i < MARKS; i++)
		marks[i] = __atomic_load_n((unsigned long *)(page + mark_at[i]), __ATOMIC_RELAXED);
	touch(false);
	return FINE;
}

/* A write fault that leaves what is there: nobody has to hold the slot. */
enum touch touch_change_nothing(char *at)
{
	if (sigsetjmp(back, 1)) {
		touch(false);
		return why();
	}
	touch(true);
	__atomic_fetch_add((unsigned long *)at, 0, __ATOMIC_SEQ_CST);
	touch(false);
	return FINE;
}

/* A call that may end with a signal. Returns what it says, or -EFAULT. */
int touch_call(int (*act)(void *), void *arg)
{
	int ret;

	if (sigsetjmp(back, 1)) {
		touch(false);
		return -EFAULT;
	}
	touch(true);
	ret = act(arg);
	touch(false);
	return ret;
}
