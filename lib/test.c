// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Tests of libhugepoison on any kernel: a file takes the place of /proc/hugepoison/own, and
 * the signals are the test's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hugepoison.h"

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#define BUS_MCEERR_AO	5
#endif

#define PAGES	64

static int tests, failed;
static char *memory;		/* what has lost pages */
static atomic_int calls, passed_on;
static int elsewhere;		/* losses in the list that are not in memory */
static _Atomic(const char *) refuse;
static pthread_t waiter;	/* gets SIGUSR1 while it waits */
static atomic_bool sends;
static atomic_int in_between, afterwards;

static void check(bool ok, const char *what)
{
	printf("%s %d - %s\n", ok ? "ok" : "not ok", ++tests, what);
	failed += !ok;
}

/*
 * The kernel's signal, to this thread. valgrind would take it for a fault of its own: there
 * the handler is called.
 */
static void hit(int code, char *at)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = code, .si_addr = at };
	struct sigaction now;

	if (getenv("CALL")) {
		sigaction(SIGBUS, NULL, &now);
		now.sa_sigaction(SIGBUS, &info, NULL);
	} else if (syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS, &info))
		perror("rt_tgsigqueueinfo");
}

/* Read the contents that the library has written for a page. */
static void written(char *at, char *page)
{
	int fd = open(HUGEPOISON_OWN, O_RDONLY | O_CLOEXEC);

	memset(page, 0, HUGEPOISON_PAGE);
	if (fd < 0 || pread(fd, page, HUGEPOISON_PAGE, (off_t)(uintptr_t)at) < 0)
		perror(HUGEPOISON_OWN);
	close(fd);
}

static bool is_filled(char *at)
{
	char page[HUGEPOISON_PAGE];

	written(at, page);
	for (int i = 0; i < HUGEPOISON_PAGE; i++)
		if (page[i] != (char)((at - memory) / HUGEPOISON_PAGE + 1))
			return false;
	return true;
}

/* As programs do: it allocates and locks. */
static int fill(void *page, void *address, void *arg)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	size_t nr = ((char *)address - memory) / HUGEPOISON_PAGE;
	char *copy = malloc(HUGEPOISON_PAGE);

	calls++;
	if (arg)
		usleep(*(unsigned int *)arg);
	if (sends) {
		pthread_kill(waiter, SIGUSR1);
		usleep(50000);
		in_between = afterwards;
	}
	pthread_mutex_lock(&lock);
	memset(copy, (int)nr + 1, HUGEPOISON_PAGE);
	memcpy(page, copy, HUGEPOISON_PAGE);
	pthread_mutex_unlock(&lock);
	free(copy);
	return refuse == (const char *)address;
}

/* As fill(), for memory that is somewhere else; @arg is where. */
static int fill_any(void *page, void *address, void *arg)
{
	memset(page, 1, HUGEPOISON_PAGE);
	return (char *)address < (char *)arg ||
	       (char *)address >= (char *)arg + 4 * HUGEPOISON_PAGE;
}

static void on_other(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	passed_on++;
}

static void *run_into(void *arg)
{
	char *at = arg;

	for (int i = 0; i < 50; i++)
		hit(BUS_MCEERR_AR, at + i % 8 * HUGEPOISON_PAGE + 12);
	return NULL;
}

static void test_threads(void)
{
	pthread_t thread[8];
	bool all = true;

	for (int i = 0; i < 8; i++)
		pthread_create(&thread[i], NULL, run_into, memory + i * 8 * HUGEPOISON_PAGE);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < PAGES; i++)
		all &= is_filled(memory + i * HUGEPOISON_PAGE);
	check(all, "8 threads run into 64 lost pages, 50 times each");
}

/* Ranges come and go, and errors are reported there. */
static void *come_and_go(void *arg)
{
	atomic_bool *stop = arg;
	char *at = mmap(NULL, 4 * HUGEPOISON_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	while (!*stop) {
		int ret = hugepoison_register(at, 4 * HUGEPOISON_PAGE, fill_any, at);

		hit(BUS_MCEERR_AO, at + HUGEPOISON_PAGE);
		hit(BUS_MCEERR_AR, at + 2 * HUGEPOISON_PAGE);
		if (ret || hugepoison_unregister(at))
			passed_on++;
	}
	munmap(at, 4 * HUGEPOISON_PAGE);
	return NULL;
}

static void test_storm(void)
{
	atomic_bool stop = false;
	pthread_t thread[6];
	int was = passed_on;

	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, come_and_go, &stop);
	for (int i = 3; i < 6; i++)
		pthread_create(&thread[i], NULL, run_into, memory + i * 8 * HUGEPOISON_PAGE);
	for (int i = 3; i < 6; i++)
		pthread_join(thread[i], NULL);
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	check(passed_on == was, "ranges come and go while other threads run into lost pages");
}

static void test_early(void)
{
	char *at = memory + 5 * HUGEPOISON_PAGE;
	int fd = open(HUGEPOISON_OWN, O_WRONLY | O_TRUNC | O_CLOEXEC);

	close(fd);
	hit(BUS_MCEERR_AO, at);
	for (int i = 0; i < 1000 && !is_filled(at); i++)
		usleep(1000);
	check(is_filled(at), "an error that is reported early is mended");
}

static void test_refused(void)
{
	struct hugepoison_stats stats;
	int was = passed_on;

	refuse = memory + 7 * HUGEPOISON_PAGE;
	hit(BUS_MCEERR_AR, memory + 7 * HUGEPOISON_PAGE);
	refuse = NULL;
	hugepoison_get_stats(&stats);
	check(passed_on == was + 1 && stats.refused == 1, "a page that cannot be made is passed on");
}

static void *touched_by_fill;

/*
 * The function needs another page, which is lost as well, or its own. It does not allocate:
 * the thread sanitizer does not see that the fault comes from here.
 */
static int fill_by_another(void *page, void *address, void *arg)
{
	char *another = touched_by_fill;

	(void)arg;
	touched_by_fill = NULL;
	if (another)
		hit(BUS_MCEERR_AR, another);
	memset(page, (int)(((char *)address - memory) / HUGEPOISON_PAGE) + 1, HUGEPOISON_PAGE);
	return 0;
}

static void test_nested(void)
{
	char *at = memory + 20 * HUGEPOISON_PAGE;
	int was = passed_on;

	close(open(HUGEPOISON_OWN, O_WRONLY | O_TRUNC | O_CLOEXEC));
	hugepoison_unregister(memory);
	if (hugepoison_register(memory, PAGES * HUGEPOISON_PAGE, fill_by_another, NULL))
		failed++;
	touched_by_fill = at + 3 * HUGEPOISON_PAGE + 5;
	hit(BUS_MCEERR_AR, at);
	check(is_filled(at) && is_filled(at + 3 * HUGEPOISON_PAGE) && passed_on == was,
	      "a function runs into another lost page");
	touched_by_fill = at + 7;
	hit(BUS_MCEERR_AR, at);
	check(passed_on == was + 1, "but not into its own");
	hugepoison_unregister(memory);
	if (hugepoison_register(memory, PAGES * HUGEPOISON_PAGE, fill, NULL))
		failed++;
}

static void on_user(int sig)
{
	(void)sig;
	afterwards++;
}

static void test_signals(void)
{
	signal(SIGUSR1, on_user);
	waiter = pthread_self();
	sends = true;
	hit(BUS_MCEERR_AR, memory + 3 * HUGEPOISON_PAGE);
	sends = false;
	check(!in_between && afterwards == 1, "no other handler runs while a thread waits");
}

static void test_elsewhere(void)
{
	int was = passed_on;

	hit(BUS_MCEERR_AR, memory + PAGES * HUGEPOISON_PAGE);
	hit(BUS_ADRERR, memory);
	check(passed_on == was + 2, "what is not ours goes to the handler before");
}

static void test_timeout(void)
{
	static unsigned int long_us = 300000;
	struct hugepoison_stats stats;
	int was = passed_on, ret;

	hugepoison_unregister(memory);
	ret = hugepoison_register(memory, PAGES * HUGEPOISON_PAGE, fill, &long_us);
	hugepoison_set_timeout(20);
	hit(BUS_MCEERR_AR, memory);
	hugepoison_set_timeout(10000);
	hugepoison_get_stats(&stats);
	check(!ret && passed_on == was + 1 && stats.timed_out == 1, "nobody waits for ever");
	/* what was given up is done all the same, and its place is free again */
	hit(BUS_MCEERR_AR, memory + HUGEPOISON_PAGE);
	check(passed_on == was + 1, "the next one is filled");
}

static void test_ranges(void)
{
	const size_t len = PAGES * HUGEPOISON_PAGE;
	int was = passed_on;

	check(hugepoison_register(memory, len, fill, NULL) == -EEXIST, "ranges do not overlap");
	check(hugepoison_register(memory + 1, HUGEPOISON_PAGE, fill, NULL) == -EINVAL &&
	      hugepoison_register(memory, 0, fill, NULL) == -EINVAL, "ranges are whole pages");
	check(!hugepoison_unregister(memory) && hugepoison_unregister(memory) == -ENOENT,
	      "a range ends once");
	hit(BUS_MCEERR_AR, memory);
	check(passed_on == was + 1, "what was ours is passed on");
	check(!hugepoison_register(memory, len, fill, NULL), "it can be registered again");
}

static void test_fork(void)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int was = passed_on, now;

		hit(BUS_MCEERR_AR, memory);
		now = passed_on;
		if (hugepoison_after_fork())
			_exit(2);
		hit(BUS_MCEERR_AR, memory + HUGEPOISON_PAGE);
		_exit(now == was + 1 && passed_on == now ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	check(!status, "a child passes on, and fills once it has said so");
}

/* In a child that has a filler, and number 1: a child of it that has number 1 as well. */
static int fork_first_again(void)
{
	struct hugepoison_stats stats;
	int status = -1;
	uint64_t was;
	pid_t pid;

	if (getpid() != 1 || hugepoison_after_fork() || unshare(CLONE_NEWPID))
		return 2;
	pid = fork();
	if (!pid) {
		hugepoison_get_stats(&stats);
		was = stats.touched;
		hit(BUS_MCEERR_AR, memory);
		hugepoison_get_stats(&stats);
		_exit(getpid() == 1 && stats.touched == was ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static void test_namespace(void)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		hugepoison_set_timeout(1000);
		if (unshare(CLONE_NEWPID))
			_exit(77);
		pid = fork();
		if (!pid)
			_exit(fork_first_again());
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 4);
	}
	waitpid(pid, &status, 0);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	check(!status || status == 77,
	      status == 77 ? "a child in another namespace # SKIP needs root" :
	      "a child that has the number of its parent has no filler all the same");
}

/* The file is one list at a time: a page that is written makes it very long. */
static void write_list(void)
{
	int fd = open(HUGEPOISON_OWN, O_WRONLY | O_TRUNC | O_CLOEXEC);

	dprintf(fd, "address kB state\n");
	for (long i = 0; i < elsewhere; i++)
		dprintf(fd, "%lx-%lx 4 narrowed\n", i << 12, (i + 1) << 12);
	dprintf(fd, "%lx-%lx 4 narrowed\n"
		"7f0000000000-7f0000200000 2048 contained\n",
		(unsigned long)memory, (unsigned long)memory + HUGEPOISON_PAGE);
	close(fd);
}

static void test_list(void)
{
	struct hugepoison_lost lost[2];

	write_list();
	check(hugepoison_list(lost, 1) == 2 && lost[0].address == (uintptr_t)memory &&
	      lost[0].len == HUGEPOISON_PAGE, "the list of losses");
	check(!hugepoison_repair(memory + HUGEPOISON_PAGE, 100), "nothing is lost there");
	check(hugepoison_repair(memory + 5, 100) == 1, "a range is repaired before a call is repeated");
	elsewhere = 1000;
	write_list();
	elsewhere = 0;
	check(hugepoison_repair(memory + 5, 100) == 1, "whatever else is lost");
	write_list();
}

/* A file that may not grow takes a part. */
static void test_short(void)
{
	static char page[HUGEPOISON_PAGE];
	char name[] = "/dev/shm/hugepoison-short-XXXXXX";
	struct rlimit before, limit;
	int fd = mkstemp(name), ret;

	unlink(name);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 100;
	setrlimit(RLIMIT_FSIZE, &limit);
	ret = hugepoison_write(fd, NULL, page);
	setrlimit(RLIMIT_FSIZE, &before);
	check(ret == -EIO, "a part of a page is an error");
	close(fd);
}

/* The file has no losses: what is there is always new. */
static void test_alone(void)
{
	char page[HUGEPOISON_PAGE];
	char *at = memory + 9 * HUGEPOISON_PAGE;
	int fd = hugepoison_open();

	memset(page, 10, sizeof(page));
	check(fd >= 0 && !hugepoison_write(fd, at, page) && is_filled(at), "a page is filled without the filler");
	check(hugepoison_is_lost(fd, at) == 1 && is_filled(at), "the question changes nothing");
	check(hugepoison_is_lost(-1, at) == -EBADF && hugepoison_write(-1, at, page) == -EBADF,
	      "each call reports its error");
	close(fd);
}

int main(void)
{
	struct sigaction other = { .sa_sigaction = on_other, .sa_flags = SA_SIGINFO };

	setvbuf(stdout, NULL, _IOLBF, 0);
	unlink(HUGEPOISON_OWN);		/* of a run that was killed */
	sigaction(SIGBUS, &other, NULL);
	memory = mmap(NULL, (PAGES + 1) * HUGEPOISON_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(hugepoison_register(memory, PAGES * HUGEPOISON_PAGE, fill, NULL) == -ENOSYS,
	      "a kernel that cannot says so");
	close(open(HUGEPOISON_OWN, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	check(!hugepoison_register(memory, PAGES * HUGEPOISON_PAGE, fill, NULL), "registered");
	test_threads();
	test_storm();
	test_early();
	test_refused();
	test_nested();
	/* a handler that is called leaves signals as they are */
	if (!getenv("CALL"))
		test_signals();
	test_elsewhere();
	test_ranges();
	if (!getenv("NO_FORK")) {
		test_fork();
		test_namespace();
	}
	test_list();
	test_alone();
	test_short();
	test_timeout();
	unlink(HUGEPOISON_OWN);
	printf("1..%d\n", tests);
	return !!failed;
}
