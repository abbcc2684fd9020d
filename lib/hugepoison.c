// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libhugepoison: fill lost pages of hugepages again.
 *
 * One thread, the filler, fills all pages. It asks for early kill, so the kernel tells it of
 * an error before anybody touches the page. A thread that runs into a lost page puts a
 * request into a table and sleeps on it, in the SIGBUS handler. When the page is filled the
 * handler returns, and the access happens again. So the functions that make contents run in
 * the filler alone, not in a signal handler.
 *
 * The handler uses system calls and atomic variables only: ranges, requests, futexes. A
 * signal that is not for a registered range goes to the handler that was there before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hugepoison.h"

#ifndef HUGEPOISON_OWN
#define HUGEPOISON_OWN	"/proc/hugepoison/own"
#endif

#define MAX_RANGES	1024
#define MAX_REQUESTS	256
#define MAX_TRIES	3		/* of a page, while errors come too fast */

/* A registered range. @fill is written last, and cleared first. */
struct range {
	_Atomic(hugepoison_fill_fn) fill;
	atomic_uintptr_t begin, end;
	void *_Atomic arg;
};

enum state {
	FREE,
	TAKEN,		/* being written */
	ASKED,
	FILLED,
	REFUSED,
	GIVEN_UP,	/* nobody waits for it: the filler frees it */
};

/* A page to be filled; @state is a futex. */
struct request {
	atomic_uint state;
	atomic_bool waited_for;
	atomic_uintptr_t address;
};

static struct range ranges[MAX_RANGES];
static struct request requests[MAX_REQUESTS];
static atomic_uint bell;		/* a futex: changes with each request */
static atomic_uint timeout_ms = 10000;
static atomic_int filler_pid, filler_tid;
static uintptr_t filling;		/* the page that a function makes; the filler's */
static int own = -1;
static bool installed;
static struct sigaction before;
static struct {
	atomic_ullong early, touched, filled, refused, failed, timed_out;
} stats;
/* of ranges, and of what starts the filler */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
/* while a function runs */
static pthread_mutex_t fill_lock = PTHREAD_MUTEX_INITIALIZER;

static long futex(atomic_uint *word, int op, unsigned int value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool is_filler(void)
{
	return filler_pid == getpid() && filler_tid == (pid_t)syscall(SYS_gettid);
}

static struct range *find_range(uintptr_t address)
{
	for (int i = 0; i < MAX_RANGES; i++)
		if (ranges[i].fill && address >= ranges[i].begin && address < ranges[i].end)
			return &ranges[i];
	return NULL;
}

/* --- the kernel's file ------------------------------------------------------- */

int hugepoison_open(void)
{
	int fd = open(HUGEPOISON_OWN, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ENOSYS : -errno;
	return fd;
}

int hugepoison_write(int fd, void *address, const void *page)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	for (int tries = 0; tries < MAX_TRIES; tries++) {
		ssize_t written = pwrite(fd, page, HUGEPOISON_PAGE, (off_t)(uintptr_t)address);

		if (written >= 0)
			return written == HUGEPOISON_PAGE ? 0 : -EIO;
		if (errno != EAGAIN && errno != EINTR)
			break;
		nanosleep(&moment, NULL);
	}
	return -errno;
}

/* A page that cannot be read, though it is mapped: beyond the end of a file. */
static void *map_nothing(void)
{
	int fd = memfd_create("hugepoison", MFD_CLOEXEC);
	void *page = MAP_FAILED;

	if (fd >= 0) {
		page = mmap(NULL, HUGEPOISON_PAGE, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
	}
	return page;
}

/* The kernel tests whether the page is lost before it reads new contents: here, of none. */
int hugepoison_is_lost(int fd, const void *address)
{
	void *nothing = map_nothing();
	int ret;

	if (nothing == MAP_FAILED)
		return -errno;
	ret = hugepoison_write(fd, (void *)address, nothing);
	munmap(nothing, HUGEPOISON_PAGE);
	if (ret == -EFAULT)
		return 1;
	return ret == -EEXIST ? 0 : ret;
}

/* --- requests ---------------------------------------------------------------- */

/* Ask for a page; NULL when the table is full. */
static struct request *ask(uintptr_t address, bool wait)
{
	for (int i = 0; i < MAX_REQUESTS; i++) {
		unsigned int state = FREE;

		if (!atomic_compare_exchange_strong(&requests[i].state, &state, TAKEN))
			continue;
		requests[i].address = address & -(uintptr_t)HUGEPOISON_PAGE;
		requests[i].waited_for = wait;
		requests[i].state = ASKED;
		bell++;
		futex(&bell, FUTEX_WAKE, 1, NULL);
		return &requests[i];
	}
	return NULL;
}

/* Wait until a request is done, or until @end. Returns whether the page is filled. */
static bool await(struct request *request, long long end)
{
	unsigned int state = ASKED;
	struct timespec left;
	long long now;

	while (request->state == ASKED && (now = now_ms()) < end) {
		left.tv_sec = (end - now) / 1000;
		left.tv_nsec = (end - now) % 1000 * 1000000;
		futex(&request->state, FUTEX_WAIT, ASKED, &left);
	}
	if (atomic_compare_exchange_strong(&request->state, &state, GIVEN_UP)) {
		stats.timed_out++;
		return false;
	}
	request->state = FREE;
	return state == FILLED;
}

/* Ask for a page and wait. Returns whether it is filled. */
static bool ask_and_await(uintptr_t address)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	long long end = now_ms() + timeout_ms;
	struct request *request;

	while (!(request = ask(address, true))) {
		if (now_ms() >= end) {
			stats.timed_out++;
			return false;
		}
		nanosleep(&moment, NULL);
	}
	return await(request, end);
}

static void finish(struct request *request, bool filled)
{
	unsigned int state = ASKED;

	if (!request->waited_for ||
	    !atomic_compare_exchange_strong(&request->state, &state, filled ? FILLED : REFUSED))
		request->state = FREE;
	else
		futex(&request->state, FUTEX_WAKE, 1, NULL);
}

/* --- the filler -------------------------------------------------------------- */

static bool write_page(const void *page, uintptr_t address)
{
	int ret = hugepoison_write(own, (void *)address, page);

	if (!ret)
		stats.filled++;
	else if (ret != -EEXIST)
		stats.failed++;
	return !ret || ret == -EEXIST;
}

static bool fill(uintptr_t address)
{
	_Alignas(HUGEPOISON_PAGE) char page[HUGEPOISON_PAGE];
	struct range *range = find_range(address);
	hugepoison_fill_fn make = NULL;
	bool filled = false;

	if (range)
		make = range->fill;
	if (make) {
		filled = !make(page, (void *)address, range->arg);
		if (!filled)
			stats.refused++;
		else
			filled = write_page(page, address);
	}
	return filled;
}

/* With the lock the function's range stays registered while the function runs. */
static bool fill_requested(uintptr_t address)
{
	bool filled;

	pthread_mutex_lock(&fill_lock);
	filling = address;
	filled = fill(address);
	filling = 0;
	pthread_mutex_unlock(&fill_lock);
	return filled;
}

/*
 * The function has run into another lost page. It can be called again: it was neither in
 * malloc() nor in anything else that does not touch registered memory. Once, as SIGBUS is
 * blocked in its handler; and not for the page that it is to make.
 */
static bool fill_nested(uintptr_t address)
{
	address &= -(uintptr_t)HUGEPOISON_PAGE;
	return filling && address != filling && fill(address);
}

static void *filler(void *ready)
{
	unsigned int seen;

	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	filler_tid = syscall(SYS_gettid);
	filler_pid = getpid();
	atomic_store((atomic_uint *)ready, 1);
	futex(ready, FUTEX_WAKE, 1, NULL);
	for (;;) {
		seen = bell;
		for (int i = 0; i < MAX_REQUESTS; i++) {
			if (requests[i].state == ASKED)
				finish(&requests[i], fill_requested(requests[i].address));
			else if (requests[i].state == GIVEN_UP)
				requests[i].state = FREE;
		}
		futex(&bell, FUTEX_WAIT, seen, NULL);
	}
	return NULL;
}

/* --- SIGBUS ------------------------------------------------------------------ */

/* The signal is not for us. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	struct sigaction usual = { .sa_handler = SIG_DFL };

	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else if (info->si_code != BUS_MCEERR_AO &&
		   (before.sa_handler == SIG_DFL || info->si_code > 0)) {
		sigaction(sig, &usual, NULL);
		/* what the program did happens again; what somebody sent, not by itself */
		if (info->si_code <= 0)
			syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
	}
}

/*
 * An error that was reported early is for the filler to mend. A thread that touched a lost
 * page waits. The filler cannot wait for itself: it fills the page here.
 */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	int saved = errno;
	bool done = false;

	if (filler_pid == getpid() && find_range(address)) {
		if (info->si_code == BUS_MCEERR_AO) {
			stats.early++;
			done = ask(address, false);
		} else if (info->si_code == BUS_MCEERR_AR) {
			stats.touched++;
			done = is_filler() ? fill_nested(address) : ask_and_await(address);
		}
	}
	if (!done)
		pass_on(sig, info, context);
	errno = saved;
}

/* --- start ------------------------------------------------------------------- */

/*
 * A child has no filler. The number of its process need not tell: in a new namespace of them
 * it may be that of the parent.
 */
static void forget_filler(void)
{
	filler_pid = 0;
}

static int start_filler(void)
{
	atomic_uint ready = 0;
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	own = hugepoison_open();
	if (own < 0)
		return own;
	/* signals of the program are for its own threads */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = -pthread_create(&thread, &attr, filler, &ready);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		close(own);
		own = -1;
		return ret;
	}
	while (!ready)
		futex(&ready, FUTEX_WAIT, 0, NULL);
	return 0;
}

/*
 * A thread may wait in the handler for seconds, in the midst of any access: no other handler of
 * the program runs in it then. One that touches a lost page itself would be the end of the
 * process, as SIGBUS is blocked; one that leaves by longjmp() would leave the request. A signal for
 * the process goes to another thread. SIGQUIT, and what the thread does wrong itself,
 * are let through.
 */
static void block_signals(sigset_t *mask)
{
	static const int exceptions[] = {
		SIGQUIT, SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS,
	};

	sigfillset(mask);
	for (size_t i = 0; i < sizeof(exceptions) / sizeof(*exceptions); i++)
		sigdelset(mask, exceptions[i]);
}

/* The handler comes last: it needs the filler. */
static int start(void)
{
	struct sigaction ours = {
		.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
	};
	static bool told;
	int ret = 0;

	if (!told)
		ret = -pthread_atfork(NULL, NULL, forget_filler);
	if (ret)
		return ret;
	told = true;
	if (filler_pid != getpid())
		ret = start_filler();
	if (!ret && !installed) {
		block_signals(&ours.sa_mask);
		/* the handler may be called before sigaction() has told what was there */
		if (sigaction(SIGBUS, NULL, &before) || sigaction(SIGBUS, &ours, &before))
			return -errno;
		installed = true;
	}
	return ret;
}

/* --- interface --------------------------------------------------------------- */

static int add_range(uintptr_t begin, size_t len, hugepoison_fill_fn make, void *arg)
{
	struct range *empty = NULL;

	for (int i = 0; i < MAX_RANGES; i++) {
		if (!ranges[i].fill)
			empty = &ranges[i];
		else if (begin < ranges[i].end && ranges[i].begin < begin + len)
			return -EEXIST;
	}
	if (!empty)
		return -ENOSPC;
	empty->begin = begin;
	empty->end = begin + len;
	empty->arg = arg;
	empty->fill = make;
	return 0;
}

int hugepoison_register(void *address, size_t len, hugepoison_fill_fn fill, void *arg)
{
	uintptr_t begin = (uintptr_t)address;
	int ret;

	if (!fill || !len || begin % HUGEPOISON_PAGE || len % HUGEPOISON_PAGE ||
	    begin + len < begin)
		return -EINVAL;
	/* who unregisters waits for the filler with the lock of the table */
	if (is_filler())
		return -EDEADLK;
	pthread_mutex_lock(&table_lock);
	ret = start();
	if (!ret)
		ret = add_range(begin, len, fill, arg);
	pthread_mutex_unlock(&table_lock);
	return ret;
}

int hugepoison_unregister(void *address)
{
	int ret = -ENOENT;

	/* its own function would wait for itself */
	if (is_filler())
		return -EDEADLK;
	pthread_mutex_lock(&table_lock);
	for (int i = 0; ret && i < MAX_RANGES; i++) {
		if (!ranges[i].fill || ranges[i].begin != (uintptr_t)address)
			continue;
		/* the filler uses the range with this lock held */
		pthread_mutex_lock(&fill_lock);
		ranges[i].fill = NULL;
		pthread_mutex_unlock(&fill_lock);
		ret = 0;
	}
	pthread_mutex_unlock(&table_lock);
	return ret;
}

/* Calls @each for each range of the list. Returns how many there are, or -errno. */
static long read_list(void (*each)(uintptr_t begin, uintptr_t end, void *arg), void *arg)
{
	FILE *list = fopen(HUGEPOISON_OWN, "re");
	unsigned long begin, end;
	char line[128];
	long nr = 0;

	if (!list)
		return errno == ENOENT ? -ENOSYS : -errno;
	while (fgets(line, sizeof(line), list)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) != 2)
			continue;
		each(begin, end, arg);
		nr++;
	}
	fclose(list);
	return nr;
}

/* The losses that begin in [@begin, @end). */
struct collection {
	struct hugepoison_lost *lost;
	size_t max, nr;
	uintptr_t begin, end;
};

static void collect(uintptr_t begin, uintptr_t end, void *arg)
{
	struct collection *c = arg;

	if (begin < c->begin || begin >= c->end)
		return;
	if (c->nr < c->max)
		c->lost[c->nr] = (struct hugepoison_lost){ begin, end - begin };
	c->nr++;
}

long hugepoison_list(struct hugepoison_lost *lost, size_t max)
{
	struct collection c = { lost, max, 0, 0, UINTPTR_MAX };

	return read_list(collect, &c);
}

long hugepoison_repair(const void *address, size_t len)
{
	struct collection c = {
		.max = 256,
		.begin = (uintptr_t)address & -(uintptr_t)HUGEPOISON_PAGE,
		.end = (uintptr_t)address + len,
	};
	long nr, filled = 0;

	if (is_filler())
		return -EDEADLK;
	if (filler_pid != getpid())
		return -ESRCH;
	c.lost = calloc(c.max, sizeof(*c.lost));
	if (!c.lost)
		return -ENOMEM;
	nr = read_list(collect, &c);
	for (size_t i = 0; i < c.nr && i < c.max; i++)
		if (c.lost[i].len == HUGEPOISON_PAGE && find_range(c.lost[i].address))
			filled += ask_and_await(c.lost[i].address);
	free(c.lost);
	return nr < 0 ? nr : filled;
}

void hugepoison_set_timeout(unsigned int ms)
{
	timeout_ms = ms;
}

int hugepoison_after_fork(void)
{
	int ret;

	/* the parent's filler may have held them, and is not here */
	pthread_mutex_init(&table_lock, NULL);
	pthread_mutex_init(&fill_lock, NULL);
	for (int i = 0; i < MAX_REQUESTS; i++)
		requests[i].state = FREE;
	if (own >= 0)
		close(own);
	own = -1;
	pthread_mutex_lock(&table_lock);
	ret = start();
	pthread_mutex_unlock(&table_lock);
	return ret;
}

void hugepoison_get_stats(struct hugepoison_stats *to)
{
	*to = (struct hugepoison_stats){
		.early = stats.early, .touched = stats.touched, .filled = stats.filled,
		.refused = stats.refused, .failed = stats.failed, .timed_out = stats.timed_out,
	};
}
