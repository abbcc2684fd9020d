// SPDX-License-Identifier: GPL-2.0-only
/*
 * Errors without end, in hugepages that several processes use in every way.
 *
 * Threads check and rewrite base pages: each page says which it is and how often
 * it was written, and what it should say is kept outside of hugetlb memory, so
 * that a wrong byte, a lost healthy page or a raw page that can still be read is
 * noticed at once. Some threads heal: they punch raw pages out of the file while
 * all that goes on, at times with healthy pages around them. Beside them: fork,
 * a mapping that comes, goes and changes its protection, touches without any
 * lock, hole punching, truncation, compaction, and private hugepages that are
 * hit, inherited, discarded in part and become huge again. Others inject errors,
 * at times into the same hugepage at once. A hugepage with enough raw pages is
 * punched out; they are unpoisoned and the pool is filled up again, so it can go
 * on for ever.
 *
 * Run by `make soak`, or in a guest: build/tests/soak --help
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hp.h"

#define HUGEPAGES	12			/* of the file */
#define TRUNCATED	2			/* of them, at its end */
#define PROCESSES	3
#define CHECKERS	2			/* threads of each */
#define INJECTORS	4
#define HEALERS		4
#define RAW_MOST	24			/* then the hugepage is punched out */
#define AROUND		4			/* healthy pages punched with a raw one */
#define PER_HUGE	(HP_2M / HP_BASE)
#define PAGES		(HUGEPAGES * PER_HUGE)
#define WORDS		3			/* looked at in each page */

/* How bad a base page is. While it is being hit either may be found. */
enum { GOOD, HIT, BAD };

struct soak_page {
	int lock;
	int bad;
	unsigned long writes;			/* since it was zero */
};

enum what {
	ERRORS, HEALS, HELD, CHECKS, WRITES, SIGNALS, FORKS, CHURNS, READS, PUNCHES, TRUNCATES,
	PRIVATES,
	WHATS
};

static const char * const names[WHATS] = {
	"errors", "heals", "EBUSY", "checks", "writes", "SIGBUS", "forks", "churns", "reads",
	"punches", "truncates", "privates",
};

static struct soak {
	bool stop;
	int failures;
	unsigned long count[WHATS];
	int users[HUGEPAGES];			/* -1: one, alone */
	bool wanted[HUGEPAGES];			/* somebody waits to be alone */
	int raws[HUGEPAGES];
	unsigned long raw[HUGEPAGES][RAW_MOST + INJECTORS];
	struct soak_page page[PAGES];
} *soak;

static struct {
	unsigned long errors, heals, privates, seconds, seed;
} want = { .errors = 300, .seconds = 600, .seed = 1 };

static int file;
static char *area;				/* this process's mapping */
static __thread sigjmp_buf back;
static __thread char *touching;
static __thread unsigned long random_state;

__printf(1, 2) static void failed(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "\nsoak: ");
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	__atomic_fetch_add(&soak->failures, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&soak->stop, true, __ATOMIC_SEQ_CST);
}

static bool stopped(void)
{
	return __atomic_load_n(&soak->stop, __ATOMIC_SEQ_CST);
}

static void tell(enum what what)
{
	__atomic_fetch_add(&soak->count[what], 1, __ATOMIC_RELAXED);
}

static unsigned long rnd(unsigned long below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void seed(unsigned long self)
{
	random_state = (want.seed + self) * 0x9e3779b97f4a7c15UL | 1;
}

/* --- locks, in memory that no error hits -------------------------------- */

static void take(int *lock)
{
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void drop(int *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/* Use a hugepage together with others; it is not punched out meanwhile. */
static void use(unsigned long huge)
{
	int users;

	do {
		users = __atomic_load_n(&soak->users[huge], __ATOMIC_RELAXED);
		if (__atomic_load_n(&soak->wanted[huge], __ATOMIC_RELAXED))
			users = -1;
		if (users < 0)
			sched_yield();
	} while (users < 0 ||
		 !__atomic_compare_exchange_n(&soak->users[huge], &users, users + 1, false,
					      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
}

static void unuse(unsigned long huge)
{
	__atomic_fetch_sub(&soak->users[huge], 1, __ATOMIC_RELEASE);
}

static void use_alone(unsigned long huge)
{
	int none = 0;

	__atomic_store_n(&soak->wanted[huge], true, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&soak->users[huge], &none, -1, false,
					    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		none = 0;
		sched_yield();
	}
	__atomic_store_n(&soak->wanted[huge], false, __ATOMIC_RELAXED);
}

static void unuse_alone(unsigned long huge)
{
	__atomic_store_n(&soak->users[huge], 0, __ATOMIC_RELEASE);
}

/* --- touching ------------------------------------------------------------ */

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	char *at = info->si_addr;

	(void)sig;
	(void)context;
	if (!touching || at < touching || at >= touching + HP_BASE)
		failed("SIGBUS at %p while touching %p", (void *)at, (void *)touching);
	else if (info->si_code == BUS_MCEERR_AR && info->si_addr_lsb != 12)
		failed("SIGBUS takes %d bits of addresses, not 12", info->si_addr_lsb);
	if (!touching)
		_exit(EXIT_FAILURE);
	siglongjmp(back, info->si_code);
}

static unsigned long word_of(unsigned long page, unsigned long writes, int i)
{
	return writes ? (page * WORDS + i) * 0x9e3779b97f4a7c15UL + writes : 0;
}

static unsigned long *word_at(char *at, int i)
{
	static const unsigned int offset[WORDS] = { 0, 2000, HP_BASE - sizeof(long) };

	return (unsigned long *)(at + offset[i]);
}

/* The page must have its expected contents; then it may get new ones. */
static void check_page(char *mapping, unsigned long page, bool write)
{
	struct soak_page *state = &soak->page[page];
	char *at = mapping + page * HP_BASE;
	int bad = __atomic_load_n(&state->bad, __ATOMIC_SEQ_CST), code, i;
	unsigned long is;

	touching = at;
	code = sigsetjmp(back, 1);
	if (code) {
		touching = NULL;
		tell(SIGNALS);
		bad = __atomic_load_n(&state->bad, __ATOMIC_SEQ_CST);
		if (code != BUS_MCEERR_AR || bad == GOOD)
			failed("healthy page %lu of hugepage %lu: SIGBUS, code %d",
			       page % PER_HUGE, page / PER_HUGE, code);
		return;
	}
	for (i = 0; i < WORDS; i++) {
		is = __atomic_load_n(word_at(at, i), __ATOMIC_RELAXED);
		if (is != word_of(page, state->writes, i))
			failed("page %lu of hugepage %lu: is %#lx, should be %#lx (write %lu)",
			       page % PER_HUGE, page / PER_HUGE, is,
			       word_of(page, state->writes, i), state->writes);
	}
	if (bad == BAD)
		failed("raw page %lu of hugepage %lu can be read",
		       page % PER_HUGE, page / PER_HUGE);
	tell(CHECKS);
	for (i = 0; write && i < WORDS; i++)
		__atomic_store_n(word_at(at, i), word_of(page, state->writes + 1, i),
				 __ATOMIC_RELAXED);
	touching = NULL;
	if (write) {
		state->writes++;
		tell(WRITES);
	}
}

/*
 * A page that is hit between two words of a write is lost with what was to be
 * written: the state is not advanced, and nobody looks at it as a good one.
 */
static void check_locked(char *mapping, unsigned long page, bool write)
{
	use(page / PER_HUGE);
	take(&soak->page[page].lock);
	check_page(mapping, page, write);
	drop(&soak->page[page].lock);
	unuse(page / PER_HUGE);
}

/* Without any lock, so that punching and truncation meet faults. */
static void touch_wildly(char *at)
{
	touching = at;
	if (!sigsetjmp(back, 1))
		(void)__atomic_load_n(at, __ATOMIC_RELAXED);
	touching = NULL;
}

/* --- the actors ---------------------------------------------------------- */

/* read(2) finds what the mappings do, and fails where they do. */
static void read_locked(unsigned long page)
{
	struct soak_page *state = &soak->page[page];
	static __thread char text[HP_BASE];
	ssize_t n;
	int bad;

	use(page / PER_HUGE);
	take(&state->lock);
	bad = __atomic_load_n(&state->bad, __ATOMIC_SEQ_CST);
	n = pread(file, text, HP_BASE, page * HP_BASE);
	for (int i = 0; n == (ssize_t)HP_BASE && i < WORDS; i++)
		if (*word_at(text, i) != word_of(page, state->writes, i))
			failed("read(2): page %lu of hugepage %lu is wrong", page % PER_HUGE,
			       page / PER_HUGE);
	if (bad == GOOD && n != (ssize_t)HP_BASE &&
	    __atomic_load_n(&state->bad, __ATOMIC_SEQ_CST) == GOOD)
		failed("read(2): healthy page %lu of hugepage %lu: %m", page % PER_HUGE,
		       page / PER_HUGE);
	if (bad == BAD && n >= 0)
		failed("read(2): raw page %lu of hugepage %lu can be read", page % PER_HUGE,
		       page / PER_HUGE);
	drop(&state->lock);
	unuse(page / PER_HUGE);
	tell(READS);
}

/* A pipe refers to a page for a moment, as a device would that reads it. */
static void hold_locked(unsigned long page)
{
	struct iovec held = { .iov_base = area + page * HP_BASE, .iov_len = HP_BASE };
	int fd[2];

	if (pipe(fd))
		return;
	use(page / PER_HUGE);
	if (vmsplice(fd[1], &held, 1, SPLICE_F_NONBLOCK) > 0)
		usleep(rnd(3000));
	close(fd[0]);
	close(fd[1]);
	unuse(page / PER_HUGE);
}

static void *checker(void *self)
{
	seed((unsigned long)self);
	while (!stopped()) {
		unsigned long page = rnd(PAGES);

		for (int i = 0; i < 16 && !stopped(); i++)
			check_locked(area, (page + i) % PAGES, rnd(2));
		touch_wildly(area + rnd(PAGES) * HP_BASE);
		read_locked(rnd(PAGES));
		if (!rnd(64))
			hold_locked(rnd(PAGES));
	}
	return NULL;
}

/* A child sees what its parent does, and changes it for all. */
static void fork_once(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* another thread's pipe would hold its page until this ends */
		close_range(3, ~0U, 0);
		for (int i = 0; i < 32; i++)
			check_locked(area, rnd(PAGES), true);
		_exit(EXIT_SUCCESS);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		failed("a child did not end well");
	tell(FORKS);
}

/* Another mapping of the file comes, changes and goes. */
static void churn_once(void)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	unsigned long huge = rnd(HUGEPAGES);
	char *again = mmap(NULL, HUGEPAGES * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	if (again == MAP_FAILED) {
		failed("mmap: %m");
		return;
	}
	for (int i = 0; i < 8; i++)
		check_locked(again, rnd(PAGES), i & 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(prots); i++) {
		if (mprotect(again + huge * HP_2M, HP_2M, prots[i]))
			failed("mprotect: %m");
		if (prots[i] != PROT_NONE)
			check_locked(again, huge * PER_HUGE + rnd(PER_HUGE),
				     prots[i] & PROT_WRITE);
	}
	if (madvise(again + huge * HP_2M, HP_2M, MADV_DONTNEED))
		failed("madvise: %m");
	check_locked(again, huge * PER_HUGE + rnd(PER_HUGE), true);
	munmap(again + huge * HP_2M, HP_2M);
	munmap(again, HUGEPAGES * HP_2M);
	tell(CHURNS);
}

/* --- a private hugepage ---------------------------------------------------- */

/*
 * How many pages cannot be read; all others say what they should: the one that
 * was discarded nothing, when there is one.
 */
static unsigned long private_lost(char *at, unsigned long writes, unsigned long discarded)
{
	static __thread unsigned long lost;

	lost = 0;
	for (unsigned long i = 0; i < PER_HUGE; i++) {
		unsigned long is;

		touching = at + i * HP_BASE;
		if (sigsetjmp(back, 1)) {
			lost++;
			continue;
		}
		is = __atomic_load_n(word_at(touching, 1), __ATOMIC_RELAXED);
		if (is != (i == discarded ? 0 : word_of(i, writes, 1)))
			failed("private page %lu is %#lx (write %lu)", i, is, writes);
	}
	touching = NULL;
	return lost;
}

static void private_write(char *at, unsigned long writes)
{
	for (unsigned long i = 0; i < PER_HUGE; i++) {
		touching = at + i * HP_BASE;
		if (!sigsetjmp(back, 1))
			__atomic_store_n(word_at(touching, 1), word_of(i, writes, 1),
					 __ATOMIC_RELAXED);
	}
	touching = NULL;
}

/* The child of a fork has what it had, and its own from its first write on. */
static pid_t private_child(char *at, unsigned long writes)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	private_lost(at, writes, PER_HUGE);
	private_write(at, writes + 1);
	if (private_lost(at, writes + 1, PER_HUGE) > 1)
		failed("more than one private page is lost");
	_exit(EXIT_SUCCESS);
}

/* An error in it, while a child comes or goes; then the raw page is discarded. */
static void private_once(void)
{
	unsigned long writes = 1 + rnd(1000), raw = rnd(PER_HUGE), pfn, lost;
	char *at = mmap(NULL, HP_2M, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	pid_t pid;

	if (at == MAP_FAILED)		/* the pool is short just now */
		return;
	private_write(at, writes);
	pfn = hp_pfn(at + raw * HP_BASE);
	pid = private_child(at, writes);
	if (hp_write(HP_DEBUGFS "corrupt-pfn", "%#lx", pfn))
		failed("corrupt-pfn %#lx, private", pfn);
	if (rnd(2)) {
		lost = private_lost(at, writes, PER_HUGE);
		if (lost != 1)
			failed("%lu private pages are lost, not one", lost);
	}
	if (madvise(at + raw * HP_BASE, HP_BASE, MADV_DONTNEED))
		failed("madvise: %m");
	if (private_lost(at, writes, raw))
		failed("a private page is lost that was discarded");
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		failed("no child");
	munmap(at, HP_2M);
	if (hp_unpoison_soon(pfn))
		failed("unpoison %#lx, private", pfn);
	tell(PRIVATES);
}

static void process(unsigned long self)
{
	pthread_t thread[CHECKERS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hp_kill_late();
	area = mmap(NULL, HUGEPAGES * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (area == MAP_FAILED) {
		failed("mmap: %m");
		_exit(EXIT_FAILURE);
	}
	for (unsigned long i = 0; i < CHECKERS; i++)
		pthread_create(&thread[i], NULL, checker, (void *)(self * 100 + i));
	seed(self * 100 + 99);
	while (!stopped()) {
		fork_once();
		churn_once();
	}
	for (int i = 0; i < CHECKERS; i++)
		pthread_join(thread[i], NULL);
	_exit(EXIT_SUCCESS);
}

/*
 * An error on its way may find that the page has moved, when its hugepage was
 * healed meanwhile: then it is in the memory that was left, or in none of ours,
 * which the filter excepts.
 */
static bool was_missed(unsigned long page, unsigned long pfn)
{
	char *at = area + page * HP_BASE;
	bool missed = false;

	touching = at;
	if (!sigsetjmp(back, 1)) {
		(void)__atomic_load_n(at, __ATOMIC_RELAXED);
		missed = true;
	}
	touching = NULL;
	if (missed && hp_pfn(at) == pfn)
		failed("raw page %lu of hugepage %lu can be read", page % PER_HUGE,
		       page / PER_HUGE);
	return missed;
}

static void hit(unsigned long page, unsigned long pfn)
{
	int nr = __atomic_fetch_add(&soak->raws[page / PER_HUGE], 1, __ATOMIC_SEQ_CST);
	struct soak_page *state = &soak->page[page];
	int ret = hp_write(HP_DEBUGFS "corrupt-pfn", "%#lx", pfn);
	bool missed;

	/* what the filter excepts is no error */
	if (ret || !(hp_pageflags(pfn) & HP_KPF_HWPOISON))
		soak->raw[page / PER_HUGE][nr] = HP_NO_PFN;
	else
		soak->raw[page / PER_HUGE][nr] = pfn;
	/* from now on nobody may reach it: not he who holds the lock either */
	take(&state->lock);
	missed = was_missed(page, pfn);
	__atomic_store_n(&state->bad, missed ? GOOD : BAD, __ATOMIC_SEQ_CST);
	drop(&state->lock);
	if (ret && !missed)
		failed("corrupt-pfn %#lx: %s", pfn, strerror(-ret));
	tell(ERRORS);
}

/* Hit a page that is good and mapped here. */
static void inject_once(unsigned long page)
{
	struct soak_page *state = &soak->page[page];
	unsigned long pfn = HP_NO_PFN;

	take(&state->lock);
	if (state->bad == GOOD && soak->raws[page / PER_HUGE] < RAW_MOST) {
		check_page(area, page, true);
		pfn = hp_pfn(area + page * HP_BASE);
		/* narrowed only once it was touched again: it may be on its way */
		if (pfn != HP_NO_PFN)
			__atomic_store_n(&state->bad, HIT, __ATOMIC_SEQ_CST);
	}
	drop(&state->lock);
	if (pfn != HP_NO_PFN)
		hit(page, pfn);
}

static bool is_done(void)
{
	return soak->count[ERRORS] >= want.errors && soak->count[HEALS] >= want.heals;
}

/* The injectors keep to the same hugepage for a while: two errors at once. */
static void *injector(void *self)
{
	static unsigned long turn;

	seed((unsigned long)self);
	while (!stopped() && !is_done()) {
		unsigned long huge = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) /
				     (2 * INJECTORS) % HUGEPAGES;

		use(huge);
		inject_once(huge * PER_HUGE + rnd(PER_HUGE));
		unuse(huge);
		usleep(rnd(1000));
	}
	return NULL;
}

/* Pages from @page on: all are zero now, and good. One on its way to bad stops it. */
static void heal_locked(unsigned long page, unsigned long nr)
{
	unsigned long first = page, end = page + nr;

	for (; first < end; first++)
		if (__atomic_load_n(&soak->page[first].bad, __ATOMIC_SEQ_CST) == HIT)
			return;
	if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * HP_BASE,
		      nr * HP_BASE)) {
		if (errno == EBUSY)
			tell(HELD);
		else
			failed("heal: %m");
		return;
	}
	for (first = page; first < end; first++) {
		soak->page[first].writes = 0;
		__atomic_store_n(&soak->page[first].bad, GOOD, __ATOMIC_SEQ_CST);
	}
	tell(HEALS);
}

static void heal_at(unsigned long page)
{
	unsigned long in = page % PER_HUGE, before = rnd(AROUND), after = rnd(AROUND), first, end;

	first = page - (before < in ? before : in);
	end = page + 1 + (after < PER_HUGE - in ? after : PER_HUGE - in - 1);
	for (unsigned long i = first; i < end; i++)
		take(&soak->page[i].lock);
	if (soak->page[page].bad == BAD)
		heal_locked(first, end - first);
	for (unsigned long i = first; i < end; i++)
		drop(&soak->page[i].lock);
}

/* Bad pages do not stay bad for long. */
static void *healer(void *self)
{
	seed((unsigned long)self);
	while (!stopped()) {
		unsigned long huge = rnd(HUGEPAGES), from = rnd(PER_HUGE);

		use(huge);
		for (unsigned long i = 0; i < PER_HUGE; i++) {
			unsigned long page = huge * PER_HUGE + (from + i) % PER_HUGE;

			if (__atomic_load_n(&soak->page[page].bad, __ATOMIC_SEQ_CST) != BAD)
				continue;
			heal_at(page);
			break;
		}
		unuse(huge);
		usleep(rnd(1000));
	}
	return NULL;
}

/* Once nobody has the hugepage any more, make its raw pages good again. */
static void make_good(unsigned long huge)
{
	for (int i = 0; i < soak->raws[huge]; i++) {
		int ret = soak->raw[huge][i] == HP_NO_PFN ? 0 : -EBUSY;

		for (int ms = 0; ret && ms < 10000; ms += 5) {
			ret = hp_unpoison(soak->raw[huge][i]);
			if (ret)
				usleep(5000);
		}
		if (ret)
			failed("unpoison %#lx: %s", soak->raw[huge][i], strerror(-ret));
	}
	soak->raws[huge] = 0;
}

static void forget(unsigned long huge)
{
	for (unsigned long i = 0; i < PER_HUGE; i++) {
		soak->page[huge * PER_HUGE + i].bad = GOOD;
		soak->page[huge * PER_HUGE + i].writes = 0;
	}
}

static void punch(unsigned long huge)
{
	use_alone(huge);
	if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, huge * HP_2M, HP_2M))
		failed("fallocate: %m");
	forget(huge);
	make_good(huge);
	unuse_alone(huge);
	tell(PUNCHES);
}

static void cut_off(void)
{
	unsigned long from = HUGEPAGES - TRUNCATED;

	for (unsigned long i = from; i < HUGEPAGES; i++)
		use_alone(i);
	if (ftruncate(file, from * HP_2M) || ftruncate(file, HUGEPAGES * HP_2M))
		failed("ftruncate: %m");
	for (unsigned long i = from; i < HUGEPAGES; i++) {
		forget(i);
		make_good(i);
		unuse_alone(i);
	}
	tell(TRUNCATES);
}

/* Punch out what has enough raw pages, keep the pool full, compact memory. */
static void keep_house(const struct hp_state *before)
{
	for (unsigned long huge = 0; huge < HUGEPAGES; huge++) {
		if (soak->raws[huge] < RAW_MOST)
			continue;
		if (huge >= HUGEPAGES - TRUNCATED)
			cut_off();
		else
			punch(huge);
		hp_refill(before);
		if (!rnd(8))
			hp_write("/proc/sys/vm/compact_memory", "1");
		if (!rnd(8))
			hp_write("/proc/sys/vm/drop_caches", "1");
	}
}

/* --- the run ------------------------------------------------------------- */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void progress(double since, char end)
{
	printf("%5.0f s ", now() - since);
	for (int i = 0; i < WHATS; i++)
		printf(" %s %lu", names[i], soak->count[i]);
	putchar(end);
	fflush(stdout);
}

/*
 * Each error makes a dozen lines, and a serial console takes most of the time
 * for them: they stay in the kernel's buffer, and are read from there.
 */
static void quiet_console(bool quiet)
{
	static char before[64];

	if (quiet)
		hp_read_text("/proc/sys/kernel/printk", before, sizeof(before));
	hp_write("/proc/sys/kernel/printk", "%s", quiet ? "1" : before);
}

/* Only hugepages of ours can be hit; all other memory is the test's own. */
static void set_filter(bool on)
{
	hp_write(HP_DEBUGFS "corrupt-filter-hugepage-size", "%lu", on ? HP_2M >> 10 : 0);
	hp_write(HP_DEBUGFS "corrupt-filter-enable", "%d", on);
}

static void read_log(struct hp_log *log)
{
	if (hp_log_complaints(log))
		failed("the kernel complained");
	hp_log_forget(log);
}

static bool ended(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return false;
	failed("process %d died, status %#x", pid, status);
	return true;
}

static void run(pid_t *pids, double since, struct hp_test *test)
{
	pthread_t thread[INJECTORS + HEALERS];
	double told = 0;

	for (unsigned long i = 0; i < INJECTORS + HEALERS; i++)
		pthread_create(&thread[i], NULL, i < INJECTORS ? injector : healer,
			       (void *)(i + 1));
	while (!stopped() && !is_done()) {
		keep_house(&test->before);
		for (int i = 0; i < PROCESSES; i++)
			if (ended(pids[i]))
				break;
		if (now() - since > want.seconds)
			failed("only %lu of %lu errors, %lu of %lu heals in %lu s",
			       soak->count[ERRORS], want.errors, soak->count[HEALS],
			       want.heals, want.seconds);
		if (now() - told > 2) {
			told = now();
			read_log(&test->log);
			progress(since, isatty(1) ? '\r' : '\n');
		}
		usleep(2000);
	}
	__atomic_store_n(&soak->stop, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < INJECTORS + HEALERS; i++)
		pthread_join(thread[i], NULL);
}

static void start(pid_t *pids)
{
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			process(i + 1);
	}
}

static void finish(pid_t *pids)
{
	int status;

	for (int i = 0; i < PROCESSES; i++)
		if (waitpid(pids[i], &status, 0) == pids[i] && status)
			failed("process %d ended with status %#x", pids[i], status);
	munmap(area, HUGEPAGES * HP_2M);
	close(file);
	for (unsigned long i = 0; i < HUGEPAGES; i++)
		make_good(i);
}

/*
 * Afterwards, as the errors above now and then hit what their page was left for.
 * Memory is compacted meanwhile, and the pool is short at times.
 */
static void run_private(double since, struct hp_test *test)
{
	pid_t pids[PROCESSES];

	if (soak->failures || !want.privates)
		return;
	__atomic_store_n(&soak->stop, false, __ATOMIC_SEQ_CST);
	for (unsigned long i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		seed(i + 1000);
		while (!stopped())
			private_once();
		_exit(EXIT_SUCCESS);
	}
	while (!stopped() && soak->count[PRIVATES] < want.privates) {
		hp_refill(&test->before);
		if (!rnd(8))
			hp_write("/proc/sys/vm/compact_memory", "1");
		if (now() - since > want.seconds)
			failed("only %lu of %lu private ones in %lu s", soak->count[PRIVATES],
			       want.privates, want.seconds);
		read_log(&test->log);
		progress(since, isatty(1) ? '\r' : '\n');
		sleep(1);
	}
	__atomic_store_n(&soak->stop, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < PROCESSES; i++)
		waitpid(pids[i], NULL, 0);
}

/* The pool, HardwareCorrupted and the log are as before. */
static void leftovers(struct hp_test *test)
{
	hp_refill(&test->before);
	if (hp_check(&test->before, HP_GAUGES))
		failed("counters are not what they were");
	read_log(&test->log);
}

static void say_usage(int status)
{
	printf("usage: soak [--errors N] [--heals N] [--privates N] [--seconds N] [--seed N]\n"
	       "  --errors N   so many errors (default %lu)\n"
	       "  --heals N    and so many healed (default %lu)\n"
	       "  --privates N then so many in private hugepages (default %lu)\n"
	       "  --seconds N  give up after that (default %lu)\n"
	       "  --seed N     of the random numbers (default %lu)\n"
	       "exit status: 0 all well, 1 something went wrong, 2 wrong usage\n",
	       want.errors, want.heals, want.privates, want.seconds, want.seed);
	exit(status);
}

static unsigned long parse_number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (!*text || *end || *text == '-' || !value) {
		fprintf(stderr, "soak: %s: not a number above 0\n", text);
		exit(2);
	}
	return value;
}

static void options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "errors", required_argument, NULL, 'e' },
		{ "heals", required_argument, NULL, 'H' },
		{ "privates", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'e')
			want.errors = parse_number(optarg);
		else if (c == 'H')
			want.heals = parse_number(optarg);
		else if (c == 'p')
			want.privates = parse_number(optarg);
		else if (c == 's')
			want.seconds = parse_number(optarg);
		else if (c == 'r')
			want.seed = parse_number(optarg);
		else
			say_usage(c == 'h' ? 0 : 2);
	}
	if (optind < argc)
		say_usage(2);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	pid_t pids[PROCESSES];
	struct hp_test test;
	double since = now();

	options(argc, argv);
	soak = mmap(NULL, sizeof(*soak), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (soak == MAP_FAILED || hp_test_begin(&test, HP_2M)) {
		fprintf(stderr, "soak: cannot begin: not root in a guest of ours?\n");
		return EXIT_FAILURE;
	}
	sigaction(SIGBUS, &action, NULL);
	seed(0);
	file = memfd_create("soak", MFD_HUGETLB | MFD_HUGE_2MB);
	if (file < 0 || ftruncate(file, HUGEPAGES * HP_2M)) {
		fprintf(stderr, "soak: memfd_create: %m\n");
		return EXIT_FAILURE;
	}
	start(pids);
	area = mmap(NULL, HUGEPAGES * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (area == MAP_FAILED)
		failed("mmap: %m: %d free 2M hugepages are needed", HUGEPAGES);
	set_filter(true);
	quiet_console(true);
	run(pids, since, &test);
	finish(pids);
	run_private(since, &test);
	quiet_console(false);
	set_filter(false);
	leftovers(&test);
	progress(since, '\n');
	printf("%d passed, %d failed, 0 skipped\n", !soak->failures, !!soak->failures);
	return soak->failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
