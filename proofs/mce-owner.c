// SPDX-License-Identifier: GPL-2.0-only
/*
 * usage: mce-owner FILE|- SIZE early|late|plain
 *
 * A process that has one hugepage of SIZE bytes, of a file on hugetlbfs or (-)
 * private, for proofs/mce-guest. It reads commands from stdin and answers each
 * by one line:
 *
 *   where    the page frame and the address of the raw page to be, and where the
 *            code of spin is
 *   pin N    run on CPU N
 *   read     how many pages cannot be read, and how many have wrong contents; of
 *            1 GiB, in each block of 2 MiB without the raw page the first page
 *            stands for all
 *   others   read all pages but the raw one
 *   spin     read the raw page until there is a signal
 *   stay     read another page until there is a signal, or SIGUSR1: then the raw page
 *   code     where the code of stay is
 *   crowd    from now on, threads map the file, and others try to punch out the raw
 *            page of a hugepage that a pipe keeps busy
 *   count    how often they tried to punch, and mapped
 *   alone    not any more
 *   twin N   another thread does spin, on CPU N
 *   last     the last SIGBUS: si_code, si_addr, si_addr_lsb
 *   twin's   the same of the other thread, which has ended
 *   discard  give up the raw page's contents
 *
 * With early it asks for signals of errors that it has not touched; with plain it has
 * no handler for SIGBUS, as most programs.
 *
 * exit status: 0 at the end of stdin, 1 something failed, 2 wrong usage
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE		4096UL
#define BLOCK		(2UL << 20)
#define PFN_MASK	((1UL << 55) - 1)
#define NR_HEALERS	4
#define HOLE		(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static char *hugepage;
static int file = -1;
static unsigned long size, raw;
static bool private;

/* Each thread has signals of its own. */
static __thread sigjmp_buf back;
static __thread bool reading;
static __thread int code, lsb;		/* of the last signal */
static __thread void *where;
static bool called;			/* by SIGUSR1 */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	where = info->si_addr;
	lsb = info->si_addr_lsb;
	__atomic_store_n(&code, info->si_code, __ATOMIC_RELEASE);
	if (info->si_code == BUS_MCEERR_AO)
		return;
	if (!__atomic_load_n(&reading, __ATOMIC_RELAXED))
		_exit(3);
	siglongjmp(back, 1);
}

static void on_call(int sig)
{
	(void)sig;
	__atomic_store_n(&called, true, __ATOMIC_RELEASE);
}

static void catch_signals(bool early)
{
	struct sigaction call = { .sa_handler = on_call, .sa_flags = SA_RESTART };
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	if (sigaction(SIGBUS, &action, NULL) || sigaction(SIGUSR1, &call, NULL))
		fail("sigaction");
	if (prctl(PR_MCE_KILL, PR_MCE_KILL_SET,
		  early ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE, 0, 0))
		fail("PR_MCE_KILL");
}

/* The first process fills the hugepage: each page begins with its number. */
static void map(const char *path)
{
	int flags = MAP_SHARED;

	private = !strcmp(path, "-");
	if (private)
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			__builtin_ctzl(size) << MAP_HUGE_SHIFT;
	else
		file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (!private && (file < 0 || ftruncate(file, size)))
		fail(path);
	hugepage = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, 0);
	if (hugepage == MAP_FAILED)
		fail("mmap");
	raw = (size / PAGE / 2 + 5) * PAGE;
	for (unsigned long at = 0; at < size; at += PAGE) {
		unsigned long *page = (unsigned long *)(hugepage + at);

		if (*page != at)
			*page = at;
	}
}

static void set_reading(bool on)
{
	__atomic_store_n(&reading, on, __ATOMIC_SEQ_CST);
}

static unsigned long load(unsigned long at)
{
	return __atomic_load_n((unsigned long *)(hugepage + at), __ATOMIC_RELAXED);
}

static bool is_signalled(void)
{
	return __atomic_load_n(&code, __ATOMIC_ACQUIRE);
}

static bool is_called(void)
{
	return __atomic_load_n(&called, __ATOMIC_ACQUIRE);
}

/*
 * Only this function's machine code runs here, so that a machine check hits it.
 */
__attribute__((noinline)) static void read_raw(void)
{
	code = 0;
	if (!sigsetjmp(back, 1)) {
		set_reading(true);
		while (!is_signalled())
			load(raw);
	}
	set_reading(false);
}

/*
 * The same, but on a healthy page. Hardware reports an error on a load of the raw
 * page, which is done again unless there is a signal: that is the last one here.
 */
__attribute__((noinline)) static void read_other(void)
{
	code = 0;
	if (!sigsetjmp(back, 1)) {
		set_reading(true);
		while (!is_signalled() && !is_called())
			load(0);
		while (!is_signalled())
			load(raw);
	}
	set_reading(false);
}

static void spin(void)
{
	printf("spinning\n");
	fflush(stdout);
	read_raw();
	printf("stopped\n");
}

static void stay(void)
{
	called = false;
	printf("staying\n");
	fflush(stdout);
	read_other();
	printf("stopped\n");
}

/* --- a crowd: SIGBUS is not for them, as they touch nothing --- */

static pthread_t crowd[NR_HEALERS + 1];
static bool crowded;
static unsigned long punched, mapped;	/* how often they tried */
static int held[2];

static bool is_crowded(void)
{
	return __atomic_load_n(&crowded, __ATOMIC_RELAXED);
}

static void *heal(void *arg)
{
	while (is_crowded()) {
		fallocate(file, HOLE, raw, PAGE);
		__atomic_fetch_add(&punched, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static void *map_again(void *arg)
{
	while (is_crowded()) {
		void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

		if (at != MAP_FAILED)
			munmap(at, size);
		__atomic_fetch_add(&mapped, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

/* A healthy page of it lies in a pipe, so that nobody succeeds. */
static void gather(void)
{
	struct iovec page = { .iov_base = hugepage, .iov_len = PAGE };

	if (pipe2(held, O_CLOEXEC) || vmsplice(held[1], &page, 1, 0) != (ssize_t)PAGE)
		fail("vmsplice");
	crowded = true;
	for (int i = 0; i <= NR_HEALERS; i++)
		if (pthread_create(&crowd[i], NULL, i ? heal : map_again, NULL))
			fail("pthread_create");
	printf("crowded\n");
}

static void disperse(void)
{
	__atomic_store_n(&crowded, false, __ATOMIC_RELAXED);
	for (int i = 0; i <= NR_HEALERS; i++)
		pthread_join(crowd[i], NULL);
	close(held[0]);
	close(held[1]);
	printf("alone\n");
}

static void tell_crowd(void)
{
	printf("%lu %lu\n", __atomic_load_n(&punched, __ATOMIC_RELAXED),
	       __atomic_load_n(&mapped, __ATOMIC_RELAXED));
}

static void tell_where(void)
{
	unsigned long entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t at = (unsigned long)(hugepage + raw) / PAGE * sizeof(entry);

	if (fd < 0 || pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
		fail("/proc/self/pagemap");
	close(fd);
	printf("%lu %lu %lu\n", entry & PFN_MASK, (unsigned long)(hugepage + raw),
	       (unsigned long)read_raw);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static void move_to(int cpu)
{
	pin(cpu);
	printf("pinned\n");
}

static void tell_signal(int kind, void *at, int shift)
{
	printf("%d %lu %d\n", kind, (unsigned long)at, shift);
}

/* --- a twin: it runs into the same error --- */

static pthread_t twin;
static int twin_code, twin_lsb;
static void *twin_where;

static void *be_twin(void *cpu)
{
	pin((long)cpu);
	read_raw();
	twin_code = code;
	twin_where = where;
	twin_lsb = lsb;
	return NULL;
}

static void start_twin(long cpu)
{
	if (pthread_create(&twin, NULL, be_twin, (void *)cpu))
		fail("pthread_create");
	printf("started\n");
}

static void end_twin(void)
{
	pthread_join(twin, NULL);
	tell_signal(twin_code, twin_where, twin_lsb);
}

/* Whether the page at @at is there; with a wrong number *wrong grows. */
static bool readable(unsigned long at, unsigned long *wrong)
{
	if (sigsetjmp(back, 1)) {
		set_reading(false);
		return false;
	}
	set_reading(true);
	*wrong += load(at) != at;
	set_reading(false);
	return true;
}

static void read_all(bool with_raw)
{
	unsigned long lost = 0, wrong = 0, step;

	for (unsigned long at = 0; at < size; at += step) {
		step = at / BLOCK == raw / BLOCK ? PAGE : BLOCK;
		if (with_raw || at != raw)
			lost += readable(at, &wrong) ? 0 : step / PAGE;
	}
	printf("%lu %lu\n", lost, wrong);
}

static void discard(void)
{
	int advice = private ? MADV_DONTNEED : MADV_REMOVE;

	printf("%d\n", madvise(hugepage + raw, PAGE, advice) ? -1 : 0);
}

static void obey(const char *word)
{
	if (!strcmp(word, "where"))
		tell_where();
	else if (!strncmp(word, "pin ", 4))
		move_to(atoi(word + 4));
	else if (!strcmp(word, "read"))
		read_all(true);
	else if (!strcmp(word, "others"))
		read_all(false);
	else if (!strcmp(word, "spin"))
		spin();
	else if (!strcmp(word, "stay"))
		stay();
	else if (!strcmp(word, "code"))
		printf("%lu\n", (unsigned long)read_other);
	else if (!strcmp(word, "crowd"))
		gather();
	else if (!strcmp(word, "count"))
		tell_crowd();
	else if (!strcmp(word, "alone"))
		disperse();
	else if (!strcmp(word, "last"))
		tell_signal(code, where, lsb);
	else if (!strncmp(word, "twin ", 5))
		start_twin(atoi(word + 5));
	else if (!strcmp(word, "twin's"))
		end_twin();
	else if (!strcmp(word, "discard"))
		discard();
	else
		printf("what is %s?\n", word);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char word[64];

	size = argc == 4 ? strtoul(argv[2], NULL, 0) : 0;
	if (!size) {
		fprintf(stderr, "usage: mce-owner FILE|- SIZE early|late|plain\n");
		return 2;
	}
	if (strcmp(argv[3], "plain"))
		catch_signals(!strcmp(argv[3], "early"));
	map(argv[1]);
	while (fgets(word, sizeof(word), stdin)) {
		word[strcspn(word, "\n")] = '\0';
		obey(word);
	}
	return 0;
}
